"""Searches on a device: the stack of all candidates and folds runs through the kernels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.model_selection import GridSearchCV
from estimators.neural.fit import NeuralFit
from estimators.shared.memory import free_memory

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, LABELS = load_digits(n_class=3, return_X_y=True)
X, Y = (DIGITS / 16).astype(np.float32)[:36], LABELS[:36]

MLP = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0, "batch_size": 10}
CONV = {
    "conv_layer_sizes": (2,),
    "hidden_layer_sizes": (4,),
    "max_iter": 1,
    "random_state": 0,
    "batch_size": 8,
}
SEARCHES = {
    "mlp": (MLPClassifier(**MLP), {"learning_rate_init": [1e-3, 0.1], "alpha": [1e-4, 1.0]}, 1),
    "early stopping": (MLPClassifier(**MLP, early_stopping=True), {"alpha": [1e-4, 1.0]}, 1),
    "pipeline": (
        make_pipeline(StandardScaler(), MLPClassifier(**MLP)),
        {"mlpclassifier__dropout": [0.2, 0.6]},
        1,
    ),
    "convnet": (ConvNetClassifier(**CONV), {"learning_rate_init": [1e-3, 0.1]}, 1),
    "logistic": (LogisticRegression(max_iter=3), {"C": [0.1, 10.0]}, None),
    "perceptron": (Perceptron(max_iter=2, tol=None), {"eta0": [0.1, 1.0]}, None),
}


@pytest.mark.parametrize(("estimator", "grid", "n_stacks"), SEARCHES.values(), ids=SEARCHES)
def test_a_search_on_a_device_is_one_stack(cupy, monkeypatch, estimator, grid, n_stacks):
    ran, run = [], NeuralFit.run.__func__

    def counted(cls, trainings, watch=None):
        ran.append((trainings[0].device, len(trainings)))
        return run(cls, trainings, watch)

    monkeypatch.setattr(NeuralFit, "run", classmethod(counted))
    options = {"cv": 2, "refit": False, "scoring": ["accuracy", "neg_log_loss"]}
    if isinstance(estimator, Perceptron):
        options["scoring"] = ["accuracy"]
    place = "mlpclassifier__device" if hasattr(estimator, "steps") else "device"
    device = GridSearchCV(estimator.set_params(**{place: "cuda"}), grid, **options).fit(X, Y)
    if n_stacks:
        n_fits = 2 * len(device.cv_results_["params"])
        assert ran == [("cuda:0", n_fits)]
    host = GridSearchCV(estimator.set_params(**{place: "cpu"}), grid, **options).fit(X, Y)
    for name, values in host.cv_results_.items():
        if "test_neg_log_loss" in name and not name.startswith("rank"):
            np.testing.assert_allclose(device.cv_results_[name], values, rtol=1e-4, atol=1e-6)
        if "test_accuracy" in name and name.startswith("split"):
            np.testing.assert_array_equal(device.cv_results_[name], values)


@pytest.mark.parametrize("batch_size", [5, "auto"])
def test_folds_of_different_sizes_are_one_stack(cupy, stacks, batch_size):
    """The last batches of 17, 18 and 18 rows are filled up, which changes no bit."""
    estimator = MLPClassifier(**MLP | {"batch_size": batch_size}, device="cuda")
    x, y = np.tile(X, (2, 1))[:53], np.tile(Y, 2)[:53]
    x = x + np.arange(53, dtype="float32")[:, None] / 64
    folds = [(np.flatnonzero(np.arange(53) % 3 == i), np.arange(53)) for i in range(3)]
    options = {"cv": folds, "refit": False, "scoring": "neg_log_loss"}
    together = GridSearchCV(estimator, {"alpha": [1e-4, 1.0]}, **options).fit(x, y)
    assert stacks == [6]
    alone = GridSearchCV(estimator, {"alpha": [1e-4, 1.0]}, fused=False, **options).fit(x, y)
    for i in range(3):
        name = f"split{i}_test_score"
        np.testing.assert_array_equal(together.cv_results_[name], alone.cv_results_[name])


def test_a_stack_is_split_where_the_memory_of_the_device_ends(stacks, softgpu):
    with softgpu.limited_memory(1_200_000):
        assert free_memory("cuda:0") == 1_200_000
        estimator = MLPClassifier(**MLP | {"hidden_layer_sizes": (50,)}, device="cuda")
        grid = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1]}
        GridSearchCV(estimator, grid, cv=2, refit=False).fit(X, Y)
    assert sum(stacks) == 8
    assert 1 < len(stacks) < 8


def test_memory_of_the_host():
    assert 2**20 < free_memory() < 2**50
