"""Whether cores share in the models of a stack: tried for some epochs, and then the faster way.

Two threads of Python wait for each other between one array operation and the next, and to be woken
takes as long as a small operation. Whether that costs more than a second core brings depends on the
processor, on what else it does, and on the models. So it is measured. Results are the same to the
bit either way, see `Chunking.groups`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_TRIES = 2  # epochs of each way, of which the faster one counts


class Pace:
    """Epochs of one stack, taken together by all threads or by one alone."""

    def __init__(self) -> None:
        self._is_warm = False
        self._seconds: dict[bool, list[float]] = {True: [], False: []}

    @property
    def is_shared(self) -> bool:
        """Whether threads share in the next epoch."""
        shared, alone = self._seconds[True], self._seconds[False]
        if len(alone) < _TRIES:
            return len(shared) <= len(alone)
        return min(shared) < min(alone)

    def timed(self, work: Callable[[bool], None]) -> None:
        """Call ``work(is_shared)`` for an epoch, and take its time as long as ways are compared.

        The first epoch touches memory that later ones find in place, so it does not count.
        """
        is_shared = self.is_shared
        begin = time.perf_counter()
        work(is_shared)
        seconds = time.perf_counter() - begin
        if self._is_warm and len(self._seconds[is_shared]) < _TRIES:
            self._seconds[is_shared].append(seconds)
        self._is_warm = True
