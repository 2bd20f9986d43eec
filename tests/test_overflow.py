"""Features and steps that are too large for float32: what is said of them, and when."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _small_digits import X, Y
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.model_selection import GridSearchCV, cross_val_score
from estimators.shared import scaling

SCALE = r"Scaling input data with StandardScaler or MinMaxScaler might help\."
SHORT = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}


def told(fit, what="StandardScaler"):
    """What a fit says of the scale."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    return [w for w in caught if what in str(w.message)]


# Samples that are too large ----------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e4, 1e8, 1e30])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_large_features_are_told_of_once_in_a_fit(factor, solver):
    (warning,) = told(lambda: MLPClassifier(**SHORT, solver=solver).fit(factor * X, Y))
    assert str(warning.message).startswith(f"X has values up to {factor:.1e}, with which MLP")
    assert warning.filename == __file__


@pytest.mark.parametrize("factor", [1e4, 1e8, 1e19])
@pytest.mark.parametrize(("solver", "l1_ratio"), [("lbfgs", 0), ("saga", 0.5), ("newton-cg", 0)])
def test_a_linear_model_in_float32_tells_once_too(factor, solver, l1_ratio):
    model = LogisticRegression(solver=solver, l1_ratio=l1_ratio)
    large = (factor * X).astype(np.float32)
    assert (
        len(told(lambda: model.fit(large, Y), "cal")) == 1
    )  # scikit-learn's words of lbfgs, or ours
    assert not told(lambda: model.fit((255 * X).astype(np.float32), Y), "X has values")


def test_a_search_of_linear_models_tells_once():
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1, 10]}, cv=2)
    assert len(told(lambda: search.fit((1e4 * X).astype(np.float32), Y))) == 1


def ages_and_hours(n=200):
    rng = np.random.default_rng(0)
    return np.c_[rng.integers(18, 90, n), rng.integers(0, 80, n), rng.integers(1950, 2024, n)]


ORDINARY = {
    "pixels": 255 * X,
    "bytes": (255 * X).astype(np.uint8),
    "one-hot": np.eye(10)[Y],
    "standardised": np.random.default_rng(0).standard_normal((250, 9)),
    "iris": datasets.load_iris().data,
    "wine": datasets.load_wine().data,
    "breast cancer": datasets.load_breast_cancer().data,
    "ages, hours and years": ages_and_hours(),
    "sparse counts": sp.random(200, 50, 0.1, "csr", random_state=0) * 100,
}


@pytest.mark.parametrize("name", ORDINARY)
def test_nothing_is_said_of_ordinary_data(name):
    samples = ORDINARY[name]
    labels = np.arange(samples.shape[0]) % 2
    assert not told(lambda: MLPClassifier(**SHORT).fit(samples, labels))


@pytest.mark.parametrize("kind", ["sparse", "negative", "one column", "images"])
def test_a_few_large_values_are_enough(kind):
    large = {
        "sparse": sp.csr_matrix(1e5 * X),
        "negative": -1e5 * X,
        "one column": np.c_[X, 5e4 + Y],
        "images": 1e5 * X.reshape(-1, 8, 8, 1),
    }[kind]
    model = MLPClassifier(**SHORT)
    if kind == "images":
        model = ConvNetClassifier((2,), max_iter=1)
    assert len(told(lambda: model.fit(large, Y))) == 1


def test_what_normalises_its_input_or_has_double_precision_is_not_told():
    assert not told(lambda: MLPClassifier(**SHORT, batch_norm=True).fit(1e6 * X, Y))
    assert not told(lambda: MLPClassifier(**SHORT, dtype="float64").fit(1e6 * X, Y))
    scaled = make_pipeline(StandardScaler(), MLPClassifier(**SHORT))
    assert not told(lambda: scaled.fit(1e6 * X, Y))


def test_partial_fit_tells_once():
    model = MLPClassifier(**SHORT)
    calls = [told(lambda: model.partial_fit(1e6 * X, Y, classes=range(10))) for _ in range(3)]
    assert [len(call) for call in calls] == [1, 0, 0]


@pytest.mark.parametrize("fused", [True, False])
def test_a_search_tells_once_with_its_refit(fused):
    grid = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(4,), (5,)]}
    search = GridSearchCV(MLPClassifier(**SHORT), grid, cv=3, fused=fused)
    assert len(told(lambda: search.fit(1e6 * X, Y))) == 1
    assert len(told(lambda: search.fit(1e6 * X, Y))) == 1  # and the next search again
    assert len(told(lambda: cross_val_score(MLPClassifier(**SHORT), 1e6 * X, Y, fused=fused))) == 1


def test_samples_are_looked_at_once_in_a_search(monkeypatch):
    looked, largest_of = [], scaling.largest_of
    from estimators.neural import prepare

    monkeypatch.setattr(prepare, "largest_of", lambda X: looked.append(1) or largest_of(X))
    search = GridSearchCV(MLPClassifier(**SHORT), {"alpha": [1, 2, 3]}, cv=3, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, Y)
    assert len(looked) == 1


def test_every_feature_is_looked_at(monkeypatch):
    """In all samples, or in some of each part where there are many."""
    monkeypatch.setattr(scaling, "_LOOKED_AT", 30)
    for n in (10, 30, 1000):
        for feature in range(3):
            values = np.zeros((n, 3))
            values[:, feature] = -5
            assert scaling.largest_of(values) == scaling.largest_of(sp.csr_matrix(values)) == 5
    values = np.zeros((10, 3))
    values[7, 1] = 6  # of few samples, all
    assert scaling.largest_of(values) == 6
    assert scaling.largest_of(np.zeros((0, 3))) == scaling.largest_of(sp.csr_matrix((2, 3))) == 0


def test_samples_on_a_gpu(cupy):
    on_device = cupy.asarray(1e5 * X, np.float32)
    assert scaling.largest_of(on_device) == scaling.largest_of(cupy.asnumpy(on_device))
    assert len(told(lambda: MLPClassifier(**SHORT).fit(on_device, Y))) == 1


# Fits that go wrong ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("factor", [1e8, 1e20])
def test_a_network_that_diverges_names_scaling(factor):
    model = MLPClassifier(solver="sgd", max_iter=20, random_state=0)
    with pytest.raises(ValueError, match=f"non-finite parameter weights.*{SCALE}"):
        model.fit(factor * (X - X.mean(axis=0)), Y)


def test_the_words_are_scikit_learns():
    large = (1e300 * np.random.default_rng(0).standard_normal((60, 3)), Y[:60] > 4)
    with pytest.raises(ValueError, match="overflow occurred") as theirs:
        SGDClassifier(loss="perceptron", alpha=1e300, penalty="l2").fit(*large)
    assert str(theirs.value).endswith(scaling.ADVICE)
    with pytest.raises(ValueError, match=f"overflow occurred at epoch #1. {SCALE}"):
        Perceptron(multi_class="multinomial").fit(1e37 * X.astype(np.float32), Y)
    with pytest.warns(ConvergenceWarning, match=f"overflow occurred at iteration #1. {SCALE}"):
        LogisticRegression(solver="newton-cg").fit(1e19 * X.astype(np.float32), Y)


# The epoch in which it happens -------------------------------------------------------------------


def losses_of(model, samples, **options):
    """The losses of the epochs until weights are no numbers."""
    losses = []
    model.set_params(callbacks=lambda model, info: losses.append(info.loss), **options)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        model.fit(samples, Y)
    return losses


# One step an epoch: the loss of the first epoch is that of the first weights, and finite.
ONE_STEP = {"batch_size": 250, "learning_rate_init": 1e300, "activation": "tanh"}


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_weights_that_are_no_numbers_are_found_in_their_epoch(solver, device, request):
    if device == "cuda":
        request.getfixturevalue("cupy")
    model = MLPClassifier(**SHORT | {"max_iter": 9}, **ONE_STEP, solver=solver)
    for samples in (X, sp.csr_matrix(X)):  # whose steps are launched one by one
        assert losses_of(model, samples, device=device) == [np.inf]


def test_the_best_epoch_is_one_of_finite_weights(monkeypatch):
    """With infinite weights "tanh" is 1, and the scores may be numbers."""
    from dataclasses import replace

    from estimators.training.optimizers import SOLVERS

    adam = SOLVERS["adam"].op

    def exploding(params, grads, *, step, **others):
        adam(params, grads, step=step, **others)
        params[step >= 12, -6:] = np.inf  # padding, on which no score depends

    model = MLPClassifier(
        **SHORT | {"max_iter": 9}, early_stopping=True, batch_size=50, learning_rate_init=4e-3
    )
    heard = []
    model.set_params(callbacks=lambda model, info: heard.append(model.coefs_[0]))
    monkeypatch.setitem(SOLVERS, "adam", replace(SOLVERS["adam"], op=exploding))
    with pytest.warns(ConvergenceWarning, match="The weights are those of the best epoch before"):
        model.fit(X, Y)
    assert model.n_iter_ == 3 and np.isinf(model.loss_curve_[-1])
    assert model.validation_scores_[2] > model.validation_scores_[1] > model.validation_scores_[0]
    np.testing.assert_array_equal(model.coefs_[0], heard[1])
