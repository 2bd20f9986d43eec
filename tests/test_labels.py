"""Labels as columns, held to scikit-learn's LabelBinarizer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import LabelBinarizer

from estimators.shared.labels import indicators_of, learn_labels

RNG = np.random.default_rng(0)
LABELS = {
    "one class": np.full(5, 3),
    "two classes": RNG.integers(0, 2, 50) * 4 - 1,
    "three classes": RNG.integers(-1, 2, 50),
    "bytes": RNG.integers(0, 9, 50).astype(np.uint8),
    "large": RNG.integers(0, 3, 50) + 2**62,
    "truth values": RNG.random(50) < 0.5,
    "numbers": RNG.integers(0, 4, 50).astype(float),
    "words": np.array(["b", "ab", "c"])[RNG.integers(0, 3, 50)],
    "objects": np.array(["b", "ab", "c"], dtype=object)[RNG.integers(0, 3, 50)],
    "several at once": RNG.integers(0, 2, (50, 4)),
}


@pytest.mark.parametrize("name", LABELS)
def test_columns_are_those_of_scikit_learn(name):
    y = LABELS[name]
    binarizer, columns = learn_labels(y)
    other = LabelBinarizer().fit(y)
    np.testing.assert_array_equal(binarizer.classes_, other.classes_)
    assert binarizer.classes_.dtype == other.classes_.dtype
    assert binarizer.y_type_ == other.y_type_
    right = other.transform(y)
    np.testing.assert_array_equal(columns, right)
    assert columns.dtype == right.dtype == int


@pytest.mark.parametrize("name", ["two classes", "three classes"])
def test_labels_that_nobody_has_learned_are_in_no_column(name):
    binarizer, _ = learn_labels(LABELS[name])
    y = np.array([77, binarizer.classes_[-1], 77])
    right = binarizer.transform(y)
    assert right[0].sum() == 0 and right[1].sum() == 1
    for own in (y, y.astype(float), y.tolist(), y[:, None]):
        np.testing.assert_array_equal(indicators_of(own, binarizer), right)
