"""Some rows of arrays of a stack's state, on any device."""

from __future__ import annotations

from math import prod

import numpy as np

from cukernels import gather_rows, scatter_rows
from cukernels.runtime import Array, like

Places = tuple[np.ndarray, ...] | np.ndarray  # along the first axis, or along each of the first


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
    a = a.copy()
    if isinstance(a, np.ndarray):
        a[places] = values
        return a
    flat, rows = _flat(a, places)
    scatter_rows(flat, values, like(rows, a))
    return a


def _flat(a: Array, places: Places) -> tuple[Array, np.ndarray]:
    """Return an array with one axis for the places, and their numbers along it."""
    if isinstance(places, np.ndarray):
        places = (places,)
    lead = a.shape[: len(places)]
    return a.reshape(prod(lead), *a.shape[len(places) :]), np.ravel_multi_index(places, lead)
