"""The classic pipeline: nearest neighbour, filter bank, visual words."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.ndimage
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from estimators import (
    FilterBankTransformer,
    LogisticRegression,
    NearestNeighborClassifier,
    VisualWordsTransformer,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


# Nearest neighbour -------------------------------------------------------------------------------


def brute_force(X, samples):
    """Squared distances in float64 and the first index of the least."""
    differences = X[:, None].astype(float) - samples[None].astype(float)
    squared = (differences**2).sum(axis=2)
    return squared.min(axis=1), squared.argmin(axis=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("block_size", [1, 7, 64, 4096])
def test_neighbours_are_exact(block_size, dtype):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(150, 9)).astype(dtype)
    X = np.concatenate([samples[::5], rng.normal(size=(40, 9)).astype(dtype)])
    model = NearestNeighborClassifier(block_size=block_size).fit(samples, np.arange(150))
    squared, indices = brute_force(X, samples)
    np.testing.assert_array_equal(model.predict(X), indices)
    distances, places = model.kneighbors(X)
    np.testing.assert_allclose(distances[:, 0], np.sqrt(squared), rtol=1e-12)
    np.testing.assert_array_equal(places[:, 0], indices)


@pytest.mark.parametrize("block_size", [3, 50, 4096])
def test_ties_go_to_the_lowest_index(block_size):
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 3, size=(200, 4)).astype("float32")  # full of duplicates and ties
    X = rng.integers(0, 3, size=(60, 4)) + 0.5
    model = NearestNeighborClassifier(block_size=block_size).fit(samples, np.arange(200))
    np.testing.assert_array_equal(model.predict(X), brute_force(X, samples)[1])
    same = np.ones((30, 4), "float32")
    model.fit(same, np.arange(30))
    assert (model.predict(X) == 0).all()


def test_neighbours_far_from_the_origin_and_nearly_equal():
    """Here |q|^2 - 2 q.t + |t|^2 in float32 has no correct digit, and the answer is still exact."""
    rng = np.random.default_rng(0)
    samples = (1000 + 1e-3 * rng.normal(size=(300, 16))).astype("float32")
    samples[:5] = 0  # so that the mean does not take the offset away
    X = (1000 + 1e-3 * rng.normal(size=(50, 16))).astype("float32")
    model = NearestNeighborClassifier(block_size=64).fit(samples, np.arange(300))
    np.testing.assert_array_equal(model.predict(X), brute_force(X, samples)[1])


def test_neighbours_as_scikit_learns(digits):
    X, y = digits
    theirs = KNeighborsClassifier(1, algorithm="brute").fit(X[:300], y[:300])
    ours = NearestNeighborClassifier().fit(X[:300], y[:300])
    np.testing.assert_array_equal(ours.predict(X[300:]), theirs.predict(X[300:]))
    distances, indices = theirs.kneighbors(X[300:])
    np.testing.assert_array_equal(ours.kneighbors(X[300:])[1], indices)
    np.testing.assert_allclose(ours.kneighbors(X[300:])[0], distances, atol=1e-6)
    assert cross_val_score(NearestNeighborClassifier(), X, y, cv=3).mean() > 0.9


def test_a_changed_array_does_not_change_the_neighbours(digits):
    X, y = digits
    X = X.copy()
    model = NearestNeighborClassifier().fit(X, y)
    X[:] = 0
    assert model.score(digits[0], y) == 1
    assert pickle.loads(pickle.dumps(model)).score(digits[0], y) == 1


# Filter bank -------------------------------------------------------------------------------------


def test_38_filters():
    filters = FilterBankTransformer(scales=(1, 2, 3)).fit(np.zeros((1, 900))).filters_[..., 0]
    assert filters.shape == (38, 37, 37)
    np.testing.assert_allclose(np.abs(filters).sum(axis=(1, 2)), 1)
    means = filters.mean(axis=(1, 2))
    assert np.flatnonzero(np.abs(means) > 1e-12).tolist() == [36]
    edges, bars = filters[:18].reshape(3, 6, 37, 37), filters[18:36].reshape(3, 6, 37, 37)
    # edges are odd under a half turn, bars and round filters even
    np.testing.assert_allclose(edges, -edges[..., ::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(bars, bars[..., ::-1, ::-1], atol=1e-12)
    for kind in (edges, bars):  # the fourth orientation is the first, turned by a quarter
        turned = np.rot90(kind[:, 0], -1, axes=(1, 2))
        np.testing.assert_allclose(kind[:, 3], turned, atol=1e-12)
    for round_one in filters[36:]:
        np.testing.assert_allclose(round_one, round_one.T, atol=1e-15)
    spot = np.zeros((37, 37))
    spot[18, 18] = 1
    laplacian = scipy.ndimage.gaussian_laplace(spot, 3, mode="constant")
    assert np.corrcoef(filters[37].ravel(), laplacian.ravel())[0, 1] == pytest.approx(1, abs=1e-4)
    # along a bar runs a Gaussian three times as wide as the one across
    long = np.exp(-((np.arange(37) - 18.0) ** 2) / (2 * 6**2))
    assert np.corrcoef(-bars[1, 0, 18], long)[0, 1] == pytest.approx(1, abs=1e-4)
    # across it is the second derivative of a Gaussian
    centre = np.arange(37) - 18.0
    second = (centre**2 / 4 - 1) * np.exp(-(centre**2) / 8)
    profile = bars[1, 0].sum(axis=1)
    profile, second = profile - profile.mean(), second - second.mean()
    assert np.corrcoef(profile, second)[0, 1] == pytest.approx(1, abs=1e-4)


def test_responses_are_scipys(digits):
    X, _ = digits
    bank = FilterBankTransformer().fit(X)
    responses = bank.transform(X[:3]).reshape(3, 8, 8, 38)
    for image, maps in zip(X[:3].reshape(3, 8, 8), responses, strict=True):
        for k, one in enumerate(bank.filters_[..., 0]):
            expected = scipy.ndimage.correlate(image, one, mode="constant")
            np.testing.assert_allclose(maps[:, :, k], expected, atol=1e-12)


def test_an_edge_excites_its_orientation():
    image = np.zeros((21, 21))
    image[:, 10:] = 1  # a vertical edge: the gradient runs along x
    responses = FilterBankTransformer(scales=(1, 2, 4)).fit_transform(image.reshape(1, -1))
    at_the_edge = np.abs(responses.reshape(21, 21, 38)[10, 10])
    assert at_the_edge[:6].argmax() == 3


def test_filter_bank_of_colours_rows_and_errors():
    rng = np.random.default_rng(0)
    X = rng.random((2, 6, 6, 3)).astype("float32")
    colours = FilterBankTransformer().fit_transform(X.reshape(2, -1))
    grey = FilterBankTransformer().fit_transform(X.mean(axis=3, dtype="float32").reshape(2, -1))
    np.testing.assert_array_equal(colours, grey)
    assert colours.dtype == np.float32
    bank = FilterBankTransformer(image_shape=(3, 4)).fit(rng.random((2, 12)))
    assert bank.image_shape_ == (3, 4, 1)
    assert len(bank.get_feature_names_out()) == 12 * 38
    with pytest.raises(ValueError, match=r"image_shape \(3, 4\) has 12 pixels"):
        clone(bank).fit(rng.random((2, 13)))
    for scales in ((1, 2), (1, 2, 0)):
        with pytest.raises(ValueError, match="scales must be three positive numbers"):
            FilterBankTransformer(scales=scales).fit(rng.random((2, 12)))


# Visual words ------------------------------------------------------------------------------------


def test_words_are_scikit_learns_clusters():
    rng = np.random.default_rng(0)
    X = rng.random((30, 9 * 4))
    model = VisualWordsTransformer(6, n_channels=4, random_state=1).fit(X)
    state = np.random.RandomState(1)
    theirs = MiniBatchKMeans(6, n_init=1, batch_size=4096, random_state=state)
    theirs.fit(X.reshape(-1, 4))
    np.testing.assert_allclose(model.words_, theirs.cluster_centers_)
    nearest = theirs.predict(X.reshape(-1, 4)).reshape(30, 9)
    np.testing.assert_array_equal(model.nearest_words(X), nearest)
    expected = np.stack([np.bincount(words, minlength=6) for words in nearest]) / 9
    np.testing.assert_allclose(model.transform(X), expected)


def test_words_by_cell():
    X = np.zeros((1, 16))
    X[0, [0, 1, 4, 5]] = 1  # the upper left quarter of 4 x 4 places
    model = VisualWordsTransformer(2, n_channels=1, grid=2, random_state=0).fit(X)
    bright = model.words_.argmax()
    cells = model.transform(X).reshape(4, 2)
    np.testing.assert_allclose(cells[:, bright], [0.25, 0, 0, 0])
    np.testing.assert_allclose(cells[:, 1 - bright], [0, 0.25, 0.25, 0.25])
    assert len(model.get_feature_names_out()) == 8


def test_words_of_too_much_and_of_what_does_not_fit(digits):
    X = np.random.default_rng(0).random((20, 8))
    few = VisualWordsTransformer(3, n_channels=2, max_places=10, random_state=0).fit(X)
    assert few.words_.shape == (3, 2)
    with pytest.raises(ValueError, match="8 features are no multiple of n_channels=3"):
        VisualWordsTransformer(2, n_channels=3).fit(X)
    with pytest.raises(ValueError, match="grid=2 cuts squares into cells"):
        VisualWordsTransformer(2, n_channels=1, grid=2).fit(X)


def test_the_pipeline_learns_and_can_be_searched(digits):
    X, y = digits
    model = make_pipeline(
        FilterBankTransformer(scales=(0.5, 1, 2)),
        VisualWordsTransformer(30, grid=2, random_state=0),
        LogisticRegression(C=100, max_iter=300),
    )
    grid = {"visualwordstransformer__n_words": [4, 30]}
    search = GridSearchCV(model, grid, cv=2).fit(X[:300], y[:300])
    assert search.best_params_["visualwordstransformer__n_words"] == 30
    assert search.score(X[300:], y[300:]) > 0.8
