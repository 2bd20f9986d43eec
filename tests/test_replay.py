"""Epochs on a GPU as graphs: the same numbers as step by step, and what a step costs the host."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV as SklearnSearch

from _cuda_models import IMAGE_LABELS, IMAGES, LABELS, WEIGHT, X, Y
from cukernels.graphs import recorded
from estimators import BatchNorm, Conv2D, ConvNetClassifier, Dense, MLPClassifier
from estimators.model_selection import GridSearchCV
from estimators.neural import loop, replay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT_LABELS = load_digits(return_X_y=True)


def mlp(**options):
    settings = {"batch_size": 16, "max_iter": 4, "random_state": 0, "device": "cuda"}
    return MLPClassifier((9, 7), **settings | options)


def convnet(**options):
    settings = {"batch_size": 16, "max_iter": 3, "random_state": 0, "device": "cuda"}
    return ConvNetClassifier(**{"conv_layer_sizes": (3,), "hidden_layer_sizes": (5,)} | settings | options)


FITS = {
    "plain": (mlp(), X, Y, {}),
    "even": (mlp(batch_size=15), X, Y, {}),
    "one batch": (mlp(batch_size=len(X)), X, Y, {}),
    "weights": (mlp(solver="sgd", learning_rate="adaptive", n_iter_no_change=1), X, Y,
                {"sample_weight": WEIGHT}),
    "labels": (mlp(loss="squared_error", solver="adamw"), X, LABELS, {}),
    "stops": (mlp(early_stopping=True, validation_fraction=0.2, n_iter_no_change=2, max_iter=9),
              X, Y, {}),
    "drops": (mlp(dropout=0.3, batch_norm=True, learning_rate="cosine", solver="rmsprop"),
              X, Y, {}),
    "global": (mlp(random_state=None), X, Y, {}),
    "images": (convnet(augment={"shift": 1, "horizontal_flip": True}), IMAGES, IMAGE_LABELS, {}),
    "layers": (convnet(layers=[Conv2D(3), BatchNorm(), Dense(4)]), IMAGES, IMAGE_LABELS, {}),
}  # fmt: skip


def fitted(case, softgpu=None):
    model, samples, labels, fit = case
    np.random.seed(3)  # random_state=None draws from the global stream
    return clone(model).fit(samples, labels, **fit)


def assert_same_fit(one, other):
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("case", FITS)
def test_a_replayed_fit_is_the_launched_one_to_the_bit(case, cupy, monkeypatch):
    graphs = []
    recording = recorded.Recorded._recording
    monkeypatch.setattr(
        recorded.Recorded, "_recording", lambda self: graphs.append(1) or recording(self)
    )
    replayed = fitted(FITS[case])
    assert graphs, "nothing was recorded"
    monkeypatch.setattr(replay, "can_replay", lambda *_: False)
    assert_same_fit(replayed, fitted(FITS[case]))
