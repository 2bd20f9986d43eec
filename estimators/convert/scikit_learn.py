"""Fitted models as estimators of scikit-learn, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import sklearn.linear_model
import sklearn.neural_network
from sklearn.utils.validation import check_is_fitted

from estimators.logistic import LogisticRegression
from estimators.mlp import MLPClassifier
from estimators.neural.attributes import NAMES
from estimators.neural.given_weights import set_weights
from estimators.patching.stand_in import original_of, ours_of
from estimators.perceptron import Perceptron
from estimators.scikit_learn import label_binarizer_of, make_ready
from estimators.training.optimizers import SOLVERS, listed, solver_named

_LINEAR = ("coef_", "intercept_", "classes_", "n_features_in_", "n_iter_", "t_")


def to_sklearn(estimator: Any) -> Any:
    """Return scikit-learn's estimator of the same name, with the same parameters and weights.

    It makes the same predictions, and no longer needs this package. Parameters that scikit-learn
    does not have are left out if they only concern training (`class_weight` and `dropout` of
    networks, `device`, ...).

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression or MLPClassifier
        Fitted.

    Returns
    -------
    estimator : object of sklearn.linear_model or sklearn.neural_network

    Raises
    ------
    TypeError
        If the estimator is none of the three.
    ValueError
        If scikit-learn's class cannot make the same predictions, as for an MLPClassifier with batch
        normalisation, with several activations, or with one that scikit-learn does not have; or if
        scikit-learn does not have its solver, so that it could not go on training.
    """
    ours = ours_of(type(estimator))
    if ours not in _COUNTERPARTS:
        raise TypeError(
            "to_sklearn takes a Perceptron, LogisticRegression or MLPClassifier of this package, "
            f"got {type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    counterpart = _COUNTERPARTS[ours]
    params = estimator.get_params(deep=False)
    if params["verbose"] == "bar":
        params["verbose"] = 1
    params |= counterpart.their_params(params)
    names = counterpart.theirs().get_params()
    theirs = counterpart.theirs(**{name: params[name] for name in names if name in params})
    counterpart.fill_theirs(estimator, theirs)
    return theirs


def from_sklearn(estimator: Any, **params: Any) -> Any:
    """Return the estimator of this package for a fitted one of scikit-learn.

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression or MLPClassifier of scikit-learn
        Fitted.
    **params
        Parameters that scikit-learn's class does not have, such as `device`, or other values for
        those that it has. The `dtype` of an MLPClassifier is by default that of its weights.

    Returns
    -------
    estimator : Perceptron, LogisticRegression or MLPClassifier
        It makes the same predictions. `partial_fit`, and `fit` with ``warm_start=True``, go on
        from the weights.

    Raises
    ------
    TypeError
        If the estimator is none of the three.
    ValueError
        If this package does not have its solver, and `params` names no other one.
    """
    if type(estimator) not in _OURS:
        raise TypeError(
            "from_sklearn takes scikit-learn's Perceptron, LogisticRegression or MLPClassifier, "
            f"got {type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    target = _OURS[type(estimator)]
    counterpart = _COUNTERPARTS[target]
    theirs = estimator.get_params(deep=False)
    known = {name: theirs[name] for name in target().get_params() if name in theirs}
    ours = target(**known | counterpart.our_params(estimator, known, params) | params)
    counterpart.fill_ours(estimator, ours)
    return ours


def _fill_linear(source: Any, target: Any) -> None:
    _copy_attributes(source, target, _LINEAR)


def _fill_their_network(ours: Any, theirs: Any) -> None:
    _copy_attributes(ours, theirs, NAMES)
    make_ready(theirs, ours._label_binarizer)


def _fill_our_network(theirs: Any, ours: Any) -> None:
    set_weights(
        ours,
        theirs.coefs_,
        theirs.intercepts_,
        np.asarray(theirs.classes_),
        multilabel=label_binarizer_of(theirs).y_type_ == "multilabel-indicator",
    )
    kept = [name for name in NAMES if name not in ("coefs_", "intercepts_")]
    _copy_attributes(theirs, ours, kept)


def _copy_attributes(source: Any, target: Any, names: Any) -> None:
    """Copy the attributes of these names that `source` has; the models then share no array."""
    for name in (*names, "feature_names_in_"):
        if hasattr(source, name):
            value = getattr(source, name)
            copied = value.copy() if isinstance(value, np.ndarray | list) else value
            if isinstance(copied, list):
                copied = [a.copy() if isinstance(a, np.ndarray) else a for a in copied]
            setattr(target, name, copied)


def _their_network_params(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that differ in scikit-learn's network; raise if it has none such."""
    activation = params["activation"]
    names = {activation} if isinstance(activation, str) else set(activation)
    if params["batch_norm"]:
        raise ValueError("scikit-learn's MLPClassifier has no batch normalisation")
    if len(names) > 1 or not names <= {"identity", "logistic", "tanh", "relu"}:
        raise ValueError(
            "scikit-learn's MLPClassifier has one activation for all layers, out of 'identity', "
            f"'logistic', 'tanh' and 'relu', not {activation!r}"
        )
    learning_rate = params["learning_rate"]
    return {
        "solver": _their_solver(params["solver"]),
        "activation": names.pop() if names else "relu",
        "learning_rate": learning_rate
        if learning_rate in ("constant", "invscaling", "adaptive")
        else "constant",
    }


def _our_network_params(
    theirs: Any, known: dict[str, Any], given: dict[str, Any]
) -> dict[str, Any]:
    """Return the parameters that differ in our network, except those that are given."""
    params = {"dtype": str(theirs.coefs_[0].dtype)}
    return params if "solver" in given else params | {"solver": _our_solver(known["solver"])}


def _their_solver(name: str) -> str:
    """Return what scikit-learn calls a solver; raise ValueError if it has none like it."""
    theirs = solver_named(name).in_sklearn
    if theirs is None:
        known = [solver.in_sklearn for solver in SOLVERS.values() if solver.in_sklearn is not None]
        raise ValueError(
            f"scikit-learn's MLPClassifier has no solver {name!r}, only {listed(known)}: choose "
            "one with which it is to go on training, as to_sklearn(model.set_params("
            f"solver={known[0]!r}))"
        )
    return theirs


def _our_solver(name: str) -> str:
    """Return our name of a solver of scikit-learn; raise ValueError if there is none like it."""
    for ours, solver in SOLVERS.items():
        if solver.in_sklearn == name:
            return ours
    raise ValueError(
        f"there is no solver here that is scikit-learn's {name!r}, only {listed(SOLVERS)}: choose "
        f"one with which to go on training, as from_sklearn(model, solver={next(iter(SOLVERS))!r})"
    )


def _knows_deprecated_penalty() -> bool:
    """Return whether `l1_ratio` alone says the penalty, as from scikit-learn 1.8 on."""
    return sklearn.linear_model.LogisticRegression().penalty == "deprecated"


def _their_penalty(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that say a penalty to this release of scikit-learn."""
    if params["penalty"] != "deprecated" or _knows_deprecated_penalty():
        return {}
    ratio = params["l1_ratio"]
    if params["C"] == np.inf:
        return {"penalty": None, "C": 1.0, "l1_ratio": None}
    if ratio in (0, None):
        return {"penalty": "l2", "l1_ratio": None}
    if ratio == 1:
        return {"penalty": "l1", "l1_ratio": None}
    return {"penalty": "elasticnet"}


def _our_penalty(theirs: Any, known: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that say a penalty by `l1_ratio` and C alone, without a warning."""
    penalty, ratio = known.get("penalty", "deprecated"), known.get("l1_ratio")
    if penalty == "deprecated":
        return {}
    if penalty is None:
        return {"penalty": "deprecated", "C": np.inf, "l1_ratio": 0.0}
    ratios = {"l2": 0.0, "l1": 1.0, "elasticnet": ratio}
    return {"penalty": "deprecated", "l1_ratio": ratios[penalty]}


class _Counterpart(NamedTuple):
    """A class of scikit-learn, and what distinguishes it from ours of the same name.

    Attributes
    ----------
    theirs : type
        scikit-learn's class.
    fill_theirs : callable
        Gives the fitted attributes of our estimator to theirs, ``fill_theirs(ours, theirs)``.
    fill_ours : callable
        Gives the fitted attributes of their estimator to ours, ``fill_ours(theirs, ours)``.
    their_params : callable
        Returns the parameters that differ in their class, ``their_params(our_params)``.
    our_params : callable
        Returns the parameters that differ in our class, ``our_params(theirs, known, given)``, where
        `known` are those of `theirs` that we have too, and `given` those that the user gives.
    """

    theirs: type
    fill_theirs: Callable[[Any, Any], None] = _fill_linear
    fill_ours: Callable[[Any, Any], None] = _fill_linear
    their_params: Callable[[dict[str, Any]], dict[str, Any]] = lambda params: {}
    our_params: Callable[..., dict[str, Any]] = lambda theirs, known, given: {}


_COUNTERPARTS: dict[type, _Counterpart] = {
    Perceptron: _Counterpart(original_of(sklearn.linear_model.Perceptron)),
    LogisticRegression: _Counterpart(
        original_of(sklearn.linear_model.LogisticRegression),
        their_params=_their_penalty,
        our_params=_our_penalty,
    ),
    MLPClassifier: _Counterpart(
        original_of(sklearn.neural_network.MLPClassifier),
        _fill_their_network,
        _fill_our_network,
        _their_network_params,
        _our_network_params,
    ),
}
_OURS = {counterpart.theirs: ours for ours, counterpart in _COUNTERPARTS.items()}
