"""The table of the activations: every entry has all its parts, and all parts are one function.

A new entry is tested without a new test. What the functions are is said elsewhere: `test_ops.py`
holds each backward to the slope of its forward, and `test_oracles.py` holds both to PyTorch's.
"""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import cukernels
from _cuda_calls import device_results, on_host
from _op_cases import assert_close
from _requirements import require
from cukernels.activations import activations
from cukernels.activations.activation import Node
from cukernels.activations.activations import ACTIVATIONS, FUSED_ACTIVATIONS
from cukernels.activations.fused import FUSED, fused_functors
from cukernels.gpu.source import source
from cukernels.runtime.cases import DTYPES, bound_to_backward, cast, copied, results
from cukernels.runtime.registry import OPS
from estimators import Activation, Conv2D, ConvNetClassifier, Dense, MLPClassifier
from estimators.convert.onnx_graph import _IN_FLOAT32, Graph
from estimators.layers.dense import Mode, Scores
from estimators.training.network import Network
from test_network import OBJECTIVES, objective_at

every = pytest.mark.parametrize("name", ACTIVATIONS)
elementwise = pytest.mark.parametrize("name", [n for n, a in ACTIVATIONS.items() if not a.of_rows])
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])

_SIZES = np.geomspace(1e-6, 80, 400)
EVERYWHERE = np.concatenate([-_SIZES[::-1], [0.0], _SIZES])
SPECIAL = np.array([-np.inf, -3e38, -1e-40, -0.0, 0.0, 1e-40, 3e38, np.inf, np.nan])


# Every entry is whole -----------------------------------------------------------------------------


def test_no_activation_is_left_out():
    """The ops of the file, what it exports and the table name the same functions."""
    expected = {op for name in ACTIVATIONS for op in (name, f"{name}_backward")}
    defined = {op.name for op in OPS.values() if op.reference.__module__ == activations.__name__}
    assert defined - expected == set(), "ops without an entry in ACTIVATIONS"
    assert expected - set(activations.__all__) == set(), "missing in __all__ of activations.py"
    assert set(activations.__all__) == expected
    for name in expected:
        assert name in cukernels.__all__
        assert getattr(cukernels, name) is getattr(activations, name)


@every
def test_an_entry_has_all_its_parts(name):
    entry, op = ACTIVATIONS[name], OPS[name]
    assert entry.forward.__name__ == name
    assert entry.backward.__name__ == f"{name}_backward", "the backward of another activation"
    assert op.samples, "no samples"
    assert op.backward and op.backward.gradients == ("x",)
    assert op.cuda and op.backward.cuda, "no CUDA body"
    kernels = source("activations.cu")
    found = re.findall(rf"^struct {entry.functor} {{", kernels, re.MULTILINE)
    assert found, f"no struct {entry.functor} in activations.cuh"
    assert [a.functor for a in ACTIVATIONS.values()].count(entry.functor) == 1
    assert not operators(entry.onnx) & {"", "Identity"}
    assert "x" in leaves(entry.onnx), "the formula for ONNX has no x"


def options(function) -> dict:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "out"}


@every
def test_forward_and_backward_have_the_same_option(name):
    forward, backward = map(options, (ACTIVATIONS[name].forward, ACTIVATIONS[name].backward))
    assert forward == backward
    assert len(forward) <= 1, "a kernel takes one parameter"
    assert ACTIVATIONS[name].parameter == (*forward.values(), 0.0)[0]


def test_the_list_of_epilogues_has_all_that_can_end_a_product():
    functors = fused_functors()
    expected = {ACTIVATIONS[name].functor for name in FUSED}
    assert expected - set(functors) == set(), "missing in the list Fused of activations.cuh"
    assert set(functors) == expected, "their backwards read x"
    assert functors[0] == "Identity"  # `fused_identity` of fused.cuh
    assert len(set(functors)) == len(functors)


# All parts are one function -----------------------------------------------------------------------


def allowed(f, seen, dtype):
    """The rounding error of f(seen): some eps of it, and of what an eps of `seen` changes in it."""
    h = 1e-5
    moved = np.abs(f(seen * (1 + h)) - f(seen * (1 - h))) / (2 * h)
    limits = np.finfo(dtype)
    return 8 * limits.eps * (np.abs(f(seen)) + moved) + 2 * float(limits.tiny)


def assert_accurate(name, dtype, call):
    """Of the forward and of the backward, against the definition in float64."""
    entry, op = ACTIVATIONS[name], OPS[name]
    x = EVERYWHERE.astype(dtype)
    seen = x if entry.reads_input else op.reference(x)
    cases = (
        (op, op.reference, {"x": x}),
        (
            op.backward,
            lambda s: op.backward.reference(np.ones_like(s), s),
            {"dy": np.ones_like(x), "x" if entry.reads_input else "y": seen},
        ),
    )
    for one, exact, arguments in cases:
        got = call(one, arguments)
        assert got.dtype == dtype
        wide = [*arguments.values()][-1].astype(float)
        error = np.abs(got - exact(wide)) / allowed(exact, wide, dtype)
        assert error.max() <= 1, f"{one.name} at {wide[error.argmax()]}"


@elementwise
@both_dtypes
@pytest.mark.parametrize("body", ["reference", "numpy"])
def test_it_is_accurate_everywhere(name, dtype, body):
    """Also where it is nearly 0 or nearly linear."""
    assert_accurate(
        name, dtype, lambda op, arguments: (getattr(op, body) or op.reference)(**arguments)
    )


@elementwise
@both_dtypes
@pytest.mark.each_device
def test_it_is_accurate_everywhere_on_a_gpu(name, dtype, cupy):
    assert_accurate(name, dtype, lambda op, arguments: device_results(op, cupy, arguments)[0])


def flushed(x):
    """CuPy compiles with -ftz=true: arithmetic takes a subnormal float32 for 0, and makes none."""
    is_subnormal = (x.dtype == np.float32) & (np.abs(x) < np.finfo(x.dtype).tiny)
    return np.where(is_subnormal, np.copysign(x.dtype.type(0), x), x)


@elementwise
@both_dtypes
def test_a_gpu_has_the_same_special_values(name, dtype, cupy):
    entry, x = ACTIVATIONS[name], SPECIAL.astype(dtype)
    with np.errstate(all="ignore"):
        y = flushed(entry.forward(flushed(x)))
        dx = flushed(entry.backward(np.ones_like(x), flushed(x) if entry.reads_input else y))
    placed = cupy.asarray(x)
    got = entry.forward(placed)
    seen = placed if entry.reads_input else got
    got_dx = entry.backward(cupy.asarray(np.ones_like(x)), seen)
    rtol, atol = 8 * np.finfo(dtype).eps, 4 * float(np.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(flushed(on_host(got)), y, rtol=rtol, atol=atol)
    np.testing.assert_allclose(flushed(on_host(got_dx)), dx, rtol=rtol, atol=atol)
    assert np.isnan(y[-1]), "not a number went in"


@pytest.mark.parametrize("name", FUSED_ACTIVATIONS)
@both_dtypes
def test_it_ends_a_product(name, dtype, cupy):
    rng = np.random.default_rng(0)
    a, b, bias = (3 * rng.standard_normal(shape) for shape in ((9, 6), (6, 7), 7))
    given = {"a": a, "b": b, "bias": bias, "activation": name}
    op = OPS["matmul"]
    plain = ACTIVATIONS[name].forward(a @ b + bias)
    np.testing.assert_allclose(op.reference(**given), plain, rtol=1e-12)
    bound = bound_to_backward(op, given, rng)
    for one, arguments in ((op, given), (op.backward, bound)):
        exact = results(one, one.reference, copied(cast(cast(arguments, dtype), np.float64)))
        got = device_results(one, cupy, cast(arguments, dtype))
        assert_close(got, exact, arguments, dtype)


def leaves(formula) -> list:
    if not isinstance(formula, Node):
        return [formula]
    return [leaf for part in formula.inputs for leaf in leaves(part)]


def operators(formula) -> set[str]:
    if not isinstance(formula, Node):
        return set()
    return {formula.operator}.union(*map(operators, formula.inputs))


@every
@both_dtypes
def test_onnx_computes_it(name, dtype):
    onnx, runtime = require("onnx", "test"), require("onnxruntime", "test")
    rows = EVERYWHERE[:800].astype(dtype).reshape(100, 8)
    graph = Graph(onnx, np.dtype(dtype))
    graph.add("Identity", graph.activation(name, "X"), output="Y")
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = graph.model(rows.shape[1], {"Y": (kind, [None, rows.shape[1]])}, name)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {"X": rows})
    expected = ACTIVATIONS[name].forward(rows.astype(float))
    narrow = operators(ACTIVATIONS[name].onnx) & _IN_FLOAT32
    eps = np.finfo(np.float32 if narrow else dtype).eps
    assert got.dtype == dtype
    error = np.abs(got - expected) / (8 * eps * (1 + np.abs(rows)))
    assert error.max() <= 1


# The estimators take them -------------------------------------------------------------------------


@every
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_networks_take_it(name):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 36))
    y = (X[:, 0] > 0).astype(int)
    more = {"max_iter": 10, "learning_rate_init": 0.01, "random_state": 0}
    for model in (
        MLPClassifier((8,), activation=name, **more),
        ConvNetClassifier((3,), activation=name, **more),
        ConvNetClassifier(layers=[Conv2D(3, activation="identity"), Activation(name)], **more),
    ):
        first, *_, last = model.fit(X, y).loss_curve_
        assert last < first, model


@every
def test_layers_run_it_backward(name):
    """The gradient of a network in which all layers have it, along a random direction."""
    layers = [Conv2D(3, 2, activation=name), Activation(name), Dense(4, name), Scores(3)]
    network, rng = Network(layers, (4, 4, 2)), np.random.default_rng(0)
    flat = network.init(np.random.RandomState(0), np.float64)[None]
    x, y = rng.standard_normal((1, 7, 4, 4, 2)), rng.integers(3, size=(1, 7))
    mode, direction = Mode(training=True), np.zeros_like(flat)
    for slot in network.slots:
        part = slice(slot.start, slot.start + int(np.prod(slot.shape)))
        direction[:, part] = rng.standard_normal(direction[:, part].shape)
    _, gradient = objective_at(network, OBJECTIVES[0], flat, x, y, mode)
    up, down = (
        objective_at(network, OBJECTIVES[0], flat + step * direction, x, y, mode)[0]
        for step in (1e-6, -1e-6)
    )
    terms = (gradient * direction)[direction != 0]  # between the slots nothing is written
    assert abs(terms.sum() - (up - down).item() / 2e-6) <= 1e-7 * (1 + np.abs(terms).sum())


def test_an_unknown_name_is_refused_with_the_known_ones():
    X, y = np.eye(4), [0, 1, 0, 1]
    for call in (lambda: Dense(3, "swish"), lambda: MLPClassifier(activation="swish").fit(X, y)):
        with pytest.raises(ValueError, match="swish") as error:
            call()
        assert all(repr(name) in str(error.value) for name in ACTIVATIONS)


@both_dtypes
@pytest.mark.parametrize("shape", [(), (9,), (0, 3), (4, 0), (3, 5, 7), (2, 9999, 4), (2, 40_000)])
def test_rows_are_rectified_whatever_their_length(dtype, shape):
    """Up to the sign of a zero, and in place: as many zeros as a row has, or several rows."""
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    if x.ndim:
        x[..., ::3] *= -0.0
    right = np.maximum(x, np.zeros_like(x))
    for seen in (x, np.asfortranarray(x)):
        np.testing.assert_array_equal(cukernels.relu(seen), right)
        if x.ndim:
            activations.rectify(seen, out=seen)
            np.testing.assert_array_equal(seen, right)
