"""Pictures of the layers of a network."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from sklearn import neural_network
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from estimators import (
    Activation,
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    GlobalAvgPool2D,
    LayerNorm,
    LogisticRegression,
    MaxPool2D,
    MLPClassifier,
)
from estimators.inspection import NetworkDisplay
from estimators.inspection.network import COLOURS
from estimators.layers.all import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BLOCK = [Conv2D(16, activation="identity"), LayerNorm(), Activation("gelu")]
NETS = {
    "convolutions": ConvNetClassifier(
        layers=[*BLOCK, MaxPool2D(2), Conv2D(64), BatchNorm(), GlobalAvgPool2D(), Dropout(0.1)]
    ),
    "one layer": ConvNetClassifier(layers=[]),
    "long names": ConvNetClassifier(
        layers=[
            Conv2D(5, (3, 7), stride=(1, 2), padding="valid", activation="leaky_relu"),
            Dense(1000, "log_softmax"),
        ]
    ),
    "many layers": ConvNetClassifier(layers=[*BLOCK * 20, Dense(50)]),
}


def drawn(net, shape=(28, 20, 1), n_classes=10, **options):
    return NetworkDisplay.from_estimator(net, input_shape=shape, n_classes=n_classes, **options)


def test_sheets_units_and_strips():
    display = drawn(NETS["convolutions"])
    # input, convolution, pooling, convolution, global pooling, scores
    assert [len(patches) for patches in display.patches_] == [1, 5, 5, 7, 1, 10]
    colours = [to_rgb(COLOURS[kind]) for kind in ("normalization", "activation")]
    faces = [strip.get_facecolor()[:3] for strip in display.strips_]
    assert len(faces) == 4
    np.testing.assert_allclose(faces[:2], 0.55 * np.array(colours) + 0.45)
    image = display.patches_[0][0]
    np.testing.assert_allclose(image.get_width() / image.get_height(), 20 / 28)
    smaller = display.patches_[2][0]
    assert smaller.get_height() < display.patches_[1][0].get_height()
    texts = [text.get_text() for text in display.texts_]
    assert texts[1].splitlines() == ["Conv2D(16,", "activation='identity')", "LayerNorm()", "Activation(gelu)"]  # fmt: skip  # noqa: E501
    assert "28 \u00d7 20 \u00d7 16\n192 parameters" in texts
    assert texts[-1] == "10\n650 parameters"
    kinds = [text.get_text() for text in display.legend_.get_texts()]
    assert kinds == ["convolution", "pooling", "dense", "normalization", "activation", "dropout"]


def test_columns_grow_with_the_units():
    display = drawn(MLPClassifier((2, 12, 13, 100, 10_000)), 5, 3)
    assert [len(patches) for patches in display.patches_] == [5, 2, 12, 1, 1, 1, 3]
    boxes = [np.array([p.get_extents().bounds for p in q]) for q in display.patches_[1:6]]
    heights = [(box[:, 1] + box[:, 3]).max() - box[:, 1].min() for box in boxes]
    assert heights == sorted(heights) and heights[-1] < 3 * heights[1]


def test_connections_have_the_colours_of_weights():
    w = np.array([[2.0, -1.0], [0.0, -2.0]])
    model = MLPClassifier.from_weights([w, [[1.0], [1.0]]], [[0.0, 0.0], [0.0]])
    display = NetworkDisplay.from_estimator(model)
    first, second = display.connections_
    red, blue, none, most = first.get_colors()[:, :3]
    assert red[0] > 2 * red[2] and blue[2] > blue[0] and most[2] > most[0]
    assert blue.sum() > most.sum()  # the smaller weight is paler
    assert none.min() > 0.9
    widths = first.get_linewidths()
    assert widths[0] == widths[3] > widths[1] > widths[2]
    assert len(second.get_segments()) == 2
    ends = np.array(first.get_segments()[1])
    np.testing.assert_allclose(ends[0], display.patches_[0][0].center)
    np.testing.assert_allclose(ends[1], display.patches_[1][1].center)
    plain = NetworkDisplay(model.summary(show=False)).plot()
    assert len(np.unique(plain.connections_[0].get_colors(), axis=0)) == 1


@pytest.mark.parametrize("size", [None, (5, 4), (10, 2.5), (3, 8)])
@pytest.mark.parametrize("name", NETS)
def test_texts_do_not_overlap_and_nothing_leaves_the_figure(name, size):
    import matplotlib.pyplot as plt

    ax = None if size is None else plt.subplots(figsize=size, layout="constrained")[1]
    display = drawn(NETS[name], ax=ax)
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.texts_]
    boxes = [box.shrunk(0.98, 0.98) for box in boxes]
    width, height = display.figure_.canvas.get_width_height()
    assert [b for b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height] == []
    assert [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])] == []
    left, right, bottom, top = *display.ax_.get_xlim(), *display.ax_.get_ylim()
    for patch in itertools.chain(*display.patches_, display.strips_):
        box = patch.get_extents().transformed(display.ax_.transData.inverted())
        assert left <= box.x0 and box.x1 <= right and bottom <= box.y0 and box.y1 <= top


def test_many_layers_take_rows():
    one, many = drawn(NETS["one layer"]), drawn(NETS["many layers"])
    middles = {round(patches[0].get_extents().y0, -2) for patches in many.patches_}
    assert len(middles) > 1 and many.figure_.get_figwidth() < 14
    assert one.figure_.get_figwidth() < 5


def test_fitted_ones_pipelines_and_searches(digits, mlp, net):
    X, y = digits
    assert len(NetworkDisplay.from_estimator(mlp).patches_) == 3
    display = NetworkDisplay.from_estimator(net)
    assert display.summary.layers == net.summary(show=False).layers
    pipe = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=2))
    search = GridSearchCV(pipe, {"mlpclassifier__hidden_layer_sizes": [(4,)]}, cv=2)
    with pytest.raises(NotFittedError, match="give input_shape"):
        NetworkDisplay.from_estimator(search)
    assert len(drawn(search, 64).patches_[1]) == 4
    assert len(NetworkDisplay.from_estimator(search.fit(X, y)).patches_[1]) == 4
    theirs = neural_network.MLPClassifier((6, 5), max_iter=2).fit(X, y)
    assert [len(p) for p in NetworkDisplay.from_estimator(theirs).patches_] == [1, 6, 5, 10]


def test_refusals(linear):
    for other in (linear, LogisticRegression(), neural_network.MLPClassifier()):
        with pytest.raises(ValueError, match="has no layers"):
            NetworkDisplay.from_estimator(other)
    with pytest.raises(NotFittedError, match="not fitted yet: give input_shape"):
        NetworkDisplay.from_estimator(MLPClassifier(), input_shape=4)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_has_a_kind_with_a_colour(name):
    assert LAYERS[name].kind in set(COLOURS) - {"input", "other"}
