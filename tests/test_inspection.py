"""The displays: what is drawn, in which colours and limits, their errors, and a few pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import linear_model, neural_network
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from _requirements import require
from estimators import (
    AvgPool2D,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    LogisticRegression,
    MaxPool2D,
    MLPClassifier,
    Perceptron,
)
from estimators._probe import Probe
from estimators.inspection import (
    ActivationMapsDisplay,
    ErrorsDisplay,
    FiltersDisplay,
    LossCurveDisplay,
    MaximalPatchesDisplay,
    SearchDisplay,
    WeightsDisplay,
)

matplotlib = require("matplotlib", "plot")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

BASELINES = Path(__file__).parent / "baselines"
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype("float32"), y[:300]


@pytest.fixture(scope="module")
def linear(digits):
    return LogisticRegression(C=0.1).fit(*digits)


@pytest.fixture(scope="module")
def mlp(digits):
    return MLPClassifier((12,), max_iter=20, random_state=0).fit(*digits)


@pytest.fixture(scope="module")
def net(digits):
    X, y = digits
    model = ConvNetClassifier((4, 6), hidden_layer_sizes=(16,), max_iter=12, random_state=0)
    return model.fit(X, y, X_val=X[:50], y_val=y[:50])


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
    with pytest.raises(ValueError, match="FiltersDisplay shows the filters"):
        WeightsDisplay.from_estimator(net)
    with pytest.raises(ValueError, match="kind must be 'map' or 'hinton', got 'bars'"):
        WeightsDisplay.from_estimator(linear, kind="bars")
    with pytest.raises(ValueError, match="scale must be 'all' or 'each'"):
        WeightsDisplay.from_estimator(linear, scale="none")


# Filters -----------------------------------------------------------------------------------------


def test_filters(net, mlp):
    drawn = images_of(FiltersDisplay.from_estimator(net))
    assert len(drawn) == 4
    for image, one in zip(drawn, net.coefs_[0], strict=True):
        np.testing.assert_array_equal(image, one[:, :, 0])
    second = FiltersDisplay.from_estimator(net, layer=1)  # 6 filters of 4 channels
    assert len(second.images_) == 24
    assert {image.get_clim() for image in second.images_} == {(-1, 1)}
    with pytest.raises(ValueError, match="layer 2 of ConvNetClassifier has no filters"):
        FiltersDisplay.from_estimator(net, layer=2)
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


# Activation maps ---------------------------------------------------------------------------------


def test_activation_maps_are_the_outputs_of_the_layers(digits, net):
    X, _ = digits
    display = ActivationMapsDisplay.from_estimator(net, X[5])
    assert [len(row) for row in display.images_] == [1, 4, 4, 6, 6, 10, 10]
    np.testing.assert_allclose(display.maps[-1], net.predict_proba(X[5:6])[0], rtol=1e-6)
    np.testing.assert_array_equal(display.images_[0][0].get_array(), X[5].reshape(8, 8))
    first = display.images_[1][0]
    expected = Probe(net).outputs(X[5:6])[0][0]
    np.testing.assert_array_equal(first.get_array(), expected[:, :, 0])
    assert first.get_clim() == pytest.approx((0, expected.max()))
    assert len(ActivationMapsDisplay.from_estimator(net, X[5], max_maps=2).images_[1]) == 2


def test_activation_maps_of_images_mlps_and_pipelines(digits, net, mlp):
    X, y = digits
    assert len(ActivationMapsDisplay.from_estimator(mlp, X[0]).images_) == 3
    square = ConvNetClassifier((2,), activation="tanh", max_iter=1, random_state=0)
    square.fit(X.reshape(-1, 8, 8), y)
    display = ActivationMapsDisplay.from_estimator(square, X[0].reshape(8, 8))
    low, high = display.images_[1][0].get_clim()
    assert low == -high < 0
    piped = make_pipeline(MinMaxScaler(), MLPClassifier((5,), max_iter=1)).fit(X, y)
    assert ActivationMapsDisplay.from_estimator(piped, X[0]).maps[0].shape == (5,)
    with pytest.raises(ValueError, match="the image has 128 values, but ConvNetClassifier is"):
        ActivationMapsDisplay.from_estimator(net, X[:2])
    with pytest.raises(ValueError, match="a LogisticRegression has no layers to look into"):
        ActivationMapsDisplay.from_estimator(LogisticRegression().fit(X, y), X[0])


# Maximal patches ---------------------------------------------------------------------------------

CHAINS = [
    [Conv2D(3, 3, padding="valid")],
    [Conv2D(2, 3, stride=2), Conv2D(3, (1, 3), dilation=2, padding=1)],
    [Conv2D(2, 3), MaxPool2D(2), Conv2D(3, 2, padding="valid")],
    [Conv2D(2, 2), AvgPool2D(3, stride=1, padding=1), LocallyConnected2D(3, 2, padding="valid")],
]


@pytest.mark.parametrize("layers", CHAINS, ids=lambda chain: str(len(chain)))
def test_a_field_is_what_a_place_depends_on(digits, layers):
    """Changing pixels inside the field changes the place, and outside of it never."""
    X, y = digits
    layers = [replace(a, activation="tanh") if isinstance(a, Conv2D) else a for a in layers]
    model = ConvNetClassifier(layers=layers, max_iter=1, random_state=0)
    model.fit(X, y)
    probe = Probe(model, sum(isinstance(layer, Conv2D) for layer in layers) - 1)
    rows, columns = probe.fields()
    base = np.random.default_rng(0).random((1, 8, 8, 1)).astype("float32")
    before = probe.outputs(base)[-1][0]
    p, q = before.shape[0] // 2, before.shape[1] // 2
    touched = np.zeros((8, 8), bool)
    for i in range(8):
        for j in range(8):
            changed = base.copy()
            changed[0, i, j] += 1
            touched[i, j] = (probe.outputs(changed)[-1][0, p, q] != before[p, q]).any()
    seen_rows, seen_columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    whole = []
    for seen, field, place in ((seen_rows, rows, p), (seen_columns, columns, q)):
        first = field.first + place * field.step
        assert first <= seen[0] and seen[-1] < first + field.size
        if first >= 0 and first + field.size <= 8:  # else padding between layers hides pixels
            assert (seen[0], seen[-1]) == (first, first + field.size - 1)
            whole.append(field)
    assert whole


def test_patches_are_those_of_the_largest_responses(digits, net):
    X, _ = digits
    display = MaximalPatchesDisplay.from_estimator(net, X, units=[1, 3], n_patches=4)
    assert display.patches.shape == (2, 4, 3, 3, 1)
    assert display.ideal.shape == (2, 3, 3, 1)
    assert len(display.images_) == 2 * 5
    best = Probe(net, 0).last_outputs(X)[..., 3].max(axis=(1, 2))
    np.testing.assert_array_equal(display.responses[1], np.sort(best)[::-1][:4])
    # the response to a patch is its product with the filter
    patch, w, bias = display.patches[1, 0], net.coefs_[0][3], net.intercepts_[0][3]
    assert (patch * w).sum() + bias == pytest.approx(display.responses[1, 0], rel=1e-5)


def test_patches_behind_a_pooling_are_cut_where_the_place_looks(digits):
    X, y = digits
    layers = [MaxPool2D(2), Conv2D(3, 2, padding="valid", activation="identity")]
    net = ConvNetClassifier(layers=layers, max_iter=2, random_state=0).fit(X, y)
    display = MaximalPatchesDisplay.from_estimator(net, X, n_patches=5)
    assert display.patches.shape == (3, 5, 4, 4, 1)
    pooled = display.patches.reshape(3, 5, 2, 2, 2, 2).max(axis=(3, 5))
    expected = np.einsum("knij,kij->kn", pooled, net.coefs_[0][..., 0])
    np.testing.assert_allclose(
        display.responses, expected + net.intercepts_[0][:, None], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_ascent_excites_its_unit(digits, net, layer):
    X, _ = digits
    probe = Probe(net, layer)
    start = np.full((2, 64), 0.05, "float32")
    moved = probe.ascend(start, np.array([0, 2]), low=0.0, high=1.0, steps=30, rate=0.1, decay=0.0)
    assert moved.min() >= 0 and moved.max() <= 1

    def responses(x):
        y = probe.outputs(x)[-1]
        return np.array([y[k, y.shape[1] // 2, y.shape[2] // 2, unit] if y.ndim == 4 else y[k, unit]
                         for k, unit in enumerate((0, 2))])  # fmt: skip

    assert (responses(moved) >= responses(start)).all()
    assert (responses(moved) > responses(start)).any()


def test_patches_of_units_without_a_place_are_whole_images(digits, mlp):
    X, _ = digits
    display = MaximalPatchesDisplay.from_estimator(mlp, X, n_patches=2, ascent=False)
    assert display.patches.shape == (8, 2, 8, 8, 1)
    best = X[Probe(mlp, 0).last_outputs(X)[:, 5].argmax()]
    np.testing.assert_array_equal(display.patches[5, 0], best.reshape(8, 8, 1))
    assert display.ideal is None
    with pytest.raises(ValueError, match=r"layer 0 has units 0 to 11, got units=\[12\]"):
        MaximalPatchesDisplay.from_estimator(mlp, X, units=[12])


def test_dropout_and_batch_norm_are_passed(digits):
    X, y = digits
    layers = [Conv2D(3, 3), Dropout(0.5), Dense(5)]
    model = ConvNetClassifier(layers=layers, max_iter=1, random_state=0).fit(X, y)
    assert len(ActivationMapsDisplay.from_estimator(model, X[0]).images_) == 4
    normal = ConvNetClassifier((3,), batch_norm=True, max_iter=2, random_state=0).fit(X, y)
    assert MaximalPatchesDisplay.from_estimator(normal, X, layer=1, n_patches=2).ideal is not None


# Curves ------------------------------------------------------------------------------------------


def test_loss_curves(mlp, net):
    display = LossCurveDisplay.from_estimator(net)
    np.testing.assert_array_equal(display.lines_[""].get_ydata(), net.loss_curve_)
    np.testing.assert_array_equal(display.lines_[""].get_xdata(), np.arange(1, 13))
    np.testing.assert_array_equal(display.score_lines_[""].get_ydata(), net.validation_scores_)
    assert display.ax_.get_ylim()[0] == 0
    assert display.ax_.get_xlabel() == "epoch"
    alone = LossCurveDisplay.from_estimator(mlp, log=True)
    assert alone.score_ax_ is None and alone.ax_.get_yscale() == "log"
    both = LossCurveDisplay.from_estimator({"MLP": mlp, "ConvNet": net})
    assert list(both.lines_) == ["MLP", "ConvNet"] and list(both.score_lines_) == ["ConvNet"]
    labels = [text.get_text() for text in both.ax_.get_legend().get_texts()]
    assert labels == [
        "MLP: training loss",
        "ConvNet: training loss",
        "ConvNet: validation accuracy",
    ]


def test_loss_curves_of_others(digits, linear):
    X, y = digits
    theirs = neural_network.MLPClassifier((5,), max_iter=3).fit(X, y)
    assert len(LossCurveDisplay.from_estimator(theirs).lines_[""].get_ydata()) == 3
    for model in (linear, MLPClassifier((5,), solver="lbfgs", max_iter=3).fit(X, y)):
        with pytest.raises(ValueError, match="has no loss_curve_"):
            LossCurveDisplay.from_estimator(model)


def test_search_over_one_parameter(digits):
    X, y = digits
    grid = {"C": [1.0, 0.001, 0.1]}
    search = GridSearchCV(LogisticRegression(), grid, cv=3, return_train_score=True).fit(X, y)
    display = SearchDisplay.from_estimator(search)
    line, train = display.lines_["validation"], display.lines_["training"]
    np.testing.assert_array_equal(line.get_xdata(), [0.001, 0.1, 1.0])
    np.testing.assert_array_equal(
        line.get_ydata(), search.cv_results_["mean_test_score"][[1, 2, 0]]
    )
    np.testing.assert_array_equal(train.get_ydata(), search.cv_results_["mean_train_score"][[1, 2, 0]])  # fmt: skip  # noqa: E501
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel() == "C"
    names = GridSearchCV(MLPClassifier((4,), max_iter=2), {"activation": ["tanh", "relu"]}, cv=2)
    labels = SearchDisplay.from_estimator(names.fit(X, y)).ax_.get_xticklabels()
    assert [label.get_text() for label in labels] == ["tanh", "relu"]


def test_search_over_two_parameters_shows_the_best_of_the_others(digits):
    X, y = digits
    grid = {"C": [0.01, 1.0], "l1_ratio": [0.0, 1.0], "tol": [0.5, 0.01, 0.001]}
    search = GridSearchCV(LogisticRegression(solver="saga"), grid, cv=2).fit(X, y)
    display = SearchDisplay.from_estimator(search, params=["C", "tol"])
    results = search.cv_results_
    for i, tol in enumerate([0.001, 0.01, 0.5]):
        for j, C in enumerate([0.01, 1.0]):
            best = max(
                score
                for p, score in zip(results["params"], results["mean_test_score"], strict=True)
                if p["C"] == C and p["tol"] == tol
            )
            assert display.image_.get_array()[i, j] == best
            assert display.texts_[2 * i + j].get_text() == f"{best:.3f}"
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0.001", "0.01", "0.5"]
    with pytest.raises(ValueError, match="give one or two of them"):
        SearchDisplay.from_estimator(search)
    with pytest.raises(ValueError, match=r"no score 'f1': it has \['score'\]"):
        SearchDisplay.from_estimator(search, params=["C"], metric="f1")


# Errors ------------------------------------------------------------------------------------------


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


# All of them -------------------------------------------------------------------------------------


def test_they_draw_into_given_axes(digits, linear, net):
    X, y = digits
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, y)
    calls = [
        lambda ax: WeightsDisplay.from_estimator(linear, ax=ax),
        lambda ax: WeightsDisplay.from_estimator(linear, kind="hinton", ax=ax),
        lambda ax: FiltersDisplay.from_estimator(net, ax=ax),
        lambda ax: ActivationMapsDisplay.from_estimator(net, X[0], ax=ax),
        lambda ax: MaximalPatchesDisplay.from_estimator(net, X[:20], ax=ax),
        lambda ax: LossCurveDisplay.from_estimator(net, ax=ax),
        lambda ax: SearchDisplay.from_estimator(search, ax=ax),
        lambda ax: ErrorsDisplay.from_estimator(linear, X, y, ax=ax),
    ]
    figure, grid = plt.subplots(2, 4)
    for call, ax in zip(calls, grid.flat, strict=True):
        display = call(ax)
        assert display.ax_ is ax and display.figure_ is figure
        again = display.plot()
        assert again is display and display.ax_ is not ax
    figure.canvas.draw()


def test_unfitted_estimators_are_refused():
    from sklearn.exceptions import NotFittedError

    for call in (
        lambda: WeightsDisplay.from_estimator(LogisticRegression()),
        lambda: FiltersDisplay.from_estimator(ConvNetClassifier()),
        lambda: LossCurveDisplay.from_estimator(MLPClassifier()),
        lambda: SearchDisplay.from_estimator(GridSearchCV(LogisticRegression(), {"C": [1]})),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_without_matplotlib_the_import_works_and_the_call_says_what_to_install():
    code = """
import sys
sys.modules["matplotlib"] = None  # an import of it raises ImportError
import numpy as np
from estimators import LogisticRegression
from estimators.inspection import WeightsDisplay
model = LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
for call in (lambda: WeightsDisplay.from_estimator(model),
             lambda: WeightsDisplay(np.ones((1, 2, 2, 1))).plot()):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for line, caller in zip(run.stdout.splitlines(), ("from_estimator", "plot"), strict=True):
        assert line == (
            f"WeightsDisplay.{caller} needs matplotlib, which is not installed. "
            "Install it with `pip install 'cukernels[plot]'`."
        )


def test_scikit_learns_displays_take_these_estimators(digits, mlp):
    X, y = digits
    shown = ConfusionMatrixDisplay.from_estimator(mlp, X, y)
    assert shown.confusion_matrix.sum() == 300
    plane = MLPClassifier((8,), max_iter=20, random_state=0).fit(X[:, [20, 43]], y > 4)
    boundary = DecisionBoundaryDisplay.from_estimator(plane, X[:, [20, 43]], grid_resolution=20)
    assert boundary.response.shape == (20, 20)


# Pictures ----------------------------------------------------------------------------------------


def ramp(*shape):
    """Numbers from -1 to 1 that depend on no library."""
    n = int(np.prod(shape))
    return (2 * ((np.arange(n) * 37) % n) / (n - 1) - 1).reshape(shape)


PICTURES = {
    "weights": lambda: WeightsDisplay(ramp(6, 4, 4, 1)).plot(columns=3),
    "hinton": lambda: WeightsDisplay(ramp(2, 5, 5, 1)).plot(kind="hinton"),
    "filters_rgb": lambda: FiltersDisplay(ramp(4, 3, 3, 3)).plot(),
    "filters_channels": lambda: FiltersDisplay(ramp(3, 3, 3, 4)).plot(),
    "patches": lambda: MaximalPatchesDisplay(
        np.abs(ramp(2, 3, 4, 4, 1)), np.ones((2, 3)), ideal=np.abs(ramp(2, 4, 4, 1))
    ).plot(),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name, tmp_path):
    """Pixels, of pictures without text, which no two releases of matplotlib draw alike.

    CUKERNELS_WRITE_BASELINES=1 writes the baselines anew: look at them before committing.
    """
    figure = PICTURES[name]().figure_
    figure.set_size_inches(2, 1.5)
    baseline = BASELINES / f"{name}.png"
    if os.environ.get("CUKERNELS_WRITE_BASELINES"):
        BASELINES.mkdir(exist_ok=True)
        figure.savefig(baseline, dpi=60, metadata={"Software": None})
    drawn = tmp_path / "drawn.png"
    figure.savefig(drawn, dpi=60)
    expected, got = plt.imread(baseline)[..., :3], plt.imread(drawn)[..., :3]
    assert expected.shape == got.shape
    assert np.sqrt(np.mean((expected - got) ** 2)) < 0.02
