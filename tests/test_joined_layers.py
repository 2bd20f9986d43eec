"""A network computes a convolution and the pooling after it together; nobody else notices."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    MaxPool2D,
)
from estimators.layers.dense import Scores
from estimators.layers.image import PooledConv2D
from estimators.layers.layer import Mode
from estimators.training.network import Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def kinds(*layers, shape=(8, 8, 2)):
    network = Network([*layers, Scores(3)], shape)
    assert [unit.place for unit in network.units] == sorted({u.place for u in network.units})
    assert network.units[-1].output_shape == (3,)
    return [type(unit.layer).__name__ for unit in network.units[:-1]]


@pytest.mark.parametrize(
    "layers",
    [
        (Conv2D(4), MaxPool2D()),
        (Conv2D(4, activation="identity"), MaxPool2D((2, 3))),
        (Conv2D(4, activation="tanh", stride=2), MaxPool2D(2, stride=2)),
        (Conv2D(4, activation="softplus"), MaxPool2D(2, stride=(2, 2), padding="valid")),
    ],
)
def test_pairs_that_are_joined(layers):
    assert kinds(*layers) == ["PooledConv2D"]


@pytest.mark.parametrize(
    "layers",
    [
        (Conv2D(4, activation="gelu"), MaxPool2D()),
        (Conv2D(4), AvgPool2D()),
        (Conv2D(4), MaxPool2D(3, stride=2)),
        (Conv2D(4), MaxPool2D(2, stride=3)),
        (Conv2D(4), MaxPool2D(2, padding=1)),
        (Conv2D(4), MaxPool2D(2, padding="same")),
        (Conv2D(4), Activation("relu"), MaxPool2D()),
        (Conv2D(4), BatchNorm(), MaxPool2D()),
        (MaxPool2D(), Conv2D(4)),
    ],
)
def test_pairs_that_stay_two(layers):
    assert kinds(*layers) == [type(layer).__name__ for layer in layers]


def test_layers_of_other_classes_stay_two():
    """They may compute something else."""

    class Signed(Conv2D):
        pass

    class Smallest(MaxPool2D):
        pass

    assert kinds(Signed(4), MaxPool2D()) == ["Signed", "MaxPool2D"]
    assert kinds(Conv2D(4), Smallest()) == ["Conv2D", "Smallest"]


def test_a_window_of_more_places_than_a_byte_counts():
    assert kinds(Conv2D(4), MaxPool2D(17), shape=(20, 20, 2)) == ["Conv2D", "MaxPool2D"]
    assert kinds(Conv2D(4), MaxPool2D(16), shape=(20, 20, 2)) == ["PooledConv2D"]


def test_several_pairs_and_what_lies_between():
    layers = [Conv2D(4), MaxPool2D(), Dropout(0.1), Conv2D(4), Conv2D(6), MaxPool2D(), Dense(5)]
    assert kinds(*layers) == ["PooledConv2D", "Dropout", "Conv2D", "PooledConv2D", "Dense"]


def test_parameters_and_shapes_are_those_of_the_layers():
    network = Network([Conv2D(4), MaxPool2D(), Scores(3)], (8, 8, 2))
    assert network.shapes == [(8, 8, 2), (8, 8, 4), (4, 4, 4), (3,)]
    assert [slot.layer for slot in network.slots] == [0, 2, 0, 2]
    pooled = network.units[0].layer
    assert isinstance(pooled, PooledConv2D)
    assert pooled.parameters((8, 8, 2)) == network.layers[0].parameters((8, 8, 2))


@pytest.fixture
def never_joined(monkeypatch):
    """A function that fits as if no two layers could be joined."""

    def fitted(model, *data, **more):
        with monkeypatch.context() as patch:
            patch.setattr(Conv2D, "joined", lambda self, after: None)
            model.fit(*data, **more)
            assert not any(isinstance(u.layer, PooledConv2D) for u in model._network.units)
        return model

    return fitted


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "identity"},
        {"dtype": "float64", "solver": "sgd"},
        {"early_stopping": True, "validation_fraction": 0.2},
        {"layers": [Conv2D(4), MaxPool2D(), Dropout(0.2), Conv2D(6, padding=1), MaxPool2D(3)]},
    ],
    ids=str,
)
def test_a_fit_is_the_same_to_the_bit(settings, never_joined, digits):
    X, y = (a[:400] for a in digits)
    settings = {"conv_layer_sizes": (4, 8), "max_iter": 3, "random_state": 0} | settings
    one = ConvNetClassifier(**settings).fit(X, y)
    other = never_joined(ConvNetClassifier(**settings), X, y)
    assert one.loss_curve_ == other.loss_curve_
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_fit_with_an_activation_that_rounds_is_the_same_to_rounding(never_joined, digits):
    X, y = (a[:400] for a in digits)
    settings = {"conv_layer_sizes": (4,), "max_iter": 3, "random_state": 0, "activation": "tanh"}
    settings |= {"dtype": "float64"}
    one = ConvNetClassifier(**settings).fit(X, y)
    other = never_joined(ConvNetClassifier(**settings), X, y)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-9)


def test_the_gradient_of_what_comes_before_is_right():
    """A pair in the middle, whose backward goes on to the layer before it."""
    layers = [Conv2D(3), Conv2D(4), MaxPool2D(), Scores(2)]
    network = Network(layers, (6, 6, 2))
    rng = np.random.default_rng(0)
    flat = rng.standard_normal((2, network.size)) / 3
    x, dz = rng.standard_normal((2, 5, 6, 6, 2)), rng.standard_normal((2, 5, 2))
    gradients = np.zeros_like(flat)
    _, backward = network.forward(network.views(flat), x, Mode(training=True))
    backward(dz, network.views(gradients))
    direction, step = rng.standard_normal(flat.shape), 1e-6

    def value(sign):
        z, _ = network.forward(network.views(flat + sign * step * direction), x, Mode())
        return float((dz * z).sum())

    slope = (value(1) - value(-1)) / (2 * step)
    assert abs((gradients * direction).sum() - slope) < 1e-6 * max(1, abs(slope))
