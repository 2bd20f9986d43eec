"""Samples are not copied as a whole where their dtype fits: a `numpy.memmap` stays on the disk."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, D = 2000, 400
Y = np.arange(N) % 3
MLP = MLPClassifier((8,), max_iter=1, batch_size=50, random_state=0)
AUTO = clone(MLP).set_params(dtype="auto")
CONVNET = ConvNetClassifier((2,), hidden_layer_sizes=(4,), max_iter=1, random_state=0)


@pytest.fixture
def on_disk(tmp_path):
    """A function that makes samples of a dtype, which are read from a file."""

    def made(dtype):
        path = tmp_path / dtype
        np.random.default_rng(0).integers(0, 250, (N, D)).astype(dtype).tofile(path)
        return np.memmap(path, dtype, "r", shape=(N, D))

    return made


def peak(function, *arguments):
    """The most bytes that a call has allocated at once."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (MLP, "float32"),
        (clone(MLP).set_params(early_stopping=True), "float32"),
        (clone(MLP).set_params(dtype="auto"), "float64"),
        (LogisticRegression(max_iter=2), "float32"),
        (LogisticRegression(max_iter=2, solver="newton-cg"), "float64"),
        (Perceptron(max_iter=1), "float32"),
        (Perceptron(max_iter=1), "float64"),
    ],
)
def test_a_file_is_read_and_not_copied(model, dtype, on_disk):
    samples = on_disk(dtype)
    clone(model).fit(samples[:60], Y[:60])  # what is made once in a process
    assert peak(clone(model).fit, samples, Y) < samples.nbytes / 2
    model = clone(model).fit(samples, Y)
    assert peak(model.predict, samples) < samples.nbytes / 2


@pytest.mark.parametrize("dtype", ["uint8", "int16", "bool"])
@pytest.mark.parametrize("model", [MLP, CONVNET, AUTO])
def test_whole_numbers_are_converted_piece_by_piece(model, dtype, on_disk, monkeypatch):
    samples = on_disk(dtype)
    model = clone(model).fit(samples[:200], Y[:200])
    monkeypatch.setattr("estimators.neural.predictor._VALUES_AT_ONCE", 2**13)
    expected = model.predict_proba(samples.astype("float64"))
    found = model.predict_proba(samples)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model.predict_proba(np.asfortranarray(samples)), expected)
    assert peak(model.predict, samples) < samples.nbytes


def test_whole_numbers_on_a_device_are_converted_piece_by_piece(cupy, softgpu, monkeypatch):
    samples = np.random.default_rng(0).integers(0, 250, (N, D)).astype("uint8")
    model = clone(MLP).set_params(device="cuda").fit(samples[:200], Y[:200])
    monkeypatch.setattr("estimators.neural.predictor._VALUES_AT_ONCE", 2**15)
    expected = model.predict_proba(samples.astype("float64"))
    placed = cupy.asarray(samples)
    cupy.get_default_memory_pool().free_all_blocks()
    with softgpu.limited_memory(samples.nbytes):
        found = model.predict_proba(placed)
    np.testing.assert_array_equal(found.get(), expected)
    np.testing.assert_array_equal(model.predict_proba(samples), expected)


@pytest.mark.parametrize("wrong", [np.ones((3, D + 1), int), np.ones((0, D), int), np.ones(D, int)])
def test_whole_numbers_are_refused_as_floats_are(wrong):
    model = clone(MLP).fit(np.ones((60, D)), Y[:60])
    messages = []
    for x in (wrong, wrong.astype("float32")):
        with pytest.raises(ValueError) as error:
            model.predict(x)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "model",
    [
        MLP, AUTO, clone(CONVNET).set_params(batch_size=20, dtype="auto"),
        clone(CONVNET).set_params(batch_size=20), clone(MLP).set_params(early_stopping=True),
    ],
)  # fmt: skip
def test_bytes_become_numbers_in_their_batch(model, on_disk):
    """A quarter of the memory or an eighth, and the same fit to the bit."""
    samples = on_disk("uint8")
    numbers = samples.astype("float64" if model.dtype == "auto" else "float32")
    clone(model).fit(samples[:60], Y[:60])
    assert peak(clone(model).fit, samples, Y) < numbers.nbytes / 2
    of_bytes, of_numbers = (clone(model).fit(X, Y) for X in (samples, numbers))
    assert of_bytes.loss_curve_ == of_numbers.loss_curve_
    for a, b in zip(of_bytes.coefs_, of_numbers.coefs_, strict=True):
        assert a.tobytes() == b.tobytes() and a.dtype == numbers.dtype
    np.testing.assert_array_equal(of_bytes.predict(samples), of_numbers.predict(numbers))


@pytest.mark.parametrize("options", [{"solver": "lbfgs"}, {"solver": "sgd", "warm_start": True}])
def test_bytes_with_an_automatic_dtype(options, on_disk):
    """Other kinds of fits: all samples in a step, and a network that was of float32 before."""
    of_bytes, of_numbers = (clone(AUTO).set_params(**options) for _ in range(2))
    samples = on_disk("uint8")
    for model, x in ((of_bytes, samples), (of_numbers, samples.astype("float64"))):
        model.fit(samples[:90].astype("float32"), Y[:90])
        assert model.coefs_[0].dtype == np.float32
        np.testing.assert_array_equal(
            model.predict_proba(samples[:9]), model.predict_proba(samples[:9].astype("float64"))
        )
        model.fit(x, Y)
    for a, b in zip(of_bytes.coefs_, of_numbers.coefs_, strict=True):
        assert a.tobytes() == b.tobytes() and a.dtype == np.float64
    alone = clone(AUTO)  # weights that a user has set, without a fit
    alone.coefs_, alone.intercepts_ = of_bytes.coefs_, of_bytes.intercepts_
    alone.n_layers_, alone.n_outputs_, alone.out_activation_ = 3, 3, "softmax"
    alone.n_features_in_, alone.classes_ = D, of_bytes.classes_
    expected = of_bytes.predict_proba(samples)
    np.testing.assert_array_equal(alone.predict_proba(samples), expected)
