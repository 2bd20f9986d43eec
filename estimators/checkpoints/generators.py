"""The states of NumPy's generators as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np


def written_generator(state: Any) -> Any:
    """Return what ``RandomState.get_state(legacy=False)`` gave, as `json` writes it."""
    if isinstance(state, dict):
        return {name: written_generator(value) for name, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"dtype": str(state.dtype), "values": state.tolist()}
    return state.item() if isinstance(state, np.generic) else state


def read_generator(written: Any) -> Any:
    """Return what ``RandomState.set_state`` takes, from what `written_generator` returned."""
    if not isinstance(written, dict):
        return written
    if written.keys() == {"dtype", "values"}:
        return np.array(written["values"], np.dtype(written["dtype"]))
    return {name: read_generator(value) for name, value in written.items()}
