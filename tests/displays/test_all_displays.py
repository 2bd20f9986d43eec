"""What all displays have in common: given axes, errors, matplotlib, and a few pictures."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier
from estimators import inspection as displays
from estimators.inspection import (
    ActivationMapsDisplay,
    ErrorsDisplay,
    FiltersDisplay,
    LossCurveDisplay,
    MaximalPatchesDisplay,
    NetworkDisplay,
    SearchDisplay,
    WeightsDisplay,
)

BASELINES = Path(__file__).parent / "baselines"
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
        lambda ax: NetworkDisplay.from_estimator(net, ax=ax),
        lambda ax: SearchDisplay.from_estimator(search, ax=ax),
        lambda ax: ErrorsDisplay.from_estimator(linear, X, y, ax=ax),
    ]
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(3, 3)
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
        lambda: NetworkDisplay.from_estimator(MLPClassifier()),
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
from estimators import inspection as displays
X, y = np.eye(4), [0, 1, 0, 1]
model = LogisticRegression().fit(X, y)
calls = [
    lambda: displays.ActivationMapsDisplay.from_estimator(model, X[0]),
    lambda: displays.ErrorsDisplay.from_estimator(model, X, y),
    lambda: displays.ErrorsDisplay.from_predictions(X, y, y),
    lambda: displays.FiltersDisplay.from_estimator(model),
    lambda: displays.LossCurveDisplay.from_estimator(model),
    lambda: displays.MaximalPatchesDisplay.from_estimator(model, X),
    lambda: displays.NetworkDisplay.from_estimator(model),
    lambda: displays.SearchDisplay.from_estimator(model),
    lambda: displays.WeightsDisplay.from_estimator(model),
    lambda: displays.WeightsDisplay(np.ones((1, 2, 2, 1))).plot(),
]
for call in calls:
    try:
        call()
    except ImportError as error:
        print(error)
"""
    callers = [f"{name}.from_estimator" for name in displays.__all__] + ["WeightsDisplay.plot"]
    callers.insert(2, "ErrorsDisplay.from_predictions")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for line, caller in zip(run.stdout.splitlines(), callers, strict=True):
        assert line == (
            f"{caller} needs matplotlib, which is not installed. "
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
    "activation_maps": lambda: ActivationMapsDisplay(
        np.abs(ramp(4, 4, 3)), [ramp(4, 4, 2), np.abs(ramp(2, 2, 3)), np.abs(ramp(4))], "abc"
    ).plot(),
    "loss_curve": lambda: LossCurveDisplay(
        {"a": [2.0, 1.0, 0.5], "b": [1.5, 1.2, 1.1]}, {"a": [0.3, 0.6, 0.7]}
    ).plot(),
    "search_curve": lambda: SearchDisplay(
        np.array([0.5, 0.9, 0.7]), [0.01, 0.1, 1.0], None, ("a",),
        errors=np.array([0.1, 0.05, 0.2]), train_scores=np.array([0.6, 0.95, 1.0]),
    ).plot(),
    "search_map": lambda: SearchDisplay(ramp(2, 3), [1, 2, 3], [1, 2], ("a", "b")).plot(),
    "search_points": lambda: SearchDisplay(
        np.where(np.eye(4, dtype=bool), ramp(4, 4), np.nan), [1, 2, 4, 7], [1, 3, 9, 99], ("a", "b")
    ).plot(),
    "search_loss": lambda: SearchDisplay(
        np.linspace(0.1, 0.9, 10), [f"{k}" for k in range(10)], None, (), kind="loss",
        curves=[np.array([2.0, 1.0, 0.5]) + k / 10 for k in range(10)],
    ).plot(),
    "search_best": lambda: SearchDisplay(
        np.array([0.5, 0.7, 0.6, 0.9, 0.8]), [1.0, 2.0, 4.0, 5.0, 7.0], None, (), kind="best"
    ).plot(),
    "network": lambda: NetworkDisplay.from_estimator(
        ConvNetClassifier((4,), hidden_layer_sizes=(3,), batch_norm=True),
        input_shape=(8, 8), n_classes=2,
    ),
    "errors": lambda: ErrorsDisplay(
        np.abs(ramp(3, 4, 4, 1)), np.arange(3), np.arange(3) + 1, 50
    ).plot(),
}  # fmt: skip


def without_text(figure):
    """The figure without what no two releases of matplotlib draw alike."""
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    for kind in (Legend, Text):
        for artist in figure.findobj(kind):
            artist.set_visible(False)
    return figure


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name, tmp_path):
    """Pixels, of pictures without text.

    CUKERNELS_WRITE_BASELINES=1 writes the baselines anew: look at them before committing.
    """
    import matplotlib.pyplot as plt

    figure = without_text(PICTURES[name]().figure_)
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


def test_names_are_shown_as_they_are(digits, net):
    """A "$" in the name of a class, a model or a value begins no formula, which could be wrong."""
    import matplotlib.pyplot as plt

    X, y = digits
    formula = "$x^{$"
    named = np.array([f"{formula}{k}" for k in range(10)], object)[y]
    linear = LogisticRegression(max_iter=5).fit(X, named)
    small = clone(net).set_params(max_iter=1).fit(X, named)
    grid = {"C": [0.1, 1.0], "class_weight": [None, {f"{formula}0": 2.0}]}
    search = GridSearchCV(linear, grid, cv=2).fit(X, named)
    curve = np.array([2.0, 1.0])
    drawn = [
        WeightsDisplay.from_estimator(linear),
        WeightsDisplay.from_estimator(linear, kind="hinton"),
        ErrorsDisplay.from_predictions(X, named, np.roll(named, 1)),
        ActivationMapsDisplay.from_estimator(small, X[0]),
        LossCurveDisplay({f"{formula}{k}": [2.0, 1.0] for k in range(2)}, {}).plot(),
        SearchDisplay.from_estimator(search),
        SearchDisplay.from_estimator(search, params=["class_weight"]),
        SearchDisplay(curve, [formula, "b"], None, (), kind="loss", curves=[curve, curve]).plot(),
    ]
    for display in drawn:
        display.figure_.savefig(io.BytesIO())
        texts = [t.get_text() for t in display.figure_.findobj(plt.Text)]
        assert any(formula in text for text in texts), type(display)
