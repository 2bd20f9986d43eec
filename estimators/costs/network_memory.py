"""The memory of a device that a fit of networks needs, from what happens in it.

On a GPU the steps of dense samples are replayed (`estimators.training.replay`): each size of step
has tables for two epochs and places for its batch, and what a step makes on its way has memory of
its own as long as the fit lasts. A step of sparse samples gives its memory back.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cukernels.sparse import sort_bytes
from estimators.costs.memory import MemoryEstimate, samples_bytes
from estimators.costs.step_arrays import Blocks, rounded, score_rows, take_step
from estimators.layers.layer import Elementwise
from estimators.layers.made import StepSize

STEPS_AHEAD = 4  # whose samples are on a GPU, or on their way, where samples stay on the host
VALUES_SCORED_AT_ONCE = 2**20  # the most values that the widest layer of a model makes at once
_PLACE, _ROW = 8, 4  # bytes of a label, or of a row's number in an array; and in a table
_SETTINGS, _CHANGES = 4 * 8, 4 * 4  # bytes that a step is told of a model, and of an image
_OF_MODEL = 5  # small vectors of the solver's settings, and what belongs to a step


class Training(NamedTuple):
    """What the memory of a fit of networks follows from, beside their layers and samples.

    Attributes
    ----------
    n_rows, batch_size : int
        How many rows each model learns from, and those of a step; 0 where all rows make one step.
    n_copies : int
        How many vectors of the size of its parameters a model has.
    dtype : dtype
        The type of parameters and of what is computed.
    device : str
        Where it runs.
    models, groups : int, default=1
        The models of a stack, and how many different orders of rows they have.
    n_scored : int, default=0
        Rows held out, on which each model is scored.
    target_bytes : int, default=8
        The bytes of the target of a row.
    weighted, augmented : bool, default=False
        Whether rows have weights, and whether images change.
    streamed : bool, default=False
        Whether samples stay on the host, and come to the GPU step by step.
    """

    n_rows: int
    batch_size: int
    n_copies: int
    dtype: Any
    device: str
    models: int = 1
    groups: int = 1
    n_scored: int = 0
    target_bytes: int = _PLACE
    weighted: bool = False
    augmented: bool = False
    streamed: bool = False

    @property
    def itemsize(self) -> int:
        """The bytes of a value."""
        return np.dtype(self.dtype).itemsize

    @property
    def kinds(self) -> list[tuple[int, int]]:
        """How many steps of an epoch have how many rows: the full ones, and the last one."""
        size = min(self.batch_size, self.n_rows) or self.n_rows
        full = max(self.n_rows - 1, 0) // max(size, 1)
        rest = self.n_rows - full * size
        return [(full + 1, size)] if rest == size or not full else [(full, size), (1, rest)]

    def step_size(self, rows: int, n_sorted: int = 0) -> StepSize:
        """Return what layers are told of a step with so many rows of each model."""
        return StepSize(self.models, rows, np.dtype(self.dtype), self.device, n_sorted)


def network_memory(network: Any, X: Any, training: Training) -> MemoryEstimate:
    """Return what a fit of networks needs.

    Parameters
    ----------
    network : Network
        The layers.
    X : ndarray or CSR matrix of shape (n_samples, ...)
        Samples.
    training : Training
        How they learn from them.
    """
    data = 0 if training.streamed else samples_bytes(X, X.dtype.itemsize)
    data += X.shape[0] * training.target_bytes
    parameters = training.models * training.itemsize * training.n_copies * network.size
    if training.device == "cpu":
        more, step = _on_cpu(network, X, training)
    elif sp.issparse(X) or not training.batch_size:
        more, step = _launched(network, X, training)
    else:
        more, step = _replayed(network, X, training)
    return MemoryEstimate(data + more, parameters, step, training.device)


def _replayed(network: Any, X: Any, training: Training) -> tuple[int, int]:
    """Return the bytes of tables, and those of steps and batches."""
    itemsize, models, groups = training.itemsize, training.models, training.groups
    tables = step = 0
    blocks = Blocks()
    for count, rows in training.kinds:
        tables += rounded(2 * count * rows * groups * _ROW)
        tables += rounded(2 * count * models * _SETTINGS)
        step += rounded(groups * rows * prod(network.shapes[0]) * itemsize)
        step += rounded(models * rows * training.target_bytes)
        step += rounded(models * _SETTINGS) + rounded(4)  # and the number of the step
        for is_there, n_bytes in ((training.weighted, itemsize), (training.augmented, _CHANGES)):
            if is_there:
                tables += rounded(2 * count * models * rows * n_bytes)
                step += rounded(models * rows * n_bytes)
        if training.streamed:
            tables += rounded(2 * count * rows * groups * _ROW)
            sample = prod(network.shapes[0]) * X.dtype.itemsize
            step += rounded(STEPS_AHEAD * groups * rows * sample)
        take_step(network, training.step_size(rows), blocks, changes=training.augmented)
    tables += _OF_MODEL * rounded(models * _PLACE)
    if training.n_scored and not training.streamed:
        tables += training.n_scored * models * (_PLACE + 1)
        tables += training.n_scored * (1 if groups == 1 else models) * _ROW
        _score(network, X, training, blocks)
    return tables, step + blocks.total


def _score(network: Any, X: Any, training: Training, blocks: Blocks) -> None:
    """Make and drop what it takes to score the models on rows held out."""
    at_once = max(1, VALUES_SCORED_AT_ONCE // max(map(prod, network.shapes)))
    scored = training._replace(n_rows=training.n_scored, batch_size=at_once)
    for _, rows in scored.kinds:
        values = rows * (1 if training.groups == 1 else training.models) * prod(network.shapes[0])
        samples = [values * X.dtype.itemsize]
        if X.dtype != training.dtype:
            samples.append(values * training.itemsize)
        score_rows(network, training.step_size(rows), blocks, x=samples)


def _launched(network: Any, X: Any, training: Training) -> tuple[int, int]:
    """Return the bytes of what an epoch gathers, and the most that one of its steps has at once.

    Those of sparse rows follow from how many values a row has on average.
    """
    n_rows, models = training.n_rows, training.models
    rows, blocks = training.kinds[0][1], Blocks()
    gathered, n_sorted, places = 2 * _PLACE * n_rows * models, 0, 0  # rows in their order, labels
    if sp.issparse(X):
        integer = X.indices.itemsize
        values = X.nnz * n_rows * models // max(X.shape[0], 1)
        gathered += values * (training.itemsize + integer) + n_rows * models * integer
        n_sorted = sort_bytes(
            values * rows // max(n_rows, 1), models * X.shape[1], training.itemsize, integer
        )
        places = values * _PLACE
    else:
        gathered += n_rows * prod(network.shapes[0]) * training.itemsize
    take_step(network, training.step_size(rows, n_sorted), blocks)
    return gathered, max(places, blocks.most)


# On a CPU --------------------------------------------------------------------------------------


def _on_cpu(network: Any, X: Any, training: Training) -> tuple[int, int]:
    """Return the bytes of rows and labels of an epoch, and those of a step."""
    more = 2 * _PLACE * training.n_rows
    if sp.issparse(X):  # an epoch gathers the stored values of its rows, and where they are
        more += X.nnz * (training.itemsize + X.indices.itemsize + _PLACE)
    rows = training.kinds[0][1]
    values = training.models * rows * values_of_row(network, dense=not sp.issparse(X))
    return more, training.itemsize * values


def values_of_row(network: Any, *, dense: bool = True) -> int:
    """Return how many values a step of training holds at once for each row of its batch.

    On the way forward, all outputs are kept that the way back reads. On the way back there are, in
    each layer, the gradient of its output, that before its activation, and that of its input.
    """
    sizes = [int(np.prod(shape)) for shape in network.shapes]
    kept, most = sizes[0] if dense else 0, 0
    layers = network.layers
    for i, (layer, of_input, of_output) in enumerate(
        zip(layers, sizes[:-1], sizes[1:], strict=True)
    ):
        has_activation = layer.nonlinearity != "identity"
        # the way back reads what went into a normalisation, and what came out of an activation
        elementwise = [isinstance(one, Elementwise) for one in layers[i : i + 2]]
        is_read = has_activation or not all(elementwise) or i + 1 == len(layers)
        kept += of_output * is_read
        gradients = of_output * (1 + (has_activation and not elementwise[0]))
        most = max(most, gradients + (of_input if i else 0))
    return kept + most
