"""The memory of a device that a logistic regression needs, from what its solver makes on its way.

A pass over X is made in blocks of rows on the CPU, and as a whole on a GPU. It leaves scores,
gradients and sums of a block. Solvers that multiply with the Hessian keep the probabilities of all
rows beside that. Those that make the Hessian have copies of a block for each class, too.
"""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

import scipy.sparse as sp

from cukernels.matmul import of_product
from cukernels.runtime import LARGE, threads
from estimators.costs.memory import MemoryEstimate, samples_bytes
from estimators.linear.device_loss import BYTES_READ_AT_ONCE
from estimators.linear.logistic_solvers import factorizes
from estimators.linear.proximal import LARGEST_HESSIAN
from estimators.linear.row_blocks import are_dense, block_rows
from estimators.shared.base import float_dtype

_PLACE = _DOUBLE = 8  # bytes of a label, and of a parameter
_LABELS = 3  # labels, or targets, of each sample: as given, as places, and as the loss takes them
# Vectors of parameters: the memory of L-BFGS and what an iteration makes, on either side; and those
# of the others, which have no such memory but an L1 norm's.
_OF_LBFGS, _ON_DEVICE, _OF_NEWTON, _OF_L1 = 31, 25, 14, 40
# In a pass over a block, arrays of its scores, and vectors of its rows, more for a single score.
_PASS, _VECTORS = 3, {True: 5, False: 2}
_PRODUCT = 3  # arrays of the scores of a block in a product with the Hessian
_FACTOR = 2.1  # Hessians while one is factorised
_FREE_FACTOR = 3  # and while one is of those of its variables that are free


class _Problem(NamedTuple):
    """What the memory of a fit follows from.

    Attributes
    ----------
    X : array or CSR matrix of shape (N, D)
    n_outputs, n_models : int
        Scores of a sample, and models that learn together.
    solver : str
    has_l1 : bool
        Whether the penalty has an L1 norm.
    device : str
    """

    X: Any
    n_outputs: int
    n_models: int
    solver: str
    has_l1: bool
    device: str

    @property
    def dtype(self) -> Any:
        """That of the passes over X."""
        return float_dtype(self.X)

    @property
    def itemsize(self) -> int:
        """The bytes of a value of X."""
        return int(self.dtype.itemsize)

    @property
    def n_parameters(self) -> int:
        """Weights and intercepts of a model."""
        return self.n_outputs * (self.X.shape[1] + 1)

    @property
    def n_in_hessian(self) -> int:
        """How many parameters the largest Hessian has; 0 where there is none."""
        if self.has_l1:
            return min(self.n_parameters, LARGEST_HESSIAN)
        return self.n_parameters if factorizes(self.solver, self.n_parameters) else 0


def logistic_memory(
    X: Any, n_outputs: int, solver: str, device: str, models: int = 1, *, has_l1: bool = False
) -> MemoryEstimate:
    """Return what the fit of a logistic regression needs, or a stack of them on the same rows.

    With an L1 norm it depends on the numbers in X how many parameters a Hessian has, and whether
    there is one if there are many: the most is assumed.

    Parameters
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
        Samples; only their shape and type count.
    n_outputs : int
        How many scores a sample has.
    solver, device : str
    models : int, default=1
        How many models learn together.
    has_l1 : bool, default=False
        Whether the penalty has an L1 norm.
    """
    problem = _Problem(X, n_outputs, models, solver, has_l1, device)
    labels = X.shape[0] * _PLACE
    if device == "cpu":
        data = samples_bytes(X, X.dtype.itemsize) + labels
        return MemoryEstimate(data, *_on_cpu(problem), device)
    data = samples_bytes(X, problem.itemsize) + labels
    if sp.issparse(X):  # and the other way round, for the gradient in the weights
        data += X.nnz * (X.dtype.itemsize + X.indices.itemsize)
        data += X.shape[1] * X.indptr.itemsize
    return MemoryEstimate(data, *_on_device(problem), device)


def _on_cpu(problem: _Problem) -> tuple[int, int]:
    """Return the bytes of parameters, and those of a step.

    A step is an evaluation, a product with the Hessian, or the making or the use of a Hessian.
    """
    X, k, itemsize = problem.X, problem.n_outputs, problem.itemsize
    n_rows, size = X.shape[0], block_rows(X)
    n_blocks = max(1, ceil(n_rows / max(size, 1)))
    rows = min(n_rows, threads() * size)  # that threads work on
    all_outputs = problem.n_models * k
    vectors = _OF_L1 if problem.has_l1 else _OF_LBFGS if problem.solver == "lbfgs" else _OF_NEWTON
    parameters = vectors * _DOUBLE * problem.n_models * problem.n_parameters

    scores = itemsize * rows * (all_outputs + (all_outputs > 1 and all_outputs % 2))
    kept = (_LABELS - 1) * _PLACE * n_rows
    if X.dtype != problem.dtype:  # a block of floats for each thread
        kept += itemsize * rows * X.shape[1]
    sums = n_blocks * _DOUBLE * problem.n_models * problem.n_parameters
    step = _PASS * scores + _VECTORS[k == 1] * itemsize * rows * problem.n_models + sums
    if problem.solver != "lbfgs":
        shares = itemsize * n_rows  # of rows in the mean
        probabilities = itemsize * n_rows * k
        workspace = 2 * scores if 2 * scores * min(size / rows, 1) >= LARGE else 0
        beside = probabilities + workspace
        other = _PRODUCT * scores * min(size / rows, 1)
        if problem.n_in_hessian:
            other = _hessian(problem, size)
        step = shares + max(step, beside + other)
    return parameters, kept + step


def _hessian(problem: _Problem, size: int) -> int:
    """Return the bytes of a Hessian with what makes it from a block of rows, or factorises it."""
    X, k, itemsize, s = problem.X, problem.n_outputs, problem.itemsize, problem.n_in_hessian
    n_columns = X.shape[1] + 1
    used = min(n_columns, s)  # columns; fewer than all are taken out
    hessian, gram = _DOUBLE * s * s, min(n_columns, ceil(s / k) if problem.has_l1 else n_columns)
    taken_out = used if used < n_columns or (problem.has_l1 and k == 1) else 0
    # with ones, those that are taken out, those of each class, and one of them with weights
    columns = n_columns + taken_out + s + gram
    if sp.issparse(X):
        value = itemsize + X.indices.itemsize
        filled = X.nnz / max(X.shape[0], 1) + 1  # of a row
        stored = value * filled * X.shape[0]
        if are_dense(X.shape[0] * filled**2, X.shape[0], n_columns):
            rows = min(X.shape[0], block_rows(X, as_array=True))
            made = 2 * stored + itemsize * rows * columns + itemsize * gram**2
        else:  # with weights in another format first; a product is sparse before it is an array
            copies = (columns - gram) / n_columns
            product = stored * (copies + 2.5) + value * gram**2
            made = max(product, stored * copies + (value + itemsize) * gram**2)
    else:
        made = itemsize * size * columns + itemsize * gram**2
    return int(max(hessian + made, (_FREE_FACTOR if problem.has_l1 else _FACTOR) * hessian))


def _on_device(problem: _Problem) -> tuple[int, int]:
    """Return the bytes of parameters and of a step on a GPU.

    Parameters of L-BFGS stay there with all its vectors; other solvers have theirs on the host, and
    bring one at a time. Sparse samples make their Hessians on the host.
    """
    X, k, itemsize = problem.X, problem.n_outputs, problem.itemsize
    vectors = _ON_DEVICE if problem.solver == "lbfgs" else 2
    parameters = vectors * _DOUBLE * problem.n_models * problem.n_parameters
    step = _pass_on_device(problem)
    if problem.solver != "lbfgs":
        step += itemsize * X.shape[0] * k  # probabilities
        if problem.n_in_hessian and not sp.issparse(X):
            step = max(step, _hessian_on_device(problem))
    return parameters, step


def _hessian_on_device(problem: _Problem) -> int:
    """Return the most bytes that a Hessian of dense samples has at once on a GPU.

    There are the samples with a column of ones, and again times the weights of a block; their
    shares and probabilities, and what makes those weights; the blocks that are read at once; and
    the parts of the sums of one. With an L1 norm there are the columns of its parameters, too, and
    those of two outputs.
    """
    X, k, itemsize = problem.X, problem.n_outputs, problem.itemsize
    n_rows, n_columns = X.shape[0], X.shape[1] + 1
    columns = 2 * n_columns
    if problem.has_l1:
        columns = n_columns + 3 * min(n_columns, problem.n_in_hessian)
    block = itemsize * n_columns**2
    read = min(k * (k + 1) // 2, max(BYTES_READ_AT_ONCE // block, 1)) * block
    parts = of_product(n_columns, n_columns, n_rows, 1, problem.dtype, problem.device, a_k=False)
    return itemsize * n_rows * (columns + k + 4) + read + parts


def _pass_on_device(problem: _Problem) -> int:
    """Return the most bytes that a pass over X has at once on a GPU, beside the parameters.

    The product that makes scores has parts of its sums. Then there are scores and their gradients,
    and the product that makes the gradient in the weights, which has parts too.
    """
    X, itemsize = problem.X, problem.itemsize
    n_rows, n_features = X.shape
    all_outputs = problem.n_models * problem.n_outputs
    scores, weights = itemsize * n_rows * all_outputs, itemsize * all_outputs * n_features
    if sp.issparse(X):
        return 2 * scores + weights
    forward = of_product(n_rows, all_outputs, n_features, 1, problem.dtype, problem.device)
    backward = of_product(n_features, all_outputs, n_rows, 1, problem.dtype, problem.device)
    return weights + max(scores + forward, 2 * scores + backward)
