"""Classes that stand for scikit-learn's in a program that was written for those.

A stand-in is our class with scikit-learn's signature and defaults, and a subclass of both, so that
`isinstance` says yes either way. A fit that our class refuses is made by scikit-learn's class, on
the same object (`theirs`). What is asked of the object after that is answered by that class too.
The next `fit` is tried by our class again.
"""

from __future__ import annotations

import warnings
from abc import ABCMeta
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if

from estimators.patching.notices import say_once
from estimators.patching.theirs import method_of_theirs, ours_only, remember, theirs_only
from estimators.scikit_learn import MissingNameError
from estimators.shared.interrupts import interrupts_raise
from estimators.shared.warnings import issued_by

_THEIRS = "_fitted_by_scikit_learn"  # in the attributes of an object that scikit-learn has fitted
_LEARNS = "fit", "partial_fit"
_TELLS = (
    *("predict", "predict_proba", "predict_log_proba", "decision_function", "score"),
    *("densify", "sparsify"),
)


class Replacement(ABCMeta):
    """The class of the classes that take a place: objects of the replaced class are theirs too.

    A program may have made some before the patch. Subclasses are classes like any other.
    """

    # by which `isinstance` goes as well
    def __subclasscheck__(cls, subclass: Any) -> bool:
        return super().__subclasscheck__(subclass) or _descends(cls, subclass)

    @property
    def __wrapped__(cls) -> Any:
        """Our class, whose text `inspect.getsource` shows: a stand-in stands in no file."""
        return _of_stand_in(cls, "_ours")

    @property
    def __signature__(cls) -> Signature:
        """The stand-in's own signature; `inspect` would take that of what is wrapped."""
        own = signature(_of_stand_in(cls, "__init__"))
        return own.replace(parameters=list(own.parameters.values())[1:])


def _of_stand_in(cls: type, name: str) -> Any:
    """Return what a stand-in has, and for a subclass say as Python does that it has it not."""
    if "_ours" not in vars(cls):
        raise AttributeError(name)
    return getattr(cls, name)


def _descends(cls: type, other: Any) -> bool:
    """Whether a class is one of those that the replaced class of `cls` is a base of."""
    # `issubclass` would ask the replaced class, which asks all its subclasses, and so this one
    return vars(cls).get("_replaced") in getattr(other, "__mro__", ())


def original_of(cls: Any) -> Any:
    """Return scikit-learn's class, also where another one has taken its place."""
    return getattr(cls, "_replaced", cls)


def ours_of(cls: type) -> type:
    """Return the class of this package that has taken scikit-learn's place, or `cls` itself."""
    return vars(cls).get("_ours", cls)


def stand_in(ours: Any, original: Any, module: str, *, unheard: str = "", **defaults: Any) -> Any:
    """Return a class that stands for an estimator of scikit-learn.

    Parameters
    ----------
    ours, original : type
        The class of this package, and that of scikit-learn.
    module : str
        The module in which the class will be found by its name, as pickle does.
    unheard : str, default=""
        What begins the FutureWarnings of `ours` that this release of scikit-learn does not have.
    **defaults : dict
        Defaults of parameters that scikit-learn's class does not have, where they are others than
        those of `ours`.

    Returns
    -------
    cls : type
        It has scikit-learn's parameters, in their order and with their defaults, and then those
        that only `ours` has.
    """
    attributes: dict[str, Any] = {
        "__doc__": ours.__doc__,
        "__module__": module,
        "__qualname__": original.__name__,
        "__init__": _constructor(_joined(ours, original, defaults), original.__name__),
        "_ours": ours,
        "_replaced": original,
        "_prepare": _prepares(ours, unheard),
    }
    attributes |= {n: _learns(n, getattr(ours, n)) for n in _LEARNS if hasattr(ours, n)}
    attributes |= {n: _tells(n, getattr(ours, n)) for n in _TELLS if hasattr(ours, n)}
    if "partial_fit" in attributes:
        attributes["partial_fit"] = available_if(_has_partial_fit)(attributes["partial_fit"])
    cls = Replacement(original.__name__, (ours, original), attributes)
    remember(cls)
    return cls


def _joined(ours: Any, original: Any, defaults: dict[str, Any]) -> Signature:
    """Return the parameters of scikit-learn's constructor, and then those that only ours has."""
    theirs = signature(original.__init__)
    more = [
        parameter.replace(
            kind=Parameter.KEYWORD_ONLY, default=defaults.get(name, parameter.default)
        )
        for name, parameter in signature(ours).parameters.items()
        if name not in theirs.parameters
    ]
    plain = [p.replace(annotation=Parameter.empty) for p in [*theirs.parameters.values(), *more]]
    return theirs.replace(parameters=plain, return_annotation=Signature.empty)


def _constructor(parameters: Signature, name: str) -> Callable:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            given = parameters.bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}.__init__() {error}") from None
        given.apply_defaults()
        vars(self).update(list(given.arguments.items())[1:])

    __init__.__signature__ = parameters  # type: ignore[attr-defined]
    return __init__


def _learns(name: str, method: Callable) -> Callable:
    @wraps(method)
    def learn(self: Any, *args: Any, **kwargs: Any) -> Any:
        goes_on = name == "partial_fit" or self.warm_start
        reason = theirs_only(self)
        if reason is not None and (wish := ours_only(self, name, kwargs)) is not None:
            raise ValueError(f"{reason}, and scikit-learn's has no {wish}")
        if reason is None and goes_on and _THEIRS in vars(self):
            reason = "it goes on from a fit of scikit-learn's"
        refusals: list[Exception] = []
        if reason is None:
            refusals = _refusals(method, self, args, kwargs)
            if not refusals:
                vars(self).pop(_THEIRS, None)
                return self
            if ours_only(self, name, kwargs):  # scikit-learn has nothing to say of these
                raise refusals.pop()
            reason = f"{type(refusals[0]).__name__}: {refusals[0]}".splitlines()[0]
        try:
            method_of_theirs(self, name)[1](*args, **kwargs)
        except Exception as error:
            # the value that scikit-learn refuses may be right here, and something else wrong
            if refusals and _is_of_parameters(error):
                raise refusals.pop() from None
            raise
        finally:
            refusals.clear()
        vars(self)[_THEIRS] = True
        cls = type(self).__name__
        say_once(f"scikit-learn's own {cls} did a {name} that ours does not do ({reason})")
        return self

    return learn


def _refusals(method: Callable, model: Any, args: tuple, kwargs: Any) -> list[Exception]:
    """Run our fit, and return the exception by which it fails, with no random number drawn.

    It is in a list so that the caller can drop it. A frame that keeps an exception of a function
    that it called is in a cycle with the traceback, and the cycle keeps the samples of the fit.
    """
    undo = _generator_of(model)
    try:
        issuer = type(model)._replaced.__module__
        issued_by(issuer, interrupts_raise, method, model, *args, **kwargs)
    except Exception as error:
        undo()
        return [error]
    return []


def _generator_of(model: Any) -> Callable[[], None]:
    """Return what sets the generator that a fit draws from back to where it is now."""
    given = getattr(model, "random_state", 0)
    if given is None or given is np.random:
        state = np.random.get_state()
        return lambda: np.random.set_state(state)
    if isinstance(given, np.random.RandomState):
        own = given.get_state()
        return lambda: given.set_state(own)
    return lambda: None


def _is_of_parameters(error: Exception) -> bool:
    """Whether scikit-learn refuses the value of a parameter: its error is of both types."""
    return isinstance(error, ValueError) and isinstance(error, TypeError)


def _has_partial_fit(model: Any) -> bool:
    """Return True, or raise AttributeError where our class has none for these parameters."""
    ours: type = type(model)._ours
    method = next(vars(cls)["partial_fit"] for cls in ours.__mro__ if "partial_fit" in vars(cls))
    return method.__get__(model, ours) is not None


def _tells(name: str, method: Callable) -> Callable:
    @wraps(method)
    def tell(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _THEIRS not in vars(self):
            return issued_by(type(self)._replaced.__module__, method, self, *args, **kwargs)
        view, method_of_view = method_of_theirs(self, name)
        answer = method_of_view(*args, **kwargs)
        return self if answer is view else answer

    return tell


def _prepares(ours: Any, unheard: str) -> Callable:
    """Return what a search calls before it trains a stack; what it refuses is fitted alone."""

    @wraps(ours._prepare)
    def _prepare(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (reason := theirs_only(self)) is not None:
            raise ValueError(reason)
        if not unheard:
            return ours._prepare(self, *args, **kwargs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", unheard)
            return ours._prepare(self, *args, **kwargs)

    return _prepare


def search_stand_in(ours: Any, original: Any, module: str) -> Any:
    """Return a class that stands for a search of scikit-learn; `ours` descends from that already.

    If a private name is gone that stacks need, scikit-learn runs the search.
    """

    @wraps(ours.fit)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return issued_by(original.__module__, interrupts_raise, ours.fit, self, *args, **kwargs)
        except MissingNameError as error:
            say_once(f"scikit-learn's own {original.__name__} runs the search ({error})")
            return original.fit(self, *args, **kwargs)

    attributes = {
        "__doc__": ours.__doc__,
        "__module__": module,
        "__qualname__": original.__name__,
        "_ours": ours,
        "_replaced": original,
        "fit": fit,
    }
    return Replacement(original.__name__, (ours,), attributes)


def function_stand_in(ours: Callable, original: Callable, module: str) -> Callable:
    """Return a function that stands for one of scikit-learn, as `search_stand_in` does."""

    @wraps(ours)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return issued_by(original.__module__, interrupts_raise, ours, *args, **kwargs)
        except MissingNameError as error:
            say_once(f"scikit-learn's own {original.__name__} runs the fits ({error})")
            known = signature(original).parameters
            return original(*args, **{n: value for n, value in kwargs.items() if n in known})

    run.__module__ = module
    return run
