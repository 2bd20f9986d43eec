"""Samples that stay on the host, and come to a GPU a few steps before they are used."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from cukernels.graphs import Lanes, pinned
from cukernels.runtime import Array, in_parallel, shares
from estimators.costs.network_memory import STEPS_AHEAD

_ROWS_OF_A_THREAD = 64  # least rows that are worth one


class Ring:
    """Places on the device for the samples of a few steps, one after the other.

    While the device computes a step, the host gathers the samples of later ones in pinned memory,
    and they are copied beside the work. So a step has to wait only if its arithmetic takes less
    time than its copy.

    Parameters
    ----------
    xp : module
        CuPy.
    X : ndarray or memmap of shape (N, ...)
        The samples, on the host.
    n_rows : int
        Samples of a step.

    Attributes
    ----------
    device : array of shape (STEPS_AHEAD * n_rows, ...)
        The places.
    """

    def __init__(self, xp: ModuleType, X: np.ndarray, n_rows: int) -> None:
        self._X, self._n_rows = X, n_rows
        shape = (STEPS_AHEAD * n_rows, *X.shape[1:])
        self.device: Array = xp.empty(shape, X.dtype)
        self._host = pinned(xp, shape, X.dtype)
        self._used: list[Any] = [None] * STEPS_AHEAD

    def places(self, steps: int) -> np.ndarray:
        """Return where the samples of each step will lie, (steps, n_rows)."""
        turn = np.arange(steps) % STEPS_AHEAD
        return turn[:, None] * self._n_rows + np.arange(self._n_rows)

    def bring(self, step: int, rows: np.ndarray, lanes: Lanes) -> None:
        """Copy the samples of a step to their places; work that is launched next waits for them.

        Parameters
        ----------
        step : int
            Which step, as in `places`.
        rows : integer ndarray of shape (n_rows,)
            Rows of X.
        lanes : Lanes
            Where the work runs.
        """
        turn = step % STEPS_AHEAD
        if self._used[turn] is not None:
            self._used[turn].synchronize()
        own = slice(turn * self._n_rows, (turn + 1) * self._n_rows)
        host, device = self._host[own], self.device[own]

        def gather(_: None, part: slice) -> None:
            # with any other mode `take` would gather elsewhere first
            np.take(self._X, rows[part], axis=0, out=host[part], mode="clip")

        in_parallel(gather, shares(len(rows), _ROWS_OF_A_THREAD))
        copied = lanes.copy_beside(
            lambda stream: device.data.copy_from_host_async(host.ctypes.data, host.nbytes, stream)
        )
        lanes.work.wait_event(copied)

    def mark_used(self, step: int, lanes: Lanes) -> None:
        """Note that the work so far is the last to read the samples of a step."""
        self._used[step % STEPS_AHEAD] = lanes.mark()
