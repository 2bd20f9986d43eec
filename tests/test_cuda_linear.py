"""LogisticRegression and Perceptron on a GPU against those on the CPU, beyond test_gpu."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from _cuda_models import (
    PERCEPTRONS,
    SOLVERS,
    SPARSE,
    WEIGHT,
    X,
    Y,
    assert_same_linear_model,
    clone_fitted,
    on_both,
)
from estimators import LogisticRegression, Perceptron

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weights"])
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_logistic_regression_of_two_classes(solver, samples, weight, cupy):
    model = LogisticRegression(solver=solver, tol=1e-8)
    host, device = on_both(model, samples, Y > 0, sample_weight=weight)
    assert_same_linear_model(host, device, samples, 1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "saga", "l1_ratio": 0.5, "C": 0.2},
        {"solver": "saga", "l1_ratio": 1, "C": 0.2, "fit_intercept": False},
        {"loss": "squared_error"},
        {"C": np.inf, "max_iter": 8},
    ],
    ids=["elastic-net", "lasso", "squared-error", "no-penalty"],
)
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
def test_logistic_regression_otherwise(settings, samples, cupy):
    host, device = on_both(LogisticRegression(tol=1e-8, **settings), samples, Y)
    assert_same_linear_model(host, device, samples, 1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_logistic_regression_in_float32(solver, cupy):
    host, device = on_both(LogisticRegression(solver=solver), X.astype(np.float32), Y)
    assert device.coef_.dtype == np.float32
    assert_same_linear_model(host, device, X.astype(np.float32), 1e-3)


@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("case", PERCEPTRONS)
def test_perceptron_of_two_classes(case, samples, cupy):
    model = Perceptron(**{"max_iter": 4} | PERCEPTRONS[case])
    host, device = on_both(model, samples, Y > 0, sample_weight=WEIGHT)
    assert_same_linear_model(host, device, samples, 1e-10)


def test_perceptron_goes_on_over_devices(cupy):
    models = []
    for devices in (("cpu",) * 3, ("cuda", "cpu", "cuda")):
        model = Perceptron()
        for device in devices:
            model.set_params(device=device).partial_fit(X, Y, classes=range(3))
        models.append(model)
    assert_same_linear_model(*models, X, 1e-10)


def test_perceptron_reads_once_an_epoch(softgpu):
    def reads(epochs):
        with softgpu.transfers() as copies:
            Perceptron(max_iter=epochs, tol=None, device="cuda").fit(X, Y)
        return copies.to_host

    assert reads(3) == reads(2) + 1


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e-6), (np.float64, 1e-10)], ids=str)
def test_perceptron_on_small_values(dtype, size, multi_class, kind, cupy):
    """They count beside the intercept, and a rate that rounds does so as on the CPU."""
    X = np.random.default_rng(0).standard_normal((200, 4))
    y = (X @ np.random.default_rng(1).standard_normal((4, 3))).argmax(axis=1)
    X = kind((X * size).astype(dtype))
    model = Perceptron(eta0=0.1, max_iter=9, tol=None, multi_class=multi_class)
    host, device = on_both(model, X, y)
    assert device.score(X, y) == host.score(X, y) > 0.75
    np.testing.assert_allclose(device.intercept_, host.intercept_, rtol=1e-6, atol=1e-12)
    scale = np.abs(host.coef_).max()
    np.testing.assert_allclose(device.coef_, host.coef_, rtol=1e-4, atol=1e-5 * scale)


def test_perceptron_decides_on_the_device(cupy):
    host = Perceptron().fit(X, Y)
    for samples in (X, SPARSE):
        scores = clone_fitted(host, "cuda").decision_function(samples)
        np.testing.assert_allclose(scores, host.decision_function(samples), rtol=1e-12)
