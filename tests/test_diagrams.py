"""scikit-learn's diagrams of estimators show the layers of networks, with any release of it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from estimators import (
    Conv2D,
    ConvNetClassifier,
    Dense,
    GlobalAvgPool2D,
    LogisticRegression,
    MLPClassifier,
    model_selection,
    scikit_learn,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).normal(size=(40, 64)).astype("float32")
Y = np.arange(40) % 4


def rows_of(shown: str) -> list[list[str]]:
    """The rows of the tables of layers in a diagram, or in release 1.6 of the text in it."""
    if scikit_learn.RELEASE < (1, 7):
        lines = html.unescape(re.sub("<[^>]*>", "\n", shown)).splitlines()
        cells = [re.split(r"  +", line.strip().replace(" x ", " \u00d7 ")) for line in lines]
        return [row for row in cells if len(row) > 1]
    found = []
    for table in re.findall(r"<summary[^>]*>Layers</summary>(.*?)</table>", shown, re.DOTALL):
        for row in re.findall(r"<tr>(.*?)</tr>", table):
            cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)
            found.append([html.unescape(cell) for cell in cells if cell])
    return found


def test_a_fitted_network():
    shown = estimator_html_repr(MLPClassifier((7, 5), max_iter=2).fit(X, Y))
    rows = rows_of(shown)
    for row in (
        ["layer", "output", "multiplications", "activations", "parameters"],
        ["input", "64"],
        ["Dense(7)", "7", "448", "28 bytes", "455"],
        ["Scores(4)", "4", "20", "16 bytes", "24"],
        ["total", "503", "64 bytes", "519"],
    ):
        assert row in rows
    assert "519 parameters" in shown and "memory of a fit on cpu" in shown


def test_before_a_fit_it_shows_what_any_samples_have_in_common():
    rows = rows_of(estimator_html_repr(MLPClassifier((7, 5))))
    assert ["input", "?"] in rows
    assert ["Dense(7)", "7", "?", "28 bytes", "?"] in rows
    assert ["Dense(5)", "5", "35", "20 bytes", "40"] in rows
    assert ["Scores(?)", "?", "?", "?", "?"] in rows
    layers = [Conv2D(8), Conv2D(4), GlobalAvgPool2D()]
    rows = rows_of(estimator_html_repr(ConvNetClassifier(layers=layers)))
    assert ["Conv2D(8)", "? \u00d7 ? \u00d7 8", "?", "?", "?"] in rows
    assert ["Conv2D(4)", "? \u00d7 ? \u00d7 4", "?", "?", "292"] in rows
    assert ["GlobalAvgPool2D()", "4", "0", "16 bytes", "0"] in rows
    rows = rows_of(estimator_html_repr(ConvNetClassifier(layers=layers, image_shape=(6, 5))))
    assert ["Conv2D(8)", "6 \u00d7 5 \u00d7 8", "2,160", "960 bytes", "80"] in rows


@pytest.mark.parametrize("searches", [GridSearchCV, model_selection.GridSearchCV])
def test_in_a_pipeline_and_in_a_search(searches):
    pipe = make_pipeline(StandardScaler(), MLPClassifier((7,), max_iter=2))
    search = searches(pipe, {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2)
    assert ["Dense(7)", "7", "?", "28 bytes", "?"] in rows_of(estimator_html_repr(pipe))
    assert ["Dense(7)", "7", "?", "28 bytes", "?"] in rows_of(estimator_html_repr(search))
    shown = estimator_html_repr(search.fit(X, Y))
    assert ["Dense(7)", "7", "448", "28 bytes", "455"] in rows_of(shown)
    assert "487 parameters" in shown


def test_others_are_shown_as_they_were():
    for other in (
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        ColumnTransformer([("a", StandardScaler(), [0])]),
    ):
        assert rows_of_layers(other) == []


def rows_of_layers(estimator) -> list[list[str]]:
    return [row for row in rows_of(estimator_html_repr(estimator)) if row[0] == "layer"]


@pytest.mark.parametrize(
    "model", [MLPClassifier(activation="no such"), ConvNetClassifier(layers=3), MLPClassifier("a")]
)
def test_parameters_that_fit_refuses_are_shown_without_layers(model):
    assert type(model).__name__ in estimator_html_repr(model)
    assert rows_of_layers(model) == []


@dataclass(frozen=True)
class Noted(Dense):
    """A dense layer with a remark."""

    note: str = ""


def test_texts_are_escaped():
    model = ConvNetClassifier(layers=[Noted(3, note="<img src=x>")], image_shape=(8, 8))
    shown = estimator_html_repr(model)
    assert "<img" not in shown
    assert any(row[0] == "Noted(3, note='<img src=x>')" for row in rows_of(shown))


def test_what_is_there_beside_the_layers_stays():
    model = MLPClassifier((7,), alpha=0.125)
    assert "0.125" in estimator_html_repr(model)
    assert repr(model) == "MLPClassifier(alpha=0.125, hidden_layer_sizes=(7,))"
    if scikit_learn.RELEASE >= (1, 7):
        parameters = model._get_params_html()
        assert parameters["alpha"] == 0.125 and len(parameters) == len(model.get_params())
