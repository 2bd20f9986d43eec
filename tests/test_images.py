"""Images in all their forms: what every estimator of images takes, and what it says of others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    LogisticRegression,
    NearestNeighborClassifier,
    VisualWordsTransformer,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [
    ConvNetClassifier((2,), hidden_layer_sizes=(4,), max_iter=2, random_state=0),
    FilterBankTransformer(),
    NearestNeighborClassifier(),
    VisualWordsTransformer(4, n_channels=1, grid=2, random_state=0),
]
each = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)

X, Y = load_digits(return_X_y=True)
X, Y = X[:80] / 16, Y[:80]
FORMS = {
    "3-D": lambda X: X.reshape(-1, 8, 8),
    "4-D": lambda X: X.reshape(-1, 8, 8, 1),
    "Fortran's order": lambda X: np.asfortranarray(X.reshape(-1, 8, 8)),
    "list of lists": lambda X: X.reshape(-1, 8, 8).tolist(),
    "list of images": lambda X: list(X.reshape(-1, 8, 8, 1)),
    "rows": lambda X: X,
    "list of rows": lambda X: list(X),
    "frame of rows": pd.DataFrame,
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def asked(estimator, X):
    """What a fitted estimator says of X."""
    ask = "predict" if is_classifier(estimator) else "transform"
    return getattr(estimator, ask)(X)


@each
@each_form
def test_every_form_of_images_is_the_same(estimator, form):
    expected = clone(estimator).fit(X, Y)
    model = clone(estimator).fit(form(X), Y)
    # scikit-learn warns of a frame's names where they are missing later on
    others = [form] if form is pd.DataFrame else [FORMS["3-D"], FORMS["list of images"], np.asarray]
    for given in others:
        np.testing.assert_array_equal(asked(model, given(X)), asked(expected, X))
    assert model.n_features_in_ == 64


@each
def test_tags_say_that_images_are_taken(estimator):
    assert estimator.__sklearn_tags__().input_tags.three_d_array


@each
def test_images_of_another_size_are_refused(estimator):
    for form in (FORMS["3-D"], FORMS["4-D"]):
        model = clone(estimator).fit(form(X), Y)
        for other in [(4, 16), (8, 7), (16, 4, 1), (4, 8, 2), (8, 8, 3)]:
            images = np.zeros((5, *other))
            shapes = r"X holds images of shape .*fitted on images of shape \(8, 8, 1\)"
            with pytest.raises(ValueError, match=shapes):
                asked(model, images)
        with pytest.raises(ValueError, match="X has 60 features, but .* is expecting 64"):
            asked(model, X[:, :60])
        assert len(asked(model, X)) == len(X)


def test_every_way_of_asking_takes_images_and_refuses_others():
    images, other = X.reshape(-1, 8, 8), X.reshape(-1, 4, 16)
    for estimator in (ESTIMATORS[0], ESTIMATORS[2]):
        model = clone(estimator).fit(images, Y)
        for name in ("predict_proba", "predict_log_proba", "kneighbors", "predict"):
            if hasattr(model, name):
                np.testing.assert_array_equal(getattr(model, name)(images), getattr(model, name)(X))
                with pytest.raises(ValueError, match="fitted on images"):
                    getattr(model, name)(other)
        assert model.score(images, Y) == model.score(X, Y)
        with pytest.raises(ValueError, match="fitted on images"):
            model.score(other, Y)
    words = clone(ESTIMATORS[3]).fit(images)
    np.testing.assert_array_equal(words.nearest_words(images), words.nearest_words(X))
    with pytest.raises(ValueError, match="fitted on images"):
        words.nearest_words(other)


def test_cross_validation_of_images():
    images = X.reshape(-1, 8, 8)
    words = clone(ESTIMATORS[3]).set_params(n_channels=38)
    pipeline = make_pipeline(FilterBankTransformer(), words, LogisticRegression())
    for model in (ESTIMATORS[0], ESTIMATORS[2], pipeline):
        expected = cross_val_predict(model, X, Y, cv=2)
        np.testing.assert_array_equal(cross_val_predict(model, images, Y, cv=2), expected)


def test_images_that_are_not_square():
    rng = np.random.default_rng(0)
    images = rng.random((6, 4, 10, 3))
    bank = FilterBankTransformer().fit(images)
    assert bank.image_shape_ == (4, 10, 3)
    told = FilterBankTransformer(image_shape=(4, 10, 3)).fit(images.reshape(6, -1))
    np.testing.assert_array_equal(bank.transform(images), told.transform(images.reshape(6, -1)))
    for estimator in (FilterBankTransformer(), ESTIMATORS[0]):
        model = clone(estimator).set_params(image_shape=(10, 4, 3))
        with pytest.raises(ValueError, match=r"images of shape \(4, 10, 3\), but image_shape is"):
            model.fit(images, np.arange(6) % 2)
        with pytest.raises(ValueError, match=r"has 120 pixels, but X has 119 features"):
            model.fit(images.reshape(6, -1)[:, 1:], np.arange(6) % 2)


def test_words_of_images_that_are_not_square():
    X = np.zeros((1, 2, 6, 1))
    X[0, 0, :3] = 1  # the upper left quarter
    model = VisualWordsTransformer(2, n_channels=1, grid=2, random_state=0).fit(X)
    bright = model.words_.argmax()
    cells = model.transform(X).reshape(4, 2)
    np.testing.assert_allclose(cells[:, bright], [0.25, 0, 0, 0])
    with pytest.raises(ValueError, match=r"grid=3 cuts images .* an image has \(2, 6\) places"):
        clone(model).set_params(grid=3).fit(X)
    with pytest.raises(ValueError, match="X holds 1 features at each place, but n_channels is 38"):
        VisualWordsTransformer().fit(X)


# What is none of these forms ----------------------------------------------------------------------

COLOURS = np.repeat(X.reshape(-1, 8, 8, 1), 3, axis=3)
FEW = [i.reshape(8, 8) for i in X[:4]]
BAD = {
    "no images": (X[:0].reshape(0, 8, 8), r"Found array with 0 sample\(s\)"),
    "no images in colour": (COLOURS[:0], r"Found array with 0 sample\(s\)"),
    "an empty list": ([], "Expected 2D array, got 1D array instead"),
    "no pixels": (np.zeros((4, 0, 8)), r"Found array with 0 feature\(s\)"),
    "no channels": (np.zeros((4, 8, 8, 0)), r"Found array with 0 feature\(s\)"),
    "5-D": (COLOURS[:4, None], r"dim 5, .* \(n_samples, height, width, channels\).*4, 1, 8, 8, 3"),
    "6-D": (COLOURS[:4, None, None], "Found array with dim 6, while .* expects rows of pixels"),
    "sizes": ([*FEW[:3], FEW[3][:6]], r"images of different shapes, \(6, 8\) and \(8, 8\) among"),
    "sizes, lists": ([i.tolist() for i in [*FEW[:3], FEW[3][:6]]], "images of different shapes"),
    "channels": ([*FEW[:3], COLOURS[0]], r"different shapes, \(8, 8\) and \(8, 8, 3\) among"),
    "ragged rows": (
        [[1.0] * 64] * 3 + [[1.0] * 60],
        "inhomogeneous shape|setting an array element",
    ),
    "numbers": ([1.0] * 4, "Expected 2D array, got 1D array instead"),
    "words": (["a", "b", "c", "d"], "could not convert string to float|Expected 2D array"),
    "NaN": (np.full((4, 8, 8), np.nan), "Input X contains NaN"),
}


def objects(items):
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


BAD["sizes, objects"] = (objects(BAD["sizes"][0]), "images of different shapes")


@each
@pytest.mark.parametrize(("images", "message"), BAD.values(), ids=BAD)
def test_what_is_no_array_of_images(estimator, images, message):
    y = np.arange(len(images)) % 2
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(images, y)
    model = clone(estimator).fit(X, Y)
    with pytest.raises(ValueError, match=f"{message}|is fitted on images of shape"):
        asked(model, images)
    assert len(asked(model, X)) == len(X)


@each
def test_objects_that_are_images_of_one_size_are_taken(estimator):
    expected = asked(clone(estimator).fit(X, Y), X)
    images = objects(FORMS["list of images"](X))
    np.testing.assert_array_equal(asked(clone(estimator).fit(images, Y), images), expected)
    np.testing.assert_array_equal(
        asked(clone(estimator).fit(pd.Series(list(images)), Y), images), expected
    )


@each
@pytest.mark.parametrize("form", ["grey", "grey with a channel", "colour", "not square", "list"])
def test_a_single_image_without_its_axis(estimator, form):
    images = {
        "grey": X.reshape(-1, 8, 8),
        "grey with a channel": X.reshape(-1, 8, 8, 1),
        "colour": COLOURS,
        "not square": X.reshape(-1, 4, 16),
        "list": X.reshape(-1, 8, 8),
    }[form]
    if isinstance(estimator, VisualWordsTransformer) and form == "colour":
        estimator = clone(estimator).set_params(n_channels=3)
    model = clone(estimator).fit(images, Y)
    one = images[0].tolist() if form == "list" else images[0]
    with pytest.raises(ValueError, match=r"X is a single image of shape .*: give X\[None\]"):
        asked(model, one)
    np.testing.assert_array_equal(asked(model, images[:1]), asked(model, images)[:1])


def test_an_image_of_one_row_is_a_row():
    """(1, 64) is a sample of 64 features, also where images have the shape (1, 64, 1)."""
    images = X.reshape(-1, 1, 64)
    for estimator in ESTIMATORS[:3]:
        model = clone(estimator).fit(images, Y)
        np.testing.assert_array_equal(asked(model, images[0]), asked(model, images[:1]))
