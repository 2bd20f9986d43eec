"""Every op and whole trainings on a GPU, against the same references as on the host.

`make gpu` runs these tests and all others with the fixture `cupy`, on the machine's NVIDIA GPU or
on the one in software. Older devices have kernels of their own: 9.0 has all instructions, 7.5 has
neither asynchronous copies nor TF32.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits

import _gpu
from _cuda_models import (
    CONVNETS,
    IMAGE_LABELS,
    IMAGES,
    LOSS,
    MLPS,
    PERCEPTRONS,
    SOLVERS,
    SPARSE,
    WEIGHT,
    X,
    Y,
    assert_alone_as_in_a_stack,
    assert_same_linear_model,
    assert_same_network,
    on_both,
)
from _on_a_gpu import placed
from _op_cases import assert_right, assert_same_bits, each_case, each_dtype
from cukernels.runtime.cases import (
    backwards,
    cast,
    contiguous,
    copied,
    results,
    unaligned,
)
from cukernels.runtime.registry import OPS
from estimators import (
    BatchNorm,
    ConvNetClassifier,
    Dense,
    Dropout,
    LogisticRegression,
    MLPClassifier,
    Perceptron,
)
from estimators.layers.dense import Scores
from estimators.training.loop import Data
from estimators.training.network import Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# Ops -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_every_op_has_a_cuda_body(op):
    assert op.cuda is not None


@pytest.mark.each_device
@each_dtype
@each_case()
def test_op(case, dtype, cupy, on_poisoned_memory):
    """Against the definition, with the inputs left as they are, and twice with the same bits."""
    assert_right(case, case.op.cuda, dtype, layouts=[contiguous], place=cupy.asarray)
    given = cast(case.arguments, dtype)
    assert_same_bits(
        *(results(case.op, case.op.cuda, placed(cupy, copied(given))) for _ in range(2))
    )


@pytest.mark.each_device
@each_dtype
@each_case()
def test_layout_is_of_no_consequence(case, dtype, cupy):
    """Every body makes its arrays contiguous, and then some begin at no multiple of 16 bytes."""
    layouts = [backwards, unaligned]
    assert_right(case, case.op.cuda, dtype, layouts=layouts, place=cupy.asarray)


# Estimators ------------------------------------------------------------------------------------


@pytest.mark.each_device
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", MLPS)
def test_mlp(case, dtype, cupy):
    model, samples, labels, fit = MLPS[case]
    if model.solver == "lbfgs" and dtype == "float32":
        pytest.skip("line searches double rounding errors at every iteration")
    host, device = on_both(clone(model).set_params(dtype=dtype), samples, labels, **fit)
    assert_same_network(host, device, samples, LOSS[dtype])


@pytest.mark.each_device
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CONVNETS)
def test_convnet(case, dtype, cupy):
    model = clone(CONVNETS[case]).set_params(dtype=dtype)
    if model.solver == "lbfgs" and dtype == "float32":
        pytest.skip("line searches double rounding errors at every iteration")
    host, device = on_both(model, IMAGES, IMAGE_LABELS)
    assert_same_network(host, device, IMAGES, LOSS[dtype])


@pytest.mark.each_device
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weights"])
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_logistic_regression(solver, samples, weight, cupy):
    model = LogisticRegression(solver=solver, tol=1e-8)
    host, device = on_both(model, samples, Y, sample_weight=weight)
    assert_same_linear_model(host, device, samples, 1e-6)


@pytest.mark.each_device
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("case", PERCEPTRONS)
def test_perceptron(case, samples, cupy):
    model = Perceptron(**{"max_iter": 4} | PERCEPTRONS[case])
    host, device = on_both(model, samples, Y, sample_weight=WEIGHT)
    assert_same_linear_model(host, device, samples, 1e-10)


DIGITS, DIGIT_LABELS = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
WHOLE = {
    "mlp": MLPClassifier((300, 100), batch_size=128, max_iter=10, random_state=0),
    "mlp-dropout": MLPClassifier(
        (256,), dropout=0.3, batch_norm=True, batch_size=200, max_iter=5, random_state=0
    ),
    "convnet": ConvNetClassifier((16, 32), batch_size=128, max_iter=4, random_state=0),
    "logistic": LogisticRegression(max_iter=200),
    "perceptron": Perceptron(max_iter=10, tol=None),
}


@pytest.mark.parametrize("name", WHOLE)
def test_training_on_digits(name, cupy):
    """The same losses as on the CPU and as good a model; the same bits in every run."""
    model, samples, labels = WHOLE[name], DIGITS, DIGIT_LABELS
    if _gpu.is_software():
        model = clone(model).set_params(max_iter=min(model.max_iter, 2))
        samples, labels = DIGITS[:200], DIGIT_LABELS[:200]
    host, device = on_both(model, samples, labels)
    again = clone(device).fit(samples, labels)
    for attribute in ("coefs_", "coef_", "intercepts_", "intercept_"):
        if hasattr(device, attribute):
            for a, b in zip(getattr(device, attribute), getattr(again, attribute), strict=True):
                assert a.tobytes() == b.tobytes()
    if hasattr(host, "loss_curve_"):
        assert device.loss_curve_ == again.loss_curve_
        np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-4)
    scores = [model.score(samples, labels) for model in (host, device)]
    assert abs(scores[0] - scores[1]) < 0.005


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_model_is_the_same_to_the_bit_in_a_stack_and_alone(kind, cupy):
    layers = [Dense(130), Dropout(0.3), Dense(40, "identity"), BatchNorm(), Scores(10)]
    network = Network(layers, (64,))
    n_rows = 160 if _gpu.is_software() else len(DIGITS)
    samples = DIGITS[:n_rows].astype(np.float32)
    samples = sp.csr_matrix(samples) if kind == "sparse" else cupy.asarray(samples)
    data = Data(samples, cupy.asarray(DIGIT_LABELS[:n_rows]))
    assert_alone_as_in_a_stack(network, data, n_rows)


def test_another_device(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs a second GPU")
    model, n_rows = WHOLE["convnet"], len(DIGITS)
    if _gpu.is_software():
        model, n_rows = clone(model).set_params(max_iter=2), 130
    first, second = (
        clone(model).set_params(device=name).fit(DIGITS[:n_rows], DIGIT_LABELS[:n_rows])
        for name in ("cuda:0", "cuda:1")
    )
    np.testing.assert_allclose(first.loss_curve_, second.loss_curve_, rtol=1e-5)
