"""Pictures of what a classifier gets wrong."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from estimators import ConvNetClassifier, LogisticRegression
from estimators.inspection import ErrorsDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_errors_show_the_surest_first(digits):
    X, y = digits
    model = LogisticRegression(C=0.001).fit(X[:100], y[:100])
    display = ErrorsDisplay.from_estimator(model, X, y, n_images=5)
    guesses, p = model.predict(X), model.predict_proba(X).max(axis=1)
    wrong = np.flatnonzero(guesses != y)
    wrong = wrong[np.argsort(-p[wrong], kind="stable")]
    np.testing.assert_array_equal(display.indices, wrong)
    for text, image, i in zip(display.texts_, display.images_, wrong[:5], strict=True):
        assert text.get_text() == f"{y[i]}, not {guesses[i]}"
        np.testing.assert_array_equal(image.get_array(), X[i].reshape(8, 8))
    assert display.ax_.get_title() == f"{len(wrong)} errors in 300 images, 5 shown"


def test_no_errors_and_predictions(digits):
    X, y = digits
    none = ErrorsDisplay.from_predictions(X, y, y)
    assert none.images_ == [] and none.ax_.get_title() == "0 errors in 300 images"
    guesses = y.copy()
    guesses[[7, 3]] = 11
    display = ErrorsDisplay.from_predictions(X.reshape(-1, 8, 8), y, guesses)
    assert display.indices.tolist() == [3, 7]
    with pytest.raises(ValueError, match="there are 300 images, 2 labels and 2 guesses"):
        ErrorsDisplay.from_predictions(X, y[:2], y[:2])
    with pytest.raises(ValueError, match=r"Mix of label input types \(string and number\)"):
        ErrorsDisplay.from_predictions(X, y, y.astype(str))
    many = np.stack([y % 2, y > 4], axis=1)
    with pytest.raises(ValueError, match=r"one label and one guess an image, got arrays of shape"):
        ErrorsDisplay.from_predictions(X, many, many)


def test_errors_behind_steps_that_change_the_features(digits):
    """The images have their own shape, not that of what the network is given."""
    X, y = digits
    model = make_pipeline(PCA(16), ConvNetClassifier((2,), max_iter=1, random_state=0)).fit(X, y)
    images = ErrorsDisplay.from_estimator(GridSearchCV(model, {}, cv=2).fit(X, y), X, y).images_
    assert images[0].get_array().shape == (8, 8)


def test_errors_in_images_of_every_form():
    images = np.arange(3 * 24.0).reshape(3, 4, 6)
    y, guesses = np.zeros(3, int), np.ones(3, int)
    for form in (images, images[..., None], list(images), images.tolist()):
        display = ErrorsDisplay.from_predictions(form, y, guesses)
        np.testing.assert_array_equal(display.images, images[..., None])
    assert ErrorsDisplay.from_predictions(images[:0], y[:0], guesses[:0]).n_samples == 0
    with pytest.raises(ValueError, match=r"images of different shapes, \(2, 6\) and \(4, 6\)"):
        ErrorsDisplay.from_predictions([images[0], images[1][:2]], y[:2], guesses[:2])
    with pytest.raises(ValueError, match="dim 5, while .* expects rows of pixels"):
        ErrorsDisplay.from_predictions(images[..., None, None], y, guesses)
    with pytest.raises(ValueError, match=r"expected rows of pixels .* of shape \(3,\)"):
        ErrorsDisplay.from_predictions(y, y, guesses)
