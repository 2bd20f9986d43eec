"""What looks into networks and comes before them, on a GPU as on the CPU."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import cukernels
from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    MLPClassifier,
    NearestNeighborClassifier,
    VisualWordsTransformer,
)
from estimators.inspection.probe import Probe

pytestmark = [
    pytest.mark.usefixtures("cupy"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
Y = np.arange(40) % 3
X = (RNG.integers(0, 9, (40, 36)) / 8 + Y[:, None] / 4).astype("float32")


def there(model):
    """The same fitted model, computing on the device."""
    return pickle.loads(pickle.dumps(model)).set_params(device="cuda")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_neighbours_are_exact_in_every_precision(precision):
    model = NearestNeighborClassifier(block_size=16).fit(X, Y)
    queries = X[:9] + RNG.normal(scale=0.05, size=(9, 36)).astype("float32")
    with cukernels.precision(precision):
        got = there(model).kneighbors(queries)
    np.testing.assert_array_equal(got, model.kneighbors(queries))


def test_filter_bank_and_words():
    bank = FilterBankTransformer().fit(X)
    responses = bank.transform(X[:4])
    np.testing.assert_allclose(there(bank).transform(X[:4]), responses, atol=1e-6)
    words = VisualWordsTransformer(5, random_state=0).fit(responses)
    np.testing.assert_array_equal(there(words).transform(responses), words.transform(responses))


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_the_classic_steps_take_samples_from_the_host(device, cupy):
    """A CuPy array is refused in words, also by a tensor's protocol, and before a fit."""
    on_device = cupy.asarray(X)
    bank = FilterBankTransformer(device=device)
    responses = clone(bank).fit_transform(X[:4])
    words = VisualWordsTransformer(2, random_state=0, device=device)
    nearest = NearestNeighborClassifier(device=device)
    calls = []
    for model, samples in ((bank, X), (words, responses), (nearest, X)):
        calls.append((model, lambda x, model=model: clone(model).fit(x, Y)))
        fitted = clone(model).fit(samples, Y[: len(samples)])
        names = ("transform", "predict", "kneighbors", "score")
        for name in (name for name in names if hasattr(fitted, name)):
            own = getattr(fitted, name), [Y] if name == "score" else []
            calls.append((model, lambda x, own=own: own[0](x, *own[1])))
    assert len(calls) == 8
    for model, call in calls:
        name = type(model).__name__
        with pytest.raises(TypeError, match=f"X is on cuda:0, and {name} takes samples from the h"):
            call(on_device)


def test_automatic_is_the_cpu_for_the_classic_steps(monkeypatch, softgpu):
    monkeypatch.setattr("cukernels.gpu.auto._choice", lambda work: ("cuda:0", "it is there"))
    monkeypatch.setattr("cukernels.gpu.auto.may_have_gpu", lambda: True)
    with softgpu.launched() as launched:
        responses = FilterBankTransformer().fit_transform(X[:4])
        VisualWordsTransformer(2, random_state=0).fit_transform(responses)
        NearestNeighborClassifier().fit(X, Y).predict(X)
        assert not launched
        MLPClassifier((2,), max_iter=1).fit(X, Y)  # which does choose
        assert launched


@pytest.mark.parametrize("layer", [0, 1])
def test_outputs_and_ascent(layer):
    net = ConvNetClassifier((3,), hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X, Y)
    on_host, on_device = Probe(net, layer), Probe(there(net), layer)
    for a, b in zip(on_device.outputs(X[:3]), on_host.outputs(X[:3]), strict=True):
        assert type(a) is np.ndarray
        np.testing.assert_allclose(a, b, atol=1e-5)
    start, how = X[:2], {"low": 0.0, "high": 1.5, "steps": 2, "rate": 0.1, "decay": 0.03}
    moved = [probe.ascend(start, np.array([0, 1]), **how) for probe in (on_device, on_host)]
    assert type(moved[0]) is np.ndarray
    np.testing.assert_allclose(*moved, atol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks(solver):
    heard = []

    def listen(estimator, info):
        heard.append((info.loss, estimator.coefs_[0].copy(), estimator.predict(X[:5])))
        return info.epoch == 2

    model = MLPClassifier((4,), solver=solver, max_iter=5, random_state=0, callbacks=listen)
    on_host = clone(model).set_params(device="cpu").fit(X, Y)
    on_device = clone(model).set_params(device="cuda").fit(X, Y)
    assert on_device.n_iter_ == on_host.n_iter_ == 2
    for (loss, coef, guesses), expected in zip(heard[2:], heard[:2], strict=True):
        assert type(coef) is np.ndarray
        np.testing.assert_allclose(loss, expected[0], rtol=1e-4)
        np.testing.assert_allclose(coef, expected[1], atol=1e-4)
        np.testing.assert_array_equal(guesses, expected[2])
