"""The perceptron's sweep on the device, beyond the samples of the registry."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cukernels.perceptron import perceptron_cuda as bodies
from cukernels.perceptron.perceptron import csr_perceptron_sweep, perceptron_sweep


def problem(rng, n=100, d=13, k=3, dtype=np.float64):
    """Blobs that overlap a little, so that mistakes get rarer."""
    centres = 2 * rng.standard_normal((k, d))
    y = rng.integers(k, size=n)
    x = (centres[y] + rng.standard_normal((n, d))).astype(dtype)
    return x, y


def swept(body, to, x, y, arguments, sweeps=3):
    """Weights, biases and objectives after some sweeps, each in an order of its own."""
    rng = np.random.default_rng(5)
    k = int(y.max()) + 1
    state = {"w": np.zeros((k, x.shape[1]), x.dtype), "b": np.zeros(k, x.dtype)}
    state = {name: to(a) for name, a in state.items()}
    placed = {n: to(a) if isinstance(a, np.ndarray) else a for n, a in arguments.items()}
    samples = [x]
    if sp.issparse(x):
        samples = [x.data, x.indices, x.indptr]
    objectives = []
    for _ in range(sweeps):
        order = to(rng.permutation(len(y)))
        objective = body(*map(to, samples), to(y), **state, order=order, **placed)
        objectives.append(objective)
    return [state["w"], state["b"], *objectives]


SETTINGS = {
    "one against the rest": {"classes": np.arange(3)},
    "multinomial": {},
    "L2": {"classes": np.arange(3), "alpha": 0.01},
    "multinomial, L2": {"alpha": 0.01},
    "L1": {"classes": np.arange(3), "alpha": 0.005, "l1_ratio": 1.0},
    "multinomial, elastic net": {"alpha": 0.005, "l1_ratio": 0.5},
}


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "csr"])
@pytest.mark.parametrize("name", SETTINGS)
def test_several_sweeps(name, is_sparse, cupy, rng):
    x, y = problem(rng)
    host, device = perceptron_sweep, bodies.perceptron_sweep
    if is_sparse:
        x, (host, device) = (
            sp.csr_array(x),
            (csr_perceptron_sweep, bodies.csr_perceptron_sweep),
        )
    arguments = SETTINGS[name] | {"eta": 0.3}
    expected = swept(host, np.asarray, x, y, arguments)
    got = swept(device, cupy.asarray, x, y, arguments)
    for e, g in zip(expected, got, strict=True):
        np.testing.assert_allclose(g.get(), e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_csr_is_dense(name, cupy, rng):
    x, y = problem(rng)
    arguments = SETTINGS[name] | {"eta": 0.3}
    dense = swept(bodies.perceptron_sweep, cupy.asarray, x, y, arguments)
    sparse = swept(bodies.csr_perceptron_sweep, cupy.asarray, sp.csr_array(x), y, arguments)
    for a, b in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(a.get(), b.get(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classes", [None, np.arange(3)], ids=["multinomial", "one against rest"])
def test_a_stack_is_its_models(classes, cupy, rng):
    """To the bit."""
    asarray = cupy.asarray
    x, y = problem(rng, dtype=np.float32)
    w, b = rng.standard_normal((2, 3, 13)).astype(np.float32), np.ones((2, 3), np.float32)
    eta = np.array([[[0.5]], [[0.01]]], np.float32)
    shared = {} if classes is None else {"classes": asarray(classes)}

    def run(part):
        state = asarray(w[part]), asarray(b[part])
        objective = bodies.perceptron_sweep(
            asarray(x), asarray(y), *state, asarray(eta[part]), **shared
        )
        return [a.get() for a in (*state, objective)]

    together = run(slice(None))
    for m in range(2):
        for whole, alone in zip(together, run(slice(m, m + 1)), strict=True):
            np.testing.assert_array_equal(whole[m], alone[0])


@pytest.mark.parametrize("limit", [0, 9_000], ids=["no groups", "weights in global memory"])
@pytest.mark.parametrize("classes", [None, np.arange(3)], ids=["multinomial", "one against rest"])
def test_little_shared_memory(limit, classes, cupy, monkeypatch, rng):
    """What does not fit into shared memory changes the way, not the result."""
    x, y = problem(rng, d=200)
    arguments = {"eta": 0.3} | ({} if classes is None else {"classes": classes})
    expected = swept(perceptron_sweep, np.asarray, x, y, arguments)
    monkeypatch.setattr(bodies, "shared_limit", lambda architecture: limit or 1_000)
    got = swept(bodies.perceptron_sweep, cupy.asarray, x, y, arguments)
    for e, g in zip(expected, got, strict=True):
        np.testing.assert_allclose(g.get(), e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_an_order_for_each_problem(alpha, cupy, rng):
    """Each problem is what it is alone in its order, to the bit, and right."""
    asarray = cupy.asarray
    x, y = problem(rng, dtype=np.float32)
    orders, follows = np.stack([rng.permutation(100)[:90] for _ in range(3)]), np.array([2, 0, 2])
    w, b = rng.standard_normal((3, 13)).astype(np.float32), rng.standard_normal(3)
    options = {"alpha": alpha, "eta": 0.1}

    def run(part, to, body, **order):
        state = to(w[part]), to(b[part])
        order = {name: to(a) for name, a in order.items()}
        classes = to(np.arange(3)[part])
        objective = body(to(x), to(y), *state, classes=classes, **order, **options)
        return [np.asarray(a.get() if hasattr(a, "get") else a) for a in (*state, objective)]

    several = {"order": orders, "follows": follows}
    together = run(slice(None), asarray, bodies.perceptron_sweep, **several)
    reference = run(slice(None), np.array, perceptron_sweep, **several)
    for whole, expected in zip(together, reference, strict=True):
        np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    for p in range(3):
        alone = run(slice(p, p + 1), asarray, bodies.perceptron_sweep, order=orders[follows[p]])
        for whole, own in zip(together, alone, strict=True):
            np.testing.assert_array_equal(whole[p], own[0])


@pytest.mark.parametrize("case", [{}, {"alpha": 0.01}, {"alpha": 0.01, "l1_ratio": 0.5}], ids=str)
def test_gram_matrices_in_parts(case, cupy, monkeypatch, rng):
    """What does not fit into memory at once changes the launches, not the result."""
    asarray = cupy.asarray
    x, y = problem(rng)
    orders = np.stack([rng.permutation(100) for _ in range(3)])
    results = []
    for room in (2**28, 1):
        monkeypatch.setattr(bodies, "_GRAM_BYTES", room)
        w, b = asarray(np.zeros((3, 13))), asarray(np.zeros(3))
        classes, follows = asarray(np.arange(3)), asarray(np.arange(3))
        order = {"order": asarray(orders), "follows": follows}
        eta = asarray(np.linspace(1, 0.1, 100))
        objective = bodies.perceptron_sweep(
            asarray(x), asarray(y), w, b, eta, classes=classes, **order, **case
        )
        results.append([a.get() for a in (w, b, objective)])
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert bodies._chunks(100, 1) == [(0, 32), (32, 64), (64, 96), (96, 100)]


@pytest.mark.parametrize("follows", [None, np.arange(3)], ids=["not said", "classes compete"])
def test_several_orders_need_to_know_whose(follows, cupy, rng):
    x, y = problem(rng)
    orders = np.stack([rng.permutation(100) for _ in range(2)])
    classes = np.arange(3) if follows is None else None
    for to, body in (
        (np.array, perceptron_sweep),
        (cupy.asarray, bodies.perceptron_sweep),
    ):
        more = {"order": orders, "follows": follows, "classes": classes}
        more = {name: to(a) for name, a in more.items() if a is not None}
        with pytest.raises(ValueError, match="2 orders of the samples need `follows`"):
            body(to(x), to(y), to(np.zeros((3, 13))), to(np.zeros(3)), 1.0, **more)


def test_too_many_classes_are_an_error(cupy, monkeypatch, rng):
    x, y = problem(rng)
    monkeypatch.setattr(bodies, "shared_limit", lambda architecture: 100)
    with pytest.raises(ValueError, match="3 classes that compete .* 100 a block"):
        swept(bodies.perceptron_sweep, cupy.asarray, x, y, {"eta": 0.3})


def test_most_samples_are_right(cupy, rng):
    """The weights that come out tell the classes apart."""
    x, y = problem(rng, n=200)
    w, b, *_ = swept(bodies.perceptron_sweep, cupy.asarray, x, y, {"eta": 1.0}, sweeps=5)
    assert np.mean((x @ w.get().T + b.get()).argmax(axis=1) == y) > 0.95


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan], ids=str)
@pytest.mark.parametrize("where", ["w", "b"])
@pytest.mark.parametrize("classes", [None, np.arange(3)], ids=["multinomial", "one against rest"])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "csr"])
def test_the_record_tells_of_weights_that_are_not_finite(
    is_sparse, classes, where, value, cupy, rng
):
    """Of each problem alone; and of its objective, in double precision."""
    x, y = problem(rng, n=40, d=300, dtype=np.float32)
    state = {"w": np.ones((2, 3, 300), np.float32), "b": np.ones((2, 3))}
    state[where][(1, 2, 299) if where == "w" else (1, 2)] = value
    arguments = state | {
        "y": y,
        "eta": 0.1,
        "record": np.zeros((2, 1 if classes is None else 3, 2)),
    }
    if classes is not None:
        arguments["classes"] = classes
    if is_sparse:
        x = sp.csr_array(x)
        arguments |= {"data": x.data, "indices": x.indices, "indptr": x.indptr}
    else:
        arguments["x"] = x
    placed = {n: cupy.asarray(a) if isinstance(a, np.ndarray) else a for n, a in arguments.items()}
    sweep = bodies.csr_perceptron_sweep if is_sparse else bodies.perceptron_sweep
    objective = sweep(**placed)
    record = placed["record"].get()
    expected = np.ones(record.shape[:-1])
    expected[1, -1] = 0
    np.testing.assert_array_equal(record[..., 1], expected)
    np.testing.assert_array_equal(record[..., 0], objective.get())
