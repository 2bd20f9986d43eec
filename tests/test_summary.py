"""Summaries of networks: parameters, multiplications, bytes of activations, memory of a fit."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from estimators import (
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    MaxPool2D,
    MLPClassifier,
)
from estimators.neural.summary import LayerSummary, NetworkSummary

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAYERS = [
    Conv2D(4, (3, 5), padding="valid"),
    MaxPool2D(2),
    LocallyConnected2D(3, 3, padding="same", activation="identity"),
    BatchNorm(),
    Dense(6),
    Dropout(0.5),
]


def net(**options):
    return ConvNetClassifier(layers=LAYERS, **options)


def test_sizes_by_hand():
    """Images of 10 x 12 pixels in 2 channels: places of the filters, times taps, times filters."""
    summary = net().summary((10, 12, 2), n_classes=5, show=False)
    conv, pool, local, norm, dense, dropout, scores = summary.layers
    assert summary.input_shape == (10, 12, 2)
    assert conv.output_shape == (8, 8, 4) and conv.kind == "convolution" and conv.sees == (3, 5)
    assert conv.multiplications == 8 * 8 * (3 * 5 * 2) * 4
    assert conv.parameters == 3 * 5 * 2 * 4 + 4
    assert conv.activations == 8 * 8 * 4 * 4  # float32
    assert pool.output_shape == (4, 4, 4) and pool.multiplications == pool.parameters == 0
    assert local.multiplications == 4 * 4 * (3 * 3 * 4) * 3
    assert local.parameters == local.multiplications + 4 * 4 * 3
    assert norm.parameters == 4 * 3 and norm.activations == local.activations
    assert dense.multiplications == 48 * 6 and dense.parameters == 48 * 6 + 6
    assert dropout.parameters == 0 and dropout.kind == "dropout"
    assert scores.multiplications == 30 and scores.output_shape == (5,)
    for name in ("parameters", "multiplications", "activations"):
        assert getattr(summary, name) == sum(getattr(one, name) for one in summary.layers)
    double = net(dtype="float64").summary((10, 12, 2), n_classes=5, show=False)
    assert double.activations == 2 * summary.activations


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": True, "batch_size": 17},
        {"solver": "sgd", "momentum": 0.0, "dtype": "float64"},
        {"augment": {"shift": 1}},
    ],
)
def test_the_memory_is_what_estimate_memory_tells(options):
    X = np.zeros((300, 10, 12, 2), options.get("dtype", "float32"))
    model = net(**options)
    told = model.summary((10, 12, 2), n_classes=2, n_samples=300, show=False)
    assert told.memory == model.estimate_memory(X)
    assert str(told).endswith(f"\nmemory of a fit to 300 samples: {told.memory!r}")
    larger = model.summary((10, 12, 2), n_classes=2, n_samples=3000, show=False)
    assert larger.memory.data > 9 * told.memory.data


def test_without_a_number_of_samples_there_are_parameters_and_a_step():
    told = MLPClassifier((50,)).summary(20, n_classes=3, show=False)
    of_fit = MLPClassifier((50,)).estimate_memory(
        np.zeros((200, 20), "float32"), np.arange(200) % 3
    )
    assert (told.memory.parameters, told.memory.step) == (of_fit.parameters, of_fit.step)
    assert told.told_memory.startswith("memory of a fit on cpu: parameters ")
    assert "a step of 200 samples" in told.told_memory
    small = MLPClassifier((50,), batch_size=10).summary(20, n_classes=3, show=False)
    assert small.memory.step < told.memory.step and "a step of 10 samples" in small.told_memory
    at_once = MLPClassifier((50,), solver="lbfgs").summary(20, n_classes=3, show=False)
    assert "a step" not in at_once.told_memory  # it has all samples, and nobody knows how many


def test_a_gpu_need_not_be_there():
    told = MLPClassifier(device="cuda").summary(20, n_classes=3, show=False)
    assert told.memory.device.startswith("cuda")


def test_it_is_printed_or_returned(capsys):
    model = MLPClassifier((3,))
    assert model.summary(4, n_classes=2) is None
    printed = capsys.readouterr().out
    summary = model.summary(4, n_classes=2, show=False)
    assert capsys.readouterr().out == ""
    assert printed == f"{summary}\n" == f"{summary!r}\n"
    lines = printed.splitlines()
    assert lines[0].split() == ["layer", "output", *NUMBERS]
    assert lines[3].split() == ["Dense(3)", "3", "12", "12", "bytes", "15"]
    assert lines[-1].split() == ["total", "15", "16", "bytes", "19"]
    assert not any(line != line.rstrip() for line in lines)
    given = {"input_shape": 4, "n_classes": 2, "n_samples": 9}
    for name in given:
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            model.summary(**given | {name: 0})
        with pytest.raises(TypeError, match=f"{name} must be an int, got 1000000.0"):
            model.summary(**given | {name: 1e6})
        model.summary(**given | {name: np.int64(3)})


NUMBERS = ["multiplications", "activations", "parameters"]


def test_weights_given_by_hand_have_a_summary():
    model = MLPClassifier.from_weights([[[1.0, 2.0]] * 3, [[1.0]] * 2], [[0.0, 0.0], [0.0]])
    summary = model.summary(show=False)
    assert [one.output_shape for one in summary.layers] == [(2,), (1,)]
    assert summary.parameters == 3 * 2 + 2 + 2 + 1
    assert summary.layers[0].activations == 2 * model.coefs_[0].itemsize


def test_a_fit_changes_nothing_but_what_was_not_known():
    X, y = np.random.default_rng(0).normal(size=(30, 240)).astype("float32"), np.arange(30) % 3
    model = net(image_shape=(10, 12, 2), max_iter=1)
    before = model.summary((10, 12, 2), n_classes=3, show=False)
    assert model.fit(X, y).summary(show=False) == before
    model.set_params(layers=None)  # which is for the next fit
    assert model.summary(show=False).layers == before.layers


def test_a_notebook_shows_a_table(monkeypatch, capsys):
    shown = []
    shell = ModuleType("IPython")
    shell.get_ipython = lambda: SimpleNamespace()
    display = ModuleType("IPython.display")
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    MLPClassifier((3,)).summary(4, n_classes=2)
    assert capsys.readouterr().out == ""
    (summary,) = shown
    html = summary._repr_html_()
    for text in ("<th", ">Dense(3)<", ">multiplications<", ">19<", "memory of a fit"):
        assert text in html
    shell.get_ipython = lambda: None  # IPython is imported, and this is no notebook
    MLPClassifier((3,)).summary(4, n_classes=2)
    assert "Dense(3)" in capsys.readouterr().out and len(shown) == 1


def test_names_are_escaped_in_html():
    layer = LayerSummary("Own('<script>')", "dense", (2,), 1, 1, 8)
    html = NetworkSummary((3,), [layer])._repr_html_()
    assert "Own(&#x27;&lt;script&gt;&#x27;)" in html and "<script>" not in html


def test_what_is_not_known_is_a_question_mark():
    known = LayerSummary("a", "dense", (2,), 3, 1, 8)
    unknown = LayerSummary("b", "dense", (None, 4), None, 5, None)
    summary = NetworkSummary((None,), [known, unknown])
    assert summary.parameters is None and summary.multiplications == 6
    assert str(summary).splitlines()[-1].split() == ["total", "6", "?", "?"]
    assert "? x 4" in str(summary)
