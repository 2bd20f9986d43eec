"""Does this machine compute what the definitions say? Every body of every op, on its samples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime.arrays import current, to_device, to_host
from cukernels.runtime.registry import OPS, Op

Call = tuple[Op, dict[str, Any]]


class Check(NamedTuple):
    """One body of one op against the definition of the op.

    Attributes
    ----------
    op, body : str
        Name of the op; "reference", "numpy" or the device of its CUDA body, as "cuda:0".
    calls : int
        How many samples, in float32 and in float64.
    error : float
        The largest error, as a part of what rounding explains; above 1 the body is wrong.
    failure : str
        What went wrong; empty where nothing did.
    """

    op: str
    body: str
    calls: int
    error: float
    failure: str

    @property
    def passed(self) -> bool:
        """Whether the body computes what the definition says."""
        return not self.failure


def self_check(devices: list[str] | None = None) -> Iterator[Check]:
    """Run every body of every op on this machine and compare it with the definition, in float64.

    Parameters
    ----------
    devices : list of str, default=None
        GPUs, as "cuda:0", to run the CUDA bodies on; None: none.

    Yields
    ------
    check : Check
    """
    calls: dict[str, list[Call]] = {name: [] for name in OPS}
    for entry, arguments in sample_calls():
        calls[entry.name].append((entry, arguments))
    for name, entry in OPS.items():
        yield check_body(name, "reference", entry.reference, calls[name])
        if entry.numpy is not None:
            yield check_body(name, "numpy", entry.numpy, calls[name])
        if entry.cuda is not None:
            for device in devices or []:
                yield check_body(name, device, entry.cuda, calls[name], device)


def sample_calls() -> Iterator[Call]:
    """Every op with arguments to call it with; those of a backward follow from its forward."""
    for entry in OPS.values():
        if entry.samples is None:
            continue
        for k, arguments in enumerate(entry.samples(np.random.default_rng(0))):
            yield entry, arguments
            if entry.backward is not None:
                outputs = _tuple(entry.reference(**_copied(arguments)))
                dy = np.random.default_rng([7, k]).standard_normal(outputs[0].shape)
                parameters = inspect.signature(entry.reference).parameters.values()
                known: dict[str, Any] = {p.name: p.default for p in parameters}
                known |= arguments | dict(zip(entry.outputs, outputs, strict=True)) | {"dy": dy}
                names = entry.backward.parameters
                yield entry.backward, {name: known[name] for name in names if name in known}


def check_body(
    name: str, body: str, function: Callable[..., Any], calls: list[Call], device: str = "cpu"
) -> Check:
    """Compare a body with the definition on all samples, in both precisions."""
    worst, n_calls = 0.0, 0
    for entry, arguments in calls:
        for dtype in (np.float32, np.float64):
            given = _cast(arguments, dtype)
            exact = _results(entry, entry.reference, _copied(_cast(given, np.float64)))
            n_calls += 1
            try:
                placed = {
                    key: to_device(value, device) if isinstance(value, np.ndarray) else value
                    for key, value in _copied(given).items()
                }
                with current(device):
                    got = _results(entry, function, placed)
            except Exception as error:  # noqa: BLE001 (whatever it is, the report says so)
                return Check(name, body, n_calls, np.inf, f"{type(error).__name__}: {error}")
            for g, e in zip(got, exact, strict=True):
                if g.shape != e.shape:
                    failure = f"shape {g.shape} where {e.shape} is right"
                    return Check(name, body, n_calls, np.inf, failure)
                worst = max(worst, _error(g, e, arguments, dtype))
    failure = f"{worst:.1f} times the error that rounding explains" if not worst <= 1 else ""
    return Check(name, body, n_calls, worst, failure)


def _error(got: np.ndarray, exact: np.ndarray, arguments: dict[str, Any], dtype: Any) -> float:
    """The largest error, in units of eps x sqrt(number of terms summed)."""
    if exact.size == 0:
        return 0.0
    if exact.dtype.kind != "f":
        return 0.0 if np.array_equal(got, exact) else np.inf
    terms = max((np.prod(v.shape[-3:]) for v in arguments.values() if _is_float(v)), default=1)
    same = (got == exact) | (np.isnan(got) & np.isnan(exact))
    with np.errstate(invalid="ignore"):  # infinities that agree
        difference = np.where(same, 0, np.abs(got - exact))
    size = np.abs(exact) + np.sqrt(np.mean(np.square(exact)))
    unit = 8 * np.finfo(dtype).eps * np.sqrt(max(terms, 1)) * size
    error = np.where(same, 0, difference / np.where(unit == 0, 1, unit))
    return float(np.where(np.isnan(error), np.inf, error).max())


def _results(
    entry: Op, function: Callable[..., Any], arguments: dict[str, Any]
) -> list[np.ndarray]:
    """What a call returns, and what it leaves in the arguments that it updates, on the host."""
    results = _tuple(function(**arguments)) + tuple(arguments[name] for name in entry.mutates)
    return [
        np.asarray(r if isinstance(r, np.generic) else to_host(r)) for r in results if r is not None
    ]


def _tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _cast(arguments: dict[str, Any], dtype: Any) -> dict[str, Any]:
    return {k: v.astype(dtype) if _is_float(v) else v for k, v in arguments.items()}


def _copied(arguments: dict[str, Any]) -> dict[str, Any]:
    return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
