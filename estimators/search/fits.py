"""The fits of a search, which run in stacks and have the results that they would have alone.

A search of scikit-learn calls a private function for each fit, as in
``_fit_and_score(estimator, X, y, train=train, parameters=...)``. Here the estimators of many such
calls are trained together first. Then each call is made as it is, with an estimator whose `fit`
only hands over what it has learned. So messages, scores, times and errors are scikit-learn's.
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
    is_heard,
    rebound,
    safe_split,
    scorers_of,
    warn_or_raise_about_fit_failures,
)
from estimators.search.curves import with_curves
from estimators.search.shared_steps import (
    Shared,
    can_stack,
    first_steps,
    last_step,
    own_parameters,
    steps_key,
)
from estimators.shared.fit_protocol import Fit, NotTrainedError, raise_error_of
from estimators.shared.samples import Samples, n_bytes_of
from estimators.shared.warnings import warn


class StackedFit:
    """One fit of a search.

    Parameters
    ----------
    call : (function, args, kwargs)
        The call of scikit-learn that would run this fit alone.
    shared : Shared
        The samples and the fitted steps of pipelines that the fits of the search share.
    kept : KeptFit or None, default=None
        The files that keep its result, and how far it has come.

    Attributes
    ----------
    estimator : estimator or None
        A clone with the candidate's parameters; None if it does not take them.
    prepared : Fit or None
        The fit of the last step of `estimator`; None if scikit-learn is to run the call alone.
    steps : str
        Equal for fits whose pipelines have equal steps before the last.
    refusal : str
        Why the fit could not be prepared, if it should have been.
    error : Exception or None
        An error of the search, which takes the place of the fit's own result.
    seconds : float
        The time that the fit has taken so far.
    """

    def __init__(self, call: Call, shared: Shared, kept: Any = None) -> None:
        self.kept = kept
        self.function = function_of(call)
        self.is_fit = is_fit(self.function)
        self.arguments = arguments_of(call)
        for name in {"train", "test"} & set(self.arguments):
            self.arguments[name] = shared.rows(self.arguments[name])
        self.shared = shared
        self.prepared: Fit | None = None
        self.refusal = ""
        self.error: Exception | None = None
        self.seconds = 0.0
        self.tried_to_prepare = self.is_under_way = self.is_interrupted = False
        self.estimator = candidate(self.arguments)
        self.steps = steps_key(self.estimator)

    @property
    def key(self) -> Any:
        """Equal for fits that may run in one stack; None if this fit runs alone."""
        return None if self.prepared is None else (type(self.prepared), self.prepared.key)

    @property
    def n_bytes(self) -> int:
        """How much memory the fit adds to its stack while it runs."""
        return 0 if self.prepared is None else self.prepared.n_bytes

    @property
    def own_samples(self) -> Samples | None:
        """What the steps of a pipeline have made of its fold; None where there are no steps."""
        if self.prepared is None or first_steps(self.estimator) is None:
            return None
        return self.prepared.samples

    @property
    def samples_bytes(self) -> int:
        """How much memory they take, which it shares with the fits that have the same ones."""
        return 0 if self.own_samples is None else n_bytes_of(self.own_samples.X)

    @property
    def device(self) -> str:
        """Where the fit runs. One that is not prepared takes no memory here."""
        return getattr(self.prepared, "device", "cpu")

    @property
    def has_begun(self) -> bool:
        """Whether the fit has learned something that is of use after an interrupt."""
        return self.is_under_way and self.prepared is not None and self.prepared.has_begun

    def prepare(self) -> None:
        """Prepare the fit up to its first step of training; if that fails, it runs alone."""
        a, begun = self.arguments, time.perf_counter()
        self.tried_to_prepare = True
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
            self.prepared = last._prepare(samples, rows=rows, **weights)
            if self.kept is not None:
                self.kept.take_up(self.prepared)
        except Exception as error:  # alone it fails in the same way, and scikit-learn reports it
            self.prepared, self.refusal = None, f"{type(error).__name__}: {error}"
        self.seconds = time.perf_counter() - begun

    def result(self) -> Any:
        """Return what scikit-learn's function returns for this fit, which has been run."""
        a, learned, prepared = self.arguments, self.estimator, self.prepared
        # "raise" would end the search, and lose the fits that are done
        if isinstance(self.error, NotTrainedError) and "error_score" in a:
            a = {**a, "error_score": np.nan}
        asked = a.get("return_estimator")
        if prepared is None and self.error is None:
            return with_curves(self.function(**a), asked)
        # scikit-learn measures how long `fit` takes: once it has returned, the clock that the
        # function reads is put forward by the time that the stack has taken for this fit
        spent = 0.0

        def finish(*args: Any, **kwargs: Any) -> Any:
            nonlocal spent
            del learned.fit, learned.set_params
            spent = self.seconds
            raise_error_of(self)
            assert prepared is not None
            try:
                prepared.finish()
            except Exception as error:
                if self.is_interrupted:
                    raise
                self._fit_alone(learned, error, kwargs)
            return learned

        # the parameters are set already, and one that is a step would replace the fitted step
        learned.set_params = lambda **parameters: learned
        learned.fit = finish
        function = rebound(
            self.function,
            split=self._split,
            time=SimpleNamespace(time=lambda: time.time() + spent),
        )
        try:
            return with_curves(function(**{**a, "estimator": learned}), asked)
        finally:
            self._forget_outputs()
            for name in ("fit", "set_params"):
                vars(learned).pop(name, None)

    def release(self) -> None:
        """Let go of what was learned, of the samples and of errors, which are no longer needed."""
        self._forget_outputs()
        if self.prepared is not None:
            self.prepared.error = None  # its traceback refers to all fits of the stack
        self.estimator = self.prepared = None

    def _forget_outputs(self) -> None:
        """Forget what the model has predicted together with others."""
        if self.prepared is not None:
            self.shared.outputs.forget(self.prepared.estimator)

    def _fit_alone(self, learned: Any, error: Exception, fit_params: dict[str, Any]) -> None:
        """Fit an estimator alone after it has failed in a stack.

        If it fails alone too, scikit-learn reports that. If it does not, the failure was a defect
        of this package and not a wrong parameter, and must not cost the candidate its score.
        """
        a = self.arguments
        alone = candidate(a)
        alone.fit(*self.shared.split(alone, a["X"], a["y"], a["train"]), **fit_params)
        vars(learned).update(vars(alone))
        self._forget_outputs()  # they are those of the fit that failed
        warn(
            f"A fit of {type(last_step(learned)).__name__} failed in a stack of models and not "
            f"alone; its results are those of the fit alone. Please report this defect: "
            f"{type(error).__name__}: {error}",
        )

    def _split(self, estimator: Any, X: Any, y: Any, rows: Any, train: Any = None) -> tuple:
        """Take the place of scikit-learn's `_safe_split`, and share the split with other fits.

        scikit-learn calls it with `train` for the samples to test on, and without for those to
        train on. The latter are needed only if somebody looks at them: the fit has had its own.
        """
        a = self.arguments
        looks = a.get("return_train_score") or is_heard(a.get("callback_ctx"))
        if train is None and not looks:
            return None, None
        # a scorer that changes X in place must not change it for the other fits
        if not keeps_its_samples(a.get("scorer")):
            return safe_split(estimator, X, y, rows, train)
        return self.shared.split(estimator, X, y, a["train"] if train is None else a["test"])


def arguments_of(call: Call) -> dict[str, Any]:
    """Return the arguments of a call by their names."""
    return _signature(function_of(call)).bind(*call[1], **call[2]).arguments


_signature = cache(signature)  # slow for functions of many parameters, as these are


def keeps_its_samples(scorer: Any) -> bool:
    """Return whether a scorer is scikit-learn's own; a user's function may change X in place."""
    theirs = (BaseScorer, PassthroughScorer)
    return all(one is None or isinstance(one, theirs) for one in scorers_of(scorer))


def candidate(arguments: dict[str, Any]) -> Any:
    """Return the estimator of a call with the parameters of its candidate, or None.

    None stands for parameters that the estimator does not take: scikit-learn reports these.
    """
    estimator = clone(arguments["estimator"])
    try:
        return estimator.set_params(**clone(arguments.get("parameters") or {}, safe=False))
    except (ValueError, TypeError):
        return None


def report_failures(results: list[dict[str, Any]], error_score: Any) -> None:
    """Report failed fits as scikit-learn does, but not those that were not started at all."""
    begun = [r for r in results if NotTrainedError.__name__ not in (r["fit_error"] or "")]
    warn_or_raise_about_fit_failures(begun, error_score)
