"""The memory of L-BFGS: the last steps of each model of a stack make up its inverse Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from cukernels import matmul


class CompactInverse:
    """The small matrices of the inverse Hessian of each model, and which pairs it remembers.

    The inverse Hessian is used in its compact form (Byrd, Nocedal and Schnabel, Mathematical
    Programming 63, 1994, eq. 3.1), which computes the two-loop recursion as two products with all
    pairs (s, y) at once: a step, and the change of gradient along it. Slots are filled in turn; an
    empty slot holds zeros and changes nothing.

    Pairs are scaled to ``s'y = 1``. So the matrix R of the paper, ``s_i'y_j`` for i no newer than
    j, has ones on its diagonal. We keep its inverse. A new pair adds a column to it, and the oldest
    pair leaves no trace in it, as R is triangular in the order of age.

    Parameters
    ----------
    models, size : int
        How many models there are, and how many pairs each remembers.
    dtype : dtype
        That of the pairs. The small matrices are float64 on the host.
    """

    _ARRAYS: ClassVar[tuple[str, ...]] = ("r_inverse", "yy", "scale", "n_pairs")

    def __init__(self, models: int, size: int, dtype: Any) -> None:
        self.size = size
        # y'y may underflow, or its inverse overflow the dtype
        self._smallest = np.sqrt(np.finfo(dtype).tiny)
        self.r_inverse = np.tile(np.eye(size), (models, 1, 1))
        self.yy = np.zeros((models, size, size))
        self.scale = np.ones(models)  # of the first guess of the inverse Hessian
        self.n_pairs = np.zeros(models, dtype=int)

    def __getitem__(self, keep: np.ndarray) -> Self:
        """Return those of some of the models."""
        taken = object.__new__(type(self))
        taken.size, taken._smallest = self.size, self._smallest
        for name in self._ARRAYS:
            setattr(taken, name, getattr(self, name)[keep])
        return taken

    def of_model(self, model: int) -> dict[str, np.ndarray]:
        """Return a copy of what is remembered of a model."""
        return {name: np.array(getattr(self, name)[model]) for name in self._ARRAYS}

    def take_up(self, model: int, parts: Mapping[str, np.ndarray]) -> None:
        """Go on with what `of_model` has returned."""
        for name in self._ARRAYS:
            getattr(self, name)[model] = parts[name]

    def forget(self, models: list[int]) -> None:
        """Empty the memory of some models."""
        self.r_inverse[models] = np.eye(self.size)
        self.yy[models] = 0
        self.scale[models] = 1
        self.n_pairs[models] = 0

    def next_slots(self, models: list[int]) -> tuple[Any, Any, Any]:
        """Return indices of the next pairs of A models: models, places among these A, and slots."""
        rows: Any = models
        every: Any = np.arange(len(models))
        slot = self.n_pairs[models] % self.size
        if len(models) == len(self.n_pairs):
            rows = every
            if (slot == slot[0]).all():  # all models are in step, and plain indices are faster
                rows = every = slice(None)
                slot = slot[0]
        return rows, every, slot

    def replace(self, rows: Any, every: Any, slot: Any, products: np.ndarray) -> None:
        """Replace the oldest pair of some models, which `next_slots` has told.

        Parameters
        ----------
        rows, every, slot
            As from `next_slots`.
        products : ndarray of shape (A, 2 * size)
            Inner products of the new y with all s, then with all y, itself among them.
        """
        m = self.size
        sy_column, yy_column = products[:, :m], products[:, m:]
        sy_column[every, slot] = 0
        self.r_inverse[rows, slot] = 0
        column = self.r_inverse[rows] @ sy_column[..., None]
        self.r_inverse[rows, :, slot] = -column[..., 0]
        self.r_inverse[rows, slot, slot] = 1
        self.yy[rows, slot] = self.yy[rows, :, slot] = yy_column
        self.scale[rows] = 1 / np.maximum(self.yy[rows, slot, slot], self._smallest)
        self.n_pairs[rows] += 1

    def coefficients(self, products: np.ndarray) -> np.ndarray:
        """Return what pairs are multiplied by in minus the inverse Hessian times a gradient.

        Besides, that is the gradient times minus `scale`.

        Parameters
        ----------
        products : ndarray of shape (M, 2 * size)
            Inner products of the gradient with all s, then with all y.

        Returns
        -------
        coefficients : ndarray of shape (M, 2 * size)
        """
        m, scale = self.size, self.scale[:, None]
        columns = products[..., None]
        sg, yg = columns[:, :m], columns[:, m:]
        p = self.r_inverse @ sg
        q = self.r_inverse.swapaxes(1, 2) @ (p + scale[..., None] * (self.yy @ p - yg))
        return np.concatenate([-q, scale[..., None] * p], axis=1)[..., 0]


class CurvatureMemory(CompactInverse):
    """The inverse Hessian of each model with its pairs, as NumPy arrays.

    Parameters
    ----------
    models, size, parameters : int
        The shape of the stack.
    like : ndarray
        An array with the dtype that the pairs are to have.
    """

    _ARRAYS = ("pairs", *CompactInverse._ARRAYS)

    def __init__(self, models: int, size: int, parameters: int, like: np.ndarray) -> None:
        super().__init__(models, size, like.dtype)
        self.pairs = np.zeros((models, 2 * size, parameters), like.dtype)  # all s, then all y

    def forget(self, models: list[int]) -> None:
        """Empty the memory of some models."""
        self.pairs[models] = 0
        super().forget(models)

    def add(self, models: list[int], s: np.ndarray, y: np.ndarray, sy: np.ndarray) -> None:
        """Replace the oldest pair of some models.

        Parameters
        ----------
        models : list of A int
            Places in the stack.
        s, y : ndarrays of shape (A, P)
        sy : ndarray of shape (A,)
            Their inner products, which must be positive.
        """
        rows, every, slot = self.next_slots(models)
        unit = np.asarray(1 / np.sqrt(sy), dtype=s.dtype)[:, None]
        s, y = s * unit, y * unit
        self.pairs[rows, slot] = s
        self.pairs[rows, self.size + slot] = y
        self.replace(rows, every, slot, self._inner(self.pairs[rows], y))

    def newton_step(self, gradient: np.ndarray) -> np.ndarray:
        """Return minus the inverse Hessian times the gradient, of shape (M, P)."""
        weights = self.coefficients(self._inner(self.pairs, gradient)).astype(gradient.dtype)
        step = matmul(weights[:, None], self.pairs)[:, 0]
        step -= self.scale[:, None].astype(gradient.dtype) * gradient
        return step

    @staticmethod
    def _inner(pairs: np.ndarray, vector: np.ndarray) -> np.ndarray:
        return matmul(pairs, vector[..., None])[..., 0].astype(np.float64, copy=False)
