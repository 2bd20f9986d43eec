"""Samples that lie on a GPU already: CuPy arrays, and arrays of other libraries.

A fit and a prediction take them where they are, and answer in their kind. PyTorch's CPU wheel has
no tensor on a GPU, so a class here shows of itself what such a tensor shows.
"""

from __future__ import annotations

import sys
import tracemalloc
import types

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
Y = np.arange(36) % 3
X = (RNG.integers(0, 9, (36, 16)) / 8 + Y[:, None] / 4).astype("float32")
WEIGHT = RNG.integers(1, 4, 36) / 2
MODELS = {
    "mlp": MLPClassifier((5,), max_iter=2, random_state=0),
    "convnet": ConvNetClassifier((3,), hidden_layer_sizes=(4,), max_iter=2, random_state=0),
    "logistic": LogisticRegression(max_iter=5),
    "logistic-l1": LogisticRegression(l1_ratio=1.0, solver="saga", max_iter=5),
    "logistic-cholesky": LogisticRegression(solver="newton-cholesky", max_iter=5),
    "perceptron": Perceptron(max_iter=3),
    "multinomial": Perceptron(max_iter=3, multi_class="multinomial", early_stopping=True),
}
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")
each_model = pytest.mark.parametrize("name", MODELS)


class Tensor:
    """An array on a GPU that is not CuPy's, as a tensor of PyTorch's is one.

    Both protocols may be there, or one of them.
    """

    def __init__(self, array, protocols=("__dlpack", "__cuda_array_interface__")):
        self.array, self.shape, self.protocols = array, array.shape, protocols

    def __getattr__(self, name):
        if name.startswith(self.protocols):
            return getattr(self.array, name)
        raise AttributeError(name)

    def __array__(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.fixture
def library(cupy, monkeypatch):
    """The library that `Tensor` is of, as `torch` has a `from_dlpack`."""
    module = types.ModuleType("tensors")
    module.from_dlpack = lambda x: Tensor(cupy.from_dlpack(x))
    monkeypatch.setitem(sys.modules, "tensors", module)
    monkeypatch.setattr(Tensor, "__module__", "tensors.core")
    return module


def methods_of(model):
    return [name for name in METHODS if hasattr(model, name)]


def assert_same_model(a, b):
    """Fitted attributes of NumPy, equal to the bit."""
    for name in ("coefs_", "intercepts_", "coef_", "intercept_", "classes_"):
        if hasattr(b, name):
            for one, other in zip(getattr(a, name), getattr(b, name), strict=True):
                assert isinstance(one, np.ndarray | np.generic)
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)


# In and out ---------------------------------------------------------------------------------------


@each_model
def test_learns_and_predicts_as_from_the_host(name, cupy):
    here = clone(MODELS[name]).set_params(device="cuda").fit(X, Y)
    there = clone(MODELS[name]).fit(cupy.asarray(X), Y)
    assert_same_model(there, here)
    for method in methods_of(here):
        found, expected = getattr(there, method)(cupy.asarray(X)), getattr(here, method)(X)
        assert type(found) is cupy.ndarray and found.dtype == expected.dtype, method
        np.testing.assert_allclose(found.get(), expected, rtol=1e-6, atol=5e-7, err_msg=method)
    assert there.score(cupy.asarray(X), Y) == here.score(X, Y)
    weighted = here.score(X, Y, WEIGHT)
    assert there.score(*map(cupy.asarray, (X, Y, WEIGHT))) == pytest.approx(weighted)


@each_model
def test_labels_and_weights_may_lie_on_the_device(name, cupy):
    model = clone(MODELS[name]).set_params(device="cuda")
    here = clone(model).fit(X, Y, sample_weight=WEIGHT)
    all_there = [cupy.asarray(a) for a in (X, Y, WEIGHT)]
    there = clone(model).fit(*all_there[:2], sample_weight=all_there[2])
    assert_same_model(there, here)
    # and without the samples
    assert_same_model(clone(model).fit(X, all_there[1], sample_weight=all_there[2]), here)


@pytest.mark.parametrize("name", ["mlp", "convnet", "perceptron"])
def test_partial_fit(name, cupy):
    here, there = clone(MODELS[name]).set_params(device="cuda"), clone(MODELS[name])
    for _ in range(2):
        here.partial_fit(X, Y, classes=np.arange(3))
        there.partial_fit(cupy.asarray(X), cupy.asarray(Y), classes=cupy.arange(3))
    assert_same_model(there, here)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_validation_set_on_the_device(device, cupy):
    model = clone(MODELS["mlp"]).set_params(early_stopping=True)
    here = clone(model).set_params(device="cuda").fit(X, Y, X_val=X[:9], y_val=Y[:9])
    there = clone(model).set_params(device=device)
    there.fit(cupy.asarray(X), Y, X_val=cupy.asarray(X[:9]), y_val=cupy.asarray(Y[:9]))
    assert_same_model(there, here)
    assert there.validation_scores_ == here.validation_scores_
    with pytest.raises(ValueError, match="X is on cuda:0, and device='cpu'"):
        clone(model).fit(X, Y, X_val=cupy.asarray(X[:9]), y_val=Y[:9])


@pytest.mark.parametrize("name", ["mlp", "logistic", "perceptron"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "bool"])
def test_takes_the_dtypes_that_the_host_takes(name, dtype, cupy):
    samples = np.asfortranarray((4 * X).astype(dtype))
    here = clone(MODELS[name]).set_params(device="cuda").fit(samples, Y)
    there = clone(MODELS[name]).fit(cupy.asarray(samples, order="F"), Y)
    assert_same_model(there, here)
    for method in methods_of(here):
        found = getattr(there, method)(cupy.asarray(samples))
        assert found.dtype == getattr(here, method)(samples).dtype


@pytest.mark.parametrize(
    "y", [Y > 0, Y - 5, Y * 2.0, np.stack([Y > 0, Y < 1], 1), np.zeros(36, int)]
)
def test_predicts_labels_of_any_kind(y, cupy):
    here = clone(MODELS["mlp"]).set_params(device="cuda").fit(X, y)
    found, expected = here.predict(cupy.asarray(X)), here.predict(X)
    assert type(found) is cupy.ndarray and found.dtype == expected.dtype
    np.testing.assert_array_equal(found.get(), expected)
    np.testing.assert_array_equal(here.predict_proba(cupy.asarray(X)).get(), here.predict_proba(X))


@each_model
def test_labels_that_no_gpu_can_hold_come_to_the_host(name, cupy):
    model = clone(MODELS[name]).fit(cupy.asarray(X), np.array(["a", "b", "c"])[Y])
    found = model.predict(cupy.asarray(X))
    assert type(found) is np.ndarray and set(found) <= {"a", "b", "c"}
    assert 0 <= model.score(cupy.asarray(X), np.array(["a", "b", "c"])[Y]) <= 1


def test_images_of_bytes(cupy):
    images = RNG.integers(0, 256, (36, 6, 6, 2)).astype("uint8")
    here = clone(MODELS["convnet"]).set_params(device="cuda").fit(images, Y)
    there = clone(MODELS["convnet"]).fit(cupy.asarray(images), Y)
    assert_same_model(there, here)
    assert there.image_shape_ == (6, 6, 2)
    found = there.predict_proba(cupy.asarray(images))
    np.testing.assert_array_equal(found.get(), here.predict_proba(images))


# Other libraries ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", ["mlp", "convnet", "logistic", "perceptron"])
def test_answers_in_arrays_of_another_library(name, cupy):
    tensor, here = Tensor(cupy.asarray(X)), clone(MODELS[name]).set_params(device="cuda").fit(X, Y)
    there = clone(MODELS[name]).fit(tensor, Tensor(cupy.asarray(Y)))
    assert_same_model(there, here)
    for method in methods_of(here):
        found = getattr(there, method)(tensor)
        assert type(found) is Tensor and found.array.device == tensor.array.device
        expected = getattr(here, method)(X)
        np.testing.assert_allclose(found.array.get(), expected, rtol=1e-6, atol=5e-7)
    assert there.score(tensor, Tensor(cupy.asarray(Y))) == here.score(X, Y)


@pytest.mark.parametrize("protocol", ["__dlpack", "__cuda_array_interface__"])
def test_one_protocol_is_enough_and_the_memory_is_shared(protocol, two_devices):
    """On the second device, which is not current; without a `from_dlpack` CuPy arrays return."""
    with two_devices.cuda.Device(1):
        array = two_devices.asarray(X)
    tensor = Tensor(array, (protocol,))
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        patch.setattr(MLPClassifier, "_as_rows", lambda self, X, shape=None: seen.append(X) or X)
        model = clone(MODELS["mlp"]).fit(tensor, Y)
    assert {x.data.ptr for x in seen} == {array.data.ptr}
    found = model.predict(tensor)
    assert type(found) is two_devices.ndarray and found.device.id == 1
    assert two_devices.cuda.runtime.getDevice() == 0


def test_the_array_api_names_the_library(cupy, monkeypatch):
    """As the arrays of JAX do: the library is the one that the array names, wherever its class."""
    space = types.SimpleNamespace(from_dlpack=lambda x: Tensor(cupy.from_dlpack(x)))
    monkeypatch.setattr(Tensor, "__array_namespace__", lambda self: space, raising=False)
    model = clone(MODELS["logistic"]).fit(Tensor(cupy.asarray(X)), Y)
    assert type(model.predict(Tensor(cupy.asarray(X)))) is Tensor


@each_model
def test_sparse_samples_of_cupys_are_refused_in_words(name):
    """By the module of their class: to make one takes cuSPARSE, which is not installed."""
    matrix = type("csr_matrix", (), {"__module__": "cupyx.scipy.sparse._csr"})()
    with pytest.raises(TypeError, match=r"csr_matrix of CuPy's.*X\.get\(\)"):
        clone(MODELS[name]).fit(matrix, Y)


def test_says_that_cupy_is_missing(monkeypatch):
    monkeypatch.setattr("cukernels.runtime.arrays.installed_cupy", lambda: None)
    tensor = types.SimpleNamespace(__dlpack_device__=lambda: (2, 0), shape=X.shape)
    with pytest.raises(ImportError, match="needs CuPy, which is not installed"):
        clone(MODELS["mlp"]).fit(tensor, Y)


# Where it computes --------------------------------------------------------------------------------


@pytest.fixture
def two_devices(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs a second GPU")
    return cupy


@each_model
def test_the_device_is_that_of_the_samples(name, two_devices):
    with two_devices.cuda.Device(1):
        there = two_devices.asarray(X)
    model = clone(MODELS[name]).fit(there, Y)
    for method in methods_of(model):
        assert getattr(model, method)(there).device.id == 1
    assert two_devices.cuda.runtime.getDevice() == 0
    for use in (lambda m: m.fit(there, Y), lambda m: m.predict(there)):
        with pytest.raises(ValueError, match=r"X is on cuda:1, and device='cuda' is cuda:0"):
            use(model.set_params(device="cuda"))
        with pytest.raises(ValueError, match=r"X is on cuda:1, and device='cpu'.*cupy\.asnumpy"):
            use(model.set_params(device="cpu"))
    model.set_params(device="cuda:1").fit(there, Y).predict(there)


# Validation ---------------------------------------------------------------------------------------


def changed(value, dtype="float64"):
    x = X.astype(dtype)
    x[5, 3] = value
    return x


WRONG = {
    "NaN": changed(np.nan),
    "infinity": changed(-np.inf, "float32"),
    "both": np.concatenate([changed(np.nan), changed(np.inf)])[:36] + changed(np.inf),
    "complex": X.astype(complex),
    "one axis": X[:, 0],
    "no sample": X[:0],
    "no feature": X[:, :0],
    "too few labels": X[:20],
}


@pytest.mark.parametrize("wrong", WRONG)
@each_model
def test_refuses_in_scikit_learns_words(name, wrong, cupy):
    messages = []
    for place, array in (("cpu", np.asarray), ("auto", cupy.asarray)):
        model = clone(MODELS[name]).set_params(device=place)
        with pytest.raises(ValueError) as error:
            model.fit(array(WRONG[wrong]), Y)
        messages.append(str(error.value))
        with pytest.raises(NotFittedError):
            model.predict(array(X))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("wrong", ["NaN", "one axis", "no sample", "columns", "axes"])
@each_model
def test_refuses_to_predict_in_scikit_learns_words(name, wrong, cupy):
    samples = {"columns": X[:, 1:], "axes": X[None, None, None]}.get(wrong, WRONG.get(wrong))
    here = clone(MODELS[name]).set_params(device="cuda").fit(X, Y)
    there = clone(MODELS[name]).fit(cupy.asarray(X), Y)
    for method in methods_of(here):
        with pytest.raises(ValueError) as expected:
            getattr(here, method)(samples)
        with pytest.raises(ValueError) as found:
            getattr(there, method)(cupy.asarray(samples))
        assert str(found.value) == str(expected.value)


def test_large_values_are_finite_and_too_large_ones_are_not(cupy):
    """A sum of finite values may overflow; what float32 does not hold is refused in words."""
    model = clone(MODELS["perceptron"]).fit(cupy.asarray(X), Y)
    model.predict(cupy.full((4, 16), 3e38, "float32"))
    with pytest.raises(ValueError, match=r"too large for dtype\('float32'\)"):
        clone(MODELS["mlp"]).fit(cupy.asarray(changed(1e39)), Y)


def test_names_of_features_are_missed(cupy):
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(16)])
    model = clone(MODELS["logistic"]).fit(frame, Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(cupy.asarray(X))


# What is copied -----------------------------------------------------------------------------------

LARGE = (RNG.integers(0, 9, (1500, 400)) / 8).astype("float32")  # 2.4 MB
LABELS = np.arange(1500) % 3


@pytest.mark.parametrize("name", ["mlp", "convnet", "logistic", "perceptron"])
def test_samples_are_copied_neither_to_the_host_nor_on_the_device(name, cupy, softgpu):
    """Copies are as many for many samples as for few, and nowhere is there room for X again."""
    model = clone(MODELS[name]).set_params(max_iter=1)
    most = 400 if name == "convnet" else 1500  # a convolution makes more values than X has
    if name in ("mlp", "convnet"):
        model.set_params(batch_size=most // 20)

    def traffic(n, n_features):
        x = cupy.asarray(np.ascontiguousarray(LARGE[:n, :n_features]))
        cupy.get_default_memory_pool().free_all_blocks()
        tracemalloc.start()
        try:
            with softgpu.transfers() as copies, softgpu.limited_memory(max(x.nbytes - 1, 2**19)):
                model.fit(x, LABELS[:n]).predict(x[: n // 20 if name == "convnet" else n])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        return (copies.to_host, copies.to_device), peak / x.nbytes

    few, _ = traffic(most // 10, 16)  # of two batches, as even as those of many samples
    many, peak = traffic(most, 400)
    assert many == few
    assert peak < 0.5
