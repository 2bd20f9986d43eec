"""First weights: each layer keeps the size of what goes through it; MLPClassifier's are as ever."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier as ScikitLearns

from cukernels.activations.activations import ACTIVATIONS
from estimators import (
    Activation,
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    MaxPool2D,
    MLPClassifier,
)
from estimators.layers.dense import Scores
from estimators.layers.layer import Mode
from estimators.training.initial_weights import draw_for_activation, variance_for
from estimators.training.network import Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
GLOROTS = {"tanh": 1.0, "logistic": 4.0, "softmax": 1.0, "log_softmax": 1.0}
FAR = np.array([-1e3, 1e3])
kept = pytest.mark.parametrize(
    "name",
    [n for n, a in ACTIVATIONS.items() if not a.of_rows and np.abs(a.forward(FAR)).max() > 100],
)
X, Y = (a[:150] for a in load_digits(return_X_y=True))
X = X / 16


@pytest.mark.parametrize(
    ("name", "variance"), [("identity", 1.0), ("relu", 2.0), ("leaky_relu", 2 / (1 + 0.01**2))]
)
def test_variances_of_the_papers(name, variance):
    assert variance_for(name) == pytest.approx(variance, abs=5e-5)


@kept
def test_a_variance_gives_the_mean_square_1(name):
    forward, size = ACTIVATIONS[name].forward, np.sqrt(variance_for(name))

    def integrand(z):
        return forward(np.array([size * z])).item() ** 2 * norm.pdf(z)

    mean_square = quad(integrand, -12, 0)[0] + quad(integrand, 0, 12)[0]
    assert mean_square == pytest.approx(1, abs=1e-4)  # of a variance in four decimals


@kept
def test_layers_keep_the_size_of_what_goes_through_them(name):
    """Four of them; as Glorot and Bengio draw them, it is 1/16 after as many rectifiers."""
    network = Network([Dense(600, name) for _ in range(4)], (600,))
    rng = np.random.RandomState(0)
    flat = network.init(rng, np.float64, draw_for_activation)[None]
    x = rng.standard_normal((1, 30, 600))
    y, _ = network.forward(network.views(flat), x, Mode())
    assert np.mean(y * y) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("name", GLOROTS)
def test_bounded_activations_have_glorots_weights(name):
    assert variance_for(name) is None
    network = Network([Dense(400, name)], (200,))
    flat = network.init(np.random.RandomState(0), np.float64, draw_for_activation)[None]
    (p,) = network.views(flat)
    assert np.abs(p["w"]).max() == pytest.approx(GLOROTS[name] * np.sqrt(6 / 600), rel=1e-3)
    assert (p["bias"] == 0).all()


def test_the_activation_that_counts_is_the_one_that_follows():
    layers = [
        Conv2D(80, 3, activation="relu"),
        Conv2D(80, 3, activation="identity"),
        BatchNorm(),
        MaxPool2D(),
        Activation("silu"),
        LocallyConnected2D(30, 2, activation="identity"),
        Dense(300, "elu"),
        Dropout(0.5),
        Scores(10, hidden_activation="elu"),
    ]
    network = Network(layers, (6, 6, 3))
    flat = network.init(np.random.RandomState(0), np.float64, draw_for_activation)[None]
    variances = []
    for layer, shape, p in zip(layers, network.shapes, network.views(flat), strict=False):
        if "w" in p:
            assert (p["bias"] == 0).all()
            widest = np.abs(p["w"]).max()  # of very many draws: nearly their bound
            variances.append(layer.fans(shape)[0] * widest**2 / 3)
    expected = [variance_for(n) for n in ("relu", "silu", "identity", "elu", "identity")]
    np.testing.assert_allclose(variances, expected, rtol=0.01)


SETTINGS = {"random_state": 3, "max_iter": 1, "learning_rate_init": 1e-300}  # stays where it starts


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_norm": True}, {"activation": "tanh"}, {"layers": [Conv2D(8), Dense(20, "gelu")]}],
    ids=["relu", "norm", "tanh", "layers"],
)
def test_a_network_of_images_starts_from_them(options):
    clf = ConvNetClassifier((8,), hidden_layer_sizes=(20,), dtype="float64", **SETTINGS)
    clf.set_params(**options).fit(X, Y)
    flat = clf._network.init(np.random.RandomState(3), np.float64, draw_for_activation)
    expected = [p["w"][0] for p in clf._network.views(flat[None]) if "w" in p]
    assert all((np.abs(bias) < 1e-298).all() for bias in clf.intercepts_)
    for own, other in zip(clf.coefs_, expected, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_a_perceptron_of_layers_starts_as_scikit_learns(activation):
    settings = SETTINGS | {"hidden_layer_sizes": (9, 7), "activation": activation, "alpha": 0}
    ours = MLPClassifier(**settings, dtype="float64").fit(X, Y)
    theirs = ScikitLearns(**settings).fit(X, Y)
    for own, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(own, other)
