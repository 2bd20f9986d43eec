"""What the parameters of `LogisticRegression` mean together, with scikit-learn's messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators.shared.warnings import warn


def resolve_penalty(estimator: Any) -> tuple[float, float]:
    """Return C and the share of the L1 norm, from current and deprecated parameters.

    Warns
    -----
    FutureWarning
        If a deprecated parameter is given.
    UserWarning
        If parameters contradict each other, or one is ignored.

    Raises
    ------
    ValueError
        If the solver does not take the penalty.
    """
    penalty, l1_ratio = estimator.penalty, estimator.l1_ratio
    if penalty == "deprecated":
        penalty = _penalty_name(estimator.C, l1_ratio)
        if l1_ratio is None:
            warn(
                "'l1_ratio=None' was deprecated in version 1.8 and will trigger an error in 1.10. "
                "Use 0<=l1_ratio<=1 instead.",
                FutureWarning,
            )
    else:
        warn(
            "'penalty' was deprecated in version 1.8 and will be removed in 1.10. To avoid this "
            "warning, leave 'penalty' set to its default value and use 'l1_ratio' or 'C' instead. "
            "Use l1_ratio=0 instead of penalty='l2', l1_ratio=1 instead of penalty='l1', "
            "l1_ratio set to a float between 0 and 1 instead of penalty='elasticnet', and C=np.inf "
            "instead of penalty=None.",
            FutureWarning,
        )
    _check_penalty(estimator, penalty)
    _warn_of_contradictions(estimator, penalty)
    if estimator.n_jobs is not None:
        warn(
            "'n_jobs' has no effect since 1.8 and will be removed in 1.10. You provided "
            f"'n_jobs={estimator.n_jobs}', please leave it unspecified.",
            FutureWarning,
        )
    C = np.inf if estimator.penalty is None else float(estimator.C)
    return C, {"l1": 1.0, "elasticnet": l1_ratio}.get(penalty, 0.0)


def has_l1(estimator: Any) -> bool:
    """Whether the penalty has an L1 norm, for parameters that `resolve_penalty` takes."""
    penalty, l1_ratio = estimator.penalty, estimator.l1_ratio
    if penalty == "deprecated":
        penalty = _penalty_name(estimator.C, l1_ratio)
    return penalty == "l1" or (penalty == "elasticnet" and bool(l1_ratio))


def _penalty_name(C: float, l1_ratio: float | None) -> str | None:
    """Return what `penalty` would be called, had it not been deprecated."""
    if np.inf == C:
        return None
    if l1_ratio is None or l1_ratio == 0:
        return "l2"
    return "l1" if l1_ratio == 1 else "elasticnet"


def _check_penalty(estimator: Any, penalty: str | None) -> None:
    """Raise unless the solver takes the penalty, the formulation and the loss."""
    solver, dual = estimator.solver, estimator.dual
    if solver not in ("liblinear", "saga") and penalty not in ("l2", None):
        raise ValueError(
            f"Solver {solver} supports only 'l2' or None penalties, got {penalty} penalty."
        )
    if solver != "liblinear" and dual:
        raise ValueError(f"Solver {solver} supports only dual=False, got dual={dual}")
    if penalty == "elasticnet" and solver != "saga":
        raise ValueError(f"Only 'saga' solver supports elasticnet penalty, got solver={solver}.")
    if solver == "liblinear" and penalty is None:
        raise ValueError(
            "C=np.inf as well as penalty=None is not supported for the liblinear solver"
        )
    if penalty == "l1" and dual:
        raise ValueError(
            "Unsupported set of arguments: The combination of penalty='l1' and "
            "loss='logistic_regression' are not supported when dual=True, Parameters: "
            "penalty='l1', loss='logistic_regression', dual=True"
        )
    if penalty == "elasticnet" and estimator.l1_ratio is None:
        raise ValueError("l1_ratio must be specified when penalty is elasticnet.")
    if estimator.loss == "squared_error" and solver != "lbfgs":
        raise ValueError(
            f"loss='squared_error' is supported only by solver='lbfgs', got solver={solver!r}."
        )


def _warn_of_contradictions(estimator: Any, penalty: str | None) -> None:
    """Warn of values of `penalty`, `l1_ratio` and `C` that do not fit together."""
    given, l1_ratio = estimator.penalty, estimator.l1_ratio
    if penalty != "elasticnet" and l1_ratio is not None and 0 < l1_ratio < 1:
        warn(
            "l1_ratio parameter is only used when penalty is 'elasticnet'. Got "
            f"(penalty={penalty})",
        )
    if (given == "l2" and l1_ratio != 0) or (given == "l1" and l1_ratio != 1):
        warn(
            f"Inconsistent values: penalty={given} with l1_ratio={l1_ratio}. penalty is "
            "deprecated. Please use l1_ratio only.",
        )
    if given is None and estimator.C != 1.0:
        warn("Setting penalty=None will ignore the C and l1_ratio parameters")


def check_classes(estimator: Any) -> None:
    """Raise unless the solver takes as many classes as there are in `estimator.classes_`."""
    classes = estimator.classes_
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains "
            f"only one class: {classes[0]!r}"
        )
    if estimator.solver == "liblinear" and len(classes) > 2:
        raise ValueError(
            "The 'liblinear' solver does not support multiclass classification (n_classes >= "
            "3). Either use another solver or wrap the estimator in a OneVsRestClassifier to "
            "keep applying a one-versus-rest scheme. Only binary classification is supported."
        )


def check_values(estimator: Any, X: Any) -> None:
    """Raise ValueError if the solver refuses values of X."""
    if estimator.solver == "liblinear" and X.max() > 1e30:
        raise ValueError(
            "Using the 'liblinear' solver while X contains a maximum value > 1e30 results in "
            "a frozen fit. Please choose another solver or rescale the input X."
        )


def penalty_strength(C: float, mass: float) -> float:
    """Return the strength of the penalty in the mean loss of samples that weigh `mass` together.

    Raises
    ------
    ValueError
        If the mass is negative, or the strength is not finite.
    """
    if mass < 0:
        raise ValueError(
            "The weights of samples, times those of classes, sum to a negative number, and the "
            "loss is their weighted mean: negative weights must be outweighed by positive ones."
        )
    if 1 / np.finfo(float).max > C * mass:
        raise ValueError(
            f"The strength of the penalty, 1 / (C * sum of the weights of samples), is not finite "
            f"for C={C:g} and weights that sum to {mass:g}."
        )
    return 1 / (C * mass)
