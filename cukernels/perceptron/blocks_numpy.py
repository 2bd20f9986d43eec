"""The multinomial rule, a block of samples at a time, on NumPy.

Take the weights at the start of a block. The score of a sample differs from what these weights give
only by the updates in between: an update of c at sample j adds ``c * x_j . x_i`` to the product of
the weights with a later sample i. So BLAS computes all products of a block, and the dot products
between its samples (the Gram matrix), at once. Then the rule goes from mistake to mistake, and one
more product updates the weights. The rule remains exact; only the order of summation differs. An L2
penalty multiplies each term by the share that its shrinking leaves until then.

The models of a stack share the samples and the Gram matrix. No bit of a model depends on the
others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.matmul.even_products import even_product, padded
from cukernels.perceptron.penalty import measure
from cukernels.perceptron.rule import Sweep, as_floats
from cukernels.perceptron.walk_numpy import At, Mistakes, walk

BLOCK = 128  # samples: smaller blocks take more calls, larger ones a larger Gram matrix

# From row numbers to a dense or CSR matrix of these rows, and the columns of the weights for it.
TakeRows = Callable[[Any], tuple[Any, Any]]


def dense_rows(x: np.ndarray, dtype: Any) -> TakeRows:
    """Return the function that takes rows of a matrix, as floats."""
    return lambda rows: (as_floats(x[rows], dtype), slice(None))


def sparse_rows(x: sp.csr_array) -> TakeRows:
    """Return the function that takes rows of a sparse matrix, without their empty columns."""

    def take(rows: Any) -> tuple[sp.csr_array, np.ndarray]:
        block = x[rows]
        columns, indices = np.unique(block.indices, return_inverse=True)
        shape = (block.shape[0], len(columns))
        return sp.csr_array((block.data, indices, block.indptr), shape=shape), columns

    return take


def sweep_blocks(sweep: Sweep, take: TakeRows) -> np.ndarray:
    """Sweep a block of samples at a time, for classes that compete and a penalty without L1."""
    blocks = _BlockSweep(sweep, take)
    for start in range(0, sweep.n_steps, BLOCK):
        blocks.sweep_block(start, min(start + BLOCK, sweep.n_steps))
    sweep.w[...] = blocks.w[: sweep.b.size].reshape(sweep.w.shape)
    sweep.b[...] = blocks.b
    if sweep.penalty:
        sweep.penalty.norms[...] = measure(sweep.w)
    return sweep.result(blocks.objective.reshape(sweep.b.shape))


class _BlockSweep:
    """A sweep, and what all its blocks use. The P problems of all models lie along one axis."""

    def __init__(self, sweep: Sweep, take: TakeRows) -> None:
        self.sweep, self.take = sweep, take
        n_problems, n_features = sweep.b.size, sweep.w.shape[-1]
        self.w = padded(sweep.w.reshape(n_problems, n_features))
        self.b = sweep.b.astype(float)
        self.objective = np.zeros(n_problems)
        self.changes = np.zeros((len(self.w), BLOCK), self.w.dtype)
        self.later = np.triu(np.ones((BLOCK, BLOCK), sweep.w.dtype), 1)  # columns after rows
        self.shrinking = _Shrinking(sweep, self.later) if sweep.penalty else None
        is_constant = sweep.sample_weight is None and _varying(sweep.eta).shape[-1] == 1
        self.size = _at(sweep.eta[..., :1], sweep.b.shape) if is_constant else None

    def sweep_block(self, start: int, stop: int) -> None:
        """Update the weights and the objective by the samples of the steps `start` to `stop`."""
        sweep, shrinking, n = self.sweep, self.shrinking, stop - start
        w, rows = self.w, sweep.rows(start, stop)
        x, columns = self.take(rows)
        gram = x @ x.T
        gram = gram.toarray() if sp.issparse(gram) else gram
        products = _product(w[:, columns], x.T)[: self.b.size]
        row: At = _places
        if shrinking:
            shrinking.begin(start, stop)
            products *= shrinking.of_start
            reach, row = gram * shrinking.before, shrinking.row
        else:
            reach = gram * self.later[:n, :n]
        size = self.size or _at(sweep.sizes(rows, sweep.eta[..., start:stop]), sweep.b.shape)
        n_classes = sweep.b.shape[-1]
        mistakes = walk(
            products.reshape(-1, n_classes, n), self.b.reshape(-1, n_classes), sweep.y[rows],
            size, row, reach.reshape(-1, n), sweep.bias_rate,
        )  # fmt: skip
        if shrinking:
            self.objective += shrinking.penalty(w, mistakes, gram)
            w[: self.b.size] *= shrinking.at_end[:, :1]
        if mistakes is None:
            return
        problem, place, direction, change, _, score = mistakes
        self.objective -= np.bincount(problem, direction * score, self.b.size)
        if shrinking:
            change = change * shrinking.at_end[problem, place + 1]
        self.changes[problem, place] = change
        w[:, columns] += _product(self.changes[:, :n], x)
        self.changes[problem, place] = 0


def _places(problem: np.ndarray, place: np.ndarray) -> np.ndarray:
    return place


def _at(values: np.ndarray, shape: tuple[int, ...]) -> At:
    """Return a look-up in values that broadcast to (*shape, B); B is 1 if they are constant."""
    every = np.broadcast_to(values, (*shape, values.shape[-1])).reshape(-1, values.shape[-1])
    if every.shape[-1] > 1:
        return lambda problem, place: every[problem, place]
    one = every[:, 0]
    return lambda problem, place: one.take(problem)


class _Shrinking:
    """The shares that an L2 penalty leaves of the weights and of the updates in a block.

    Attributes
    ----------
    group : integer array of shape (P,)
        The group of each problem; problems of one group shrink alike.
    of_start : array of shape (P, B)
        The share left of the weights at the block's start, before each sample.
    before : array of shape (groups, B, B)
        The share left of the update at sample j (row) before a later sample i (column); else 0.
    at_end : array of shape (P, B + 1)
        The share left at the block's end of the weights at its start, and of each update.
    """

    def __init__(self, sweep: Sweep, later: np.ndarray) -> None:
        self._later = later
        rates = _varying(sweep.eta)
        kept = sweep.penalty.kept(rates).astype(sweep.w.dtype)
        shape = (*sweep.b.shape, rates.shape[-1])
        kept = np.broadcast_to(kept, shape).reshape(sweep.b.size, -1)
        self.kept, group = np.unique(kept, axis=0, return_inverse=True)
        self.group = group.ravel()
        self.l2 = np.broadcast_to(sweep.penalty.l2[..., 0], sweep.b.shape).ravel()
        self._size = 0

    def begin(self, start: int, stop: int) -> None:
        """Compute the shares of a block; with a constant rate they depend on its size alone."""
        is_constant, size = self.kept.shape[1] == 1, stop - start
        if is_constant and size == self._size:
            return
        self._size = size
        kept = self.kept if is_constant else self.kept[:, start:stop]
        self._kept = np.broadcast_to(kept, (len(kept), size))
        left = _left(self._kept)
        self.of_start = left[self.group, 0, :-1]
        self.before = left[:, 1:, :-1] * self._later[:size, :size]
        self.at_end = left[self.group, :, -1]
        self._in_all = (left * left)[..., :-1].sum(
            axis=-1
        )  # of a squared norm, summed over the samples

    def row(self, problem: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The row of an update in `before`, if its matrices lie one below the other."""
        return self.group.take(problem) * self._size + place

    def penalty(self, w: np.ndarray, mistakes: Mistakes | None, gram: np.ndarray) -> np.ndarray:
        """Return the penalty of each problem before each sample of a block, summed.

        An update of c at x adds ``2 c w.x + c^2 x.x`` to the squared norm of the weights `w`.
        """
        w = w[: len(self.group)]
        squares = self._in_all[self.group, 0] * (w * w).sum(axis=-1)
        if mistakes is not None:
            problem, place, _, change, product, _ = mistakes
            group = self.group[problem]
            product = self._kept[group, place] * product
            jump = change * (2 * product + change * np.diagonal(gram)[place])
            squares += np.bincount(problem, jump * self._in_all[group, place + 1], len(squares))
        return self.l2 / 2 * squares


def _product(a: np.ndarray, matrix: Any) -> np.ndarray:
    """Multiply rows by a dense or CSR matrix."""
    return a @ matrix if sp.issparse(matrix) else even_product(a, matrix)


def _varying(values: np.ndarray) -> np.ndarray:
    """Return the values, with a last axis of length 1 if one value is broadcast along it."""
    return values[..., :1] if values.strides[-1] == 0 else values


def _left(kept: np.ndarray) -> np.ndarray:
    """Return the share that shrinking leaves of each term of the weights in a block.

    Parameters
    ----------
    kept : array of shape (..., B)
        The share that shrinking leaves at each sample.

    Returns
    -------
    left : array of shape (..., B + 1, B + 1)
        Element (j, i) is the share left, after i samples, of what was added at the j-th sample;
        the weights at the start count as added at sample 0. It is 0 if j > i.
    """
    n = kept.shape[-1] + 1
    kept = np.concatenate((np.ones_like(kept[..., :1]), kept), axis=-1)
    factors = np.where(np.tri(n, dtype=bool), 1, kept[..., None, :])
    return np.triu(np.cumprod(factors, axis=-1))
