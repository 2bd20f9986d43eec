"""The estimators on a GPU that is not there: their whole path there, against the one on the CPU.

The stand-in for CuPy runs the kernels on the host, refuses to mix its arrays with NumPy's, has
nothing that CuPy would take from cuBLAS and its like, and counts what goes to the device and back.
Shuffles, initial weights and dropout are the same on both, so the trainings are too, but for
rounding.
"""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from cukernels.runtime.arrays import to_device
from cukernels.runtime.registry import OPS
from estimators import (
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
)
from estimators.layers.dense import Scores
from estimators.neural.loop import Data, train
from estimators.neural.member import Member, TrainingState, dropout_streams
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.optimizers import STEPPED
from estimators.neural.settings import Settings

RNG = np.random.default_rng(0)
Y = RNG.integers(3, size=60)
X = (RNG.integers(0, 9, (60, 12)) + 4 * np.eye(3)[Y].repeat(4, axis=1)) / 8
X_VAL, Y_VAL = X[:20] + 0.1, Y[:20]
LABELS = np.stack([Y == 0, X[:, 0] > 0.7], axis=1).astype(int)
WEIGHT = RNG.integers(0, 4, len(Y)) / 2
SPARSE = sp.csr_matrix(np.where(RNG.random(X.shape) < 0.5, X, 0))
IMAGES = RNG.random((36, 6, 6, 2)) + np.arange(36)[:, None, None, None] % 3 / 2
IMAGE_LABELS = np.arange(36) % 3

LOSS = {"float32": 1e-4, "float64": 1e-9}  # relative; what rounding may make of a loss
NEEDS_SWEEP = pytest.mark.skipif(
    OPS["perceptron_sweep"].cuda is None or OPS["csr_perceptron_sweep"].cuda is None,
    reason="the perceptron's sweep has no kernel yet",
)


@pytest.fixture(autouse=True)
def quiet():
    """Trainings of a few epochs have not converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def on_both(model, X, y, **fit):
    """The model fitted on the CPU, and on the device."""
    return clone(model).set_params(device="cpu").fit(X, y, **fit), (
        clone(model).set_params(device="cuda").fit(X, y, **fit)
    )


def assert_same_network(host, device, X, tolerance):
    """The same training: losses, scores, weights, and predictions of either on either device."""
    assert device.n_iter_ == host.n_iter_
    np.testing.assert_allclose(device.loss_, host.loss_, rtol=tolerance)
    if host.solver != "lbfgs":
        np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=tolerance)
        assert device.validation_scores_ == host.validation_scores_
    for name in ("coefs_", "intercepts_"):
        for place, a, b in zip(
            weighted(host), getattr(device, name), getattr(host, name), strict=True
        ):
            assert type(a) is np.ndarray and a.dtype == b.dtype
            # a bias that is normalised away moves by its gradient's rounding, and changes nothing
            if name == "coefs_" or not is_normalised(host, place):
                np.testing.assert_allclose(a, b, rtol=0, atol=100 * tolerance * np.abs(b).max())
    p = host.predict_proba(X)
    np.testing.assert_allclose(device.predict_proba(X), p, rtol=0, atol=100 * tolerance)
    there = clone_fitted(host, "cuda").predict_proba(X)
    assert type(there) is np.ndarray and there.dtype == p.dtype
    np.testing.assert_allclose(there, p, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(clone_fitted(host, "cuda").predict(X), host.predict(X))


def weighted(model):
    """The places of the layers with weights."""
    return [slot.layer for slot in model._network.slots if slot.name == "w"]


def is_normalised(model, place):
    """Whether batch normalisation follows a layer, which takes the mean and so a bias away."""
    return any(isinstance(one, BatchNorm) for one in model._network.layers[place + 1 : place + 2])


def clone_fitted(model, device):
    """The fitted model, predicting on another device."""
    return pickle.loads(pickle.dumps(model)).set_params(device=device)


def mlp(**settings):
    defaults = {"hidden_layer_sizes": (7,), "batch_size": 16, "max_iter": 3, "random_state": 0}
    return MLPClassifier(**defaults | settings)


def convnet(**settings):
    defaults = {
        "conv_layer_sizes": (4,), "hidden_layer_sizes": (5,), "batch_size": 12, "max_iter": 2,
        "random_state": 0,
    }  # fmt: skip
    return ConvNetClassifier(**defaults | settings)


# MLPClassifier ---------------------------------------------------------------------------------

MLPS = {
    **{name: (mlp(solver=name), X, Y, {}) for name in STEPPED},
    "sgd-invscaling": (mlp(solver="sgd", learning_rate="invscaling", momentum=0.8), X, Y, {}),
    "sgd-heavy-ball": (mlp(solver="sgd", nesterovs_momentum=False), X, Y, {}),
    "one-batch": (mlp(batch_size=60), X, Y, {}),
    "two-layers": (mlp(hidden_layer_sizes=(9, 5), activation=["tanh", "gelu"]), X, Y, {}),
    "no-hidden-layer": (mlp(hidden_layer_sizes=()), X, Y, {}),
    "softmax-units": (mlp(hidden_layer_sizes=(4, 4), activation=["softmax", "elu"]), X, Y, {}),
    "dropout": (mlp(dropout=0.4), X, Y, {}),
    "batch-norm": (mlp(batch_norm=True, dropout=0.2), X, Y, {}),
    "weights": (mlp(), X, Y, {"sample_weight": WEIGHT}),
    "balanced": (mlp(class_weight="balanced", batch_norm=True), X, Y, {}),
    "one-cycle": (mlp(learning_rate="one_cycle", shuffle=False), X, Y, {}),
    "squared-error": (mlp(loss="squared_error", activation="silu"), X, Y, {}),
    "two-classes": (mlp(activation="logistic"), X, Y > 0, {}),
    "two-classes-squared": (mlp(loss="squared_error"), X, Y > 0, {}),
    "several-labels": (mlp(activation="leaky_relu"), X, LABELS, {}),
    "early-stopping": (
        mlp(early_stopping=True, n_iter_no_change=2, max_iter=8, validation_fraction=0.3), X, Y, {},
    ),
    "own-validation-set": (mlp(), X, Y, {"X_val": X_VAL, "y_val": Y_VAL}),
    "sparse": (mlp(), SPARSE, Y, {}),
    "sparse-weights": (mlp(activation="tanh"), SPARSE, Y, {"sample_weight": WEIGHT}),
    "sparse-early-stopping": (mlp(early_stopping=True, validation_fraction=0.3), SPARSE, Y, {}),
    "lbfgs": (mlp(solver="lbfgs", max_iter=6, activation="tanh"), X, Y, {}),
    "lbfgs-weights": (mlp(solver="lbfgs", max_iter=6), X, Y, {"sample_weight": WEIGHT}),
    "lbfgs-sparse": (mlp(solver="lbfgs", max_iter=6, activation="tanh"), SPARSE, Y, {}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", MLPS)
def test_mlp(case, dtype, emulated_cupy):
    model, samples, labels, fit = MLPS[case]
    if model.solver == "lbfgs" and dtype == "float32":
        pytest.skip("line searches double rounding errors at every iteration")
    host, device = on_both(model.set_params(dtype=dtype), samples, labels, **fit)
    assert_same_network(host, device, samples, LOSS[dtype])


@pytest.mark.parametrize("emulated_cupy", ["75"], indirect=True, ids="sm_{}".format)
def test_mlp_on_an_older_device(emulated_cupy):
    host, device = on_both(mlp(batch_norm=True, dropout=0.2), X, Y)
    assert_same_network(host, device, X, LOSS["float32"])


def test_partial_fit_goes_on_over_calls_and_devices(emulated_cupy):
    models = []
    for devices in (("cpu",) * 4, ("cuda",) * 4, ("cuda", "cpu", "cuda", "cpu")):
        model = mlp(dtype="float64", dropout=0.2)
        for device in devices:
            model.set_params(device=device).partial_fit(X, Y, classes=range(3))
        models.append(model)
    for model in models[1:]:
        assert model.t_ == 4 * len(Y)
        assert_same_network(models[0], model, X, LOSS["float64"])


def test_partial_fit_with_early_stopping(emulated_cupy):
    host, device = (
        mlp(early_stopping=True, n_iter_no_change=1, tol=1.0, dtype="float64", device=name)
        for name in ("cpu", "cuda")
    )
    for model in (host, device):
        for _ in range(4):
            model.partial_fit(X, Y, classes=range(3))
    assert host.early_stopped_ and device.early_stopped_
    assert_same_network(host, device, X, LOSS["float64"])


def test_warm_start_goes_on_from_what_another_device_learned(emulated_cupy):
    host = mlp(warm_start=True, dtype="float64", device="cpu").fit(X, Y)
    device = clone_fitted(host, "cuda").fit(X, Y)
    assert_same_network(host.fit(X, Y), device, X, LOSS["float64"])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_a_device_has_learned_is_of_use_without_it(early_stopping, monkeypatch):
    from emulator.cupy_on_host import installed

    with installed():
        model = mlp(early_stopping=early_stopping, device="cuda").fit(X, Y)
        expected, stored = model.predict_proba(X), pickle.dumps(model)
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    alone = pickle.loads(stored).set_params(device="cpu")
    np.testing.assert_allclose(alone.predict_proba(X), expected, rtol=0, atol=1e-5)


def test_ctrl_c_brings_home_what_is_trained(emulated_cupy, monkeypatch):
    def interrupted(self, n_iter, loss):
        if n_iter == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("estimators.shared.progress.Reporter.epoch", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = mlp(device="cuda", early_stopping=True).fit(X, Y)
    assert type(model.coefs_[0]) is np.ndarray
    assert model.predict(X).shape == Y.shape


# ConvNetClassifier -----------------------------------------------------------------------------

LAYERS = [Conv2D(3, 3, stride=2), LocallyConnected2D(3, 2), BatchNorm(), Dense(6, "elu")]
CONVNETS = {
    "max": convnet(),
    "avg": convnet(pooling="avg", conv_layer_sizes=(4, 3), kernel_size=(2, 3), activation="silu"),
    "batch-norm": convnet(batch_norm=True, dropout=0.3),
    "layers": convnet(layers=[*LAYERS, Dropout(0.2)]),
    "dilated": convnet(layers=[Conv2D(4, 2, dilation=2, padding=(1, 0))]),
    "shifted": convnet(augment={"shift": 2}),
    "flipped": convnet(augment={"shift": (1, 0), "horizontal_flip": True, "vertical_flip": True}),
    "sgd": convnet(solver="sgd", learning_rate="cosine", hidden_layer_sizes=()),
    "lbfgs": convnet(solver="lbfgs", activation="tanh", max_iter=4),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CONVNETS)
def test_convnet(case, dtype, emulated_cupy):
    model = CONVNETS[case].set_params(dtype=dtype)
    if model.solver == "lbfgs" and dtype == "float32":
        pytest.skip("line searches double rounding errors at every iteration")
    host, device = on_both(model, IMAGES, IMAGE_LABELS)
    assert_same_network(host, device, IMAGES, LOSS[dtype])


# Stacks ----------------------------------------------------------------------------------------

DIFFERENCES = [
    {},
    {"learning_rate_init": 0.02, "alpha": 0.1},
    {"learning_rate": "one_cycle", "shuffle": False},
    {"n_iter_no_change": 1, "tol": 10.0},  # leaves the stack before the others
]


def member(network, m, dtype, *, n_rows=60, weight=None, augment=None):
    settings = Settings(solver="sgd", batch_size=16, max_iter=4, **DIFFERENCES[m])
    rng = np.random.RandomState(m)
    state = TrainingState(network.init(rng, dtype))
    state.restart_optimizer(settings)
    return Member(
        settings, state, np.arange(n_rows), rng, sample_weight=weight,
        dropout=dropout_streams([0.1 * m], rng), augment=augment,
    )  # fmt: skip


def trained(device, network, samples, dtype, **options):
    """A stack after its training: the members."""
    samples = samples if sp.issparse(samples) else to_device(samples.astype(dtype), device)
    if sp.issparse(samples):
        samples = samples.astype(dtype)
    data = Data(samples, to_device(Y[: samples.shape[0]], device))
    models = [
        member(network, m, dtype, **{k: v[m] for k, v in options.items()})
        for m in range(len(DIFFERENCES))
    ]
    train(network, Objective("log_loss", "softmax"), data, models, 4)
    return models


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["dense", "sparse", "weights", "unequal"])
def test_a_stack_of_models(kind, dtype, emulated_cupy):
    network = Network([Dense(6), Dropout(0.3), Dense(5, "identity"), BatchNorm(), Scores(3)], (12,))
    samples = SPARSE if kind == "sparse" else X
    options = {
        "weights": {"weight": [WEIGHT, None, WEIGHT[::-1], None]},
        "unequal": {"n_rows": [60, 58, 49, 57]},
    }.get(kind, {})
    host, device = (trained(name, network, samples, dtype, **options) for name in ("cpu", "cuda:0"))
    tolerance = LOSS[np.dtype(dtype).name]
    for a, b in zip(device, host, strict=True):
        np.testing.assert_allclose(a.state.loss_curve, b.state.loss_curve, rtol=tolerance)
        for name in ("params", "moments"):
            pair = getattr(a.state, name), getattr(b.state, name)
            for x, y in zip(*(p.values() if name == "moments" else [p] for p in pair), strict=True):
                assert type(x) is np.ndarray
                np.testing.assert_allclose(x, y, rtol=0, atol=100 * tolerance * np.abs(y).max())
    assert [len(model.state.loss_curve) for model in device] == [4, 4, 4, 3]


def test_a_model_is_the_same_to_the_bit_in_a_stack_and_alone(emulated_cupy):
    network = Network([Conv2D(3), Dense(5), Dropout(0.3), Scores(3)], (6, 6, 2))
    images = IMAGES.astype(np.float32)
    data = Data(to_device(images, "cuda:0"), to_device(IMAGE_LABELS, "cuda:0"))
    objective = Objective("log_loss", "softmax")

    def one(m):
        return member(network, m, np.float32, n_rows=36)

    together = [one(m) for m in range(3)]
    train(network, objective, data, together, 2)
    for m, model in enumerate(together):
        alone = one(m)
        train(network, objective, data, [alone], 2)
        assert model.state.loss_curve == alone.state.loss_curve
        np.testing.assert_array_equal(model.state.params, alone.state.params)


# What goes to the device and back --------------------------------------------------------------

STEADY = {
    "mlp": (mlp(dropout=0.2, batch_norm=True), X, Y, {}),
    "weights": (mlp(solver="sgd"), X, Y, {"sample_weight": WEIGHT}),
    "sparse": (mlp(), SPARSE, Y, {}),
    "labels": (mlp(loss="squared_error"), X, LABELS, {}),
    "convnet": (convnet(augment={"shift": 1}), IMAGES, IMAGE_LABELS, {}),
}


@pytest.mark.parametrize("case", STEADY)
def test_nothing_goes_to_or_fro_within_an_epoch(case, emulated_cupy):
    """More batches an epoch cost neither another upload nor another read; more epochs do."""
    model, samples, labels, fit = STEADY[case]
    counter = emulated_cupy.counter

    def traffic(batch_size, epochs):
        before = counter.uploads, counter.host_reads
        settings = {"batch_size": batch_size, "max_iter": epochs, "tol": 0, "device": "cuda"}
        clone(model).set_params(**settings).fit(samples, labels, **fit)
        return counter.uploads - before[0], counter.host_reads - before[1]

    few, many = traffic(18, 2), traffic(6, 2)
    assert few == many
    assert traffic(18, 3)[1] == few[1] + 1  # the one read of an epoch


# LogisticRegression ----------------------------------------------------------------------------

SOLVERS = ["lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"]


def assert_same_linear_model(host, device, X, tolerance):
    for name in ("coef_", "intercept_"):
        a, b = getattr(device, name), getattr(host, name)
        assert type(a) is np.ndarray and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(host.coef_).max())
    there = clone_fitted(host, "cuda")
    scores = host.decision_function(X)
    np.testing.assert_allclose(there.decision_function(X), scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(there.predict(X), host.predict(X))


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weights"])
@pytest.mark.parametrize("labels", [Y, Y > 0], ids=["three", "two"])
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_logistic_regression(solver, samples, labels, weight, emulated_cupy):
    host, device = on_both(
        LogisticRegression(solver=solver, tol=1e-8), samples, labels, sample_weight=weight
    )
    assert device.n_iter_ == host.n_iter_
    assert_same_linear_model(host, device, samples, 1e-6)
    np.testing.assert_allclose(
        device.predict_proba(samples), host.predict_proba(samples), atol=1e-6
    )


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
def test_logistic_regression_otherwise(settings, samples, emulated_cupy):
    host, device = on_both(LogisticRegression(tol=1e-8, **settings), samples, Y)
    assert_same_linear_model(host, device, samples, 1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_logistic_regression_in_float32(solver, emulated_cupy):
    host, device = on_both(LogisticRegression(solver=solver), X.astype(np.float32), Y)
    assert device.coef_.dtype == np.float32
    assert_same_linear_model(host, device, X.astype(np.float32), 1e-3)


# Perceptron ------------------------------------------------------------------------------------

PERCEPTRONS = {
    "plain": {},
    "l2": {"penalty": "l2"},
    "l1": {"penalty": "l1", "alpha": 0.001},
    "elastic-net": {"penalty": "elasticnet", "early_stopping": True, "validation_fraction": 0.3},
    "multinomial": {"multi_class": "multinomial"},
    "multinomial-l1": {"multi_class": "multinomial", "penalty": "l1", "alpha": 0.001},
    "invscaling": {"learning_rate": "invscaling", "class_weight": "balanced"},
    "classes-stop-one-by-one": {"tol": 0.5, "n_iter_no_change": 1, "max_iter": 9},
    "no-intercept": {"fit_intercept": False, "shuffle": False},
}


@NEEDS_SWEEP
@pytest.mark.parametrize("labels", [Y, Y > 0], ids=["three", "two"])
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("case", PERCEPTRONS)
def test_perceptron(case, samples, labels, emulated_cupy):
    model = Perceptron(**{"max_iter": 4} | PERCEPTRONS[case])
    host, device = on_both(model, samples, labels, sample_weight=WEIGHT)
    assert device.n_iter_ == host.n_iter_
    assert_same_linear_model(host, device, samples, 1e-10)


@NEEDS_SWEEP
def test_perceptron_goes_on_over_devices(emulated_cupy):
    models = []
    for devices in (("cpu",) * 3, ("cuda", "cpu", "cuda")):
        model = Perceptron()
        for device in devices:
            model.set_params(device=device).partial_fit(X, Y, classes=range(3))
        models.append(model)
    assert_same_linear_model(*models, X, 1e-10)


@NEEDS_SWEEP
def test_perceptron_reads_once_an_epoch(emulated_cupy):
    counter = emulated_cupy.counter

    def reads(epochs):
        before = counter.host_reads
        Perceptron(max_iter=epochs, tol=None, device="cuda").fit(X, Y)
        return counter.host_reads - before

    assert reads(3) == reads(2) + 1


@NEEDS_SWEEP
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("multi_class", ["ovr", "multinomial"])
@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e-6), (np.float64, 1e-10)], ids=str)
def test_perceptron_on_small_values(dtype, size, multi_class, kind, emulated_cupy):
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


def test_perceptron_decides_on_the_device(emulated_cupy):
    host = Perceptron().fit(X, Y)
    for samples in (X, SPARSE):
        scores = clone_fitted(host, "cuda").decision_function(samples)
        np.testing.assert_allclose(scores, host.decision_function(samples), rtol=1e-12)
