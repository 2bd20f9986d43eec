"""Work that is launched once, then recorded as a CUDA graph, and then replayed.

A step of a small network is a dozen launches, each of which costs the host more time than the
device. A CUDA graph is a recording of them, which the host starts by a single call. It repeats the
launches with the same arguments: all arrays stay where they are, and what changes lies in them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cukernels.graphs.arena import Arena
from cukernels.graphs.lanes import Lanes

_IN_FLIGHT = 64  # replays after which the host waits for those before


class Recorded:
    """Work that is called many times.

    The first call launches it, so that its kernels are compiled and its memory is in the arena. The
    second one records it; that call and all further ones replay the recording.

    Parameters
    ----------
    work : callable
        Launches the work. All that it reads and writes stays at the same addresses. It must not
        wait for the device, nor copy to the host or from it.
    lanes : Lanes
        Where it runs. Callers have entered them.
    arena : Arena
        The memory for the arrays that it makes. Others may have the same one on the same lanes.
    records : bool, default=True
        False: every call launches the work, as there will be too few that a graph is worth it.
    """

    def __init__(
        self, work: Callable[[], None], lanes: Lanes, arena: Arena, *, records: bool = True
    ) -> None:
        self._work, self._lanes, self._arena, self._records = work, lanes, arena, records
        self._is_warm = False
        self._graph: Any = None
        self._replays, self._marks = 0, [lanes.mark()]

    def __call__(self) -> None:
        """Launch the work, record it, or replay it."""
        if self._graph is None:
            if not (self._is_warm and self._records):
                with self._arena.used():
                    self._work()
                self._is_warm = True
                return
            self._graph = self._recording()
        self._graph.launch(self._lanes.work)
        self._replays += 1
        if self._replays % _IN_FLIGHT == 0:  # so that after Ctrl-C no long queue is still to come
            self._marks.append(self._lanes.mark())
            self._marks.pop(0).synchronize()

    def _recording(self) -> Any:
        stream = self._lanes.work
        stream.begin_capture()
        try:
            with self._arena.used():
                self._work()
        except BaseException:
            with suppress(Exception):  # an invalid capture ends with an error of its own
                stream.end_capture()
            raise
        return stream.end_capture()
