"""MLPClassifier and ConvNetClassifier on a GPU: trainings that go on, stacks, and what is copied.

`test_gpu.py` has whole trainings of every kind. Shuffles, initial weights and dropout are the same
on the CPU and on a GPU, so the trainings are too, but for rounding.
"""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from _cuda_models import (
    DIFFERENCES,
    IMAGE_LABELS,
    IMAGES,
    LABELS,
    LOSS,
    SPARSE,
    WEIGHT,
    X,
    Y,
    assert_alone_as_in_a_stack,
    assert_same_network,
    clone_fitted,
    convnet,
    member,
    mlp,
)
from cukernels.runtime.arrays import to_device
from estimators import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    LocallyConnected2D,
    MaxPool2D,
)
from estimators.layers.dense import Scores
from estimators.training.loop import Data, train
from estimators.training.network import Network
from estimators.training.objective import Objective

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_partial_fit_goes_on_over_calls_and_devices(cupy):
    models = []
    for devices in (("cpu",) * 4, ("cuda",) * 4, ("cuda", "cpu", "cuda", "cpu")):
        model = mlp(dtype="float64", dropout=0.2)
        for device in devices:
            model.set_params(device=device).partial_fit(X, Y, classes=range(3))
        models.append(model)
    for model in models[1:]:
        assert model.t_ == 4 * len(Y)
        assert_same_network(models[0], model, X, LOSS["float64"])


def test_partial_fit_with_early_stopping(cupy):
    host, device = (
        mlp(early_stopping=True, n_iter_no_change=1, tol=1.0, dtype="float64", device=name)
        for name in ("cpu", "cuda")
    )
    for model in (host, device):
        for _ in range(4):
            model.partial_fit(X, Y, classes=range(3))
    assert host.early_stopped_ and device.early_stopped_
    assert_same_network(host, device, X, LOSS["float64"])


def test_warm_start_goes_on_from_what_another_device_learned(cupy):
    host = mlp(warm_start=True, dtype="float64", device="cpu").fit(X, Y)
    device = clone_fitted(host, "cuda").fit(X, Y)
    assert_same_network(host.fit(X, Y), device, X, LOSS["float64"])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_a_device_has_learned_is_of_use_without_it(early_stopping, cupy, monkeypatch):
    model = mlp(early_stopping=early_stopping, device="cuda").fit(X, Y)
    expected, stored = model.predict_proba(X), pickle.dumps(model)
    monkeypatch.setitem(sys.modules, "cupy", None)
    alone = pickle.loads(stored).set_params(device="cpu")
    np.testing.assert_allclose(alone.predict_proba(X), expected, rtol=0, atol=1e-5)


def test_ctrl_c_brings_home_what_is_trained(cupy, monkeypatch):
    def interrupted(self, n_iter, loss):
        if n_iter == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("estimators.shared.progress.Reporter.epoch", interrupted)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = mlp(device="cuda", early_stopping=True).fit(X, Y)
    assert type(model.coefs_[0]) is np.ndarray
    assert model.predict(X).shape == Y.shape


def trained(device, network, samples, dtype, **options):
    """A stack after its training: the members."""
    samples = samples if sp.issparse(samples) else to_device(samples.astype(dtype), device)
    if sp.issparse(samples):
        samples = samples.astype(dtype)
    data = Data(samples, to_device(Y[: samples.shape[0]], device))
    models = [
        member(network, m, dtype, **{k: v[m] for k, v in options.items()})
        for m in range(len(DIFFERENCES))
    ]
    train(network, Objective("log_loss", "softmax"), data, models, 4)
    return models


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["dense", "sparse", "weights", "unequal"])
def test_a_stack_of_models(kind, dtype, cupy):
    network = Network([Dense(6), Dropout(0.3), Dense(5, "identity"), BatchNorm(), Scores(3)], (12,))
    samples = SPARSE if kind == "sparse" else X
    options = {
        "weights": {"weight": [WEIGHT, None, WEIGHT[::-1], None]},
        "unequal": {"n_rows": [60, 58, 49, 57]},
    }.get(kind, {})
    host, device = (trained(name, network, samples, dtype, **options) for name in ("cpu", "cuda:0"))
    tolerance = LOSS[np.dtype(dtype).name]
    for a, b in zip(device, host, strict=True):
        np.testing.assert_allclose(a.state.loss_curve, b.state.loss_curve, rtol=tolerance)
        for name in ("params", "moments"):
            pair = getattr(a.state, name), getattr(b.state, name)
            for x, y in zip(*(p.values() if name == "moments" else [p] for p in pair), strict=True):
                assert type(x) is np.ndarray
                np.testing.assert_allclose(x, y, rtol=0, atol=100 * tolerance * np.abs(y).max())
    assert [len(model.state.loss_curve) for model in device] == [4, 4, 4, 3]


def test_a_model_is_the_same_to_the_bit_in_a_stack_and_alone(cupy):
    network = Network([Conv2D(3), Dense(5), Dropout(0.3), Scores(3)], (6, 6, 2))
    images = IMAGES.astype(np.float32)
    data = Data(to_device(images, "cuda:0"), to_device(IMAGE_LABELS, "cuda:0"))
    assert_alone_as_in_a_stack(network, data, len(IMAGES))


CHAINS = {
    "dense": [Dense(7, "tanh"), Dense(5, "elu"), Scores(3)],
    "images": [Conv2D(3), MaxPool2D(), Conv2D(4, activation="logistic"), AvgPool2D(), Scores(3)],
    "local": [LocallyConnected2D(3, activation="softplus"), Conv2D(2), Dense(4, "gelu"), Scores(3)],
    "own": [Conv2D(3, activation="identity"), BatchNorm(), Activation("relu"), MaxPool2D(3),
            Activation("tanh"), Dropout(0.2), Dense(4, "leaky_relu"), Scores(3)],
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_a_gradient_goes_on_through_the_activation_before(chain, cupy):
    """In one pass as in two, but for what a compiler fuses."""
    data = Data(*map(cupy.asarray, (IMAGES.astype(np.float32), IMAGE_LABELS)))

    def trained(plain):
        network = Network(CHAINS[chain], (6, 6, 2))
        goes_through = [name for name in network._through if name != "identity"]
        if plain:
            network._through = ["identity"] * len(network.units)
        model = member(network, 1, np.float32, n_rows=len(IMAGES))
        train(network, Objective("log_loss", "softmax"), data, [model], 2)
        return model.state.params, goes_through

    (one, goes_through), (two, _) = trained(False), trained(True)
    assert goes_through
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6 * np.abs(two).max())


STEADY = {
    "mlp": (mlp(dropout=0.2, batch_norm=True), X, Y, {}),
    "weights": (mlp(solver="sgd"), X, Y, {"sample_weight": WEIGHT}),
    "sparse": (mlp(), SPARSE, Y, {}),
    "labels": (mlp(loss="squared_error"), X, LABELS, {}),
    "convnet": (convnet(augment={"shift": 1}), IMAGES, IMAGE_LABELS, {}),
}


@pytest.mark.parametrize("case", STEADY)
def test_nothing_goes_to_or_fro_within_an_epoch(case, softgpu):
    """More batches an epoch cost neither another upload nor another read; more epochs do."""
    model, samples, labels, fit = STEADY[case]

    def traffic(batch_size, epochs):
        settings = {"batch_size": batch_size, "max_iter": epochs, "tol": 0, "device": "cuda"}
        with softgpu.transfers() as copies:
            clone(model).set_params(**settings).fit(samples, labels, **fit)
        return copies.to_device, copies.to_host

    few, many = traffic(17, 2), traffic(11, 2)  # both with a short last batch
    assert few == many
    assert traffic(18, 3)[1] == few[1] + 1  # the one read of an epoch
