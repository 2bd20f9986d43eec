"""How the work of a training step is cut into pieces, for the cores and their caches.

A piece is a few models, or a part of the rows of one, all the way forward and back: what it makes
stays in the cache of a core. The cut of the models changes no result, and may follow the number of
cores. That of the rows decides in which order gradients are summed, so it follows from shapes
alone: it is the same for a model in a stack and by itself, on any machine.

Threads of Python wait for each other between one array operation and the next. So they pay where
operations are long: those of many dense layers at once, or of many rows. Convolutions share out
their images themselves.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import slices, threads
from estimators.neural.data import Data
from estimators.neural.network import Network
from estimators.neural.trainee import Trainee

_CACHE = 2**23  # bytes that the models of a piece may take
# Floating-point operations forward that are worth a thread: for an epoch, and for a single step.
_LEAST_WORK = 4e6
_LEAST_WORK_OF_ROWS = 2.5e7
_ROWS = 16  # pieces have a multiple of them
_SUMMED = 192  # operations of a piece for each value of a gradient that is to be added up


def rows_at_once(network: Network, batch_size: int) -> int:
    """Rows of a piece for batches of a size; all of them, or so that an even number is about equal.

    Models of a stack have to agree in it.
    """
    if _is_divided(network) or not network.has_rows_alone:
        return batch_size
    enough = max(_LEAST_WORK_OF_ROWS, _SUMMED * network.size)
    n_pieces = batch_size // max(_ROWS, int(enough / max(network.operations, 1)))
    if n_pieces < 2:
        return batch_size
    return _ROWS * -(-batch_size // (_ROWS * (n_pieces - n_pieces % 2)))


class Pieces(NamedTuple):
    """The cut for one stack.

    Attributes
    ----------
    models_at_once : int
        Models of a piece at the most; 0 for all.
    models_of_a_thread : int
        How many models are worth a thread; 0 if threads are of no use to pieces.
    rows_at_once : int
        Rows of a piece; 0 for all.
    most_chunks : int
        Chunks of rows of a full step.
    bytes_of_step : int
        What one model makes in a full step.
    """

    models_at_once: int
    models_of_a_thread: int
    rows_at_once: int
    most_chunks: int
    bytes_of_step: int = 0

    @classmethod
    def of(cls, network: Network, trainees: list[Trainee], data: Data) -> Pieces:
        """The cut for these models; on a GPU, and for sparse rows, all in one piece."""
        if sp.issparse(data.X) or not isinstance(data.y, np.ndarray):
            return cls(0, 0, 0, 1)
        batch_size = max(t.settings.batch_size for t in trainees)
        rows = rows_at_once(network, trainees[0].settings.batch_size)
        values = 2 * min(rows, batch_size) * sum(map(prod, network.shapes))
        itemsize = trainees[0].progress.params.itemsize
        n_bytes = itemsize * (values + 4 * network.size)
        chunks = 1 if rows >= batch_size else -(-batch_size // rows)
        worth = 0
        if not _is_divided(network):
            worth = 1 + int(_LEAST_WORK / max(network.operations * batch_size, 1))
        at_once, rows = max(1, _CACHE // n_bytes), rows if chunks > 1 else 0
        return cls(at_once, worth, rows, chunks, itemsize * values)

    def models(self, n_models: int) -> list[slice]:
        """The models of each piece: where threads are of use to them, as many pieces for each."""
        if not self.models_at_once:
            return slices(n_models, max(n_models, 1))
        n_pieces = -(-n_models // self.models_at_once)
        if self.models_of_a_thread:
            n_threads = min(threads(), max(n_models // self.models_of_a_thread, 1))
            n_pieces = n_threads * -(-n_pieces // n_threads)
        return slices(n_models, -(-n_models // max(n_pieces, 1)) or 1)

    def by_models(self, n_pieces: int) -> bool:
        """Whether pieces of the models go through an epoch each by itself; else step by step."""
        return n_pieces >= threads() or self.most_chunks == 1

    def rows(self, n_rows: int) -> list[slice]:
        """The rows of each piece of a step."""
        return slices(n_rows, self.rows_at_once or n_rows)


def _is_divided(network: Network) -> bool:
    return any(layer.is_divided for layer in network.layers)
