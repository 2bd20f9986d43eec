"""What tells one fit from another: the parameters and data that a checkpoint belongs to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from numbers import Integral, Number
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import Array, to_host

_HASHED = 2**28  # bytes of an array up to which all are looked at
_AT_ONCE = 2**22
_SAMPLED = 4096  # rows of a larger array that are looked at

# Parameters that change nothing in what is learned, or that `resume` looks at by itself.
_FREE = {"callbacks", "verbose", "device", "n_jobs", "warm_start", "max_iter", "max_fun"}


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator that its result depends on, as `json` writes them."""
    return {
        name: plain(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _FREE
    }


def plain(value: Any) -> Any:
    """Return a value as `json` can write it; equal values give equal results."""
    if value is None or isinstance(value, str | bool | np.bool_):
        return value if not isinstance(value, np.bool_) else bool(value)
    if isinstance(value, Number):
        return int(value) if isinstance(value, Integral) else float(value)  # type: ignore[arg-type]
    if isinstance(value, np.random.RandomState):
        return "RandomState"
    if isinstance(value, Mapping):
        return sorted([repr(plain(k)), plain(v)] for k, v in value.items())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return digest_of(value)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def digest_of(data: Any) -> dict[str, Any] | None:
    """Return shape, dtype and a digest of the values of samples, labels or weights.

    Of arrays of more than 256 MB, 4096 rows are looked at.

    Parameters
    ----------
    data : array, sparse matrix, array-like or None
        What a fit learns from, on the host or on a GPU.
    """
    if data is None:
        return None
    found = hashlib.blake2b(digest_size=16)
    if sp.issparse(data):
        for part in (data.data, data.indices, data.indptr):
            _look_at(np.asarray(part), found)
    else:
        data = data if hasattr(data, "shape") and hasattr(data, "dtype") else np.asarray(data)
        if getattr(data.dtype, "kind", "") in "OUST":
            found.update(repr(data.tolist()).encode())
        else:
            _look_at(data, found)
    return {
        "shape": [int(n) for n in data.shape],
        "dtype": str(data.dtype),
        "digest": found.hexdigest(),
    }


def _look_at(data: Array, found: Any) -> None:
    """Add the rows of an array to a digest, or some of them."""
    n_rows = len(data) if data.ndim else 1
    if not n_rows or not data.size:
        return
    data = data if data.ndim else data.reshape(1)
    at_once = max(1, _AT_ONCE * n_rows // max(data.nbytes, 1))
    rows: Any = [slice(i, i + at_once) for i in range(0, n_rows, at_once)]
    if data.nbytes > _HASHED:
        chosen = np.unique(np.linspace(0, n_rows - 1, _SAMPLED).astype(int)).tolist()
        rows = [slice(i, i + 1) for i in chosen]
    for some in rows:
        found.update(np.ascontiguousarray(to_host(data[some])).data)


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two fits, as `described` returns them."""
    words = []
    if was.get("version") != now["version"]:
        words.append(f"cukernels was {was.get('version')} and is {now['version']}")
    if was.get("class") != now["class"]:
        return [*words, f"it was a fit of {was.get('class')}, and this is one of {now['class']}"]
    before, after = was.get("parameters", {}), now["parameters"]
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            words.append(f"{name} was {before.get(name)!r} and is {after.get(name)!r}")
    before, after = was.get("data", {}), now["data"]
    for name in sorted({*before, *after}):
        words += _differences_of(name, before.get(name), after.get(name))
    return words


def _differences_of(name: str, was: Any, now: Any) -> list[str]:
    if was == now:
        return []
    if was is None or now is None:
        had, has = ("no ", "") if was is None else ("", "no ")
        return [f"there was {had}{name} and there is {has}{name}"]
    for what in ("shape", "dtype"):
        a, b = was.get(what), now[what]
        if a != b:
            a, b = (tuple(v) if isinstance(v, list) else v for v in (a, b))
            return [f"{name} had {what} {a} and has {b}"]
    return [f"{name} has other values"]
