"""What the tests of the displays look at, and their figures, which are closed afterwards."""

from __future__ import annotations

import pytest

from _requirements import require
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier


@pytest.fixture(autouse=True)
def _figures():
    require("matplotlib", "plot").use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype("float32"), y[:300]


@pytest.fixture(scope="module")
def linear(digits):
    return LogisticRegression(C=0.1).fit(*digits)


@pytest.fixture(scope="module")
def mlp(digits):
    return MLPClassifier((12,), max_iter=20, random_state=0).fit(*digits)


@pytest.fixture(scope="module")
def net(digits):
    X, y = digits
    model = ConvNetClassifier((4, 6), hidden_layer_sizes=(16,), max_iter=12, random_state=0)
    return model.fit(X, y, X_val=X[:50], y_val=y[:50])
