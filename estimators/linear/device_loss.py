"""The objective of a linear classifier on a GPU, with one read an evaluation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels import (
    csr_matmul,
    gather_rows,
    linear_curvature,
    linear_gradient,
    linear_loss,
    linear_weights,
    matmul,
    matmul_backward,
)
from cukernels.activations import ACTIVATIONS
from cukernels.runtime import Array, like, namespace, to_device, to_host
from estimators.linear.loss import LinearObjective
from estimators.linear.row_blocks import with_ones
from estimators.shared.rows import SparseRows, placed_rows

BYTES_READ_AT_ONCE = 2**24  # of the blocks of a Hessian; larger ones are read alone


class DeviceObjective(LinearObjective):
    """`LinearObjective` on a GPU, where the samples, their weights and labels stay.

    Parameters may be on the device too, and then values and gradients stay there.
    """

    def _place(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> None:
        self._x = X
        self._rows: Any = placed_rows(X, self.dtype, self.device)
        self._labels = to_device(y.astype(np.int32), self.device)
        self._shares: Array | None = None  # of the samples in the mean, a row a model or one
        if sample_weight is not None:
            weights = np.atleast_2d(sample_weight)
            total = weights.sum(axis=1, dtype=np.float64, keepdims=True)
            shares = weights / np.where(total == 0, 1, total)
            self._shares = to_device(shares.astype(self.dtype), self.device)
        self._chosen: tuple[Any, Any, Any] = ([], None, None)  # models, and what `_of` returns

    def value_and_gradient(self, parameters: Array, models: np.ndarray) -> tuple[Array, Array]:
        """Return the objectives and their gradients, on the side where the parameters are."""
        params = to_device(parameters, self.device)
        room, value, gradient = self._room(params)
        l2, shares = self._of(models)
        for some in self._together(len(models)):
            scores, bias = self._scores(params[some])
            own = shares if shares is None or len(shares) == 1 else shares[some]
            loss, dz, d_bias = linear_loss(scores, self._labels, bias, own, loss=self.loss)
            self._pull_back(loss, dz, d_bias, params[some], l2[some], value[some], gradient[some])
        if params is parameters:
            return value, gradient
        read = to_host(room)
        return read[: len(models)], read[len(models) :].reshape(parameters.shape)

    def probabilities(self, parameters: np.ndarray) -> list[Array]:
        """Return the (rows, K) probabilities for a single model (M = 1), as the only block."""
        scores, bias = self._scores(to_device(parameters[None], self.device), add_bias=True)
        scores = scores[:, 0]
        if bias is not None:
            scores += bias
        return [ACTIVATIONS[self._activation].forward(scores)]

    def hessian_product(self, probabilities: list[Array], v: np.ndarray) -> np.ndarray:
        """Return the Hessian of the log-loss times `v` of shape (P,), from the probabilities."""
        params = to_device(v[None], self.device)
        l2, shares = self._of(np.zeros(1, dtype=int))
        scores, bias = self._scores(params)
        terms, dz, d_bias = linear_curvature(scores, probabilities[0][:, None], bias, shares)
        room, value, product = self._room(params)
        self._pull_back(terms, dz, d_bias, params, l2, value, product)
        return to_host(room)[1:]

    def _room(self, params: Array) -> tuple[Array, Array, Array]:
        """Return an array for values and gradients, which is read at once, and both as views."""
        n_models = len(params)
        room = namespace(params).empty(n_models + params.size)
        return room, room[:n_models], room[n_models:].reshape(params.shape)

    def _together(self, n_models: int) -> list[slice]:
        """Return which models share products: all or, with sparse samples, none.

        The sums of a sparse product are split among more threads, the fewer columns it has. So the
        bits of a model would depend on the others.
        """
        if isinstance(self._rows, SparseRows):
            return [slice(m, m + 1) for m in range(n_models)]
        return [slice(0, n_models)]

    def _rows_with_ones(self) -> Iterator[tuple[Any, Array]]:
        x: Any = self._x if isinstance(self._rows, SparseRows) else self._rows
        shares = None if self._shares is None else self._shares[0]
        if shares is None:
            n_rows = x.shape[0]
            shares = to_device(np.full(n_rows, 1 / n_rows, self.dtype), self.device)
        yield with_ones(x, self.intercept_scaling), shares

    def _columns(self, x: Any, chosen: list[np.ndarray]) -> Sequence[Any]:
        return super()._columns(x, chosen) if sp.issparse(x) else _Columns(x, chosen)

    def _grams(
        self, weighted: Iterator[tuple[Any, Array, Any]], shapes: list[tuple[int, int]]
    ) -> Iterator[np.ndarray]:
        if isinstance(self._rows, SparseRows):  # they are on the host
            yield from super()._grams(weighted, shapes)
            return
        sizes = [m * n for m, n in shapes]
        for group in _groups(sizes, BYTES_READ_AT_ONCE // self.dtype.itemsize):
            ends = np.cumsum(sizes[group])
            room = namespace(self._rows).empty(int(ends[-1]), self.dtype)
            for place, shape in zip(np.split(room, ends[:-1].tolist()), shapes[group], strict=True):
                _set_gram(place.reshape(shape), *next(weighted))
            parts = np.split(to_host(room), ends[:-1])
            yield from map(np.reshape, parts, shapes[group])

    def _of(self, models: np.ndarray) -> tuple[Array, Array | None]:
        """Return the penalties and shares of some models, which are mostly those of last time."""
        if not np.array_equal(self._chosen[0], models):
            shares = self._shares
            if shares is not None and len(shares) > len(models):
                shares = gather_rows(shares, like(models, shares))
            l2 = to_device(np.asarray(self.l2[models], np.float64), self.device)
            self._chosen = models, l2, shares
        return self._chosen[1], self._chosen[2]

    def _scores(self, params: Array, *, add_bias: bool = False) -> tuple[Array, Array | None]:
        """Return scores of shape (N, M, K), and what is still to be added to them.

        With `add_bias`, that is nothing if a product can add it.
        """
        xp, n_models, k, d = namespace(params), len(params), self.n_outputs, self.n_features
        is_sparse = isinstance(self._rows, SparseRows)
        coef = xp.empty((d, n_models, k) if is_sparse else (n_models, k, d), self.dtype)
        bias = xp.empty((n_models, k), self.dtype) if self.fit_intercept else None
        linear_weights(
            params, coef, bias, intercept_scaling=self.intercept_scaling, transpose=is_sparse
        )
        if is_sparse:
            data, indices, indptr = self._rows
            scores = csr_matmul(data, indices, indptr, coef.reshape(d, n_models * k))
        else:
            added = bias.reshape(-1) if add_bias and bias is not None else None
            scores = matmul(self._rows, coef.reshape(n_models * k, d), added, transpose_b=True)
            bias = None if add_bias else bias
        return scores.reshape(-1, n_models, k), bias

    def _pull_back(
        self, loss: Array, dz: Array, d_bias: Array | None, params: Array, l2: Array,
        value: Array, gradient: Array,
    ) -> None:  # fmt: skip
        """Write values and gradients in the parameters, from those in the scores."""
        n_models = len(params)
        dz = dz.reshape(-1, n_models * self.n_outputs)
        # (D, M K): the long axis comes first, as tiles are high rather than wide
        if isinstance(self._rows, SparseRows):
            data, indices, indptr = self._transpose
            d_coef = csr_matmul(data, indices, indptr, dz)
        else:
            d_coef = matmul(self._rows, dz, transpose_a=True)
        linear_gradient(
            d_coef.reshape(self.n_features, n_models, self.n_outputs), loss, params, l2, value,
            gradient, d_bias, intercept_scaling=self.intercept_scaling,
            penalize_intercept=bool(self.penalized[-1]),
        )  # fmt: skip

    @functools.cached_property
    def _transpose(self) -> SparseRows:
        """The transpose of sparse samples, made once: a product with it need not sort them."""
        x = sp.csc_matrix(self._x)
        arrays = (x.data, x.indices, x.indptr)
        return SparseRows(*(to_device(array, self.device) for array in arrays))


class _Columns(Sequence[Array]):
    """The columns of samples that belong to each output, copied only when they are wanted."""

    def __init__(self, x: Array, chosen: list[np.ndarray]) -> None:
        self._x, self._chosen = x, chosen
        every = np.arange(x.shape[1])
        self._are_all = [np.array_equal(own, every) for own in chosen]

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, k: Any) -> Any:
        return self._x if self._are_all[k] else self._x[:, self._chosen[k]]


def _groups(sizes: list[int], most: int) -> Iterator[slice]:
    """Divide blocks of some sizes among groups; only single blocks may be larger than `most`."""
    begin, total = 0, 0
    for i, size in enumerate(sizes):
        if i > begin and total + size > most:
            yield slice(begin, i)
            begin, total = i, 0
        total += size
    if sizes:
        yield slice(begin, len(sizes))


def _set_gram(gram: Array, left: Array, weights: Array, right: Array) -> None:
    """Set an array to ``left.T @ diag(weights) @ right``; what that takes is given back."""
    right = weights[:, None] * right
    matmul_backward(  # of the product of `left` and an array like `gram`, the gradient in that
        right,
        left,
        gram,
        None,
        right,
        needs=("b",),
        out={"b": gram},  # type: ignore[call-arg]
    )
