"""What the tests of checkpoints share: fits that write a file each epoch, and how they compare."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone

from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators.callbacks import Checkpoint

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 7))
X[RNG.random(X.shape) < 0.4] = 0
SPARSE = sp.csr_matrix(X)
Y = (X @ RNG.standard_normal((7, 3)) + 2 * RNG.gumbel(size=(120, 3))).argmax(axis=1)
WEIGHT = RNG.integers(0, 4, len(Y)) / 2
ATTRIBUTES = ("coef_", "intercept_", "n_iter_", "t_", "coefs_", "intercepts_", "loss_", "classes_")

LBFGS = {"solver": "lbfgs", "tol": 1e-9}
SWEPT = {"multi_class": "multinomial", "tol": None, "max_iter": 9}
LINEAR = {
    **{name: LogisticRegression(solver=name, tol=1e-9) for name in ("newton-cg", "saga", "sag")},
    "lbfgs": LogisticRegression(**LBFGS),
    "newton-cholesky": LogisticRegression(solver="newton-cholesky", tol=1e-9, C=10.0),
    "liblinear": LogisticRegression(solver="liblinear", tol=1e-9),
    "lasso": LogisticRegression(solver="liblinear", l1_ratio=1, C=0.3, tol=1e-9),
    "elastic net": LogisticRegression(solver="saga", l1_ratio=0.5, C=0.3, tol=1e-9),
    "squared error": LogisticRegression(loss="squared_error", fit_intercept=False, **LBFGS),
    "no penalty": LogisticRegression(C=np.inf, max_iter=25, **LBFGS),
    "class weight": LogisticRegression(class_weight="balanced", **LBFGS),
    "perceptron": Perceptron(**SWEPT),
    "perceptron's tol": Perceptron(**SWEPT | {"tol": 1e-3, "max_iter": 100}, n_iter_no_change=3),
    "perceptron L2": Perceptron(penalty="l2", alpha=0.01, **SWEPT),
    "perceptron L1": Perceptron(penalty="l1", alpha=0.003, **SWEPT),
    "early stopping": Perceptron(early_stopping=True, **SWEPT | {"tol": 1e-3, "max_iter": 100}),
    "invscaling": Perceptron(learning_rate="invscaling", class_weight={0: 2.0}, **SWEPT),
    "in order": Perceptron(shuffle=False, penalty="elasticnet", **SWEPT),
}
NETWORKS = {
    "network": MLPClassifier((6,), max_iter=25, random_state=0, **LBFGS),
    "network in float64": MLPClassifier(
        (5, 4), max_iter=25, dtype="float64", alpha=0.1, random_state=None, **LBFGS
    ),
}
FITS = LINEAR | NETWORKS


def labels_for(model: Any) -> np.ndarray:
    """Labels of two classes for the solver that takes no more."""
    return Y > 0 if getattr(model, "solver", "") == "liblinear" else Y


def quietly(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Fit without the warning of a limit that is reached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*args, **kwargs)


def fit_of(model: Any, samples: Any, **fit: Any) -> Any:
    """A fitted clone, which is always the same."""
    np.random.seed(0)
    return quietly(clone(model), samples, labels_for(model), **fit)


def written(
    model: Any, folder: Path, samples: Any, losses: list[float] | None = None, **fit: Any
) -> tuple[Any, list[Path]]:
    """A clone that has written a file each epoch, and these; the losses go to a list."""
    callbacks: list = [Checkpoint(folder / "{epoch:04d}.ckpt")]
    if losses is not None:
        callbacks.append(lambda estimator, info: losses.append(info.loss))
    model = clone(model).set_params(callbacks=callbacks)
    return fit_of(model, samples, **fit), sorted(folder.iterdir())


def some(files: list[Path], count: int = 5) -> list[Path]:
    """A few of them, the first and the last among them."""
    return [files[i] for i in np.unique(np.linspace(0, len(files) - 1, count).astype(int))]


def assert_equal(model: Any, other: Any) -> None:
    """All that a fit sets, to the bit."""
    for name in ATTRIBUTES:
        a, b = getattr(model, name, None), getattr(other, name, None)
        a, b = (v if isinstance(v, list) else [v] for v in (a, b))
        assert len(a) == len(b), name
        for mine, theirs in zip(a, b, strict=True):
            assert getattr(mine, "dtype", None) == getattr(theirs, "dtype", None), name
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
