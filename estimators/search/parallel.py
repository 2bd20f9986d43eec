"""`StackedParallel`, which takes the place of `joblib.Parallel` in scikit-learn's searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from joblib.parallel import get_active_backend
from sklearn.utils.parallel import delayed

from estimators.scikit_learn import Call, Parallel, effective_n_jobs, function_of, is_fit
from estimators.search.callbacks import check_callbacks
from estimators.search.curves import asking_for_curves, run_with_curves, taken_out, wants_curves
from estimators.search.fits import arguments_of, candidate
from estimators.search.kept import KeptFit, kept_fits, run_kept
from estimators.search.progress import SearchProgress
from estimators.search.run import run_fits
from estimators.search.shared_steps import can_stack
from estimators.search.turns import in_turn, turns
from estimators.shared.device_arrays import device_of


class Group(list):
    """The calls for one worker.

    Unlike a list it can be referred to weakly. Dask needs that to hand it over as data; it would
    take a plain list of calls for tasks of its own.
    """


class StackedParallel(Parallel):
    """Runs the calls that fit estimators of this package in stacks, and all others with joblib.

    With ``n_jobs=1`` all calls make one group, which runs in this process. Otherwise there is a
    group for each job, which joblib gives to its workers. A group has all candidates of some folds,
    since these share their samples. By ``device="cuda"`` each job means a GPU of its own, as far as
    there are enough; see `turns`.

    Parameters
    ----------
    *args, **kwargs
        The parameters of `joblib.Parallel`.
    max_stack_bytes : int or None
        How much memory the models of a stack may take while they train; None is a quarter of the
        free memory of the device, divided by the number of jobs on it.
    progress : bool or str
        What to show, if all calls run in this process; see `SearchProgress`.
    checkpoint : path or None, default=None
        The folder that keeps the results.
    curves : list or None, default=None
        Where to add the curves of each fit; None: they are not kept.
    """

    def __init__(
        self, *args: Any, max_stack_bytes: int | None, progress: bool | str, checkpoint: Any = None,
        curves: list[Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(*args, **kwargs)
        self._max_stack_bytes, self._progress = max_stack_bytes, progress
        self._checkpoint, self._curves = checkpoint, curves

    def __call__(self, iterable: Iterable[Call]) -> Any:
        """Return the results of the calls, in their order."""
        calls = list(iterable)
        if not calls:
            return super().__call__(calls)
        _check_callbacks(calls)
        if self._curves is not None:
            calls = [asking_for_curves(call) for call in calls]
        results = self._results(calls)
        taken_out(results, self._curves)
        return results

    def _results(self, calls: list[Call]) -> Any:
        """Return the results of the calls, those that are kept from their files."""
        if self._checkpoint is None:
            return self._run(calls, [None] * len(calls))
        kept = kept_fits(self._checkpoint, calls)
        results = [fit.read() for fit in kept]
        todo = [i for i, result in enumerate(results) if result is None]
        done = self._run([calls[i] for i in todo], [kept[i] for i in todo]) if todo else []
        for i, result in zip(todo, done, strict=True):
            results[i] = result
            if not kept[i].result_path.exists():  # a worker may have other disks
                kept[i].write(result)
        return results

    def _run(self, calls: list[Call], kept: Sequence[KeptFit | None]) -> Any:
        is_ours = any(_is_ours(call) for call in calls)
        n_jobs = min(effective_n_jobs(self), len(calls))  # as the backend takes n_jobs
        if n_jobs == 1:
            if not is_ours:
                return super().__call__(map(_keeping, calls, kept))
            with SearchProgress(len(calls), self._progress) as progress:
                return run_fits(calls, self._max_stack_bytes, progress, kept)
        holding = device_of(arguments_of(calls[0]).get("X"))  # all calls have the same X
        if holding is not None and _has_device(calls[0]) and not _share_memory():
            raise ValueError(
                f"X is on {holding}, and the {n_jobs} jobs are processes, which would get it "
                "through the host: give cupy.asnumpy(X), which every job takes to its own GPU, "
                "or n_jobs=1, which trains all fits as one stack where X is"
            )
        own = turns(n_jobs, spread=holding is None)
        if not is_ours:  # it may have estimators of ours inside
            return super().__call__(
                delayed(in_turn)(own[i % n_jobs], function_of(call), *call[1], **call[2])
                for i, call in enumerate(map(_keeping, calls, kept))
            )
        groups = _of_equal_size(_by_fold(calls), n_jobs)
        results: list[Any] = [None] * len(calls)
        done = super().__call__(
            delayed(in_turn)(
                turn,
                run_fits,
                Group(calls[i] for i in group),
                self._max_stack_bytes,
                None,
                [kept[i] for i in group],
            )
            for turn, group in zip(own, groups, strict=True)
        )
        for group, outcomes in zip(groups, done, strict=True):
            for i, outcome in zip(group, outcomes, strict=True):
                results[i] = outcome
        return results


def _check_callbacks(calls: Sequence[Call]) -> None:
    """Raise ValueError if several fits would write over each other's files."""
    if len(calls) > 1:
        arguments = [arguments_of(call) for call in calls]
        for estimator in {id(a["estimator"]): a["estimator"] for a in arguments}.values():
            check_callbacks(estimator, (a.get("parameters") for a in arguments))


def _keeping(call: Call, kept: KeptFit | None) -> Call:
    """Return a call whose result is kept, in a file or with its curves."""
    if kept is None:
        return delayed(run_with_curves)(call) if wants_curves(call) else call
    return delayed(run_kept)(kept, call)


def _is_ours(call: Call) -> bool:
    """Return whether a call fits an estimator of this package, which can run in a stack."""
    if not is_fit(function_of(call)):
        return False
    arguments = arguments_of(call)
    estimator = candidate(arguments)
    return estimator is not None and can_stack(estimator, arguments.get("fit_params"))


def _has_device(call: Call) -> bool:
    """Return whether an estimator, or another inside it, is to be told where it computes."""
    names = arguments_of(call)["estimator"].get_params()
    return any(name.rpartition("__")[2] == "device" for name in names)


def _share_memory() -> bool:
    """Return whether the jobs of a search, which leaves joblib's backend open, are threads."""
    backend, _ = get_active_backend()
    return getattr(backend, "supports_sharedmem", False)


def _by_fold(calls: Sequence[Call]) -> list[int]:
    """Return the indices of the calls, with those that train on the same rows in succession."""
    folds: dict[int, int] = {}  # by the identity of row numbers, all of which `calls` holds
    of_calls = [folds.setdefault(id(arguments_of(c)["train"]), len(folds)) for c in calls]
    return sorted(range(len(calls)), key=of_calls.__getitem__)


def _of_equal_size(indices: list[int], n: int) -> list[list[int]]:
    """Divide a list into `n` lists of about the same length."""
    bounds = [len(indices) * i // n for i in range(n + 1)]
    return [indices[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
