"""How fits of `Perceptron` are prepared: all that comes before their first step."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from estimators.costs.work import learned_samples
from estimators.linear.fit import learn_classes
from estimators.linear.perceptron_fit import PerceptronFit
from estimators.scikit_learn import check_partial_fit_first_call
from estimators.shared.base import float_dtype
from estimators.shared.device_arrays import device_for, on_host
from estimators.shared.listeners import listed
from estimators.shared.rows import dense_rows_of
from estimators.shared.samples import Samples


def prepare_fit(
    estimator: Any,
    samples: Samples,
    coef_init: Any = None,
    intercept_init: Any = None,
    sample_weight: Any = None,
    *,
    rows: np.ndarray | None = None,
    resume_from: Any = None,
) -> PerceptronFit:
    """Prepare a fit.

    Parameters
    ----------
    estimator : Perceptron
        The estimator to fit.
    samples : Samples
        X and y, which other fits may share.
    coef_init, intercept_init : array-like, default=None
        What to start from.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows that it learns from.
    rows : integer ndarray of shape (n_rows,), default=None
        The rows of the samples that it learns from; None for all.
    resume_from : path, default=None
        The file of a fit to go on with.
    """
    X, y = samples.checked(estimator)
    device = device_for(
        X,
        estimator.device,
        lambda: estimator._fit_work(
            learned_samples(X, rows), len(np.unique(y)), estimator.max_iter
        ),
        verbose=estimator.verbose,
    )
    fit_class, sample_weight = estimator._fit_class(device), on_host(sample_weight)
    _check_tells(fit_class, estimator, resume_from)
    if not fit_class.takes(rows, sample_weight):
        X, y, rows = X[rows], y[rows], None
        samples = Samples(X, y)
    classes, labels = learn_classes(samples, y, rows)
    estimator.classes_ = classes
    estimator._check_classes()
    if estimator.warm_start and hasattr(estimator, "coef_"):
        coef_init = estimator.coef_ if coef_init is None else coef_init
        intercept_init = estimator.intercept_ if intercept_init is None else intercept_init
    estimator.t_ = 1.0
    start = given_weights(len(classes), X, coef_init, intercept_init)
    fit: Any = fit_class.of(
        estimator, samples, X, labels, sample_weight, start, rows=rows, epochs=estimator.max_iter,
        device=device,
    )  # fmt: skip
    if resume_from is not None:
        fit.resume(resume_from)
    return fit


def prepare_partial_fit(
    estimator: Any, samples: Samples, classes: Any = None, sample_weight: Any = None
) -> PerceptronFit:
    """Prepare a `partial_fit`.

    Parameters
    ----------
    estimator : Perceptron
        The estimator to fit.
    samples : Samples
        X and y.
    classes : array-like of shape (n_classes,), default=None
        All labels; the first call needs them.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.
    """
    first = not hasattr(estimator, "classes_")
    if first and estimator.early_stopping:
        raise ValueError("early_stopping should be False with partial_fit")
    if first and estimator.class_weight == "balanced":
        raise ValueError(
            "class_weight 'balanced' is not supported for partial_fit. In order to use "
            "'balanced' weights, use compute_class_weight('balanced', classes=classes, y=y). "
            "In place of y you can use a large enough sample of the full training set target "
            "to properly estimate the class frequency distributions. Pass the resulting "
            "weights as the class_weight parameter."
        )
    classes, sample_weight = on_host(classes), on_host(sample_weight)
    X, y = estimator._check_X_y(samples.X, samples.y, reset=first)
    check_partial_fit_first_call(estimator, classes)
    unknown = np.setdiff1d(y, estimator.classes_)
    if len(unknown):
        raise ValueError(f"y has classes {unknown} that are not in classes {estimator.classes_}")
    estimator.classes_ = np.asarray(estimator.classes_)
    estimator._check_classes()
    estimator.t_ = 1.0 if first else getattr(estimator, "t_", 1.0)
    n_classes = len(estimator.classes_)
    device = estimator._fit_device(X, n_classes, 1)
    fit_class = estimator._fit_class(device)
    try:
        _check_tells(fit_class, estimator)
    except ValueError:
        if first:
            del estimator.classes_  # the next call is the first one again
        raise
    start = given_weights(n_classes, X, None, None) if first else learned_weights(estimator, X)
    labels = np.searchsorted(estimator.classes_, y)
    return fit_class.of(estimator, Samples(X, y), X, labels, sample_weight, start, device=device)


def _check_tells(fit_class: type[PerceptronFit], estimator: Any, resume_from: Any = None) -> None:
    """Raise ValueError if an engine that tells nothing of its epochs is asked for them."""
    asked = {"callbacks": bool(listed(estimator.callbacks)), "resume_from": resume_from is not None}
    for name in (name for name, is_asked in asked.items() if is_asked):
        if not fit_class.tells_of_epochs:
            raise ValueError(
                "multi_class='ovr' on the CPU runs in scikit-learn's loop, which tells nothing "
                f"before its end: for {name}, set multi_class='multinomial', or device='cuda' "
                "where there is a GPU"
            )


def given_weights(
    n_classes: int, X: Any, coef: Any, intercept: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of the weights and intercepts that are given, as floats like X, or zeros.

    Parameters
    ----------
    n_classes : int
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples to learn from.
    coef : {array-like, sparse matrix} of shape (1 or n_classes, n_features), or None
    intercept : array-like of shape (1 or n_classes,), or None

    Raises
    ------
    ValueError
        If one of them has another shape.
    """
    n_rows = 1 if n_classes == 2 else n_classes
    dtype = float_dtype(X)
    w, b = np.zeros((n_rows, X.shape[1]), dtype), np.zeros(n_rows, dtype)
    for name, start, given in (("coef", w, coef), ("intercept", b, intercept)):
        if given is None:
            continue
        given = np.asarray(given.toarray() if sp.issparse(given) else given, dtype)
        if given.size != start.size or (n_rows > 1 and given.shape != start.shape):
            raise ValueError(
                f"Provided {name}_init does not match dataset: expected shape {start.shape}, "
                f"got {given.shape}."
            )
        start[...] = given.reshape(start.shape)
    return w, b


def learned_weights(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of what an estimator has learned, to go on from with samples X.

    A single intercept is in double precision, in which the fit has left it.

    Raises
    ------
    ValueError
        If X has another number of features.
    """
    coef, intercept = dense_rows_of(estimator.coef_), np.atleast_1d(estimator.intercept_)
    if coef.shape[1] != X.shape[1]:
        raise ValueError(
            f"Number of features {X.shape[1]} does not match previous data {coef.shape[1]}."
        )
    dtype = float_dtype(X)
    own = np.float64 if len(coef) == 1 else dtype
    return np.array(coef, dtype, order="C"), np.array(intercept, own)
