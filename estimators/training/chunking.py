"""How a training step is divided into groups of models and chunks of rows.

A group of models computes one chunk of rows after the other, all the way forward and back, so that
what it makes stays in the cache of a core. The groups change no result, and may follow the number
of cores. The chunks decide in which order gradients are summed. So they follow from shapes alone:
they are the same for a model in a stack and by itself, on any machine.

Threads of Python wait for each other between one array operation and the next. So they pay where
operations are long: those of many dense layers at once, or of many rows. Convolutions use threads
of their own for their images.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import slices, threads
from estimators.training.data import Data
from estimators.training.member import Member
from estimators.training.network import Network

_CACHE = 2**23  # bytes that the models of a group may take
_MOST = 2**26  # bytes that a recorded step of images may make
# Floating-point operations of the forward pass that are worth a thread, for an epoch and for a
# single step.
_LEAST_WORK = 4e6
_LEAST_WORK_OF_ROWS = 2.5e7
_ROWS = 16  # a chunk has a multiple of so many rows
_SUMMED = 192  # least operations of a chunk for each gradient, as the gradients are added up


def rows_at_once(network: Network, batch_size: int) -> int:
    """Return the rows of a chunk for batches of a size: all of them, or an even number of chunks.

    The chunks are about equal. Models of a stack have to agree in them.
    """
    if network.is_divided or not network.has_rows_alone:
        return batch_size
    enough = max(_LEAST_WORK_OF_ROWS, _SUMMED * network.size)
    n_chunks = batch_size // max(_ROWS, int(enough / max(network.operations, 1)))
    if n_chunks < 2:
        return batch_size
    return _ROWS * -(-batch_size // (_ROWS * (n_chunks - n_chunks % 2)))


class Chunking(NamedTuple):
    """How the steps of one stack are divided.

    Attributes
    ----------
    models_at_once : int
        The most models of a group; 0 for all.
    models_of_a_thread : int
        How many models are worth a thread; 0 if threads are of no use to groups.
    rows_at_once : int
        Rows of a chunk; 0 for all.
    most_chunks : int
        Chunks of a full step.
    bytes_of_step : int
        What one model makes in a full step.
    repeats : bool
        Whether steps are recorded and repeated, see `repeated_steps`.
    """

    models_at_once: int
    models_of_a_thread: int
    rows_at_once: int
    most_chunks: int
    bytes_of_step: int = 0
    repeats: bool = False

    @classmethod
    def of(cls, network: Network, members: list[Member], data: Data) -> Chunking:
        """Return the division for a stack; there is none on a GPU and for sparse rows."""
        if sp.issparse(data.X) or not isinstance(data.y, np.ndarray):
            return cls(0, 0, 0, 1)
        batch_size = max(m.settings.batch_size for m in members)
        rows = rows_at_once(network, batch_size)
        values = 2 * min(rows, batch_size) * sum(map(prod, network.shapes))
        itemsize = members[0].state.params.itemsize
        n_bytes = itemsize * (values + 4 * network.size)
        n_chunks = 1 if rows >= batch_size else -(-batch_size // rows)
        worth = 0
        if not network.is_divided:
            worth = 1 + int(_LEAST_WORK / max(network.operations * batch_size, 1))
        at_once, rows = max(1, _CACHE // n_bytes), rows if n_chunks > 1 else 0
        bytes_of_step = itemsize * values
        # Images take their chunks through the cache themselves.
        is_image = network.is_divided and len(members) == 1 and bytes_of_step <= _MOST
        repeats = n_chunks == 1 and (is_image or n_bytes <= _CACHE)
        repeats = repeats and all(layer.is_recorded for layer in network.layers)
        return cls(at_once, worth, rows, n_chunks, bytes_of_step, repeats)

    def groups(self, n_models: int, most_threads: int) -> list[slice]:
        """Return the models of each group; threads that are of use get equally many groups."""
        if not self.models_at_once:
            return slices(n_models, max(n_models, 1))
        n_groups = -(-n_models // self.models_at_once)
        if self.models_of_a_thread:
            n_threads = min(most_threads, max(n_models // self.models_of_a_thread, 1))
            n_groups = n_threads * -(-n_groups // n_threads)
        return slices(n_models, -(-n_models // max(n_groups, 1)) or 1)

    def chunks(self, n_rows: int) -> list[slice]:
        """Return the rows of each chunk of a step."""
        return slices(n_rows, self.rows_at_once or n_rows)

    def by_groups(self, n_groups: int) -> bool:
        """Whether each group goes through an epoch by itself, and not all of them step by step."""
        return n_groups >= threads() or self.most_chunks == 1
