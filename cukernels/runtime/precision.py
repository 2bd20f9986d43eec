"""The precision of float32 products on a GPU, which the user chooses."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType

PRECISIONS = ("float32", "tf32", "bf16")

_current: ContextVar[str] = ContextVar("precision", default="float32")


class precision:
    """Set how exactly matrix products and convolutions of float32 arrays are computed on a GPU.

    A call sets the precision for all that follows in this thread. A `with` block restores the
    previous one at its end. Every thread begins with "float32". Arrays on the CPU and float64
    arrays are not affected.

    Parameters
    ----------
    name : {"float32", "tf32", "bf16"}
        "float32", the default, is as exact as NumPy's float32: on tensor cores (compute capability
        8.0 and later) every factor is split into two TF32 numbers. "tf32" rounds factors to 10 bits
        after the point and "bf16" to 7, for up to 3 and 6 times the speed; sums are still float32.
        GPUs without these number formats compute in float32.

    Raises
    ------
    ValueError
        If `name` is none of these.

    Examples
    --------
    >>> import cukernels
    >>> with cukernels.precision("tf32"):
    ...     pass  # fit here
    """

    def __init__(self, name: str) -> None:
        if name not in PRECISIONS:
            raise ValueError(f"Unknown precision {name!r}: expected one of {PRECISIONS}.")
        self._before = _current.get()
        _current.set(name)

    def __enter__(self) -> precision:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.set(self._before)


def current_precision() -> str:
    """Return the precision that this thread has set."""
    return _current.get()
