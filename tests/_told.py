"""What the tests of callbacks share: small fits, and one who notes what it is told."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.callbacks import EpochInfo

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 16))  # which are images of 4 x 4 pixels, too
Y = (X @ RNG.standard_normal((16, 3)) + 4 * RNG.gumbel(size=(120, 3))).argmax(axis=1)
SWEPT = {"multi_class": "multinomial", "tol": None, "max_iter": 9}
MODELS = {
    "mlp": MLPClassifier((6,), max_iter=9, random_state=0),
    "lbfgs": MLPClassifier((6,), solver="lbfgs", max_iter=9, tol=1e-9, random_state=0),
    "convnet": ConvNetClassifier((2,), hidden_layer_sizes=(4,), max_iter=9, random_state=0),
    "logistic": LogisticRegression(max_iter=9, tol=1e-9),
    "saga": LogisticRegression(solver="saga", max_iter=9, tol=1e-9),
    "perceptron": Perceptron(**SWEPT),
}


TOLD: list = []  # what all of them are told, also the clones of a search


class Hears:
    """Notes all that it is told, and does something at one place."""

    def __init__(self, at=None, does=None):
        self.heard, self.at, self.does = [], at, does

    def note(self, what, estimator, info):
        assert isinstance(info, EpochInfo)
        self.heard.append((what, info.epoch))
        TOLD.append((what, self.at))
        self.infos = [*getattr(self, "infos", []), (estimator, info)]
        if self.at in ((what, info.epoch), what):
            return self.does()
        return None

    def on_fit_begin(self, estimator, info):
        self.note("begin", estimator, info)

    def on_epoch_end(self, estimator, info):
        return self.note("epoch", estimator, info)

    def on_fit_end(self, estimator, info):
        self.note("end", estimator, info)


def with_callbacks(name, *callbacks, **parameters):
    return clone(MODELS[name]).set_params(**parameters).set_params(callbacks=list(callbacks))


def fails():
    raise OSError("the disk is full")


def interrupts():
    raise KeyboardInterrupt
