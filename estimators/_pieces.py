"""How the work of a training step is cut into pieces, for the cores and their caches.

A piece is a few models, or a part of the rows of one, all the way forward and back: what it makes
stays in the cache of a core. The cut follows from shapes alone. That of the models changes no
result; that of the rows decides in which order gradients are summed, so it is the same for a model
in a stack and alone, on any number of cores.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels._workers import slices
from estimators._batches import Data
from estimators._layers import BatchNorm, Dropout
from estimators._network import Network
from estimators._trainee import Trainee

_CACHE = 2**21  # bytes that the models of a piece may take
_LEAST_WORK = 4e6  # floating-point operations forward, below which a thread is not worth waking
_LEAST_ROWS = 16
_SUMMED = 192  # operations of a piece for each value of a gradient that is to be added up


class Pieces(NamedTuple):
    """The rule for one network.

    Attributes
    ----------
    models_at_once : int
        Models of a piece; 0 for all.
    least_rows : int
        Rows that a piece has at least; 0 for all.
    batch_size : int
        The most rows of a step.
    """

    models_at_once: int
    least_rows: int
    batch_size: int

    @classmethod
    def of(cls, network: Network, trainees: list[Trainee], data: Data) -> Pieces:
        """The rule for the models of a stack; on a GPU, and for sparse rows, all in one piece."""
        batch_size = max(t.settings.batch_size for t in trainees)
        if sp.issparse(data.X) or not isinstance(data.y, np.ndarray):
            return cls(0, 0, batch_size)
        values = 2 * sum(map(prod, network.shapes))
        itemsize = trainees[0].progress.params.itemsize
        n_bytes = itemsize * (batch_size * values + 4 * network.size)
        if any(isinstance(layer, Dropout | BatchNorm) for layer in network.layers):
            least_rows = 0  # what they do to a row depends on the others, or on its place
        else:
            enough = max(_LEAST_WORK, _SUMMED * network.size)
            least_rows = max(_LEAST_ROWS, int(enough / max(network.operations, 1)))
        return cls(max(1, _CACHE // n_bytes), least_rows, batch_size)

    @property
    def most_chunks(self) -> int:
        """Chunks of rows of a full step."""
        return len(self.rows(self.batch_size))

    def models(self, n_models: int) -> list[slice]:
        """The models of each piece."""
        return slices(n_models, self.models_at_once or max(n_models, 1))

    def rows(self, n_rows: int) -> list[slice]:
        """The rows of each piece: one chunk, or an even number."""
        n_chunks = n_rows // self.least_rows if self.least_rows else 1
        if n_chunks < 2:
            return [slice(0, n_rows)]
        return slices(n_rows, -(-n_rows // (n_chunks - n_chunks % 2)))
