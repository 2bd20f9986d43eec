"""Maximal patches: what a place sees, what excites a filter, and gradient ascent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from estimators import (
    AvgPool2D,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    MaxPool2D,
)
from estimators.inspection import ActivationMapsDisplay, MaximalPatchesDisplay
from estimators.inspection.probe import Probe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

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
    of_rows = MaximalPatchesDisplay.from_estimator(net, sp.csr_array(X), units=[3], n_patches=4)
    np.testing.assert_array_equal(of_rows.patches[0], display.patches[1])
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
    with pytest.raises(ValueError, match="MLPClassifier has layers 0 to 1, got layer=2"):
        MaximalPatchesDisplay.from_estimator(mlp, X, layer=2)


def test_dropout_and_batch_norm_are_passed(digits):
    X, y = digits
    layers = [Conv2D(3, 3), Dropout(0.5), Dense(5)]
    model = ConvNetClassifier(layers=layers, max_iter=1, random_state=0).fit(X, y)
    assert len(ActivationMapsDisplay.from_estimator(model, X[0]).images_) == 4
    normal = ConvNetClassifier((3,), batch_norm=True, max_iter=2, random_state=0).fit(X, y)
    assert MaximalPatchesDisplay.from_estimator(normal, X, layer=1, n_patches=2).ideal is not None


def test_patches_of_images_in_every_form_and_of_no_others(digits, net, mlp):
    X, _ = digits
    for model in (net, mlp):
        expected = MaximalPatchesDisplay.from_estimator(model, X, ascent=False).patches
        for images in (X.reshape(-1, 8, 8), list(X.reshape(-1, 8, 8, 1))):
            patches = MaximalPatchesDisplay.from_estimator(model, images, ascent=False).patches
            np.testing.assert_array_equal(patches, expected)
        with pytest.raises(ValueError, match="is expecting 64 features"):
            MaximalPatchesDisplay.from_estimator(model, X[:, :60])
    with pytest.raises(ValueError, match=r"is fitted on images of shape \(8, 8, 1\)"):
        MaximalPatchesDisplay.from_estimator(net, X.reshape(-1, 4, 16))
