"""Every public layer, held to each of its hooks. A new layer is tested without a new test.

The examples stand in the class. What a hook says is compared with what is found by trying: the
shape of the output, finite differences, single rows against whole batches, changed pixels, models
alone against their stack, ONNX, files, and the kernels.
"""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from sklearn.base import clone

import estimators
from estimators.layers.all import LAYERS
from estimators.layers.dense import Scores
from estimators.layers.fields import Field
from estimators.layers.layer import Layer, Mode, Rows
from estimators.training.network import Network

EXAMPLES = [
    pytest.param(layer, shape, id=f"{name}-{i}")
    for name, kind in sorted(LAYERS.items())
    for i, (layer, shape) in enumerate(kind.examples())
]
every_layer = pytest.mark.parametrize(("layer", "shape"), EXAMPLES)
TRAINING = Mode(training=True, step=np.array([1, 1, 1]))
PREDICTION = Mode()
M = 3  # models

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def parameters_of(layer, shape, dtype=np.float64, seed=0):
    """Random parameters of M models, near to those that a layer begins with."""
    rng = np.random.default_rng(seed)
    p = {}
    for name, q in layer.parameters(shape).items():
        start = 0.0 if q.start is None else q.start
        p[name] = (start + 0.5 * rng.uniform(-1, 1, (M, *q.shape))).astype(dtype)
    if layer.rows is Rows.RANDOM:
        p |= {"rate": np.full(M, layer.rate), "seed": np.arange(1, M + 1, dtype=np.uint64)}
    return p


def samples_of(shape, n=7, dtype=np.float64, models=M):
    return np.random.default_rng(1).standard_normal((models, n, *shape)).astype(dtype)


def copied(p):
    return {name: a.copy() for name, a in p.items()}


def forward(layer, p, x, mode=TRAINING):
    y, _ = layer.forward(copied(p), x, mode)
    return y


def backward(layer, shape, p, x, dy, mode):
    """The gradient in x, and in each parameter; NaN where nothing was written."""
    g = {name: np.full_like(p[name], np.nan) for name in layer.parameters(shape)}
    _, run = layer.forward(copied(p), x, mode)
    return run(dy, g, "identity"), g


def test_layers_are_the_public_ones():
    public = [getattr(estimators, name) for name in estimators.__all__]
    found = {thing for thing in public if isinstance(thing, type) and issubclass(thing, Layer)}
    assert found == set(LAYERS.values())
    for kind in found:
        assert kind.__doc__ and all(type(layer) is kind for layer, _ in kind.examples())
        assert {len(shape) for _, shape in kind.examples()} & {3}, "an example that takes images"


HOOKS = sorted(Layer.__abstractmethods__)


@pytest.mark.parametrize("missing", HOOKS)
def test_a_layer_that_lacks_a_hook_is_an_error(missing):
    kind = LAYERS["Activation"]
    hooks = {name: getattr(kind, name) for name in HOOKS if name != missing}
    broken = type("Broken", (Layer,), hooks)
    with pytest.raises(TypeError, match=f"Broken .*{missing}"):
        broken()


def test_parameters_without_a_place_after_fit_are_an_error():
    kind = LAYERS["BatchNorm"]
    broken = type("Broken", (kind,), {"attribute": ""})()
    network = Network([broken, Scores(2)], (4,))
    with pytest.raises(NotImplementedError, match="Broken has parameters and no `attribute`"):
        network.attributes_of(network.init(np.random.RandomState(0), np.float64))


@every_layer
@pytest.mark.parametrize("mode", [TRAINING, PREDICTION], ids=["training", "prediction"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_shapes(layer, shape, mode, dtype):
    """Dtype kept, input untouched, rows shared by all models as well as own ones."""
    p = parameters_of(layer, shape, dtype)
    shared = () if mode.training and layer.rows is Rows.RANDOM else (1,)
    for models in (*shared, M):
        x = samples_of(shape, dtype=dtype, models=models)
        before = x.copy()
        y, run = layer.forward(copied(p), x, mode)
        stack = M if layer.parameters(shape) else models
        assert y.shape == (stack, 7, *layer.output_shape(shape)) and y.dtype == dtype
        g = {name: np.zeros_like(p[name]) for name in layer.parameters(shape)}
        assert run(np.ones_like(y), g, "identity").dtype == dtype
        np.testing.assert_array_equal(x, before)
    many = samples_of(shape, n=0, dtype=dtype)
    assert forward(layer, p, many, PREDICTION).shape == (M, 0, *layer.output_shape(shape))


@every_layer
def test_first_parameters(layer, shape):
    network = Network([layer, Scores(2)], shape)
    flat = network.init(np.random.RandomState(0), np.float64)
    own = network.views(flat[None])[0]
    for name, q in layer.parameters(shape).items():
        if q.start is not None:
            np.testing.assert_array_equal(own[name], np.full((1, *q.shape), q.start))
        else:
            assert np.unique(own[name]).size == own[name].size  # drawn
    kept = layer.kept({name: name for name in own})
    decayed = {name for name, q in layer.parameters(shape).items() if q.is_decayed}
    assert decayed == {kept[name] for name in kept if name == "coefs_"}
    lists = network.attributes_of(flat)
    model = type("Model", (), lists)()
    for got, expected in zip(network.parameters_of(model), network.views(flat[None]), strict=True):
        assert got.keys() == expected.keys()
        for name in got:
            np.testing.assert_array_equal(got[name], expected[name][0])


@every_layer
@pytest.mark.parametrize("mode", [TRAINING, PREDICTION], ids=["training", "prediction"])
def test_gradient(layer, shape, mode):
    """By finite differences, in the input and in each parameter, along a random direction."""
    rng = np.random.default_rng(2)
    p, x = parameters_of(layer, shape), samples_of(shape)
    y = forward(layer, p, x, mode)
    dy = rng.standard_normal(y.shape)
    dx, g = backward(layer, shape, p, x, dy, mode)
    learned = {name for name, q in layer.parameters(shape).items() if q.is_learned}
    for name, gradient in g.items():
        assert np.isfinite(gradient).all() == (name in learned), f"{name}: see is_learned"
    for name in ["x", *learned]:
        gradient = dx if name == "x" else g[name]
        direction = rng.standard_normal(gradient.shape)
        step = 1e-6 * direction
        values = [
            forward(layer, p, x + sign * step, mode)
            if name == "x"
            else forward(layer, p | {name: p[name] + sign * step}, x, mode)
            for sign in (1, -1)
        ]
        slope = (dy * (values[0] - values[1])).sum() / 2e-6
        terms = np.abs(gradient * direction).sum()
        assert abs((gradient * direction).sum() - slope) <= 1e-7 * (1 + terms), name


@every_layer
@pytest.mark.parametrize("mode", [TRAINING, PREDICTION], ids=["training", "prediction"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_stack_is_its_models_one_by_one(layer, shape, mode, dtype):
    """To the bit, forward and backward."""
    p, x = parameters_of(layer, shape, dtype), samples_of(shape, dtype=dtype)
    y = forward(layer, p, x, mode)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype)
    dx, g = backward(layer, shape, p, x, dy, mode)
    for m in range(M):
        own = {name: a[m : m + 1] for name, a in p.items()}
        alone = mode._replace(step=mode.step[m : m + 1]) if mode.training else mode
        part = slice(m, m + 1)
        np.testing.assert_array_equal(forward(layer, own, x[part], alone), y[part])
        dx_m, g_m = backward(layer, shape, own, x[part], dy[part], alone)
        np.testing.assert_array_equal(dx_m, dx[part])
        for name in g:
            np.testing.assert_array_equal(g_m[name], g[name][part])


@every_layer
def test_what_a_row_depends_on(layer, shape):
    p, x = parameters_of(layer, shape), samples_of(shape, n=8)
    whole = forward(layer, p, x)
    halves = [forward(layer, p, x[:, i : i + 4]) for i in (0, 4)]
    depends_on_others = not np.allclose(np.concatenate(halves, axis=1), whole)
    alike = forward(layer, p, np.repeat(x[:, :1], 64, axis=1))
    depends_on_place = not np.allclose(alike, alike[:, :1])
    found = Rows.RANDOM if depends_on_place else Rows.TOGETHER if depends_on_others else Rows.ALONE
    assert layer.rows is found
    np.testing.assert_allclose(  # at prediction no row depends on another one
        forward(layer, p, x, PREDICTION)[:, 4:], forward(layer, p, x[:, 4:], PREDICTION), rtol=1e-12
    )
    if found is Rows.RANDOM:
        np.testing.assert_array_equal(forward(layer, p, x, PREDICTION), x)


def dependence(layer, shape, n_axes):
    """Whether a change at each place of the input moves each place of the output.

    A place is an index along the first axes: (rows, columns) of images, else a unit. Changes are
    large and of both signs, so that they get through a maximum and a rectifier.
    """
    places, after = shape[:n_axes], layer.output_shape(shape)
    found = np.zeros(places + after[:n_axes], bool)
    for seed in range(4):
        p = parameters_of(layer, shape, seed=seed)
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((1, 1, *shape))
        for change in (9.0, -9.0):
            changed = np.repeat(x, np.prod(places), axis=1)
            for row, place in enumerate(np.ndindex(places)):
                changed[(0, row, *place)] += change * rng.uniform(0.5, 1, shape[n_axes:])
            before, after_it = (forward(layer, p, a, PREDICTION) for a in (x, changed))
            moved = ~np.isclose(before, after_it)
            moved = moved.any(axis=(0, *range(2 + min(n_axes, len(after)), moved.ndim)))
            found |= moved.reshape(found.shape)
    return found


@every_layer
def test_what_a_place_sees(layer, shape):
    """What a change at each pixel moves, against the receptive field."""
    seen, after = layer.sees((Field(1, 1, 0), Field(1, 1, 0)), shape), layer.output_shape(shape)
    found = dependence(layer, shape, 2 if len(shape) == 3 else 1)
    if seen is None:
        assert found.all()
    elif len(shape) == 1:
        np.testing.assert_array_equal(found, np.eye(*shape, dtype=bool))
    else:
        for place in np.ndindex(after[:2]):
            for axis, field in enumerate(seen):
                pixels = np.flatnonzero(found[(..., *place)].any(axis=1 - axis))
                first = field.first + place[axis] * field.step
                end = first + field.size
                assert set(pixels) <= set(range(first, end))
                if first >= 0 and end <= shape[axis]:  # else taps may lie in the padding
                    assert (pixels[0], pixels[-1]) == (first, end - 1)


@every_layer
def test_a_description_is_a_value(layer, shape):
    """Frozen, equal by its fields, written as one would write it, and safe to pickle."""
    again = eval(repr(layer), dict(LAYERS))
    assert again == layer == pickle.loads(pickle.dumps(layer)) == clone(layer, safe=False)
    assert hash(again) == hash(layer)
    for f in fields(layer):
        with pytest.raises(FrozenInstanceError):
            setattr(layer, f.name, getattr(layer, f.name))
        assert f.type, f"{f.name} has no type"
