"""The objective of a linear classifier: its value, gradient and Hessian in the parameters.

X is read in blocks of rows. The scores, the loss and the gradient of a block are computed while it
is in the cache, so that one evaluation reads X once. The sums over blocks are float64, whatever the
dtype of X: the stopping rules compare values that differ by less than float32 can tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
import scipy.sparse as sp

from cukernels.activations import ACTIVATIONS
from cukernels.runtime import Array, Workspaces, in_parallel, to_host
from cukernels.training import loss_of_scores
from estimators.linear.row_blocks import (
    RowBlock,
    gram_chunks,
    is_ready,
    row_blocks,
    weighted_gram,
    with_ones,
)
from estimators.shared.base import float_dtype

Result = TypeVar("Result")


class LinearObjective:
    """Mean loss of linear scores plus an L2 penalty, for a stack of M models on the same X.

    The parameters of a model are a row of an (M, P) array: `coef` of shape (K, D) raveled, then
    `intercept` of shape (K,). Its scores are ``X @ coef.T + intercept_scaling * intercept``.
    Parameters, values and gradients are float64 on the host.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (N, D), float32, float64 or uint8
        Samples. The passes over them are in their dtype, or in float64.
    y : integer array of shape (N,)
        Labels from 0 to n_classes - 1.
    n_classes : int
        Two classes have one score (K = 1), more have one each.
    l2 : array of shape (M,)
        Strength of the penalty, ``l2 / 2 * |coef|^2``.
    loss : {"log_loss", "squared_error"}, default="log_loss"
        The cross-entropy, or half the squared error of the probabilities.
    sample_weight : array of shape (N,) or (M, N), default=None
        Weights; the mean over samples is the weighted one.
    fit_intercept : bool, default=True
        Whether there are intercepts.
    intercept_scaling : float, default=1.0
        What an intercept is multiplied by, as if X had a column of this value.
    penalize_intercept : bool, default=False
        Whether the penalty holds for the intercepts too.
    device : str, default="cpu"
        Where the passes over X run; for a GPU see `DeviceObjective`.
    """

    def __init__(
        self,
        X: Any,
        y: np.ndarray,
        n_classes: int,
        *,
        l2: np.ndarray,
        loss: str = "log_loss",
        sample_weight: np.ndarray | None = None,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        penalize_intercept: bool = False,
        device: str = "cpu",
    ) -> None:
        self.n_features = X.shape[1]
        self.n_outputs = 1 if n_classes == 2 else n_classes
        self._activation = "logistic" if self.n_outputs == 1 else "softmax"
        self.n_coef = self.n_outputs * self.n_features
        self.n_parameters = self.n_coef + self.n_outputs * fit_intercept
        self.l2, self.loss, self.device = np.asarray(l2), loss, device
        self.dtype = float_dtype(X)
        self.fit_intercept, self.intercept_scaling = fit_intercept, float(intercept_scaling)
        self.penalized = np.ones(self.n_parameters)
        if not penalize_intercept:
            self.penalized[self.n_coef :] = 0
        # the score and the column of X that each parameter belongs to; D stands for the intercept
        place = np.arange(self.n_parameters)
        is_coef = place < self.n_coef
        self.output = np.where(is_coef, place // self.n_features, place - self.n_coef)
        self.column = np.where(is_coef, place % self.n_features, self.n_features)
        self._place(X, y, sample_weight)

    def _place(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> None:
        """Bring samples, labels and weights to where and how the evaluations want them."""
        targets = y
        if self.n_outputs == 1:
            targets = y[:, None].astype(self.dtype)
        elif self.loss == "squared_error":
            targets = np.eye(self.n_outputs, dtype=self.dtype)[y]
        self.blocks = row_blocks(X, targets, sample_weight)
        self._workspaces = Workspaces()

    def value_and_gradient(
        self, parameters: np.ndarray, models: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the objectives and their gradients.

        Parameters
        ----------
        parameters : ndarray of shape (A, P)
            Points of the A models of the stack whose places are in `models`.
        models : integer array of shape (A,)

        Returns
        -------
        values : ndarray of shape (A,)
        gradients : ndarray of shape (A, P)
        """
        n_models, k = len(models), self.n_outputs
        coef, bias = self._factors(parameters)

        def of_block(_: None, block: RowBlock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            block = block.ready()
            # class-major, as sums over few classes are fast along the longer axis
            z = block.times(coef, bias).reshape(n_models, k, -1)
            weights, share = block.of_models(models)
            scores = z.swapaxes(1, 2)
            losses, dz = loss_of_scores(self.loss, self._activation, scores, block.targets, weights)
            # copied for one model too, so that its rows are summed in the order of a stack's
            dz = np.ascontiguousarray(dz.swapaxes(1, 2)).reshape(n_models * k, -1)
            d_bias = share[:, None] * dz.sum(axis=1).reshape(n_models, k)
            d_coef = block.transposed_times(dz)
            return share * losses, d_bias, _repeated(share, k) * d_coef

        def in_workspace(_: None, block: RowBlock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            # the scores and their gradients
            return self._computed(block, lambda: of_block(None, block), 2 * n_models * k)

        values, d_bias = np.zeros(n_models), np.zeros((n_models, k))
        d_coef = np.zeros((self.n_features, n_models * k))
        for sums in in_parallel(
            in_workspace, self.blocks
        ):  # in the order of the blocks, whichever was done first
            for total, own in zip((values, d_bias, d_coef), sums, strict=True):
                total += own
        gradients = self._packed(d_coef.T, d_bias)
        l2 = self.l2[models, None] * self.penalized
        shrinkage = l2 * parameters
        values += 0.5 * (shrinkage * parameters).sum(axis=1)
        gradients += shrinkage
        return values, gradients

    def _computed(
        self, block: RowBlock, function: Callable[[], Result], n_values: int = 0
    ) -> Result:
        """Return ``function()``, with room for so many values of a row and rows made ready."""
        n_values *= block.x.shape[0]
        if not is_ready(block.x, self.dtype):
            n_values += block.x.size
        return self._workspaces.compute(n_values * self.dtype.itemsize, function)

    def probabilities(self, parameters: np.ndarray) -> list[Array]:
        """Return the (rows, K) probabilities of each block for a single model (M = 1)."""
        activation = ACTIVATIONS[self._activation]
        coef, bias = self._factors(parameters[None])

        def scores_of(block: RowBlock) -> np.ndarray:
            return block.ready().times(coef, bias)

        found = []
        for block in self.blocks:
            scores = self._computed(block, partial(scores_of, block))
            found.append(activation.forward(scores.T))
        return found

    def hessian_product(self, probabilities: list[Array], v: np.ndarray) -> np.ndarray:
        """Return the Hessian of the log-loss times `v` of shape (P,), from the probabilities.

        With ``u = X v``, a sample of probabilities p adds its features times
        ``p * (u - sum(p u))`` for the softmax, or times ``p (1 - p) u`` for two classes. Both are
        the backward of the activation, applied to u.
        """
        backward = ACTIVATIONS[self._activation].backward
        coef, bias = self._factors(v[None])
        d_coef, d_bias = np.zeros((self.n_features, self.n_outputs)), np.zeros((1, self.n_outputs))

        def of_block(block: RowBlock, p: Array) -> None:
            nonlocal d_coef, d_bias
            ready = block.ready()
            dz = block.sample_shares * backward(ready.times(coef, bias).T, p).T
            d_bias += dz.sum(axis=1)
            d_coef += ready.transposed_times(dz)

        for block, p in zip(self.blocks, probabilities, strict=True):
            self._computed(block, partial(of_block, block, p))
        return self._packed(d_coef.T, d_bias)[0] + self.l2[0] * self.penalized * v

    def hessian(self, probabilities: list[Array], subset: np.ndarray | None = None) -> np.ndarray:
        """Return the Hessian of the log-loss in some parameters (default all), from probabilities.

        Parameters
        ----------
        probabilities : list of arrays of shape (rows, K)
            As `probabilities` returns them.
        subset : integer array of shape (S,)
            Indices of parameters.

        Returns
        -------
        hessian : float64 ndarray of shape (S, S)
        """
        subset = np.arange(self.n_parameters) if subset is None else subset
        output, column = self.output[subset], self.column[subset]
        places = [np.flatnonzero(output == k) for k in range(self.n_outputs)]
        used, column = np.unique(column, return_inverse=True)
        hessian = np.diag(self.l2[0] * self.penalized[subset])
        for (x, shares), p in zip(self._rows_with_ones(), probabilities, strict=True):
            if sp.issparse(x):
                p, shares = to_host(p), to_host(shares)
            if len(used) < x.shape[1]:
                x = x[:, used]
            for rows, chunk in gram_chunks(x):
                self._add_curvature(hessian, chunk, p[rows], shares[rows], places, column)
        return hessian

    def _rows_with_ones(self) -> Iterator[tuple[Any, Array]]:
        """Yield the rows of each block with a column for the intercept, and their shares."""
        for block in self.blocks:
            yield with_ones(block.x, self.intercept_scaling), block.sample_shares

    def _add_curvature(
        self,
        hessian: np.ndarray,
        x: Any,
        p: Array,
        shares: Array,
        places: list[np.ndarray],
        column: np.ndarray,
    ) -> None:
        """Add the curvature of some rows of X to a Hessian, in place.

        Parameters
        ----------
        hessian : ndarray of shape (S, S)
        x : array or CSC matrix of shape (B, C)
            The rows, with the columns that are used.
        p : array of shape (B, K)
            Their probabilities.
        shares : array of shape (B,)
            The share of each row in the mean.
        places : list of K integer arrays
            Which of the S parameters belong to each output.
        column : integer array of shape (S,)
            The column of `x` that each parameter multiplies.
        """
        columns = self._columns(x, [column[place] for place in places])
        pairs = [(k, j) for k in range(len(places)) for j in range(k + 1)]

        def factors(k: int, j: int) -> tuple[Any, Array, Any]:
            left = columns[k]
            right = left if j == k else columns[j]
            return left, shares * p[:, k] * (float(j == k) - p[:, j]), right

        weighted = itertools.starmap(factors, pairs)
        shapes = [(len(places[k]), len(places[j])) for k, j in pairs]
        for (k, j), gram in zip(pairs, self._grams(weighted, shapes), strict=True):
            hessian[np.ix_(places[k], places[j])] += gram
            if j != k:
                hessian[np.ix_(places[j], places[k])] += gram.T

    def _columns(self, x: Any, chosen: list[np.ndarray]) -> Sequence[Any]:
        """Return the columns of some rows of X that belong to each output."""
        return [x[:, own] for own in chosen]

    def _grams(
        self, weighted: Iterator[tuple[Any, Array, Any]], shapes: list[tuple[int, int]]
    ) -> Iterator[np.ndarray]:
        """Yield ``left.T @ diag(weights) @ right`` for each three, which have these shapes."""
        return (weighted_gram(*each) for each in weighted)

    def without_samples(self) -> Self:
        """Return a copy that `unpacked` is all that can be asked of."""
        copy = object.__new__(type(self))
        copy.__dict__.update(
            {name: value for name, value in vars(self).items() if np.isscalar(value)}
        )
        return copy

    def unpacked(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `coef` of shape (K, D) and the intercepts of shape (K,) of a row of parameters."""
        coef = parameters[: self.n_coef].reshape(self.n_outputs, self.n_features)
        if self.fit_intercept:
            return coef, self.intercept_scaling * parameters[self.n_coef :]
        return coef, np.zeros(self.n_outputs)

    def _factors(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights of shape (A K, D) and biases of shape (A K,), in the dtype of X."""
        coef = parameters[:, : self.n_coef].reshape(-1, self.n_features)
        bias = np.zeros(len(coef))
        if self.fit_intercept:
            bias = self.intercept_scaling * parameters[:, self.n_coef :].ravel()
        return coef.astype(self.dtype, copy=False), bias.astype(self.dtype, copy=False)

    def _packed(self, d_coef: np.ndarray, d_bias: np.ndarray) -> np.ndarray:
        """Return gradients (A, P) from those of the weights (A K, D) and of the biases (A, K)."""
        packed = d_coef.reshape(len(d_bias), self.n_coef)
        if self.fit_intercept:
            packed = np.concatenate([packed, self.intercept_scaling * d_bias], axis=1)
        return packed


def _repeated(share: np.ndarray, k: int) -> np.ndarray:
    """Return the share of each model, once for each of its K outputs, or the share of all."""
    return share if len(share) == 1 else np.repeat(share, k)
