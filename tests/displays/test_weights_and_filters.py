"""Weights as maps and Hinton diagrams, and filters: what is drawn, and in which colours."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import linear_model, svm
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from estimators import (
    ConvNetClassifier,
    LocallyConnected2D,
    LogisticRegression,
    MLPClassifier,
    NearestNeighborClassifier,
    Perceptron,
)
from estimators.inspection import FiltersDisplay, WeightsDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def images_of(display):
    return [np.asarray(image.get_array()) for image in display.images_]


# Weights -----------------------------------------------------------------------------------------


def test_a_map_for_each_class(linear):
    display = WeightsDisplay.from_estimator(linear)
    maps = images_of(display)
    assert len(maps) == 10
    for drawn, row in zip(maps, linear.coef_, strict=True):
        np.testing.assert_array_equal(drawn, row.reshape(8, 8))
    assert [text.get_text() for text in display.texts_] == list("0123456789")
    assert display.figure_ is display.ax_.figure
    assert not display.ax_.axison


def test_colours_are_symmetric_around_zero(linear):
    largest = np.abs(linear.coef_).max()
    for image in WeightsDisplay.from_estimator(linear).images_:
        assert image.get_clim() == pytest.approx((-largest, largest))
        assert image.cmap(image.norm(0.0))[:3] == pytest.approx((0.97, 0.97, 0.97), abs=0.01)
        red, _, blue, _ = image.cmap(image.norm(largest))
        assert red > blue
    each = WeightsDisplay.from_estimator(linear, scale="each").images_
    for image, row in zip(each, linear.coef_, strict=True):
        assert image.get_clim() == pytest.approx((-np.abs(row).max(), np.abs(row).max()))


def test_tiles_do_not_overlap_and_fill_the_limits(linear):
    display = WeightsDisplay.from_estimator(linear, columns=4)
    boxes = [image.get_extent() for image in display.images_]
    assert len({left for left, *_ in boxes}) == 4
    assert len({top for *_, top in boxes}) == 3
    for i, (left, right, bottom, top) in enumerate(boxes):
        for other_left, other_right, other_bottom, other_top in boxes[:i]:
            apart = left >= other_right or right <= other_left
            assert apart or top >= other_bottom or bottom <= other_top
    (x0, x1), (y1, y0) = display.ax_.get_xlim(), display.ax_.get_ylim()
    assert x0 <= min(b[0] for b in boxes) and max(b[1] for b in boxes) <= x1
    assert y0 <= min(b[3] for b in boxes) and max(b[2] for b in boxes) <= y1


@pytest.mark.parametrize("size", [(8, 1.5), (2, 8), (4, 4)])
def test_labels_stay_between_the_tiles(linear, size):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=size)
    display = WeightsDisplay.from_estimator(linear, columns=5, ax=ax)
    figure.canvas.draw()
    labels = [text.get_window_extent() for text in display.texts_]
    for image in display.images_:
        assert not any(image.get_window_extent().overlaps(label) for label in labels)


def test_hinton_areas_are_magnitudes_and_colours_are_signs():
    weights = np.array([[[0.0, 4.0], [-1.0, 2.0]]])[..., None]
    display = WeightsDisplay(weights).plot(kind="hinton")
    (squares,) = display.hinton_
    sides = [np.ptp(path.vertices[:, 0]) for path in squares.get_paths()]
    np.testing.assert_allclose(np.square(sides), np.array([0, 4, 1, 2]) / 4 / 4, atol=1e-12)
    red = squares.get_facecolor()[:, 0] > squares.get_facecolor()[:, 2]
    assert red.tolist()[1:] == [True, False, True]
    assert display.images_ == []


def test_weights_of_a_first_layer_of_two_classes_and_of_others(digits, mlp):
    X, y = digits
    assert len(WeightsDisplay.from_estimator(mlp).images_) == 12
    chosen = WeightsDisplay.from_estimator(mlp, units=[3])
    np.testing.assert_array_equal(images_of(chosen)[0], mlp.coefs_[0][:, 3].reshape(8, 8))
    assert chosen.texts_[0].get_text() == "unit 3"
    two = Perceptron().fit(X[y < 2], y[y < 2])
    assert [t.get_text() for t in WeightsDisplay.from_estimator(two).texts_] == ["1 against 0"]
    theirs = make_pipeline(MinMaxScaler(), linear_model.LogisticRegression()).fit(X, y)
    assert len(WeightsDisplay.from_estimator(theirs).images_) == 10
    sparse = LogisticRegression().fit(sp.csr_matrix(X), y).sparsify()
    assert len(WeightsDisplay.from_estimator(sparse).images_) == 10
    pairs = svm.SVC(kernel="linear").fit(X[y < 4], y[y < 4])  # a row for each pair of classes
    assert [t.get_text() for t in WeightsDisplay.from_estimator(pairs).texts_] == list("012345")
    line = linear_model.Ridge().fit(X, y)
    np.testing.assert_array_equal(
        images_of(WeightsDisplay.from_estimator(line))[0], line.coef_.reshape(8, 8)
    )
    wide = MLPClassifier((50,), max_iter=1).fit(X, y)
    assert len(WeightsDisplay.from_estimator(wide).images_) == 40
    assert len(WeightsDisplay.from_estimator(wide, units=range(50)).images_) == 50


def test_weights_of_what_steps_make_are_no_pixels(digits):
    X, y = digits
    model = make_pipeline(MinMaxScaler(), PCA(16), LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="make 16 features of 64, and its weights are of those"):
        WeightsDisplay.from_estimator(model)
    shown = WeightsDisplay.from_estimator(model, image_shape=(2, 8))
    assert images_of(shown)[0].shape == (2, 8)
    whole = make_pipeline("passthrough", MinMaxScaler(), LogisticRegression()).fit(X, y)
    assert images_of(WeightsDisplay.from_estimator(whole))[0].shape == (8, 8)


def test_weights_of_colour_images_are_colours_around_grey():
    rng = np.random.default_rng(0)
    X, y = rng.random((30, 48)), np.arange(30) % 3
    display = WeightsDisplay.from_estimator(LogisticRegression().fit(X, y))
    maps = images_of(display)
    assert maps[0].shape == (4, 4, 3)
    assert np.max([np.abs(m - 0.5).max() for m in maps]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="one channel, but these have 3"):
        display.plot(kind="hinton")


def test_weights_without_an_image(linear, net):
    rng = np.random.default_rng(0)
    X, y = rng.random((20, 10)), np.arange(20) % 2
    model = LogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match="10 features are no square image: give image_shape"):
        WeightsDisplay.from_estimator(model)
    assert images_of(WeightsDisplay.from_estimator(model, image_shape=(2, 5)))[0].shape == (2, 5)
    with pytest.raises(ValueError, match=r"image_shape \(3, 3\) has 9 pixels"):
        WeightsDisplay.from_estimator(model, image_shape=(3, 3))
    with pytest.raises(ValueError, match="a NearestNeighborClassifier has no weights to show"):
        WeightsDisplay.from_estimator(NearestNeighborClassifier().fit(X, y))
    with pytest.raises(ValueError, match="FiltersDisplay shows the filters"):
        WeightsDisplay.from_estimator(net)
    with pytest.raises(ValueError, match="kind must be 'map' or 'hinton', got 'bars'"):
        WeightsDisplay.from_estimator(linear, kind="bars")
    with pytest.raises(ValueError, match="scale must be 'all' or 'each'"):
        WeightsDisplay.from_estimator(linear, scale="none")


# Filters -----------------------------------------------------------------------------------------


def test_filters(net, mlp, linear):
    drawn = images_of(FiltersDisplay.from_estimator(net))
    assert len(drawn) == 4
    for image, one in zip(drawn, net.coefs_[0], strict=True):
        np.testing.assert_array_equal(image, one[:, :, 0])
    second = FiltersDisplay.from_estimator(net, layer=1)  # 6 filters of 4 channels
    assert len(second.images_) == 24
    assert {image.get_clim() for image in second.images_} == {(-1, 1)}
    with pytest.raises(ValueError, match="layer 2 of ConvNetClassifier has no filters"):
        FiltersDisplay.from_estimator(net, layer=2)
    with pytest.raises(ValueError, match="ConvNetClassifier has layers 0 to 3, got layer=4"):
        FiltersDisplay.from_estimator(net, layer=4)
    with pytest.raises(ValueError, match="a LogisticRegression has no filters"):
        FiltersDisplay.from_estimator(linear)
    with pytest.raises(ValueError, match="WeightsDisplay shows"):
        FiltersDisplay.from_estimator(mlp)


def test_filters_of_three_channels_are_colours():
    filters = np.random.default_rng(0).normal(size=(6, 5, 5, 3))
    drawn = images_of(FiltersDisplay(filters).plot())
    assert [image.shape for image in drawn] == [(5, 5, 3)] * 6
    np.testing.assert_allclose([np.abs(image - 0.5).max() for image in drawn], 0.5)


def test_filters_of_each_place(digits):
    layers = [LocallyConnected2D(3, 3, padding="valid")]
    model = ConvNetClassifier(layers=layers, max_iter=1, random_state=0).fit(*digits)
    display = FiltersDisplay.from_estimator(model, unit=2)
    assert len(display.images_) == 36
    np.testing.assert_array_equal(images_of(display)[7], model.coefs_[0][1, 1, 2, :, :, 0])
    with pytest.raises(ValueError, match=r"layer 0 has units 0 to 2, got units=\[3\]"):
        FiltersDisplay.from_estimator(model, unit=3)
