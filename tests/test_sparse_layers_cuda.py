"""Sparse products on a GPU as layers use them: with bias and activation, or of some rows.

`test_sparse_cuda.py` has the products alone, of more shapes.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from _cuda_calls import device_results, on_device, on_host
from _op_cases import assert_close, assert_same_bits
from cukernels import OPS, csr_matmul_backward
from cukernels.activations.activations import FUSED_ACTIVATIONS
from cukernels.runtime.cases import cast, copied, results
from cukernels.sparse.transpose import _LEAST_ENTRIES, _MOST_BLOCKS

OP = OPS["csr_matmul"]

# rows of a model, columns, density, models (0: no axis), columns of b
CASES = {
    "odd": (9, 30, 0.2, 3, 5),
    "wide": (9, 30, 0.2, 2, 132),
    "one model": (70, 20, 0.2, 0, 10),
    "long rows": (3, 2100, 0.8, 2, 4),
    "two digits": (20, 900, 0.05, 2, 3),
    "no entries": (4, 7, 0.0, 2, 4),
    "one key": (5, 1, 0.8, 0, 3),
}
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def layer(case, activation: str, before: int = 0, after: int = 0) -> dict:
    """Arguments, whose rows may be a part of those of a longer matrix."""
    rows, columns, density, models, k = case
    rng = np.random.default_rng(0)
    rows *= max(models, 1)
    whole = (before + rows + after, columns)
    a = sp.random_array(whole, density=density, format="csr", random_state=rng)
    stack = (models,) if models else ()
    return {
        "data": rng.standard_normal(a.nnz),
        "indices": a.indices,
        "indptr": a.indptr[before : before + rows + 1],
        "b": rng.standard_normal((*stack, columns, k)),
        "bias": rng.standard_normal((*stack, k)),
        "activation": activation,
    }


def with_gradient(arguments: dict) -> dict:
    """The arguments of the backward."""
    y = OP.reference(**copied(arguments))
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)
    return arguments | {"y": y, "dy": dy}


def check(cupy, arguments: dict, dtype) -> None:
    """Both ways against the definition."""
    given = cast(arguments, dtype)
    for op, called in ((OP, given), (OP.backward, with_gradient(given))):
        exact = results(op, op.reference, copied(cast(called, np.float64)))
        assert_close(device_results(op, cupy, copied(called)), exact, called, dtype)


@pytest.mark.parametrize("activation", FUSED_ACTIVATIONS)
def test_every_activation(activation, cupy):
    check(cupy, layer(CASES["odd"], activation), np.float32)


@by_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (5, 0), (0, 4), (6, 3)])
def test_rows_of_a_longer_matrix(case, dtype, before, after, cupy):
    check(cupy, layer(case, "relu", before, after), dtype)


def test_few_rows_of_a_very_long_matrix(cupy):
    """The host sees how many entries the arrays hold, and most blocks find none for them."""
    arguments = layer((40, 64, 0.8, 0, 3), "tanh", before=2000, after=70_000)
    rows = arguments["indptr"]
    assert len(arguments["data"]) > _MOST_BLOCKS * _LEAST_ENTRIES
    assert rows[-1] - rows[0] < 2 * _LEAST_ENTRIES
    begin, end = rows[0], rows[-1]
    alone = arguments | {
        "data": arguments["data"][begin:end],
        "indices": arguments["indices"][begin:end],
        "indptr": rows - begin,
    }
    slopes = {name: with_gradient(alone)[name] for name in ("y", "dy")}
    for op, more in ((OP, {}), (OP.backward, slopes)):
        assert_same_bits(*(device_results(op, cupy, a | more) for a in (arguments, alone)))


@by_case
def test_a_model_is_the_same_in_any_stack(case, cupy):
    """To the bit, with its gradients written into the parameters of a stack."""
    rows, columns, _, models, k = case
    if not models:
        pytest.skip("no stack")
    given = with_gradient(cast(layer(case, "relu", before=2), np.float32))
    placed = {name: on_device(cupy, value) for name, value in given.items()}
    gradients = cupy.full((models, columns * k + k + 3), np.nan, np.float32)
    out = {
        "b": gradients[:, 1 : 1 + columns * k].reshape(models, columns, k),
        "bias": gradients[:, 2 + columns * k : -1],
    }
    db, dbias = OPS["csr_matmul_backward"].cuda(**placed, out=out)
    assert db is out["b"] and dbias is out["bias"]
    y = on_host(OP.cuda(**{n: placed[n] for n in placed if n not in ("y", "dy")}))
    edges = on_host(gradients[:, [0, 1 + columns * k, -1]])
    assert np.isnan(edges).all(), "written beside the gradients"
    for m in range(models):
        own = given | {n: given[n][m] for n in ("b", "bias", "y", "dy")}
        own["indptr"] = given["indptr"][m * rows : (m + 1) * rows + 1]
        alone = device_results(OP.backward, cupy, own)
        assert_same_bits(alone, [on_host(out["b"][m]), on_host(out["bias"][m])])
        forward = {name: own[name] for name in own if name not in ("y", "dy")}
        assert_same_bits(device_results(OP, cupy, forward), [y[m]])


def test_a_gradient_that_cannot_be_written_in_place(cupy):
    """It is copied then: by the op, not by its body."""
    given = with_gradient(layer(CASES["odd"], "tanh"))
    placed = {name: on_device(cupy, value) for name, value in given.items()}
    out = {"b": cupy.empty((30, 3, 5)).swapaxes(0, 1), "bias": cupy.empty((3, 10))[:, ::2]}
    db, dbias = csr_matmul_backward(placed.pop("dy"), **placed, out=out)
    assert db is out["b"] and dbias is out["bias"]
    exact = results(OP.backward, OP.backward.reference, given)
    for got, right in zip((db, dbias), exact, strict=True):
        np.testing.assert_allclose(on_host(got), right, rtol=1e-12, atol=1e-12)


def test_launches(softgpu, cupy):
    """One for a layer, three for its gradients, and none of CuPy's."""
    given = with_gradient(cast(layer((30, 200, 0.1, 2, 10), "relu"), np.float32))
    placed = {name: on_device(cupy, value) for name, value in given.items()}
    forward = {name: placed[name] for name in placed if name not in ("y", "dy")}
    out = {name: cupy.empty_like(placed[name]) for name in ("b", "bias")}
    OP.cuda(**forward)
    OP.backward.cuda(**placed, out=out)
    with softgpu.launched() as kernels:
        OP.cuda(**forward)
        OP.backward.cuda(**placed, out=out)
    names = [kernel.partition("<")[0] for kernel in kernels]
    assert names == ["csr_product", "number_entries", "scatter_entries", "csr_gradient"]


def test_an_activation_needs_the_output():
    arguments = layer(CASES["odd"], "tanh")
    dy = np.ones((3, 9, 5))
    for body in (OP.backward.reference, OP.backward.numpy):
        with pytest.raises(ValueError, match="'tanh' needs the output y"):
            body(dy, **arguments)


def test_a_slice_is_checked_like_a_matrix():
    """What lies outside of its rows is not read, so it may be anything."""
    arguments = layer(CASES["one model"], "identity", before=3, after=3)
    expected = OP.numpy(**arguments)
    begin, end = arguments["indptr"][[0, -1]]
    arguments["indices"][:begin] = arguments["indices"][end:] = 99
    np.testing.assert_array_equal(OP.numpy(**arguments), expected)
    arguments["indices"][begin] = 99
    with pytest.raises(ValueError, match="indices holds 99, which is none of the 20 columns"):
        OP.numpy(**arguments)
