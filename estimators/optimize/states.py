"""What L-BFGS keeps of a model from one iteration to the next, on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from estimators.checkpoints.parts import array_in, as_arrays, count_in, number_in

PAIRS = 10  # that are remembered of a model, if nothing else is said


@dataclass(frozen=True, eq=False)
class LBFGSState:
    """A model at the end of an iteration, before it is judged whether that was the last one.

    Attributes
    ----------
    x, gradient : ndarrays of shape (P,)
        Where it stands.
    memory : dict of str to ndarray
        Its part of a `CurvatureMemory`.
    products : ndarray of shape (2 * size,) or None
        On a device, the inner products of the gradient with all pairs.
    square : float or None
        On a device, that of the gradient with itself.
    value, value_before : float
        The value at `x`, and that of the iteration before.
    largest_before : float
        The largest component of the gradient of the iteration before.
    n_iter, n_evaluations : int
        What has been done.
    """

    x: np.ndarray
    gradient: np.ndarray
    memory: dict[str, np.ndarray]
    products: np.ndarray | None
    square: float | None
    value: float
    value_before: float
    largest_before: float
    n_iter: int
    n_evaluations: int

    def written(self) -> dict[str, np.ndarray]:
        """Return it as arrays of a file."""
        fields = {n: v for n, v in vars(self).items() if n != "memory"}
        return as_arrays(fields | self.memory)

    @classmethod
    def read(
        cls,
        arrays: Mapping[str, np.ndarray],
        like: np.ndarray,
        *,
        size: int = PAIRS,
    ) -> Self:
        """Return what `written` has returned.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The arrays.
        like : ndarray of shape (P,)
            An array with the shape and dtype of the point.
        size : int, default=PAIRS
            The number of pairs that are remembered.

        Raises
        ------
        KeyError, ValueError
            If they are not arrays of such a model.
        """
        is_of_device = "products" in arrays
        return cls(
            array_in(arrays, "x", like.shape, like.dtype),
            array_in(arrays, "gradient", like.shape, like.dtype),
            memory_in(arrays, size, len(like), like.dtype),
            array_in(arrays, "products", (2 * size,)) if is_of_device else None,
            number_in(arrays, "square") if is_of_device else None,
            number_in(arrays, "value"),
            number_in(arrays, "value_before"),
            number_in(arrays, "largest_before"),
            count_in(arrays, "n_iter"),
            count_in(arrays, "n_evaluations"),
        )


class Iteration:
    """More of the models that have just ended an iteration, for a callback; ask before it returns.

    Parameters
    ----------
    run : object
        The run of `minimize_lbfgs`.
    moved : list of int
        The models.
    before, largest : ndarrays
        Values, and largest components of the gradients, before the iteration.
    ends : dict of int to (int, str)
        The models that end with it.
    """

    def __init__(
        self,
        run: Any,
        moved: list[int],
        before: np.ndarray,
        largest: np.ndarray,
        ends: dict[int, Any],
    ) -> None:
        self._run, self._moved, self._ends = run, moved, ends
        self._before, self._largest = before, largest

    def is_last(self, place: int) -> bool:
        """Whether it was the last iteration of the model at a place among those told of."""
        return self._moved[place] in self._ends

    def n_iter(self, place: int) -> int:
        """Return how many iterations it has done."""
        return int(self._run.n_iter[self._moved[place]])

    def state(self, place: int) -> LBFGSState:
        """Return what another run can go on from."""
        i, run = self._moved[place], self._run
        return LBFGSState(
            **run.vectors.vectors_of(i),
            value=float(run.value[i]),
            value_before=float(self._before[i]),
            largest_before=float(self._largest[i]),
            n_iter=int(run.n_iter[i]),
            n_evaluations=int(run.n_evaluations[i]),
        )


def memory_in(
    arrays: Mapping[str, np.ndarray], size: int, n_parameters: int, dtype: np.dtype
) -> dict[str, np.ndarray]:
    """Return the part of a model in a `CurvatureMemory` from arrays of a file."""
    return {
        "pairs": array_in(arrays, "pairs", (2 * size, n_parameters), dtype),
        "r_inverse": array_in(arrays, "r_inverse", (size, size)),
        "yy": array_in(arrays, "yy", (size, size)),
        "scale": array_in(arrays, "scale", ()),
        "n_pairs": np.asarray(count_in(arrays, "n_pairs")),
    }
