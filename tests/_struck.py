"""KeyboardInterrupt at a chosen line or instruction of some files, in the main thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Set
from types import FrameType
from typing import Any


class Struck:
    """Strikes at one event of a kind in some files, counted from 0.

    With `then`, it strikes a second time so many events later.
    """

    def __init__(self, files: Set[str], kind: str, place: int, then: int | None = None) -> None:
        self.files, self.kind, self.left, self.then = files, kind, place, then
        self.at = ""

    def _global(self, frame: FrameType, event: str, arg: Any) -> Callable | None:
        if frame.f_code.co_filename not in self.files:
            return None
        frame.f_trace_opcodes = self.kind == "opcode"
        return self._local

    def _local(self, frame: FrameType, event: str, arg: Any) -> Callable:
        if event == self.kind:
            self.left -= 1
            if self.left < 0:
                if self.then is not None:  # Python ends the tracing once a tracer raises
                    sys.setprofile(self._profile)
                self._strike(frame)
        return self._local

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """Count where Python looks for signals: entries of functions, and after a call of C."""
        if frame.f_code.co_filename in self.files and event in ("call", "c_return"):
            assert self.then is not None
            self.then -= 1
            if self.then < 0:
                self._strike(frame)

    def _strike(self, frame: FrameType) -> None:
        self.at += f" {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        raise KeyboardInterrupt

    def during(self, work: Callable[[], object]) -> bool:
        """Return whether the work was struck, as often as it was to be."""

        def alone() -> Iterator[None]:
            """Work, and end with all that Python remembers of a generator.

            A tracer strikes where signals do not: just before the last instruction of an `except`,
            which forgets the exception. To all that came later it would be the one at hand.
            """
            work()
            yield

        sys.settrace(self._global)
        try:
            next(alone())
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
            sys.setprofile(None)
        assert sys.exception() is None
        return self.left < 0 and (self.then is None or self.then < 0)
