"""Every private name of scikit-learn and joblib that this package relies on.

A private name may change in any release, so each is checked when it is used. One that is gone
raises `MissingNameError`, which says what is missing, what it was for, and which releases are
installed. Nothing is done another way instead: a search whose fits can no longer be stacked says
so, and does not run them one by one.

``from estimators.scikit_learn import safe_split`` looks `safe_split` up in `NAMES`, which lists
what is imported. `USES` lists the names that functions of scikit-learn find in their modules and
that a search replaces, `FITS` the functions that fit an estimator of a search.
"""

from __future__ import annotations

import dis
import importlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from inspect import iscode, signature, unwrap
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np
import sklearn

RELEASE = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
Call = tuple[Callable, tuple, dict[str, Any]]


class MissingNameError(ImportError):
    """A private name of scikit-learn or joblib is not there, or is no longer used there."""


def _missing(what: str, purpose: str) -> MissingNameError:
    """The error that says what is missing, and what it was needed for."""
    return MissingNameError(
        f"{what}. cukernels needs it for {purpose}. It is a private name, which any release may "
        f"change; installed are scikit-learn {sklearn.__version__} and joblib {version('joblib')}. "
        "Install a release of scikit-learn that has it, or a newer release of cukernels."
    )


class _NoCallbacks:
    """What stands for `CallbackSupportMixin` where scikit-learn has no callbacks yet."""


class Name(NamedTuple):
    """One object of scikit-learn.

    Attributes
    ----------
    module, name : str
        Where it is.
    purpose : str
        What it is needed for, as the message says.
    attributes : tuple of str, default=()
        Private attributes that a class has, or that its methods or the function's text name. They
        are what this package reads, sets or overrides.
    since : tuple of int, default=(1, 6)
        The first release that has it.
    before : object, default=None
        What is used with older releases.
    """

    module: str
    name: str
    purpose: str
    attributes: tuple[str, ...] = ()
    since: tuple[int, int] = (1, 6)
    before: Any = None


_PARAMETERS, _SEARCHES = "validating parameters", "training the fits of a search together"
_CALLBACKS, _DIAGRAMS = "scikit-learn's callbacks", "the diagram of a network"
LEFT_BY_CALLBACKS = "_skl_callbacks", "_callback_fit_ctx", "_parent_callback_ctx"
_VALIDATION = "sklearn.utils._param_validation"
_HTML = "sklearn.utils._" + ("repr_html.estimator" if RELEASE >= (1, 7) else "estimator_html_repr")

NAMES = {
    "BaseEstimator": Name(
        "sklearn.base", "BaseEstimator", _PARAMETERS, ("_validate_params", "_parameter_constraints")
    ),
    "fit_context": Name("sklearn.base", "_fit_context", _PARAMETERS, ("_validate_params",)),
    "HasMethods": Name(_VALIDATION, "HasMethods", _PARAMETERS),
    "Hidden": Name(_VALIDATION, "Hidden", _PARAMETERS),
    "Interval": Name(_VALIDATION, "Interval", _PARAMETERS),
    "Options": Name(_VALIDATION, "Options", _PARAMETERS),
    "StrOptions": Name(_VALIDATION, "StrOptions", _PARAMETERS),
    "validate_params": Name(
        _VALIDATION, "validate_params", _PARAMETERS, ("_skl_parameter_constraints",)
    ),
    "check_sample_weight": Name(
        "sklearn.utils.validation", "_check_sample_weight", "validating sample weights"
    ),
    "check_partial_fit_first_call": Name(
        "sklearn.utils.multiclass", "_check_partial_fit_first_call", "the classes of partial_fit"
    ),
    "ClassNamePrefixFeaturesOutMixin": Name(
        "sklearn.base", "ClassNamePrefixFeaturesOutMixin",
        "naming the columns that a transformer makes", ("_n_features_out",),
    ),
    "MLPClassifier": Name(
        "sklearn.neural_network", "MLPClassifier", "to_sklearn and from_sklearn of networks",
        ("_label_binarizer", "_random_state", "_no_improvement_count"),
    ),
    "CallbackSupportMixin": Name(
        "sklearn.callback", "CallbackSupportMixin", _CALLBACKS,
        ("_init_callback_context", "_skl_callbacks"), since=(1, 9), before=_NoCallbacks,
    ),
    "CallbackContext": Name(
        "sklearn.callback", "CallbackContext", _CALLBACKS,
        ("_parent_callback_ctx", "_callbacks"), since=(1, 9), before=_NoCallbacks,
    ),
    "BaseSearchCV": Name(
        "sklearn.model_selection._search", "BaseSearchCV", _SEARCHES, ("_parameter_constraints",)
    ),
    "Parallel": Name("sklearn.utils.parallel", "Parallel", _SEARCHES, ("_effective_n_jobs",)),
    "FuncWrapper": Name("sklearn.utils.parallel", "_FuncWrapper", _SEARCHES, ("function",)),
    "safe_split": Name("sklearn.utils.metaestimators", "_safe_split", _SEARCHES),
    "check_method_params": Name("sklearn.utils.validation", "_check_method_params", _SEARCHES),
    "warn_or_raise_about_fit_failures": Name(
        "sklearn.model_selection._validation", "_warn_or_raise_about_fit_failures", _SEARCHES
    ),
    "BaseScorer": Name("sklearn.metrics._scorer", "_BaseScorer", _SEARCHES),
    "PassthroughScorer": Name("sklearn.metrics._scorer", "_PassthroughScorer", _SEARCHES),
    "MultimetricScorer": Name(
        "sklearn.metrics._scorer", "_MultimetricScorer", _SEARCHES, ("_scorers",)
    ),
    "VisualBlock": Name(_HTML, "_VisualBlock", _DIAGRAMS),
    "asked_in_diagrams": Name(
        _HTML, "_write_estimator_html", _DIAGRAMS,
        ("_get_params_html", "_repr_html_inner"), since=(1, 7),
    ),
}  # fmt: skip
"""What this package imports from scikit-learn, by the names that it has here."""

USES = {
    "BaseSearchCV.fit": ("Parallel", "_warn_or_raise_about_fit_failures"),
    "cross_validate": ("Parallel", "_warn_or_raise_about_fit_failures"),
    "cross_val_score": ("cross_validate",),
    "cross_val_predict": ("Parallel",),
    "learning_curve": ("Parallel", "_warn_or_raise_about_fit_failures"),
    "validation_curve": ("Parallel",),
    "_fit_and_score": ("_safe_split", "time"),
    "_fit_and_predict": ("_safe_split",),
}
"""Names that functions of scikit-learn find in their modules, and that `rebound` replaces."""

_REPLACED_BY = {
    "Parallel": "parallel", "_warn_or_raise_about_fit_failures": "report_failures",
    "cross_validate": "cross_validate", "_safe_split": "split", "time": "time",
}  # fmt: skip

_SHARED_ARGUMENTS = ("estimator", "X", "y", "train", "test", "fit_params")
FITS: dict[str, tuple[str, ...]] = {
    "_fit_and_score": (
        *_SHARED_ARGUMENTS,
        *("parameters", "scorer", "error_score", "return_train_score", "return_estimator"),
        *("candidate_progress", *(("callback_ctx",) if RELEASE >= (1, 9) else ())),
    ),
    "_fit_and_predict": _SHARED_ARGUMENTS,
}
"""The functions that fit and judge an estimator of a search, with the arguments that we read."""

_OTHERS = ("_incremental_fit_estimator",)  # calls partial_fit, which no stack does


def __getattr__(name: str) -> Any:
    """Look a name of `NAMES` up in scikit-learn (PEP 562)."""
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _found(name)


@cache
def _found(alias: str) -> Any:
    """The object of a name in `NAMES`, with its attributes checked."""
    module, name, purpose, attributes, since, before = NAMES[alias]
    if since > RELEASE:
        return before
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # something that scikit-learn itself needs
        raise _missing(f"there is no module {module} with {name}", purpose) from error
    except AttributeError as error:
        raise _missing(f"{module} has no {name}", purpose) from error
    for attribute in attributes:
        if attribute not in _named_in(found):
            raise _missing(f"{module}.{name} has no {attribute} any more", purpose)
    return found


@cache
def _named_in(found: Any) -> set[str]:
    """Attributes of a class, and all names in the text of its methods or of a function."""
    if not isinstance(found, type):
        return set(_names_in(unwrap(found).__code__))
    names: set[str] = set()
    for base in found.__mro__[:-1]:
        names |= set(vars(base))
        for member in vars(base).values():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            code = getattr(unwrap(function) if callable(function) else None, "__code__", None)
            names |= set(_names_in(code) if code else ())
    return names


def _names_in(code: CodeType) -> Iterator[str]:
    """The names of attributes and the strings in the text of a function."""
    yield from code.co_names
    for constant in code.co_consts:
        if iscode(constant):
            yield from _names_in(constant)
        elif isinstance(constant, str):
            yield constant


def _globals_in(code: CodeType) -> set[str]:
    """The names that the text of a function finds in its module."""
    own = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    return own.union(*(_globals_in(c) for c in code.co_consts if iscode(c)))


@cache
def _used_by(function: FunctionType) -> tuple[str, ...]:
    """The names that `USES` has for a function, which its text does use."""
    where = f"{function.__module__}.{function.__qualname__}"
    if function.__qualname__ not in USES:
        raise _missing(f"cukernels does not know what {where} uses", _SEARCHES)
    for name in USES[function.__qualname__]:
        if name not in _globals_in(function.__code__):
            raise _missing(f"{where} does not use {name} any more", _SEARCHES)
    return USES[function.__qualname__]


def rebound(function: Callable, **replacements: Any) -> Callable:
    """Return a function of scikit-learn's that uses objects of ours.

    Parameters
    ----------
    function : function
        One of those in `USES`.
    **replacements : dict
        `parallel`, `report_failures`, `cross_validate`, `split` and `time`: what it is to find for
        scikit-learn's. Those that `USES` does not name for this function are left out.

    Returns
    -------
    function : function
        A copy, without scikit-learn's decorators.

    Raises
    ------
    MissingNameError
        If scikit-learn's function does not use a name that `USES` has for it: to replace it would
        change nothing.
    """
    function = unwrap(function)
    names = _used_by(function)
    own = FunctionType(
        function.__code__,
        {**function.__globals__, **{name: replacements[_REPLACED_BY[name]] for name in names}},
        function.__name__, function.__defaults__, function.__closure__,
    )  # fmt: skip
    own.__kwdefaults__ = function.__kwdefaults__
    return own


def function_of(call: Call) -> Callable:
    """Return the function that a call of `sklearn.utils.parallel.delayed` means."""
    return call[0].function if isinstance(call[0], _found("FuncWrapper")) else call[0]


def is_fit(function: Callable) -> bool:
    """Whether a function that a search calls fits an estimator by its `fit`.

    Raises
    ------
    MissingNameError
        If this package does not know the function, or if it lacks an argument or a name that a
        stack relies on: its fits would run one by one.
    """
    name = function.__name__
    if name in _OTHERS:
        return False
    if name not in FITS:
        what = f"scikit-learn's searches call {function.__module__}.{name}, and no longer one of "
        raise _missing(what + ", ".join(FITS), _SEARCHES)
    if missing := ", ".join(sorted(set(FITS[name]) - set(parameters_of(function)))):
        what = f"{function.__module__}.{name} has no argument {missing} any more"
        raise _missing(what, _SEARCHES)
    _used_by(unwrap(function))
    return True


@cache
def parameters_of(function: Callable) -> tuple[str, ...]:
    """Return the names of a function's parameters."""
    return tuple(signature(function).parameters)


def effective_n_jobs(parallel: Any) -> int:
    """Return how many jobs a `joblib.Parallel` runs at once, as its backend takes `n_jobs`."""
    return parallel._effective_n_jobs()


def constraints_of(original: Any) -> dict[str, Any]:
    """Return what the parameters of a search class or a function of scikit-learn may be."""
    name = "_parameter_constraints" if isinstance(original, type) else "_skl_parameter_constraints"
    if not hasattr(original, name):
        raise _missing(f"{original.__module__}.{original.__name__} has no {name}", _PARAMETERS)
    return getattr(original, name)


def scorers_of(scorer: Any) -> list[Any]:
    """Return the scorers in one that has several, or the scorer alone."""
    several = isinstance(scorer, _found("MultimetricScorer"))
    return list(scorer._scorers.values()) if several else [scorer]


def has_callbacks(estimator: Any) -> bool:
    """Whether scikit-learn's callbacks (release 1.9 and later) are to be told of a fit."""
    names = ("CallbackSupportMixin", "_skl_callbacks"), ("CallbackContext", "_parent_callback_ctx")
    return any(_found(alias) is not _NoCallbacks and hasattr(estimator, a) for alias, a in names)


def is_heard(context: Any) -> bool:
    """Whether a callback listens to a context, which a search has with and without any."""
    return bool(context is not None and getattr(context, "_callbacks", True))


def init_callback_context(estimator: Any, max_subtasks: int) -> Any:
    """Return the context of a fit, which tells the estimator's callbacks of so many tasks."""
    return estimator._init_callback_context(max_subtasks=max_subtasks)


def label_binarizer_of(network: Any) -> Any:
    """Return how a fitted MLPClassifier of scikit-learn's tells its labels."""
    return network._label_binarizer if _found("MLPClassifier") else None


def make_ready(network: Any, binarizer: Any) -> None:
    """Give an MLPClassifier of scikit-learn's what its `fit` leaves beside the weights."""
    _found("MLPClassifier")
    network._label_binarizer = binarizer
    network._random_state = np.random.RandomState()
    network._no_improvement_count = 0
