"""The states of NumPy's generators as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

_KEY = 624  # numbers of the state of a Mersenne Twister


def written_generator(state: Any) -> Any:
    """Return what ``RandomState.get_state(legacy=False)`` gave, as `json` writes it."""
    if isinstance(state, dict):
        return {name: written_generator(value) for name, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"dtype": str(state.dtype), "values": state.tolist()}
    return state.item() if isinstance(state, np.generic) else state


def read_generator(written: Any) -> Any:
    """Return what ``RandomState.set_state`` takes, from what `written_generator` returned.

    Raises
    ------
    ValueError
        If it is no state of a generator. NumPy looks up the place in the key unseen.
    """
    if not isinstance(written, dict):
        return written
    if written.keys() == {"dtype", "values"}:
        dtype = np.dtype(written["dtype"])
        if dtype.kind not in "iu":  # a string of a long type takes more memory than it says
            raise ValueError(f"a generator has no values of dtype {dtype}")
        return np.array(written["values"], dtype)
    read = {name: read_generator(value) for name, value in written.items()}
    if "pos" in read and not (len(read["key"]) == _KEY and 0 <= read["pos"] <= _KEY):
        raise ValueError(f"a generator is at {read['pos']} of {len(read['key'])} numbers")
    return read
