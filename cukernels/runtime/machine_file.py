"""The file in the user's cache folder in which the constants of machines are kept.

A file that is missing, damaged, of another version or not to be written is no error: the constants
are then measured again in each process.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cukernels.runtime.machine import KINDS, Machine, Rate

_FORMAT = 1  # of the file; another one is ignored
_MOST = 2**20  # bytes of the file; a machine has some 1,000


def path() -> Path:
    """Return where the file is: see CUKERNELS_CACHE_DIR in the README."""
    own = os.environ.get("CUKERNELS_CACHE_DIR")
    if own:
        return Path(own).expanduser() / "machine.json"
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(shared).expanduser() / "cukernels" / "machine.json"


def load(gpu: str, driver: str, version: str, threads: int) -> Machine | None:
    """Return the constants that were measured for such a machine, or None."""
    try:
        return _machine_of(
            _entries()[_key(gpu, driver, version, threads)],
            {"gpu": gpu, "driver": driver, "version": version, "threads": threads},
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def save(machine: Machine) -> None:
    """Keep constants, beside those of other machines that share the folder.

    The file is replaced as a whole. So of two processes that save at once one is last, and nobody
    reads half a file.
    """
    key = _key(machine.gpu, machine.driver, machine.version, machine.threads)
    # those of other versions of this package will not be asked for again
    kept = {k: e for k, e in _entries().items() if k.endswith(f" {machine.version}")}
    content = {"format": _FORMAT, "machines": kept | {key: asdict(machine)}}
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        target = path()
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".json")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=1)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


def _key(gpu: str, driver: str, version: str, threads: int) -> str:
    return f"{gpu}, driver {driver}, {threads} threads, cukernels {version}"


def _entries() -> dict[str, Any]:
    """Return all machines of the file; none if it cannot be read."""
    try:
        with open(path(), "rb") as file:
            text = file.read(_MOST + 1)  # no more, whatever somebody has put there
        content = json.loads(text if len(text) <= _MOST else b"")
        # of pairs, `dict` would make names that are no text
        is_known = content["format"] == _FORMAT and isinstance(content["machines"], dict)
        return content["machines"] if is_known else {}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return {}


def _machine_of(entry: dict[str, Any], identity: dict[str, Any]) -> Machine:
    """Make a machine of its entry; ValueError or another error if it is damaged."""
    fields = dict(entry)
    for name, value in identity.items():
        if fields[name] != value:
            raise ValueError(f"{name} is {fields[name]!r}")
    for side in ("on_cpu", "on_gpu"):
        fields[side] = {kind: _rate(fields[side][kind]) for kind in KINDS}
    for name in ("up", "down"):
        fields[name] = _rate(fields[name])
    for name in ("launch", "replay"):
        fields[name] = _constant(fields[name])
    return Machine(**fields | identity)


def _rate(pair: Any) -> Rate:
    latency, per_second = pair
    return Rate(_constant(latency), _constant(per_second))


def _constant(value: Any) -> float:
    """Return a number that may be a constant, and raise an error for anything else.

    No constant is 0: everything takes some time, and times are divided by what is done in a second.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and 0 < float(value) < math.inf):
        raise ValueError(f"{value!r} is no constant")
    return float(value)
