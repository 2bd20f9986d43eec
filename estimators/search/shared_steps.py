"""What the fits of a search share: parts of the samples, and the steps of pipelines before ours."""

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
from estimators.shared.known_outputs import KnownOutputs
from estimators.shared.samples import Samples


class Shared:
    """Parts of the samples, as they are and transformed: made by the first fit that asks.

    Attributes
    ----------
    outputs : KnownOutputs
        What models of equal folds have predicted together.
    """

    def __init__(self) -> None:
        self._made: dict[Any, tuple] = {}
        self.outputs = KnownOutputs()

    def samples(
        self, estimator: Any, steps: str, X: Any, y: Any, train: Any
    ) -> tuple[Samples, Any]:
        """Samples for the last step of an estimator, and the rows of them that it learns from.

        The first of the estimators with equal `steps` before the last fits them for all.
        """
        if first_steps(estimator) is None:
            return self._once("all", (X, y), lambda: Samples(X, y)), train

        def transformed() -> tuple[Any, Samples]:
            return fit_first_steps(estimator, *self.part(estimator, X, y, train))

        fitted, samples = self._once(steps, (X, train), transformed)
        estimator.steps[:-1] = fitted
        return samples, None

    def rows(self, rows: Any) -> Any:
        """Row numbers, which scikit-learn takes as lists too, as one array for all fits."""
        return self._once("rows", (rows,), lambda: np.asarray(rows))

    def part(self, estimator: Any, X: Any, y: Any, rows: Any) -> tuple[Any, Any]:
        """Some rows of X and y."""
        return self._once("part", (X, y, rows), lambda: safe_split(estimator, X, y, rows))

    def forget(self, steps: set[str]) -> None:
        """Drop what was transformed by steps that no fit needs any more."""
        self._made = {key: made for key, made in self._made.items() if key[0] not in steps}

    def _once(self, what: str, of: tuple, make: Callable[[], Any]) -> Any:
        key = (what, *map(id, of))
        if key not in self._made:
            self._made[key] = (of, make())  # what is held keeps its identity
        return self._made[key][1]


class _Received(BaseEstimator):
    """The end of a pipeline that keeps what reaches it."""

    def fit(self, X: Any, y: Any = None) -> _Received:
        self.samples_ = Samples(X, y)
        return self


def fit_first_steps(pipeline: Pipeline, X: Any, y: Any) -> tuple[list[Any], Samples]:
    """Fit the steps of a pipeline before the last; returns them, and what the last is to learn.

    The pipeline's own `fit` does it, with another step at the end: as one with a `memory` clones
    steps and takes them from its cache, those that are fitted are known only afterwards.
    """
    received = _Received()
    steps = [*pipeline.steps[:-1], (pipeline.steps[-1][0], received)]
    fitted = Pipeline(steps, memory=pipeline.memory, verbose=pipeline.verbose).fit(X, y)
    return fitted.steps[:-1], received.samples_


def first_steps(estimator: Any) -> Pipeline | None:
    """The steps of a pipeline before the last, if there are some."""
    return estimator[:-1] if isinstance(estimator, Pipeline) and len(estimator) > 1 else None


def steps_key(estimator: Any) -> str:
    """Equal for pipelines whose steps before the last are equal."""
    try:
        return joblib.hash(first_steps(estimator))
    except Exception:  # a function or a class that cannot be pickled: shared with nobody
        return f"{id(estimator)}"


def last_step(estimator: Any) -> Any:
    """The final estimator of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def device_of(estimator: Any) -> str:
    """Where the last step of an estimator will run, "cpu" if it does not say or cannot."""
    try:
        return resolve_device(getattr(last_step(estimator), "device", "cpu"))
    except (ValueError, ImportError, RuntimeError, AttributeError):
        return "cpu"  # its own fit says what is wrong


def own_parameters(estimator: Any, fit_params: Any) -> dict[str, Any]:
    """The parameters of `fit` for the last step of an estimator, by the names that it knows."""
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    return {name.removeprefix(prefix): value for name, value in (fit_params or {}).items()}


def can_stack(estimator: Any, fit_params: Any) -> bool:
    """Whether a fit of an estimator can be part of a stack, as far as its parameters tell."""
    last, given = last_step(estimator), own_parameters(estimator, fit_params)
    if isinstance(estimator, Pipeline):
        unrouted = given and (
            get_config()["enable_metadata_routing"] or set(given) & set(fit_params)
        )
        if type(estimator) is not Pipeline or estimator.get_params(False).get("transform_input"):
            return False
        if unrouted or get_tags(estimator).input_tags.pairwise:
            return False
    # a subclass with a fit of its own is another estimator
    fits = next((c for c in type(last).__mro__ if "fit" in vars(c)), object)
    told = has_callbacks(estimator) or has_callbacks(last)
    return "_prepare" in vars(fits) and set(given) <= {"sample_weight"} and not told
