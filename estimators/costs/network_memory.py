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
# The most values that the widest layer of a model makes at once while it is scored, and if samples
# come from the host.
VALUES_SCORED_AT_ONCE, VALUES_STREAMED_AT_ONCE = 2**20, 2**18
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
    streamed, scores_alone : bool, default=False
        Whether samples stay on the host, and come to the GPU step by step; and whether those held
        out do, or are sparse, so that scores are no work that is recorded.
    scored_values : int, default=None
        The values of sparse rows held out; None where they are some of the samples.
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
    scores_alone: bool = False
    scored_values: int | None = None

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
    if training.scores_alone:
        step += sum(_scored_alone(network, X, training))
    elif training.n_scored:
        tables += training.n_scored * models * (_PLACE + 1)
        tables += training.n_scored * (1 if groups == 1 else models) * _ROW
        _score(network, X, training, blocks, sets=1 if groups == 1 else models)
    return tables, step + blocks.total


def _scored_alone(network: Any, X: Any, training: Training) -> tuple[int, int]:
    """Return the bytes of what scores gather at first, and the most that are there later."""
    if not training.n_scored:
        return 0, 0
    n_rows, blocks, places = training.n_scored * training.models, Blocks(), 0
    gathered = 2 * _PLACE * n_rows  # rows and labels
    if sp.issparse(X) or training.scored_values is not None:
        values = training.scored_values
        if values is None:
            values = X.nnz * training.n_scored // max(X.shape[0], 1)
        stored, places = _stored(X, training, training.models * values, n_rows)
        gathered += stored
    is_streamed = not (sp.issparse(X) or training.scored_values is not None)
    most = VALUES_STREAMED_AT_ONCE if is_streamed else VALUES_SCORED_AT_ONCE
    _score(network, X, training, blocks, sets=training.models, most=most)
    return gathered, max(places, blocks.most)


def _stored(X: Any, training: Training, values: int, n_rows: int) -> tuple[int, int]:
    """Return the bytes of sparse rows that are gathered, and those of where they are found."""
    integer = X.indices.itemsize if sp.issparse(X) else _ROW
    return values * (training.itemsize + integer) + n_rows * integer, values * _PLACE


def _score(
    network: Any, X: Any, training: Training, blocks: Blocks, *, sets: int,
    most: int = VALUES_SCORED_AT_ONCE,
) -> None:  # fmt: skip
    """Make and drop what it takes to score the models on rows held out, of so many sets.

    The widest layer makes at most so many values of each model.
    """
    at_once = max(1, most // max(map(prod, network.shapes)))
    scored = training._replace(n_rows=training.n_scored, batch_size=at_once)
    for _, rows in scored.kinds:
        values = rows * sets * prod(network.shapes[0])
        is_sparse = sp.issparse(X) or training.scored_values is not None
        samples = [] if is_sparse else [values * X.dtype.itemsize]
        if X.dtype != training.dtype and not is_sparse:
            samples.append(values * training.itemsize)
        size = training.step_size(rows, n_sorted=int(is_sparse))  # which sorts nothing forward
        score_rows(network, size, blocks, x=samples)


def _launched(network: Any, X: Any, training: Training) -> tuple[int, int]:
    """Return the bytes of what an epoch gathers, and the most that one of its steps has at once.

    Those of sparse rows follow from how many values a row has on average.
    """
    n_rows, models = training.n_rows, training.models
    rows, blocks = training.kinds[0][1], Blocks()
    gathered, n_sorted, places = 2 * _PLACE * n_rows * models, 0, 0  # rows in their order, labels
    if sp.issparse(X):
        values = X.nnz * n_rows * models // max(X.shape[0], 1)
        stored, places = _stored(X, training, values, n_rows * models)
        gathered += stored
        n_sorted = sort_bytes(
            values * rows // max(n_rows, 1), models * X.shape[1], training.itemsize,
            X.indices.itemsize,
        )  # fmt: skip
    else:
        gathered += n_rows * prod(network.shapes[0]) * training.itemsize
    take_step(network, training.step_size(rows, n_sorted), blocks)
    taken = gathered, max(places, blocks.most)  # and dropped, before the scores
    return max(taken, _scored_alone(network, X, training), key=sum)


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
    kept, most = prod(network.shapes[0]) if dense else 0, 0
    layers = [unit.layer for unit in network.units]
    for i, (_, layer, shape, output_shape) in enumerate(network.units):
        of_input, of_output = prod(shape), prod(output_shape)
        has_activation = layer.nonlinearity != "identity"
        # the way back reads what went into a normalisation, and what came out of an activation
        elementwise = [isinstance(one, Elementwise) for one in layers[i : i + 2]]
        is_read = has_activation or not all(elementwise) or i + 1 == len(layers)
        kept += of_output * is_read
        gradients = of_output * (1 + (has_activation and not elementwise[0]))
        most = max(most, gradients + (of_input if i else 0))
    return kept + most
