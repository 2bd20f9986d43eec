"""Models, data and comparisons for tests that train on the CPU and on a GPU, real or not.

The GPU is the device that is current, as the fixture `cupy` has it.
"""

from __future__ import annotations

import pickle

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone

from estimators import (
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    MLPClassifier,
)
from estimators.training.loop import train
from estimators.training.member import Member, TrainingState, dropout_streams
from estimators.training.objective import Objective
from estimators.training.optimizers import STEPPED
from estimators.training.order import RowOrder
from estimators.training.settings import Settings

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


def here() -> str:
    """The device that is current, as an estimator's parameter names it."""
    import cupy

    return f"cuda:{cupy.cuda.Device().id}"


def on_both(model, X, y, **fit):
    """The model fitted on the CPU, and on the device."""
    return tuple(
        clone(model).set_params(device=device).fit(X, y, **fit) for device in ("cpu", here())
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
    there = clone_fitted(host, here()).predict_proba(X)
    assert type(there) is np.ndarray and there.dtype == p.dtype
    np.testing.assert_allclose(there, p, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(clone_fitted(host, here()).predict(X), host.predict(X))


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
        settings, state, RowOrder(np.arange(n_rows), rng, settings.shuffle), sample_weight=weight,
        dropout=dropout_streams([0.1 * m], rng), augment=augment,
    )  # fmt: skip


def assert_alone_as_in_a_stack(network, data, n_rows):
    """Three models trained together, and one after the other: the same to the bit."""
    objective = Objective("log_loss", "softmax")

    def one(m):
        return member(network, m, np.float32, n_rows=n_rows)

    together = [one(m) for m in range(3)]
    train(network, objective, data, together, 2)
    for m, model in enumerate(together):
        alone = one(m)
        train(network, objective, data, [alone], 2)
        assert model.state.loss_curve == alone.state.loss_curve
        assert model.state.params.tobytes() == alone.state.params.tobytes()


# LogisticRegression ----------------------------------------------------------------------------

SOLVERS = ["lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"]


def assert_same_linear_model(host, device, X, tolerance):
    if host.coef_.dtype == np.float64:
        assert device.n_iter_ == host.n_iter_
    for name in ("coef_", "intercept_"):
        a, b = getattr(device, name), getattr(host, name)
        assert type(a) is np.ndarray and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(host.coef_).max())
    if hasattr(host, "predict_proba"):
        p = host.predict_proba(X)
        np.testing.assert_allclose(device.predict_proba(X), p, atol=tolerance)
    there = clone_fitted(host, here())
    scores = host.decision_function(X)
    np.testing.assert_allclose(there.decision_function(X), scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(there.predict(X), host.predict(X))


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
