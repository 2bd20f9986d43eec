"""Fitted models as scikit-learn's own, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.linear_model
import sklearn.neural_network
from sklearn.utils.validation import check_is_fitted

from estimators.logistic import LogisticRegression
from estimators.mlp import MLPClassifier
from estimators.neural.attributes import NAMES
from estimators.neural.given_weights import set_weights
from estimators.neural.optimizers import SOLVERS, listed, solver_named
from estimators.perceptron import Perceptron
from estimators.scikit_learn import label_binarizer_of, make_ready

_THEIRS: dict[type, type] = {
    Perceptron: sklearn.linear_model.Perceptron,
    LogisticRegression: sklearn.linear_model.LogisticRegression,
    MLPClassifier: sklearn.neural_network.MLPClassifier,
}
_OURS = {theirs: ours for ours, theirs in _THEIRS.items()}
_LINEAR = ("coef_", "intercept_", "classes_", "n_features_in_", "n_iter_")


def to_sklearn(estimator: Any) -> Any:
    """Return scikit-learn's estimator of the same name with the same parameters and weights.

    It predicts the same and needs this package no longer. Parameters that scikit-learn does not
    have are left out where they only concern training (`class_weight` and `dropout` of networks,
    `device`, ...).

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
        If scikit-learn's class cannot predict the same: an MLPClassifier with batch normalisation,
        with an activation that scikit-learn does not have, or with several. Or if it has no such
        solver, so that it could not go on training.
    """
    if type(estimator) not in _THEIRS:
        raise TypeError(
            "to_sklearn takes a Perceptron, LogisticRegression or MLPClassifier of this package, "
            f"got {type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    target = _THEIRS[type(estimator)]
    params = estimator.get_params(deep=False)
    if params["verbose"] == "bar":
        params["verbose"] = 1
    if isinstance(estimator, MLPClassifier):
        params |= _their_network_params(estimator, params)
    if isinstance(estimator, LogisticRegression):
        params |= _their_penalty(params)
    theirs = target(**{name: params[name] for name in target().get_params() if name in params})
    _copy_attributes(estimator, theirs, _LINEAR + ("t_",) if hasattr(estimator, "coef_") else NAMES)
    if isinstance(estimator, MLPClassifier):
        make_ready(theirs, estimator._label_binarizer)
    return theirs


def from_sklearn(estimator: Any, **params: Any) -> Any:
    """Return the estimator of this package for a fitted one of scikit-learn.

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression or MLPClassifier of scikit-learn
        Fitted.
    **params
        Parameters that scikit-learn's class does not have, such as `device`, or other values for
        those that it has. An MLPClassifier takes the precision of its weights, unless `dtype` says
        otherwise.

    Returns
    -------
    estimator : Perceptron, LogisticRegression or MLPClassifier
        It predicts the same. `partial_fit`, and `fit` with ``warm_start=True``, go on from the
        weights.

    Raises
    ------
    TypeError
        If the estimator is none of the three.
    ValueError
        If its solver has no counterpart here, and `params` names no other.
    """
    if type(estimator) not in _OURS:
        raise TypeError(
            "from_sklearn takes scikit-learn's Perceptron, LogisticRegression or MLPClassifier, "
            f"got {type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    target = _OURS[type(estimator)]
    theirs = estimator.get_params(deep=False)
    known = {name: theirs[name] for name in target().get_params() if name in theirs}
    if isinstance(estimator, sklearn.linear_model.LogisticRegression):
        known |= _our_penalty(known)
    if not isinstance(estimator, sklearn.neural_network.MLPClassifier):
        ours = target(**known | params)
        _copy_attributes(estimator, ours, (*_LINEAR, "t_"))
        return ours
    if "solver" not in params:
        known["solver"] = _our_solver(known["solver"])
    ours = target(**{"dtype": str(estimator.coefs_[0].dtype)} | known | params)
    binarizer = label_binarizer_of(estimator)
    set_weights(
        ours,
        estimator.coefs_,
        estimator.intercepts_,
        np.asarray(estimator.classes_),
        multilabel=binarizer.y_type_ == "multilabel-indicator",
    )
    kept = [name for name in NAMES if name not in ("coefs_", "intercepts_")]
    _copy_attributes(estimator, ours, kept)
    return ours


def _copy_attributes(source: Any, target: Any, names: Any) -> None:
    for name in (*names, "feature_names_in_"):
        if hasattr(source, name):
            value = getattr(source, name)
            copied = value.copy() if isinstance(value, np.ndarray | list) else value
            if isinstance(copied, list):
                copied = [a.copy() if isinstance(a, np.ndarray) else a for a in copied]
            setattr(target, name, copied)


def _their_network_params(model: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of scikit-learn's network, or an error where it has no such network."""
    activation = params["activation"]
    names = {activation} if isinstance(activation, str) else set(activation)
    if model.batch_norm:
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


def _their_solver(name: str) -> str:
    """What scikit-learn calls a solver, or an error where it has none like it."""
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
    """The solver of this package that scikit-learn's is, or an error where there is none."""
    for ours, solver in SOLVERS.items():
        if solver.in_sklearn == name:
            return ours
    raise ValueError(
        f"there is no solver here that is scikit-learn's {name!r}, only {listed(SOLVERS)}: choose "
        f"one with which to go on training, as from_sklearn(model, solver={next(iter(SOLVERS))!r})"
    )


def _knows_deprecated_penalty() -> bool:
    """Whether this is scikit-learn 1.8 or later, where `l1_ratio` alone says the penalty."""
    return sklearn.linear_model.LogisticRegression().penalty == "deprecated"


def _their_penalty(params: dict[str, Any]) -> dict[str, Any]:
    """The penalty as this release of scikit-learn wants to be told."""
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


def _our_penalty(params: dict[str, Any]) -> dict[str, Any]:
    """The penalty by `l1_ratio` and C alone, which no release of scikit-learn warns of."""
    penalty, ratio = params.get("penalty", "deprecated"), params.get("l1_ratio")
    if penalty == "deprecated":
        return {}
    if penalty is None:
        return {"penalty": "deprecated", "C": np.inf, "l1_ratio": 0.0}
    ratios = {"l2": 0.0, "l1": 1.0, "elasticnet": ratio}
    return {"penalty": "deprecated", "l1_ratio": ratios[penalty]}
