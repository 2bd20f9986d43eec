"""The state of a stack of perceptrons: some rows of its arrays, and how far one model has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np

from cukernels import gather_rows, scatter_rows
from cukernels.runtime import Array, like, namespace
from estimators.checkpoints.parts import array_in, as_arrays, count_in, rows_in

Places = tuple[np.ndarray, ...] | np.ndarray  # along the first axis, or along each of the first


@dataclass(frozen=True, eq=False)
class PerceptronStage:
    """How far a model has come after an epoch: all that the next one depends on.

    Attributes
    ----------
    state : dict of str to ndarray
        Its part of the state of a stack, as `initial_state` names it.
    goes_on, best, waited : ndarrays of shape (n_problems,)
        Which of its problems go on, the best loss or score of each, and the epochs since then.
    seeds : ndarray or None
        Those of the orders of its samples.
    held_out : ndarray
        Places of the samples that early stopping scores on.
    n_iter : int
        Epochs done.
    """

    state: Mapping[str, np.ndarray]
    goes_on: np.ndarray
    best: np.ndarray
    waited: np.ndarray
    seeds: np.ndarray | None
    held_out: np.ndarray
    n_iter: int

    def written(self) -> dict[str, np.ndarray]:
        """Return it as arrays of a file."""
        fields = {n: v for n, v in vars(self).items() if n != "state"}
        return as_arrays({**fields, **self.state})

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray], start: Self, n_rows: int) -> Self:
        """Return what `written` has returned.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The arrays.
        start : PerceptronStage
            The model before its first epoch.
        n_rows : int
            How many samples it learns from, those held out included.

        Raises
        ------
        KeyError, ValueError
            If they are not arrays of such a model.
        """
        state = {n: array_in(arrays, n, a.shape, a.dtype) for n, a in start.state.items()}
        problems = start.goes_on.shape
        seeds = start.seeds
        if seeds is not None:
            seeds = array_in(arrays, "seeds", seeds.shape, np.int64)
            if seeds.min() < 0 or seeds.max() >= 2**31:
                raise ValueError(f"seeds are {seeds}")
        return cls(
            state,
            array_in(arrays, "goes_on", problems, bool),
            array_in(arrays, "best", problems),
            array_in(arrays, "waited", problems, np.int64),
            seeds,
            rows_in(arrays, "held_out", n_rows, len(start.held_out)),
            count_in(arrays, "n_iter"),
        )


def initial_state(models: Any) -> dict[str, np.ndarray]:
    """Return weights and intercepts of models, and what a penalty keeps from epoch to epoch.

    Parameters
    ----------
    models : sequence of SweptModel
        Models of equal keys.
    """
    w = np.stack([model.w for model in models])
    # intercepts stay in double precision between epochs, as in scikit-learn's loop
    state = {"w": w, "b": np.stack([model.b for model in models]).astype(float)}
    if any(model.penalty[0] for model in models):
        state["norms"] = np.stack([(w**2).sum(axis=-1), np.abs(w).sum(axis=-1)], axis=-1)
    if models[0].penalty[1]:
        state |= {"due": np.zeros(w.shape[:-1], w.dtype), "paid": np.zeros_like(w)}
    return state


def take_rows(a: Array, places: Places) -> Array:
    """Return ``a[places]``, a copy."""
    if isinstance(a, np.ndarray):
        return a[places]
    flat, rows = _flat(a, places)
    return gather_rows(flat, like(rows, a))


def put_rows(a: Array, values: Array, places: Places) -> Array:
    """Return a copy of an array with ``a[places]`` set to values: the values, if all are set.

    No place comes twice.
    """
    if values.size == a.size:  # places are in ascending order
        return values.reshape(a.shape)
    copy = namespace(a).empty_like(a)
    namespace(a).copyto(copy, a)  # on a GPU by no kernel
    if isinstance(copy, np.ndarray):
        copy[places] = values
        return copy
    flat, rows = _flat(copy, places)
    scatter_rows(flat, values, like(rows, a))
    return copy


def _flat(a: Array, places: Places) -> tuple[Array, np.ndarray]:
    """Return an array with one axis for the places, and their numbers along it."""
    if isinstance(places, np.ndarray):
        places = (places,)
    lead = a.shape[: len(places)]
    return a.reshape(prod(lead), *a.shape[len(places) :]), np.ravel_multi_index(places, lead)
