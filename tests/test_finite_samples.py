"""NaN and infinity among many samples, which threads look for in scikit-learn's place."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import config_context

from estimators import LogisticRegression, MLPClassifier
from estimators.shared import validation

Y = np.arange(60) % 3
MODELS = [MLPClassifier((4,), max_iter=1, random_state=0), LogisticRegression(max_iter=3)]


@pytest.fixture(autouse=True)
def many(monkeypatch, two_threads):
    monkeypatch.setattr(validation, "_MANY", 100)


@pytest.fixture
def looked(monkeypatch):
    """What scikit-learn looked at itself."""
    asked = []
    inner = validation.validate_data

    def noted(estimator, X, *args, **options):
        asked.append(options.get("ensure_all_finite", True))
        return inner(estimator, X, *args, **options)

    monkeypatch.setattr(validation, "validate_data", noted)
    return asked


def samples(order, dtype):
    X = np.random.default_rng(0).standard_normal((60, 5)).astype(dtype)
    return {"C": X, "F": np.asfortranarray(X), "every second": np.repeat(X, 2, axis=0)[::2]}[order]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("order", ["C", "F", "every second"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [(0, 0), (31, 2), (59, 4)])
def test_no_sample_is_overlooked(model, order, dtype, place, looked):
    X = samples(order, dtype)
    model.fit(X, Y)
    is_kept = model is MODELS[1] or dtype is np.float32  # networks convert it
    assert looked[0] == (order == "every second" or not is_kept)
    for wrong, word in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
        bad = X.copy(order="K")
        bad[place] = wrong
        for call in (lambda bad=bad: model.fit(bad, Y), lambda bad=bad: model.predict(bad)):
            with pytest.raises(ValueError, match=f"Input X contains {word}"):
                call()


def test_sums_that_are_too_large_are_no_error(looked, recwarn):
    X = np.full((60, 5), np.finfo(np.float32).max)
    assert validation.validated(MODELS[0], X, dtype=(np.float32,)) is X
    assert looked == [True] and not len(recwarn)


def test_nobody_looks_where_all_is_assumed_to_be_finite(looked):
    X = np.full((60, 5), np.nan, np.float32)
    with config_context(assume_finite=True):
        assert validation.validated(MODELS[0], X, dtype=(np.float32,)) is X


def test_samples_of_another_dtype_are_looked_at_as_they_become(looked):
    X = np.full((60, 5), 1e300)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="too large for dtype"):
        validation.validated(MODELS[0], X, dtype=(np.float32,))
    assert looked == [True]
