"""Activation maps: the outputs of the layers, as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from estimators import (
    ConvNetClassifier,
    LogisticRegression,
    MLPClassifier,
)
from estimators.inspection import ActivationMapsDisplay
from estimators.inspection.probe import Probe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_activation_maps_are_the_outputs_of_the_layers(digits, net):
    X, _ = digits
    display = ActivationMapsDisplay.from_estimator(net, X[5])
    assert [len(row) for row in display.images_] == [1, 4, 4, 6, 6, 10, 10]
    np.testing.assert_allclose(display.maps[-1], net.predict_proba(X[5:6])[0], rtol=1e-6)
    np.testing.assert_array_equal(display.images_[0][0].get_array(), X[5].reshape(8, 8))
    first = display.images_[1][0]
    expected = Probe(net).outputs(X[5:6])[0][0]
    np.testing.assert_array_equal(first.get_array(), expected[:, :, 0])
    assert first.get_clim() == pytest.approx((0, expected.max()))
    few = ActivationMapsDisplay.from_estimator(net, X[5], max_maps=2)
    assert [len(row) for row in few.images_] == [1, 2, 2, 2, 2, 2, 10]
    assert "Dense\n16\n(the first 2)" in [text.get_text() for text in few.ax_.texts]
    assert "Conv2D\n8 x 8 x 4" in [text.get_text() for text in display.ax_.texts]


def shown_as_image(net, row):
    return ActivationMapsDisplay.from_estimator(net, row.reshape(8, 8))


def test_activation_maps_of_images_mlps_and_pipelines(digits, net, mlp):
    X, y = digits
    assert len(ActivationMapsDisplay.from_estimator(mlp, X[0]).images_) == 3
    square = ConvNetClassifier((2,), activation="tanh", max_iter=1, random_state=0)
    square.fit(X.reshape(-1, 8, 8), y)
    display = ActivationMapsDisplay.from_estimator(square, X[0].reshape(8, 8))
    low, high = display.images_[1][0].get_clim()
    assert low == -high < 0
    piped = make_pipeline(MinMaxScaler(), MLPClassifier((5,), max_iter=1)).fit(X, y)
    maps = ActivationMapsDisplay.from_estimator(piped, X[0]).maps
    assert maps[0].shape == (5,)
    # a search in a pipeline, of pipelines: the steps before the network, all of them, are passed
    within = make_pipeline(MinMaxScaler((0, 3)), GridSearchCV(piped, {}, cv=2)).fit(X, y)
    shown = ActivationMapsDisplay.from_estimator(within, X[0])
    np.testing.assert_allclose(shown.maps[-1], within.predict_proba(X[:1])[0], rtol=1e-5)
    with pytest.raises(ValueError, match="the image has 128 values, but ConvNetClassifier is"):
        ActivationMapsDisplay.from_estimator(net, X[:2])
    row = ActivationMapsDisplay.from_estimator(net, X[:1])
    np.testing.assert_array_equal(row.maps[-1], shown_as_image(net, X[0]).maps[-1])
    with pytest.raises(ValueError, match=r"images of shape \(4, 16, 1\), but ConvNetClassifier is"):
        ActivationMapsDisplay.from_estimator(net, X[0].reshape(4, 16))
    with pytest.raises(ValueError, match="a LogisticRegression has no layers to look into"):
        ActivationMapsDisplay.from_estimator(LogisticRegression().fit(X, y), X[0])
