"""Samples that a device has no room for: they stay on the host, or on the disk."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from estimators import ConvNetClassifier, MLPClassifier
from estimators.training import ring

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, D = 800, 400
LABELS = np.arange(N) % 10
MODELS = {
    "mlp": MLPClassifier((10,), batch_size=20, max_iter=2, random_state=0),
    "convnet": ConvNetClassifier((2,), hidden_layer_sizes=(), batch_size=8, max_iter=1,
                                 random_state=0),
    "stops": MLPClassifier((9,), batch_size=24, max_iter=3, random_state=0, early_stopping=True),
}  # fmt: skip


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """Images of bytes and of numbers, on the disk."""
    folder, values = tmp_path_factory.mktemp("pixels"), np.random.default_rng(0)
    made = values.integers(0, 256, (N, D), np.uint8)
    for dtype in ("uint8", "float32"):
        made.astype(dtype).tofile(folder / dtype)
    return {
        dtype: np.memmap(folder / dtype, dtype, "r", shape=(N, D)) for dtype in ("uint8", "float32")
    }


def assert_equal(one, other):
    assert one.loss_curve_ == other.loss_curve_
    for a, b in zip(one.coefs_, other.coefs_, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ("name", "n", "dtype"),
    [
        ("mlp", N, "uint8"),
        ("mlp", N, "float32"),
        ("stops", N, "float32"),
        ("convnet", 300, "float32"),
    ],
)
def test_a_fit_with_less_memory_is_the_same_to_the_bit(
    name, n, dtype, pixels, softgpu, monkeypatch
):
    X, y, model = pixels[dtype][:n], LABELS[:n], clone(MODELS[name]).set_params(device="cuda")
    resident, rings = clone(model).fit(X, y), []
    bring = ring.Ring.bring
    monkeypatch.setattr(ring.Ring, "bring", lambda *a: rings.append(1) or bring(*a))
    with softgpu.limited_memory(X.nbytes * 9 // 10 if dtype == "float32" else X.nbytes):
        streamed = clone(model).fit(X, y)
    assert rings, "it found room for all samples"
    assert_equal(resident, streamed)


def test_bytes_take_a_quarter_of_the_memory(pixels, softgpu):
    """There is room for the bytes, and none for as many numbers."""
    with softgpu.limited_memory(pixels["float32"].nbytes // 2), softgpu.transfers() as copies:
        of_bytes = clone(MODELS["mlp"]).set_params(device="cuda").fit(pixels["uint8"], LABELS)
    assert copies.to_device < 40  # and not one for each of 80 steps
    assert_equal(
        of_bytes, clone(MODELS["mlp"]).set_params(device="cuda").fit(pixels["float32"], LABELS)
    )


def test_all_rows_at_once_need_all_of_them(pixels, softgpu):
    model = clone(MODELS["mlp"]).set_params(device="cuda", solver="lbfgs")
    with (
        softgpu.limited_memory(pixels["float32"].nbytes),
        pytest.raises(MemoryError, match="cuda:0"),
    ):
        model.fit(pixels["float32"], LABELS)
