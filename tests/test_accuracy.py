"""`score` returns what scikit-learn's `accuracy_score` does, with its warnings and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from estimators.shared import base

RNG = np.random.default_rng(0)


class Predicts(base.Classifier):
    """Predicts what it is given."""

    def predict(self, X):
        return X


def told(function, *args):
    """What a function returns or raises, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args)
        except Exception as error:
            result = type(error), str(error)
    return repr(result), type(result), [(w.category, str(w.message)) for w in caught]


def labels(n, *choices, dtype=None):
    return RNG.choice(np.array(choices, dtype), n)


TEN = np.arange(10)
PAIRS = {
    "digits": (labels(360, *TEN), labels(360, *TEN)),
    "thirds": (labels(7, 0, 1, 2), labels(7, 0, 1, 2)),
    "all right": (TEN.repeat(3), TEN.repeat(3)),
    "two samples": (np.array([0, 1]), np.array([0, 1])),
    "one sample": (np.array([1]), np.array([1])),
    "none": (np.array([], int), np.array([], int)),
    "negative": (labels(50, -1, 1), labels(50, -1, 1)),
    "unsigned": (labels(50, 0, 3, dtype=np.uint8), labels(50, 0, 3, dtype=np.uint8)),
    "far apart": (labels(50, -(2**63), 2**63 - 1), labels(50, -(2**63), 2**63 - 1)),
    "unknown labels": (labels(50, 4, 7), labels(50, 1, 2)),
    "one class": (labels(50, 4), labels(50, 4, 6)),
    "as many classes as samples": (np.arange(40), np.arange(40)),
    "half as many": (np.arange(40) // 2, np.arange(40) // 2),
    "one more than half": (np.minimum(np.arange(40), 20), np.minimum(np.arange(40), 20)),
    "many predicted": (labels(40, 0, 1), np.arange(40)),
    "bool": (labels(50, False, True), labels(50, False, True)),
    "strings": (labels(50, "a", "b"), labels(50, "a", "b")),
    "strings and numbers": (labels(50, "a", "b"), labels(50, 0, 1)),
    "numbers and strings": (labels(50, 0, 1), labels(50, "a", "b")),
    "numbers and fractions": (labels(50, 0, 1), RNG.random(50)),
    "floats": (labels(50, 0.0, 1.0), labels(50, 0, 1)),
    "continuous": (RNG.random(50), labels(50, 0, 1)),
    "other dtypes": (labels(50, 0, 1, dtype=np.int8), labels(50, 0, 1)),
    "other lengths": (labels(50, 0, 1), labels(49, 0, 1)),
    "lists": (labels(50, 0, 1).tolist(), labels(50, 0, 1)),
    "a column": (labels(50, 0, 1)[:, None], labels(50, 0, 1)),
    "several labels": (labels((50, 3), 0, 1), labels((50, 3), 0, 1)),
    "objects": (labels(50, 0, 1).astype(object), labels(50, 0, 1).astype(object)),
}  # fmt: skip


@pytest.mark.parametrize(("y", "predicted"), PAIRS.values(), ids=PAIRS)
def test_score_is_the_accuracy(y, predicted):
    assert told(Predicts().score, predicted, y) == told(accuracy_score, y, predicted)


def test_weights_count():
    y, predicted = PAIRS["digits"]
    weight = RNG.random(len(y))
    expected = accuracy_score(y, predicted, sample_weight=weight)
    assert Predicts().score(predicted, y, weight) == expected


def test_plain_labels_are_not_validated_again(monkeypatch):
    """It takes longer than to predict them."""
    monkeypatch.setattr(base, "accuracy_score", None)
    for name in ("digits", "negative", "unsigned", "half as many", "one class"):
        y, predicted = PAIRS[name]
        assert Predicts().score(predicted, y) == np.mean(y == predicted)


def test_of_many_labels_scikit_learn_is_asked():
    """Some of its versions warn of them."""
    for name in ("as many classes as samples", "one more than half", "many predicted"):
        assert not base._are_plain_labels(*PAIRS[name])
