"""Every public layer in a network: fits, files, ONNX, the device and stacks; none is listed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from _cuda_models import on_both
from _requirements import require
from cukernels.runtime.arrays import to_device, to_host
from estimators import ConvNetClassifier, Dense
from estimators.convert import SKOPS_TRUSTED, to_onnx
from estimators.layers.dense import Scores
from estimators.layers.layer import Rows
from estimators.training.loop import Data, train
from estimators.training.member import Member, TrainingState, dropout_streams
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.order import RowOrder
from estimators.training.settings import Settings
from test_layers import M, every_layer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def data_for(shape, n=60):
    """Samples of three classes, as rows."""
    rng = np.random.default_rng(4)
    y = np.arange(n) % 3
    return rng.random((n, int(np.prod(shape)))) + 0.3 * np.eye(3)[y][
        :, rng.integers(3, size=np.prod(shape))
    ], y


def classifier(layer, shape, **settings):
    """A network around the layer, and its data; units come from a dense layer."""
    images = shape if len(shape) == 3 else (2, 3, 2)
    layers = [layer] if images is shape else [Dense(shape[0], "tanh"), layer]
    options = {"max_iter": 3, "batch_size": 20, "random_state": 0} | settings
    return ConvNetClassifier(layers=layers, image_shape=images, **options), *data_for(images)


@every_layer
def test_fit_pickle_and_files(layer, shape, capsys):
    model, X, y = classifier(layer, shape)
    assert clone(model).get_params()["layers"] == model.layers
    p = model.fit(X, y).predict_proba(X)
    loaded = [pickle.loads(pickle.dumps(model))]
    io = require("skops.io", "test")
    data = io.dumps(model)
    assert set(io.get_untrusted_types(data=data)) <= set(SKOPS_TRUSTED)
    loaded.append(io.loads(data, trusted=SKOPS_TRUSTED))
    for other in loaded:
        np.testing.assert_array_equal(other.predict_proba(X), p)
        other.partial_fit(X, y)
        assert not np.array_equal(other.predict_proba(X), p)
    model.summary()
    lines = capsys.readouterr().out.splitlines()
    row = [line for line in lines if line.startswith(f"{type(layer).__name__}(")][-1]
    count = sum(np.prod(q.shape, dtype=int) for q in layer.parameters(shape).values())
    assert row.split()[-1] == f"{count:,}"


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_predicts_the_same(layer, shape, dtype):
    runtime = require("onnxruntime", "test")
    model, X, y = classifier(layer, shape, dtype=dtype)
    X = X.astype(dtype)
    written = to_onnx(model.fit(X, y), dtype=dtype).SerializeToString()
    session = runtime.InferenceSession(written, providers=["CPUExecutionProvider"])
    got = session.run(["probabilities"], {"X": X})[0]
    # onnxruntime has the error function in float32 alone
    exact = dtype == "float64" and "gelu" not in repr(layer)
    atol = 1e-12 if exact else 1e-5
    np.testing.assert_allclose(got, model.predict_proba(X), rtol=0, atol=atol)


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_device_does_the_same(layer, shape, dtype, cupy):
    model, X, y = classifier(layer, shape, dtype=dtype, max_iter=2)
    host, device = on_both(model, X, y)
    tolerance = {"float32": 1e-4, "float64": 1e-9}[dtype]
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=tolerance)
    np.testing.assert_allclose(
        device.predict_proba(X), host.predict_proba(X), rtol=0, atol=100 * tolerance
    )


@every_layer
@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)])
def test_trained_in_a_stack_or_alone(layer, shape, where, request):
    """To the bit, whatever the neighbours."""
    if where != "cpu":
        request.getfixturevalue("cupy")
    network = Network([layer, Scores(3)], shape)
    X, y = data_for(shape, 30)
    data = Data(*(to_device(a, where) for a in (X.reshape(-1, *shape).astype(np.float32), y)))

    def one(m):
        rng = np.random.RandomState(m)
        settings = Settings(solver="adam", batch_size=12, learning_rate_init=0.01 * (m + 1))
        state = TrainingState(network.init(rng, np.float32))
        state.restart_optimizer(settings)
        rates = [0.1 + 0.2 * m for _ in network.dropouts]
        order = RowOrder(np.arange(30), rng, settings.shuffle)
        return Member(settings, state, order, dropout=dropout_streams(rates, rng))

    together = [one(m) for m in range(M)]
    train(network, Objective("log_loss", "softmax"), data, together, 2)
    for m, model in enumerate(together):
        alone = one(m)
        train(network, Objective("log_loss", "softmax"), data, [alone], 2)
        np.testing.assert_array_equal(to_host(model.state.params), alone.state.params)


@every_layer
def test_lbfgs_takes_what_is_one_function_of_the_samples(layer, shape):
    model, X, y = classifier(layer, shape, solver="lbfgs")
    if layer.rows is Rows.ALONE:
        assert model.fit(X, y).loss_ < 1.5
    else:
        with pytest.raises(ValueError, match="minimises one fixed function of all samples"):
            model.fit(X, y)
