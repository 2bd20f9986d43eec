"""Images in all their forms: what every estimator of images takes, and what it says of others."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits, load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline

from _requirements import require
from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    LogisticRegression,
    NearestNeighborClassifier,
    VisualWordsTransformer,
)
from estimators.model_selection import GridSearchCV as StackedGridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [
    ConvNetClassifier((2,), hidden_layer_sizes=(4,), max_iter=2, random_state=0),
    FilterBankTransformer(),
    NearestNeighborClassifier(),
    VisualWordsTransformer(4, n_channels=1, grid=2, max_places=200, random_state=0),
]
each = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)

X, Y = load_digits(return_X_y=True)
X, Y = X[:40] / 16, Y[:40]
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


# How they are laid out ----------------------------------------------------------------------------

FIRST = "the channels first: give X.reshape"
LINE = "taken as rows of .* pixels, .* give image_shape="
SHAPES = [  # of images, `image_shape`, and what is said of them
    # channels first
    ((3, 32, 32), None, FIRST),
    ((1, 28, 28), None, FIRST),
    ((1, 8, 8), None, FIRST),
    ((3, 8, 8), None, FIRST),
    ((3, 48, 64), None, FIRST),
    ((3, 64, 32), None, FIRST),
    ((4, 16, 16), None, FIRST),
    ((3072,), (3, 32, 32), FIRST),
    ((784,), (1, 28, 28), FIRST),
    ((3, 32, 32), (3, 32, 32), FIRST),
    # rows of pictures in colour, taken as one line
    ((3072,), None, LINE),
    ((192,), None, LINE),
    ((2352,), None, LINE),
    ((768,), None, LINE),
    # as they are meant to be
    ((32, 32, 3), None, None),
    ((28, 28, 3), None, None),
    ((28, 28, 1), None, None),
    ((28, 28), None, None),
    ((32, 32, 4), None, None),
    ((32, 48, 3), None, None),
    ((3072,), (32, 32, 3), None),
    ((784,), (28, 28), None),
    ((784,), (28, 28, 1), None),
    ((784,), None, None),
    ((64,), None, None),
    # feature maps, and signals of several channels
    ((8, 8, 8), None, None),
    ((7, 7, 512), None, None),
    ((16, 16, 16), None, None),
    ((2, 16, 16), None, None),
    ((4, 4, 64), None, None),
    ((3, 5, 64), None, None),
    ((3, 16, 64), None, None),
    ((1, 100, 64), None, None),
    ((1, 250, 8), None, None),
    ((1, 64, 1), None, None),
    ((100, 3), None, None),
    ((1, 192), None, None),  # who gives one line as an image means it
    ((1, 192, 1), None, None),
    # too small to tell
    ((3, 3, 3), None, None),
    ((3, 4, 4), None, None),
    ((1, 3, 3), None, None),
    ((4, 8, 8), None, None),
    ((75,), None, None),
    ((48,), None, None),
    ((12,), None, None),
    ((3,), None, None),
    # lines of other lengths
    ((100,), None, None),
    ((60,), None, None),
    ((560,), None, None),
    ((1000,), None, None),
    ((2048,), None, None),
]


def said(estimator, X, y):
    """What a fit warns of, but convergence; all of it in this file's line."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X, y)
    assert {w.filename for w in told} <= {__file__}
    return [str(w.message) for w in told]


@pytest.mark.parametrize(("shape", "image_shape", "message"), SHAPES, ids=str)
def test_a_layout_that_is_almost_surely_wrong_is_a_warning(shape, image_shape, message):
    images = np.random.default_rng(0).random((6, *shape)).astype("float32")
    y = np.arange(6) % 2
    net = ConvNetClassifier(
        (2,), pool_size=None, hidden_layer_sizes=(), max_iter=1, image_shape=image_shape
    )
    warned = said(net, images, y)
    assert [re.search(message, text) is not None for text in warned] == [True] * bool(message), (
        warned
    )
    assert said(net, images, y) == warned  # each fit says so, also of a model that is fitted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.predict(images)
        net.partial_fit(images, y)
    # the filter bank takes rows of squares in three colours as such, and says so; of neighbours
    # the order of the pixels is no matter
    bank = FilterBankTransformer(image_shape=image_shape)
    assert len(said(bank, images, None)) == len(warned)
    for text, of_bank in zip(warned, said(bank, images, None), strict=True):
        assert of_bank == text if FIRST in text else "in colour: if they are, give" in of_bank
    assert said(NearestNeighborClassifier(), images, y) == []


def test_the_warning_says_what_to_do():
    rng = np.random.default_rng(0)
    wrong = rng.random((6, 3, 12, 12))
    (text,) = said(ESTIMATORS[1], wrong, None)
    given = eval(re.search(r"give (X\.reshape\(.*?\)\.transpose\(.*?\))", text)[1], {"X": wrong})
    np.testing.assert_array_equal(given, wrong.transpose(0, 2, 3, 1))
    assert "image_shape=(12, 12, 3)" in text
    rows = rng.random((6, 432))
    net = clone(ESTIMATORS[0])
    (text,) = said(net, rows, np.arange(6) % 2)
    assert "image_shape=(12, 12, 3)" in text
    assert net.image_shape_ == (1, 432, 1)
    given = eval(re.search(r"or (X\.reshape\(.*?\)\.transpose\(.*?\))", text)[1], {"X": rows})
    np.testing.assert_array_equal(given, rows.reshape(6, 3, 12, 12).transpose(0, 2, 3, 1))
    for images, told in ((given, {}), (rows, {"image_shape": (12, 12, 3)})):
        assert said(clone(net).set_params(**told), images, np.arange(6) % 2) == []


def patches(side):
    """Parts of two photographs, (40, side, side, 3)."""
    rng = np.random.default_rng(0)
    found = []
    for photo in load_sample_images().images:
        for _ in range(20):
            top, left = rng.integers(0, photo.shape[0] - side), rng.integers(0, 600 - side)
            found.append(photo[top : top + side, left : left + side])
    return np.array(found)


@pytest.mark.parametrize("side", [8, 16, 32])
def test_photographs_as_rows_are_told_from_signals(side):
    require("PIL", "plot")
    photos, y = patches(side), np.arange(40) % 2
    net = ConvNetClassifier((2,), hidden_layer_sizes=(), max_iter=1)
    for rows in (photos.reshape(40, -1), photos.transpose(0, 3, 1, 2).reshape(40, -1)):
        for scaled in (rows, (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1)):
            assert [LINE.split()[0] in text for text in said(net, scaled, y)] == [True]
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 3 * side**2)
    walks = rng.normal(size=(40, len(t))).cumsum(axis=1)
    waves = np.sin(2 * np.pi * (rng.uniform(1, 5, (40, 1)) * t + rng.random((40, 1))))
    peaks = np.exp(-(((t - rng.random((40, 1))) / 0.05) ** 2))
    for signals in (walks, waves, peaks, waves + 0.02 * rng.normal(size=waves.shape)):
        assert said(net, signals, y) == []


def test_a_search_and_a_description_say_so_too(capsys):
    X, y = np.random.default_rng(0).random((12, 1, 12, 12)), np.arange(12) % 2
    for search in (GridSearchCV, StackedGridSearchCV):
        with pytest.warns(UserWarning, match=FIRST):
            search(clone(ESTIMATORS[0]).set_params(pool_size=None), {}, cv=2).fit(X, y)
    with pytest.warns(UserWarning, match=FIRST) as told:
        ConvNetClassifier(pool_size=None).summary((3, 32, 32), n_classes=10)
    assert told[0].filename == __file__


@pytest.mark.parametrize("shape", [(8, 8, 3), (32, 32, 3), (32, 32, 4)])
def test_the_filter_bank_asks_whether_it_is_one_image(shape):
    (text,) = said(FilterBankTransformer(), np.zeros(shape), None)
    assert "give X[None] if it is a single image in colour" in text
    for images in (np.zeros((1, *shape)), np.zeros((7, *shape[1:])), np.zeros((32, 32, 5))):
        assert said(FilterBankTransformer(), images, None) == []
