"""The hyper-parameters that the training loop reads, taken from an estimator."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from estimators.shared.warnings import warn
from estimators.training.optimizers import solver_named

# Parameters may be numbers of NumPy, booleans or huge integers; the loop computes with plain ones.
_CASTS: dict[str, Any] = {"float": float, "int": int}
_MOST_OF_A_BATCH = 200  # samples, where `batch_size` is "auto"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a fit, named as in the estimators' constructors."""

    solver: str = "adam"
    alpha: float = 1e-4
    batch_size: int = 200
    learning_rate: str = "constant"
    learning_rate_init: float = 1e-3
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    tol: float = 1e-4
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10


def settings_of(estimator: Any, n_rows: int) -> Settings:
    """Return the settings of an estimator that learns from `n_rows` samples.

    Warns
    -----
    UserWarning
        If `batch_size` is larger than that, and the solver has batches.
    """
    casts = {f.name: _CASTS.get(str(f.type)) for f in fields(Settings)}
    casts["n_iter_no_change"] = None  # an integer, or infinity
    values = {
        name: cast(value) if (cast := casts[name]) and value != "auto" else value
        for name, value in estimator.get_params(deep=False).items()
        if name in casts
    }
    values["batch_size"] = batch_size_of(estimator, n_rows)
    is_larger = estimator.batch_size != "auto" and estimator.batch_size > n_rows
    if is_larger and solver_named(estimator.solver).goes_by_steps:
        warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    return Settings(**values)


def batch_size_of(estimator: Any, n_rows: int) -> int:
    """Return the rows of a step of an estimator that learns from `n_rows` samples."""
    if estimator.batch_size == "auto":
        return min(_MOST_OF_A_BATCH, n_rows)
    return min(int(estimator.batch_size), n_rows)
