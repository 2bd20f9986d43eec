"""Which GPU the jobs of a search compute on: each one takes its turn.

``device="cuda"`` is the first GPU. But the job number g of a search means by it the GPU number g,
or g modulo how many there are, so that the jobs spread over the GPUs which the process of the job
sees. A device that has a number in its name stays what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cukernels.runtime import cuda_in_turn, while_set

Result = TypeVar("Result")


@dataclass(frozen=True)
class Turn:
    """A job of a search, and which GPU it takes.

    Attributes
    ----------
    jobs : int, default=1
        How many jobs run at the same time.
    number : int, default=0
        The number of its GPU.
    numbers : tuple of int, default=(0,)
        Those of all jobs that may share its GPU, itself among them.
    """

    jobs: int = 1
    number: int = 0
    numbers: tuple[int, ...] = (0,)

    def here(self) -> Turn:
        """Return the turn as it counts in this process.

        dask-cuda gives each worker a GPU of its own: it sees that one first, and the others after.
        """
        threads = _threads_on_an_own_gpu()
        return self if threads is None else replace(self, number=0, numbers=(0,) * threads)

    def jobs_beside(self, device: Callable[[], str]) -> int:
        """Return how many jobs compute where this one does, itself among them.

        `device` returns where a fit runs, by the turn that is current when it is called.
        """
        own = _in_turn(self, device)
        if own == "cpu":
            return self.jobs
        return [_in_turn(replace(self, number=n), device) for n in self.numbers].count(own)


def turns(jobs: int, *, spread: bool = True) -> list[Turn]:
    """Return the turns of the jobs of a search; without `spread` all of them take the first GPU."""
    numbers = tuple(range(jobs)) if spread else (0,) * jobs
    return [Turn(jobs, number, numbers) for number in numbers]


def current_turn() -> Turn:
    """Return the turn of the job that the calling thread runs, or that of a single job."""
    return _CURRENT.get()


def in_turn(turn: Turn, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
    """Call a function as a job of a search, wherever joblib runs it."""
    return _in_turn(turn.here(), function, *args, **kwargs)


_ALONE = Turn()
_CURRENT: ContextVar[Turn] = ContextVar("_CURRENT", default=_ALONE)


def _in_turn(turn: Turn, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
    return while_set(_CURRENT, turn, cuda_in_turn, turn.number, function, *args, **kwargs)


def _threads_on_an_own_gpu() -> int | None:
    """Return how many jobs a worker of dask-cuda runs at once; None for all other processes."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        worker = distributed.get_worker()
    except ValueError:  # the calling thread runs no task of Dask's
        return None
    plugins = (type(plugin).__module__ for plugin in worker.plugins.values())
    is_on_own_gpu = any(module.partition(".")[0] == "dask_cuda" for module in plugins)
    return worker.state.nthreads if is_on_own_gpu else None
