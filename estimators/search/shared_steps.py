"""What the fits of a search share: splits of the samples, and the first steps of pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from cukernels.runtime import resolve_device
from estimators.scikit_learn import has_callbacks, safe_split
from estimators.shared.device_arrays import device_holding
from estimators.shared.known_outputs import KnownOutputs
from estimators.shared.samples import Samples


class Shared:
    """The samples of a search: split into folds, and transformed by the first steps of pipelines.

    The first fit that asks for something makes it, and the others get the same object.

    Attributes
    ----------
    outputs : KnownOutputs
        What the models of a fold have predicted together for its test samples.
    """

    def __init__(self) -> None:
        # What was made, by the kind of thing and the identities of what it was made of. The latter
        # is held beside the result, so that its identity stays unique.
        self._made: dict[tuple[Any, ...], tuple[tuple, Any]] = {}
        self.outputs = KnownOutputs()

    def samples(
        self, estimator: Any, steps: str, X: Any, y: Any, train: Any
    ) -> tuple[Samples, Any]:
        """Return samples for the last step of an estimator, and which of their rows to learn from.

        Without steps before the last these are all the samples, and the rows are those of the
        fold. With steps they are what the steps make of the fold, and the rows are None, for all.
        Of the estimators whose `steps` are equal, the first fits its steps, and the others take
        over the fitted ones.
        """
        if first_steps(estimator) is None:
            return self._once("all", (X, y), lambda: Samples(X, y)), train

        def transformed() -> tuple[Any, Samples]:
            # what goes into the steps is mostly not looked at again, so it is not held
            return fit_first_steps(estimator, *safe_split(estimator, X, y, train))

        fitted, samples = self._once(steps, (X, train), transformed)
        estimator.steps[:-1] = fitted
        return samples, None

    def rows(self, rows: Any) -> Any:
        """Return row numbers, which may be a list in scikit-learn, as one array for all fits.

        The array is held to the end of the search, so that `Samples.once` may be asked by its
        identity.
        """
        return self._once("rows", (rows,), lambda: np.asarray(rows))

    def split(self, estimator: Any, X: Any, y: Any, rows: Any) -> tuple[Any, Any]:
        """Return some rows of X and y, as scikit-learn's `_safe_split` does."""
        return self._once("split", (X, y, rows), lambda: safe_split(estimator, X, y, rows))

    def forget(self, what: str, rows: int) -> None:
        """Drop what was made of some rows: "split", or by steps. `rows` is their identity."""
        kept = (key for key in self._made if (key[0], key[-1]) != (what, rows))
        self._made = {key: self._made[key] for key in kept}
        for samples in (made for key, (_, made) in self._made.items() if key[0] == "all"):
            samples.forget(rows)

    def _once(self, what: str, of: tuple, make: Callable[[], Any]) -> Any:
        key = (what, *map(id, of))
        if key not in self._made:
            self._made[key] = (of, make())
        return self._made[key][1]


class _Received(BaseEstimator):
    """A last step of a pipeline that keeps the samples that reach it."""

    def fit(self, X: Any, y: Any = None) -> _Received:
        self.samples_ = Samples(X, y)
        return self


def fit_first_steps(pipeline: Pipeline, X: Any, y: Any) -> tuple[list[Any], Samples]:
    """Fit the steps of a pipeline before the last; return them, and the samples for the last.

    This is done by the `fit` of a pipeline with the same steps and another one at the end. A
    pipeline that has a `memory` clones its steps or takes them from the cache, so that only the
    pipeline itself knows which steps are the fitted ones.
    """
    received = _Received()
    steps = [*pipeline.steps[:-1], (pipeline.steps[-1][0], received)]
    fitted = Pipeline(steps, memory=pipeline.memory, verbose=pipeline.verbose).fit(X, y)
    return fitted.steps[:-1], received.samples_


def first_steps(estimator: Any) -> Pipeline | None:
    """Return the steps of a pipeline before the last, or None if there are none."""
    return estimator[:-1] if isinstance(estimator, Pipeline) and len(estimator) > 1 else None


def steps_key(estimator: Any) -> str:
    """Return a string that is equal for pipelines whose steps before the last are equal."""
    try:
        return joblib.hash(first_steps(estimator))
    except Exception:
        # Something in the steps cannot be pickled, so the steps are shared with no other fit. The
        # identity is unique, as the estimators of all fits are alive while their keys are made.
        return f"{id(estimator)}"


def last_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself if it is no pipeline."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def device_named(estimator: Any) -> str:
    """Return the `device` of the last step, or "cpu" for what is no name of one."""
    device = getattr(last_step(estimator), "device", None)
    return device if isinstance(device, str) else "cpu"  # the fit itself reports what is wrong


def device_of_fit(named: str, X: Any) -> str:
    """Return where a fit with this `device` runs, which "auto" leaves to X.

    It is "cpu" for a device that is not there.
    """
    try:
        return device_holding(X, named) or resolve_device(named)
    except (ValueError, ImportError, RuntimeError):
        return "cpu"  # the fit itself reports what is wrong


def own_parameters(estimator: Any, fit_params: Any) -> dict[str, Any]:
    """Return the parameters for the `fit` of the last step, without the step's name before them."""
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    return {name.removeprefix(prefix): value for name, value in (fit_params or {}).items()}


def can_stack(estimator: Any, fit_params: Any) -> bool:
    """Return whether the fit of an estimator can run in a stack, as far as its parameters tell."""
    last, given = last_step(estimator), own_parameters(estimator, fit_params)
    if isinstance(estimator, Pipeline):
        # what scikit-learn would hand to another step, or would refuse
        unrouted = given and (
            get_config()["enable_metadata_routing"] or set(given) & set(fit_params)
        )
        # a subclass may do anything, and with transform_input the steps transform more than X
        if type(estimator) is not Pipeline or estimator.get_params(False).get("transform_input"):
            return False
        if unrouted or get_tags(estimator).input_tags.pairwise:
            return False
    # a subclass of an estimator of this package may have a `fit` that does not use `_prepare`
    fitted_by = next((c for c in type(last).__mro__ if "fit" in vars(c)), object)
    calls_back = has_callbacks(estimator) or has_callbacks(last)
    return "_prepare" in vars(fitted_by) and set(given) <= {"sample_weight"} and not calls_back
