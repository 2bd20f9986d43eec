"""LogisticRegression and Perceptron on a GPU against those on the CPU, beyond test_gpu."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from _cuda_models import (
    PERCEPTRONS,
    SOLVERS,
    SPARSE,
    WEIGHT,
    X,
    Y,
    assert_same_linear_model,
    clone_fitted,
    here,
    on_both,
)
from cukernels.gpu.kernel import KERNELS
from estimators import LogisticRegression, Perceptron
from estimators.linear import device_loss, perceptron_state
from estimators.linear.device_loss import DeviceObjective
from estimators.linear.logistic_solvers import solve_lbfgs
from estimators.linear.loss import LinearObjective

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


def counts(softgpu, run) -> np.ndarray:
    """Copies to the host, waits and launches of a run; it must not launch a kernel of CuPy's."""
    with softgpu.launched() as kernels, softgpu.transfers() as copies:
        run()
    names = {str(kernel).partition("<")[0] for kernel in kernels}
    assert names <= {kernel.name for kernel in KERNELS}
    return np.array([copies.to_host, copies.synchronizations, len(kernels)])


PERCEPTRON_EPOCHS = {
    "": ({}, 4),
    "multinomial": ({"multi_class": "multinomial"}, 4),
    "balanced-l2": ({"class_weight": "balanced", "penalty": "l2"}, 5),
    "elastic-net": ({"penalty": "elasticnet", "learning_rate": "invscaling"}, 6),
}


@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("case", PERCEPTRON_EPOCHS)
def test_perceptron_reads_once_an_epoch(case, samples, softgpu):
    """And a whole fit launches no kernel of CuPy's, so that none is compiled."""
    settings, launches = PERCEPTRON_EPOCHS[case]

    def fit(epochs):
        model = Perceptron(max_iter=epochs, tol=None, device="cuda", **settings)
        return counts(softgpu, lambda: model.fit(samples, Y, sample_weight=WEIGHT))

    reads, waits, launched = fit(3) - fit(2)
    assert reads == waits == 1
    assert launched <= launches


@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True, "validation_fraction": 0.3}])
def test_a_problem_that_stops_keeps_its_weights(settings, samples, softgpu):
    """While the others go on, which are then put back among those that do not."""
    model = Perceptron(n_iter_no_change=2, tol=0.01, **settings)
    with softgpu.launched() as kernels:
        host, device = on_both(model, samples, Y)
    assert any(str(kernel).startswith("scatter_rows") for kernel in kernels)
    assert_same_linear_model(host, device, samples, 1e-10)
    counts(softgpu, lambda: clone_fitted(device, "cuda").fit(samples, Y))


@pytest.mark.parametrize("call", [2, 3, 6])
def test_ctrl_c_between_the_arrays_of_a_perceptron(call, cupy, monkeypatch):
    """While those that go on are put back among problems that have stopped."""
    model = Perceptron(n_iter_no_change=2, tol=0.01, device="cuda")
    calls, scatter = itertools.count(1), perceptron_state.scatter_rows

    def struck(*args):
        if next(calls) == call:
            raise KeyboardInterrupt
        scatter(*args)

    monkeypatch.setattr(perceptron_state, "scatter_rows", struck)
    one = clone(model)
    with pytest.warns(UserWarning, match="interrupted by user"):
        one.fit(X, Y)
    monkeypatch.undo()
    whole = clone(model).set_params(max_iter=one.n_iter_).fit(X, Y)
    np.testing.assert_array_equal(one.coef_, whole.coef_)
    np.testing.assert_array_equal(one.intercept_, whole.intercept_)


@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
def test_perceptron_that_overflows_says_so(multi_class, cupy):
    samples = X.astype(np.float32) * np.float32(1e38)
    for device in ("cpu", "cuda"):
        model = Perceptron(multi_class=multi_class, eta0=100.0, device=device, max_iter=4, tol=None)
        with pytest.raises(ValueError, match="under-/overflow occurred"):
            model.fit(samples, Y)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weights"])
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
@pytest.mark.parametrize("labels", [Y, Y > 0], ids=["classes", "two-classes"])
def test_logistic_regression_reads_once_an_iteration(labels, loss, samples, weight, softgpu):
    """And a fit launches no kernel of CuPy's. The line search needs no other evaluation here."""

    def fit(iterations):
        model = LogisticRegression(loss=loss, max_iter=iterations, tol=1e-12, device="cuda")
        found = counts(softgpu, lambda: model.fit(samples, labels, sample_weight=weight))
        assert model.n_iter_ == iterations
        return found

    reads, waits, launched = fit(7) - fit(6)
    assert reads == waits == 1
    assert launched <= 8


@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("solver", ["newton-cg", "newton-cholesky", "saga"])
def test_parts_of_an_iteration_are_read_once(solver, samples, softgpu):
    """An evaluation, a product with the Hessian, and dense samples' Hessian: one read each."""
    objective = DeviceObjective(samples, Y, 3, l2=np.array([0.1]), device="cuda:0")
    x = np.random.default_rng(0).standard_normal(objective.n_parameters)
    one = np.zeros(1, dtype=int)
    probabilities = objective.probabilities(x)
    objective.hessian(probabilities)  # its kernels, some of which are CuPy's, are compiled
    if solver == "newton-cholesky":
        with softgpu.transfers() as copies:
            objective.hessian(probabilities)
        # sparse rows stay on the host: their probabilities and shares are read
        assert copies.to_host == copies.synchronizations == (1 if samples is X else 2)
        return
    for run in (
        lambda: objective.value_and_gradient(x[None], one),
        lambda: objective.hessian_product(probabilities, x),
    ):
        run()
        assert counts(softgpu, run)[:2].tolist() == [1, 1]


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_hessian_is_made_block_by_block(n_classes, cupy, monkeypatch):
    """It is that of the host, of all parameters or of some, however little is read at once."""
    y, options = np.arange(len(X)) % n_classes, {"l2": np.array([0.1])}
    host = LinearObjective(X, y, n_classes, **options)
    device = DeviceObjective(X, y, n_classes, device=here(), **options)
    x = np.random.default_rng(0).standard_normal(host.n_parameters)
    for subset in (None, np.arange(3, host.n_parameters, 2), np.array([2, host.n_parameters - 1])):
        expected = host.hessian(host.probabilities(x), subset)
        got = device.hessian(device.probabilities(x), subset)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
        for most in (0, 3_000):
            with monkeypatch.context() as patch:
                patch.setattr(device_loss, "BYTES_READ_AT_ONCE", most)
                again = device.hessian(device.probabilities(x), subset)
            assert again.tobytes() == got.tobytes()


@pytest.mark.each_device
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_stack_of_logistic_regressions_is_its_models(dtype, n_classes, kind, cupy):
    """To the bit, each with weights and limits of its own; and the gradient is that of the host."""
    rng = np.random.default_rng(0)
    samples = kind(np.where(rng.random((700, 21)) < 0.4, rng.standard_normal((700, 21)), 0))
    samples = samples.astype(dtype)
    y, weights = rng.integers(n_classes, size=700), rng.random((3, 700))
    l2, max_iter = np.array([0.3, 0.01, 0.1]), np.array([2, 4, 3])

    def objective(models, of=DeviceObjective, device=None):
        options = {"l2": l2[models], "sample_weight": weights[models], "device": device or here()}
        return of(samples, y, n_classes, **options)

    stack, every = objective([0, 1, 2]), np.arange(3)
    x0 = 0.1 * rng.standard_normal((3, stack.n_parameters))
    host = objective([0, 1, 2], LinearObjective, "cpu").value_and_gradient(x0, every)
    for own, expected in zip(stack.value_and_gradient(x0, every), host, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-5, atol=20 * np.finfo(dtype).eps)
    together = solve_lbfgs(stack, x0, tol=np.full(3, 1e-9), max_iter=max_iter)
    for m in range(3):
        (alone,) = solve_lbfgs(
            objective([m]), x0[m : m + 1], tol=np.array([1e-9]), max_iter=max_iter[m : m + 1]
        )
        assert alone.n_iter == together[m].n_iter == max_iter[m]
        assert alone.x.tobytes() == together[m].x.tobytes()


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
