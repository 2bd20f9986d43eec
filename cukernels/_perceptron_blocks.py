"""The perceptron's online rule, a block of samples at a time, on NumPy.

Within a block, the score of a sample differs from what the weights of the block's start give only
by the updates in between: one of step c at sample j adds ``c * (x_j . x_i + bias_rate)`` to the
score of a later sample i. So BLAS computes all scores and all dot products of a block (its Gram
matrix) at once, only the mistakes are walked, and one more product updates the weights. The rule
stays exact; only the order of summation differs. An L2 penalty multiplies each term by what its
shrinking leaves until then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels._online_penalty import measure
from cukernels._perceptron_rule import Sweep

BLOCK = 64  # samples: fewer make more calls, more make a larger Gram matrix
_LATER = np.triu(np.ones((BLOCK, BLOCK), bool), 1)  # the samples (columns) that come after (rows)

# From rows to a dense or CSR matrix of them, and the columns of the weights that it spans.
TakeRows = Callable[[Any], tuple[Any, Any]]


def dense_rows(x: np.ndarray) -> TakeRows:
    """Take rows of a matrix."""
    return lambda rows: (x[rows], slice(None))


def sparse_rows(x: sp.csr_array) -> TakeRows:
    """Take rows of a sparse matrix, less the columns where all of them are empty."""

    def take(rows: Any) -> tuple[sp.csr_array, np.ndarray]:
        block = x[rows]
        columns, indices = np.unique(block.indices, return_inverse=True)
        shape = (block.shape[0], len(columns))
        return sp.csr_array((block.data, indices, block.indptr), shape=shape), columns

    return take


def sweep_blocks(sweep: Sweep, take: TakeRows) -> np.ndarray:
    """Sweep a block of samples at a time; the penalty must have no L1 part."""
    objective = np.zeros(sweep.b.shape)
    for start in range(0, sweep.n_steps, BLOCK):
        objective += _sweep_block(sweep, take, start, min(start + BLOCK, sweep.n_steps))
    if sweep.penalty:
        sweep.penalty.norms[...] = measure(sweep.w)
    return sweep.result(objective)


def _sweep_block(sweep: Sweep, take: TakeRows, start: int, stop: int) -> np.ndarray:
    w, b, penalty, size = sweep.w, sweep.b, sweep.penalty, stop - start
    rows, rates = sweep.rows(start, stop), sweep.eta[..., start:stop]
    later = _LATER[:size, :size]
    x, columns = take(rows)
    gram = x @ x.T
    gram = gram.toarray() if sp.issparse(gram) else gram
    scores = (w[..., columns].reshape(b.size, x.shape[1]) @ x.T).reshape(*b.shape, size)
    reach = gram
    if penalty:
        kept = penalty.kept(rates)
        left = _left(kept)
        scores *= left[..., 0, :-1]
        reach = gram * left[..., 1:, :-1]
    reach = (reach + sweep.bias_rate) * later
    scores += b[..., None]

    target = sweep.targets(rows)
    steps = _walk(sweep, scores, reach, target, sweep.sizes(rows, rates))
    objective = -(sweep.corrections(scores, target) * scores).sum(axis=-1)

    at_end = steps
    if penalty:
        before = np.cumsum(steps, axis=-1) - steps
        products = scores - b[..., None] - sweep.bias_rate * before  # w . x, just before x's step
        jumps = steps * (2 * kept * products + steps * np.diagonal(gram))
        objective += (penalty.l2 / 2 * _squared_norms(w, left, jumps)).sum(axis=-1)
        w *= left[..., 0, -1:]
        at_end = steps * left[..., 1:, -1]
    if steps.any():
        w[..., columns] += (at_end.reshape(b.size, size) @ x).reshape(*b.shape, x.shape[1])
        b += sweep.bias_rate * steps.sum(axis=-1)
    return objective


def _walk(
    sweep: Sweep, scores: np.ndarray, reach: np.ndarray, target: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Find the mistakes of a block, in order, and add what each changes to the later scores.

    All problems walk at once, each from a mistake of its own to its next. So there are as many
    rounds as the worst of them makes mistakes in the block.

    Parameters
    ----------
    sweep : Sweep
        The rule.
    scores : array of shape (..., K, B)
        Scores under the weights of the block's start; become the scores that the rule sees.
    reach : array of shape (B, B) or (..., K or 1, B, B)
        What a unit step at sample j (row) adds to the score of sample i (column).
    target, sizes : arrays that broadcast to (..., K, B)
        What the scores should be, and the sizes of the steps.

    Returns
    -------
    steps : array of shape (..., K, B)
        The multiple of each sample that is added to each weight vector.
    """
    samples = np.arange(scores.shape[-1])
    steps = np.zeros_like(scores)
    done = np.zeros(scores.shape[-1], bool)
    while True:
        error = sweep.corrections(scores, target)
        wrong = error != 0
        if sweep.classes is None:  # the classes of one problem move together
            wrong = wrong.any(axis=-2, keepdims=True)
        wrong = wrong > done
        if not wrong.any():
            return steps
        first = wrong.argmax(axis=-1)[..., None]
        here = wrong & (samples == first)  # nowhere, for a problem that has no mistake left
        change = error * sizes * here
        steps += change
        scores += change.sum(axis=-1, keepdims=True) * _row(reach, first)
        done = done | here


def _row(matrices: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Row `index`, of shape (..., 1), of one matrix for all or of a stack of them."""
    if matrices.ndim == 2:
        return matrices[index[..., 0]]
    return np.take_along_axis(matrices, index[..., None], axis=-2)[..., 0, :]


def _left(kept: np.ndarray) -> np.ndarray:
    """What the shrinking of a block leaves of each weight's parts.

    Parameters
    ----------
    kept : array of shape (..., B)
        The share that each step keeps.

    Returns
    -------
    left : array of shape (..., B + 1, B + 1)
        Element (j, i) is the share left after i steps of what was added in the j-th step, where
        the weights of the start are step 0; it is 0 where the j-th is yet to come.
    """
    n = kept.shape[-1] + 1
    kept = np.concatenate((np.ones_like(kept[..., :1]), kept), axis=-1)
    factors = np.where(np.tri(n, dtype=bool), 1, kept[..., None, :])
    return np.triu(np.cumprod(factors, axis=-1))


def _squared_norms(w: np.ndarray, left: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """The squared norms of the weights before each step of a block, of shape (..., K, B).

    A step of c at x adds to it ``2 c w.x + c^2 x.x``, its jump.
    """
    squares = left * left
    start = (w * w).sum(axis=-1, keepdims=True)
    later = np.matmul(jumps[..., None, :], squares[..., 1:, :-1])[..., 0, :]
    return squares[..., 0, :-1] * start + later
