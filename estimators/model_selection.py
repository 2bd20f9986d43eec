"""scikit-learn's searches and cross-validations, which train many fits together as a stack.

Names, signatures, results, warnings and errors are scikit-learn's, so a program changes its import
line and nothing else. The fits of a classifier of this package, which may end a Pipeline, run
together if their models have equal shapes. All other estimators are fitted by scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from numbers import Integral
from types import MappingProxyType
from typing import Any

from sklearn import model_selection as sk
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

from estimators.costs.memory import MemoryEstimate
from estimators.scikit_learn import (
    BaseSearchCV,
    Interval,
    constraints_of,
    fit_context,
    rebound,
    validate_params,
)
from estimators.search.callbacks import check_callbacks
from estimators.search.curves import KEPT, curves_of_search
from estimators.search.fits import report_failures
from estimators.search.memory import MeasuredParallel
from estimators.search.parallel import StackedParallel
from estimators.search.progress import PROGRESS
from estimators.shared.all_or_nothing import all_or_nothing
from estimators.shared.warnings import one_of_each

__all__ = [
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
    "cross_val_predict",
    "cross_val_score",
    "cross_validate",
    "learning_curve",
    "validation_curve",
]

_OPTIONS = {"fused": True, "max_stack_bytes": None, "progress": False}
_OPTIONS_OF_SEARCHES = _OPTIONS | {"checkpoint": None, "keep_curves": False}

_DOC = """{summary}

    Parameters
    ----------
    {names}
        As in :{role}:`sklearn.model_selection.{name}`. `n_jobs` and joblib's backends mean the
        same as there; each job trains the fits of some folds as a stack.
    fused : bool, default=True
        Whether fits of equal shapes train together. If False, they run one after the other.
    max_stack_bytes : int, default=None
        How many bytes the models of a stack may take while they train, for weights, gradients,
        moments of the optimizer and the values of a batch. A stack that needs more is divided.
        None: a quarter of the free memory.
    progress : bool or {{"bar", "tqdm", "rich", "lines"}}, default=False
        Whether to show a bar with the fits done, the epoch and the best score. True, like "bar",
        draws it by tqdm (the extra `progress`), or else by rich; either can be asked for by name.
        "lines" prints a line for each fit, and so does a bar whose package is missing, with a
        warning. With ``n_jobs`` above 1, joblib's `verbose` shows the progress instead.{more}
{rest}"""

_OF_SEARCHES = """
    checkpoint : path, default=None
        A folder that keeps the results of fits as they are done, and of a network that trains,
        once a minute, how far it is. A search with the same estimator, candidates, samples and
        folds takes them from there and runs the rest: after a kill, too, or once a worker has died.
        Its results are those of a search that was never stopped. Estimators and scorers have to be
        ones that can be pickled. The folder is made if it is not there; several jobs or workers
        that see the same disk share it.
    keep_curves : bool, default=False
        Whether to keep how each fit went, for `estimators.inspection.SearchDisplay`. The search
        then has `loss_curves_` and `validation_curves_`: for each candidate, a row of
        `cv_results_`, a list with an array for each fold, the `loss_curve_` or the
        `validation_scores_` of that fit. It is None where a fit has none, or where `checkpoint` has
        its result from a search that kept none. That takes at most 16 bytes an epoch of a fit."""


def _described(original: Any, summary: str, rest: str) -> str:
    names = ", ".join(name for name in signature(original).parameters)
    is_search = isinstance(original, type)
    return _DOC.format(
        summary=summary,
        names=names,
        role="class" if is_search else "func",
        name=original.__name__,
        more=_OF_SEARCHES if is_search else "",
        rest=rest,
    )


def _extended(
    original: Callable, added: Mapping[str, Any], first: tuple[Parameter, ...] = ()
) -> Signature:
    """Return the signature of a function or class of scikit-learn with the options of stacks."""
    options = [Parameter(n, Parameter.KEYWORD_ONLY, default=d) for n, d in added.items()]
    own = signature(original)
    return own.replace(parameters=[*first, *own.parameters.values(), *options])


class _StackedSearch(BaseSearchCV):
    """The `fit` of all searches here, which runs the fits of candidates in stacks."""

    fused: bool
    max_stack_bytes: int | None
    progress: bool | str
    checkpoint: Any
    keep_curves: bool
    _others: Mapping[str, Any] = MappingProxyType({})  # what `fit` uses beside `_replaced`

    @fit_context(prefer_skip_nested_validation=False)  # as scikit-learn's
    @all_or_nothing
    def fit(self, X: Any, y: Any = None, **params: Any) -> _StackedSearch:
        """Run the fits of all candidates, and refit the best.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Labels.
        **params : dict
            Parameters for the `fit` of the estimator (`sample_weight`), the scorer and the
            splitter.

        Returns
        -------
        self : object
            With scikit-learn's attributes: `cv_results_`, `best_estimator_`, `best_score_`,
            `best_params_`, `best_index_`, `scorer_`, `n_splits_`, `refit_time_`, `multimetric_`.
            After Ctrl-C it has them too, with a warning that says what is missing: fits that had
            not started have the score NaN, and the best candidate is among those that have all
            their scores.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C if no candidate has started its fits in all folds.
        """
        fit = BaseSearchCV.fit
        if self.checkpoint is not None and not self.fused:
            raise ValueError("checkpoint belongs to fused=True, got fused=False")
        if self.keep_curves and not self.fused:
            raise ValueError("keep_curves belongs to fused=True, got fused=False")
        curves: list[Any] | None = [] if self.keep_curves else None
        if self.fused:
            options = self.max_stack_bytes, self.progress, self.checkpoint, curves
            fit = rebound(fit, **_replaced(*options) | dict(self._others))
        else:
            check_callbacks(self.estimator)
        for name in KEPT:  # of an earlier fit
            self.__dict__.pop(name, None)
        one_of_each(fit, self, X, y, **params)
        if curves:
            self.__dict__.update(curves_of_search(curves, self.n_splits_))
        return self

    def estimate_memory(self, X: Any, y: Any = None, **params: Any) -> MemoryEstimate:
        """Estimate the memory of a device that the largest stack of `fit` will need.

        Nothing is trained, but what comes before is done: the folds are split, the steps of a
        pipeline before the last one are fitted, and initial weights are drawn.

        It is assumed that all fits run in this process (``n_jobs=1``), that as much memory is free
        as now, and that the samples lie on the device too; where it has no room for those of
        networks, they come to it in parts, and a fit needs less. A search by successive halving is
        followed as if all scores were equal. What predictions for the folds take is not counted,
        nor is the fit of the best candidate on all samples. For what is not a classifier of this
        package nothing is known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Labels.
        **params : dict
            As `fit` takes them.

        Returns
        -------
        memory : MemoryEstimate
            Bytes of `data`, `parameters` and a `step` of all models of the stack, their `total`,
            and the `device`.

        Raises
        ------
        ValueError
            If no fit can be prepared, with the reason of the first one.
        """
        found: list[MemoryEstimate] = []
        refused: list[str] = []
        parallel = partial(
            MeasuredParallel, max_stack_bytes=self.max_stack_bytes, fused=self.fused, found=found,
            refused=refused,
        )  # fmt: skip
        search = deepcopy(self).set_params(
            refit=False, scoring=None, return_train_score=False, fused=True, checkpoint=None,
            keep_curves=False,
        )  # fmt: skip
        search._others = {"parallel": parallel}
        search.fit(X, y, **params)
        if not found:
            why = f" ({refused[0]})" if refused else ""
            raise ValueError(f"no fit of {self.estimator!r} can be prepared for a stack{why}")
        return max(found, key=lambda memory: memory.total)


def _replaced(
    max_stack_bytes: int | None,
    progress: bool | str,
    checkpoint: Any = None,
    curves: Any = None,
) -> dict[str, Callable]:
    """Return what scikit-learn's functions use here in place of names of their own."""
    options: dict[str, Any] = {"max_stack_bytes": max_stack_bytes, "progress": progress}
    return {
        "parallel": partial(StackedParallel, **options, checkpoint=checkpoint, curves=curves),
        "report_failures": report_failures,
        "cross_validate": partial(cross_validate, **options),  # which cross_val_score calls
    }


def _stacked_search(cls: Any) -> Any:
    """Give a class of search the options of stacks, after scikit-learn's parameters."""
    original = next(c for c in cls.__mro__[1:] if c.__name__ == cls.__name__)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        for name, default in _OPTIONS_OF_SEARCHES.items():
            setattr(self, name, kwargs.pop(name, default))
        original.__init__(self, *args, **kwargs)

    self = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = _extended(original, _OPTIONS_OF_SEARCHES, (self,))  # type: ignore[attr-defined]
    cls.__init__ = __init__
    cls._parameter_constraints = {
        **constraints_of(original),
        "fused": ["boolean"],
        "max_stack_bytes": [Interval(Integral, 1, None, closed="left"), None],
        "progress": PROGRESS,
        "checkpoint": [str, os.PathLike, None],
        "keep_curves": ["boolean"],
    }
    cls.__doc__ = _described(original, cls.__doc__, _SEARCH_NOTES)
    return cls


_SEARCH_NOTES = """
    Notes
    -----
    A fused fit has the same result as a fit of the estimator alone, with the same parameters and
    samples. Its `fit_time` is the time of its stack divided by the number of fits in it.
    """


@_stacked_search
class GridSearchCV(sk.GridSearchCV, _StackedSearch):
    """Exhaustive search over given values of parameters, trained as stacks of models."""


@_stacked_search
class RandomizedSearchCV(sk.RandomizedSearchCV, _StackedSearch):
    """Search over drawn values of parameters, trained as stacks of models."""


@_stacked_search
class HalvingGridSearchCV(sk.HalvingGridSearchCV, _StackedSearch):
    """Search over given values by successive halving, trained as stacks of models."""


@_stacked_search
class HalvingRandomSearchCV(sk.HalvingRandomSearchCV, _StackedSearch):
    """Search over drawn values by successive halving, trained as stacks of models."""


def _stacked(original: Any, summary: str) -> Callable:
    """Return a function of scikit-learn with the options of stacks."""
    constraints = constraints_of(original)

    @wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        fused, max_stack_bytes, progress = (kwargs.pop(n, d) for n, d in _OPTIONS.items())
        if not fused:
            check_callbacks(kwargs.get("estimator", next(iter(args), None)))
            return one_of_each(original, *args, **kwargs)
        own = rebound(original, **_replaced(max_stack_bytes, progress))
        # `own` is the function below scikit-learn's decorator, which validates its parameters
        checked = validate_params(constraints, prefer_skip_nested_validation=False)(own)
        return one_of_each(checked, *args, **kwargs)

    run.__signature__ = _extended(original, _OPTIONS)  # type: ignore[attr-defined]
    run.__doc__ = _described(original, summary, _FUNCTION_RETURNS)
    run.__module__ = __name__
    return run


_FUNCTION_RETURNS = """
    Returns
    -------
    The results of scikit-learn's function.
    """

cross_validate = _stacked(
    sk.cross_validate, "Scores and times of an estimator over the folds, trained as a stack."
)
cross_val_score = _stacked(
    sk.cross_val_score, "Scores of an estimator over the folds, trained as a stack."
)
cross_val_predict = _stacked(
    sk.cross_val_predict, "Predictions for each sample by the fit whose fold leaves it out."
)
learning_curve = _stacked(
    sk.learning_curve, "Scores for training sets of several sizes, trained as stacks."
)
validation_curve = _stacked(
    sk.validation_curve, "Scores for several values of a parameter, trained as a stack."
)
