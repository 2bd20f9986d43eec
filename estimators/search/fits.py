"""Fits of a search that run as stacks of models, each with the outcome that it would have alone.

scikit-learn describes a fit of a search as a call of a function of its own, as in
``_fit_and_score(estimator, X, y, train=train, parameters=...)``. Here the estimators of many such
calls are trained together first. Then each call runs as it stands, with an estimator whose `fit`
only hands over what was learned: messages, scores, times and errors are scikit-learn's.
"""

from __future__ import annotations

import time
from functools import cache
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.base import clone

from estimators.scikit_learn import (
    BaseScorer,
    Call,
    PassthroughScorer,
    check_method_params,
    function_of,
    is_fit,
    rebound,
    safe_split,
    scorers_of,
    warn_or_raise_about_fit_failures,
)
from estimators.search.shared_steps import (
    Shared,
    can_stack,
    last_step,
    own_parameters,
    steps_key,
)
from estimators.shared.fit_protocol import Fit, NotTrainedError, raise_error_of
from estimators.shared.warnings import warn


class StackedFit:
    """One fit of a search.

    Parameters
    ----------
    call : (function, args, kwargs)
        What scikit-learn would call.
    shared : Shared
        What this fit has in common with others.
    """

    def __init__(self, call: Call, shared: Shared) -> None:
        self.function = function_of(call)
        self.is_fit = is_fit(self.function)
        self.arguments = arguments_of(call)
        for name in {"train", "test"} & set(self.arguments):
            self.arguments[name] = shared.rows(self.arguments[name])
        self.shared = shared
        self.training: Fit | None = None
        self.error: Exception | None = None
        self.seconds = 0.0
        self.is_prepared = self.is_under_way = self.is_interrupted = False
        self.estimator = candidate(self.arguments)
        self.steps = steps_key(self.estimator)

    @property
    def key(self) -> Any:
        """What the fits of a stack have in common."""
        return None if self.training is None else (type(self.training), self.training.key)

    @property
    def n_bytes(self) -> int:
        """What it takes while it trains."""
        return 0 if self.training is None else self.training.n_bytes

    @property
    def has_begun(self) -> bool:
        """Whether there is something that an interrupt leaves."""
        return self.is_under_way and self.training is not None and self.training.has_begun

    def prepare(self) -> None:
        """Bring the estimator to its first step; where that fails, it is to be fitted alone."""
        a, begun = self.arguments, time.perf_counter()
        self.is_prepared = True
        if not (self.is_fit and can_stack(self.estimator, a.get("fit_params"))):
            return
        try:
            last = last_step(self.estimator)
            last._validate_params()
            given = own_parameters(self.estimator, a.get("fit_params"))
            weights = check_method_params(a["X"], params=given, indices=a["train"])
            samples, rows = self.shared.samples(
                self.estimator, self.steps, a["X"], a["y"], a["train"]
            )
            self.training = last._prepare(samples, rows=rows, **weights)
        except Exception:  # alone it fails in the same way, and scikit-learn reports it
            self.training = None
        self.seconds = time.perf_counter() - begun

    def result(self) -> Any:
        """What scikit-learn's function returns for this fit, which is done."""
        a, learned, training = self.arguments, self.estimator, self.training
        if isinstance(self.error, NotTrainedError) and "error_score" in a:
            a = {**a, "error_score": np.nan}
        if training is None and self.error is None:
            return self.function(**a)
        spent = 0.0

        def finish(*args: Any, **kwargs: Any) -> Any:
            nonlocal spent
            del learned.fit, learned.set_params
            spent = self.seconds
            raise_error_of(self)
            assert training is not None
            try:
                training.finish()
            except Exception as error:
                if self.is_interrupted:
                    raise
                self._fit_alone(learned, error, kwargs)
            return learned

        learned.set_params = lambda **parameters: learned
        learned.fit = finish
        function = rebound(
            self.function,
            split=self._split,
            time=SimpleNamespace(time=lambda: time.time() + spent),
        )
        try:
            return function(**{**a, "estimator": learned})
        finally:
            self._forget_outputs()
            for name in ("fit", "set_params"):
                vars(learned).pop(name, None)

    def release(self) -> None:
        """Let go of what was learned, of the samples and of errors, once nobody asks for them."""
        self._forget_outputs()
        if self.training is not None:
            self.training.error = None  # its traceback refers to all trainings of the stack
        self.estimator = self.training = None

    def _forget_outputs(self) -> None:
        """Forget what the model has predicted together with others."""
        if self.training is not None:
            self.shared.outputs.forget(self.training.estimator)

    def _fit_alone(self, learned: Any, error: Exception, fit_params: dict[str, Any]) -> None:
        """Fit once more what failed in a stack: a defect of ours is no misconfigured model.

        Where it fails alone too, scikit-learn reports it.
        """
        a = self.arguments
        alone = candidate(a)
        alone.fit(*self.shared.part(alone, a["X"], a["y"], a["train"]), **fit_params)
        vars(learned).update(vars(alone))
        self._forget_outputs()  # they are those of the fit that failed
        warn(
            f"A fit of {type(last_step(learned)).__name__} failed in a stack of models and not "
            f"alone; its results are those of the fit alone. Please report this defect: "
            f"{type(error).__name__}: {error}",
        )

    def _split(self, estimator: Any, X: Any, y: Any, rows: Any, train: Any = None) -> tuple:
        """A part of the samples, as scikit-learn's `_safe_split`; that to train on if needed."""
        a = self.arguments
        if train is None and not (a.get("return_train_score") or a.get("callback_ctx")):
            return None, None
        if not keeps_its_samples(a.get("scorer")):
            return safe_split(estimator, X, y, rows, train)
        return self.shared.part(estimator, X, y, a["train"] if train is None else a["test"])


def arguments_of(call: Call) -> dict[str, Any]:
    """The arguments of a call by their names."""
    return _signature(function_of(call)).bind(*call[1], **call[2]).arguments


_signature = cache(signature)  # scikit-learn's have many parameters


def keeps_its_samples(scorer: Any) -> bool:
    """Whether a scorer is one of scikit-learn's; a function of the user's may change X in place."""
    theirs = (BaseScorer, PassthroughScorer)
    return all(one is None or isinstance(one, theirs) for one in scorers_of(scorer))


def candidate(arguments: dict[str, Any]) -> Any:
    """The estimator of a fit with its parameters; without them where it does not know them."""
    estimator = clone(arguments["estimator"])
    try:
        return estimator.set_params(**clone(arguments.get("parameters") or {}, safe=False))
    except (ValueError, TypeError):
        return None


def report_failures(results: list[dict[str, Any]], error_score: Any) -> None:
    """Report fits that failed as scikit-learn does; those that Ctrl-C came before did not fail."""
    begun = [r for r in results if NotTrainedError.__name__ not in (r["fit_error"] or "")]
    warn_or_raise_about_fit_failures(begun, error_score)
