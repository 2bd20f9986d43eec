"""The memory of L-BFGS: the last steps of each model of a stack make up its inverse Hessian."""

from __future__ import annotations

from typing import Any

import numpy as np

from cukernels import matmul
from cukernels.runtime import Array, namespace, to_host


class CurvatureMemory:
    """The last `size` pairs (s, y) of each model: a step, and the change of gradient along it.

    The inverse Hessian is used in its compact form (Byrd, Nocedal and Schnabel, Mathematical
    Programming 63, 1994, eq. 3.1), which computes the two-loop recursion as two products with all
    pairs at once. Slots are filled in turn; an empty slot holds zeros and changes nothing.

    Pairs are scaled to ``s'y = 1``. So the matrix R of the paper, ``s_i'y_j`` for i no newer than
    j, has ones on its diagonal. We keep its inverse. A new pair adds a column to it, and the oldest
    pair leaves no trace in it, as R is triangular in the order of age.

    Parameters
    ----------
    models, size, parameters : int
        The shape of the stack.
    like : array
        An array with the dtype and the device that the pairs are to have. The small matrices are
        float64 on the host.
    """

    def __init__(self, models: int, size: int, parameters: int, like: Array) -> None:
        xp = namespace(like)
        self.size = size
        self.pairs = xp.zeros((models, 2 * size, parameters), like.dtype)  # all s, then all y
        self.r_inverse = np.tile(np.eye(size), (models, 1, 1))
        self.yy = np.zeros((models, size, size))
        self.scale = np.ones(models)  # of the first guess of the inverse Hessian
        self.n_pairs = np.zeros(models, dtype=int)

    def __getitem__(self, keep: np.ndarray) -> CurvatureMemory:
        """Return the memory of some of the models."""
        taken = object.__new__(CurvatureMemory)
        taken.size = self.size
        for name in ("pairs", "r_inverse", "yy", "scale", "n_pairs"):
            setattr(taken, name, getattr(self, name)[keep])
        return taken

    def forget(self, models: list[int]) -> None:
        """Empty the memory of some models."""
        self.pairs[models] = 0
        self.r_inverse[models] = np.eye(self.size)
        self.yy[models] = 0
        self.scale[models] = 1
        self.n_pairs[models] = 0

    def add(self, models: list[int], s: Array, y: Array, sy: np.ndarray) -> None:
        """Replace the oldest pair of some models.

        Parameters
        ----------
        models : list of A int
            Places in the stack.
        s, y : arrays of shape (A, P)
        sy : ndarray of shape (A,)
            Their inner products, which must be positive.
        """
        xp, m = namespace(s), self.size
        rows: Any = models
        every: Any = np.arange(len(models))
        slot = self.n_pairs[models] % m
        if len(models) == len(self.pairs):
            rows = every
            if (slot == slot[0]).all():  # all models are in step, and plain indices are faster
                rows = every = slice(None)
                slot = slot[0]
        unit = xp.asarray(1 / np.sqrt(sy), dtype=s.dtype)[:, None]
        s, y = s * unit, y * unit
        self.pairs[rows, slot] = s
        self.pairs[rows, m + slot] = y
        products = self._inner(self.pairs[rows], y)
        sy_column, yy_column = products[:, :m], products[:, m:]
        sy_column[every, slot] = 0
        self.r_inverse[rows, slot] = 0
        column = self.r_inverse[rows] @ sy_column[..., None]
        self.r_inverse[rows, :, slot] = -column[..., 0]
        self.r_inverse[rows, slot, slot] = 1
        self.yy[rows, slot] = self.yy[rows, :, slot] = yy_column
        # y'y may underflow, or its inverse overflow the dtype
        smallest = np.sqrt(np.finfo(s.dtype).tiny)
        self.scale[rows] = 1 / np.maximum(self.yy[rows, slot, slot], smallest)
        self.n_pairs[rows] += 1

    def newton_step(self, gradient: Array) -> Array:
        """Return minus the inverse Hessian times the gradient, of shape (M, P)."""
        xp, m = namespace(gradient), self.size
        scale = self.scale[:, None]
        products = self._inner(self.pairs, gradient)[..., None]
        sg, yg = products[:, :m], products[:, m:]
        p = self.r_inverse @ sg
        q = self.r_inverse.swapaxes(1, 2) @ (p + scale[..., None] * (self.yy @ p - yg))
        weights = np.concatenate([-q, scale[..., None] * p], axis=1)[..., 0]
        weights = xp.asarray(weights, dtype=gradient.dtype)
        step = matmul(weights[:, None], self.pairs)[:, 0]
        step -= xp.asarray(scale, dtype=gradient.dtype) * gradient
        return step

    @staticmethod
    def _inner(pairs: Array, vector: Array) -> np.ndarray:
        return to_host(matmul(pairs, vector[..., None])[..., 0]).astype(np.float64, copy=False)
