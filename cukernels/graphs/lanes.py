"""The streams of a training."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_own = threading.local()  # the streams of a thread: it keeps them, as counters of kernels stay too


class Lanes:
    """Two streams of the current device: one for the work, and one for copies beside it.

    No other stream waits for them, nor do they for others, save where it says so below.

    Parameters
    ----------
    xp : module
        CuPy.

    Attributes
    ----------
    work, copies : cupy.cuda.Stream
        The streams.
    """

    def __init__(self, xp: ModuleType) -> None:
        self._cuda = xp.cuda
        made = _own.__dict__.setdefault("streams", {})
        device = xp.cuda.runtime.getDevice()
        if device not in made:
            made[device] = tuple(xp.cuda.Stream(non_blocking=True) for _ in range(2))
        self.work, self.copies = made[device]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the stream of the work be the current one; it goes on after what was launched."""
        self.work.wait_event(self._marked(self._cuda.get_current_stream()))
        with self.work:
            yield

    def copy_beside(self, copy: Callable[[Any], None]) -> Any:
        """Call `copy` with the stream for copies, and return an event after it."""
        copy(self.copies)
        return self._marked(self.copies)

    def mark(self) -> Any:
        """Return an event that has happened once all work so far is done."""
        return self._marked(self.work)

    def wait(self) -> None:
        """Wait until all that was launched on both streams is done."""
        self.copies.synchronize()
        self.work.synchronize()

    def _marked(self, stream: Any) -> Any:
        event = self._cuda.Event(disable_timing=True)
        stream.record(event)
        return event
