"""Sparse products on a GPU: more shapes, integers of both sizes, long rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import cukernels.sparse.transpose as transpose
from _cuda_calls import device_results, on_device, on_host
from _op_cases import assert_close
from cukernels import OPS
from cukernels.runtime.cases import cast, copied
from cukernels.sparse.transpose import _LEAST_ENTRIES
from cukernels.sparse.transpose import digits as digits_of

OP = OPS["csr_matmul"]

# rows, columns, density, models (0: no axis), columns of b
CASES = {
    "one column": (20, 30, 0.2, 0, 1),
    "two columns": (20, 30, 0.2, 0, 2),
    "three columns": (20, 30, 0.2, 0, 3),
    "four columns": (20, 30, 0.2, 0, 4),
    "ten columns": (20, 30, 0.2, 0, 10),
    "twelve columns": (21, 30, 0.2, 0, 12),
    "64 columns": (9, 30, 0.2, 0, 64),
    "a tile and more": (9, 20, 0.3, 0, 132),
    "a tile and more, odd": (9, 20, 0.3, 0, 131),
    "models": (12, 30, 0.2, 3, 4),
    "models, odd": (12, 30, 0.2, 3, 5),
    "one model": (12, 30, 0.2, 1, 5),
    "two digits": (40, 3000, 0.02, 0, 3),
    "two digits of models": (40, 900, 0.02, 2, 4),
    "several blocks": (60, 100, 0.9, 0, 2),
    "several blocks, two digits": (60, 1100, 0.1, 0, 2),
    "long rows": (3, 2100, 0.8, 0, 3),
    "long rows of models": (4, 2100, 0.8, 2, 4),
    "long columns": (2100, 3, 0.8, 0, 3),
    "long columns of models": (4200, 3, 0.8, 2, 4),
    "long columns, one": (2100, 3, 0.8, 0, 1),
    "dense": (10, 10, 1.0, 0, 4),
    "no entries": (10, 10, 0.0, 0, 4),
    "no rows": (0, 10, 0.5, 0, 4),
    "no columns of b": (5, 10, 0.5, 0, 0),
}
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def arguments_of(case, integer=np.int32) -> dict:
    rows, columns, density, models, k = case
    rng = np.random.default_rng(0)
    a = sp.random_array((rows, columns), density=density, format="csr", random_state=rng)
    b = rng.standard_normal((models, columns, k) if models else (columns, k))
    return {
        "data": rng.standard_normal(a.nnz),
        "indices": a.indices.astype(integer),
        "indptr": a.indptr.astype(integer),
        "b": b,
    }


def exact(arguments: dict, dy=None) -> np.ndarray:
    """SciPy's product in float64: the reference would need the dense matrix."""
    b = arguments["b"].astype(np.float64)
    rows = len(arguments["indptr"]) - 1
    csr = (arguments["data"].astype(np.float64), arguments["indices"], arguments["indptr"])
    a = sp.csr_array(csr, shape=(rows, b.shape[-2]))
    parts = b if b.ndim == 3 else b[None]
    each = rows // len(parts)
    own = [a[m * each : (m + 1) * each] for m in range(len(parts))]
    if dy is None:
        result = np.stack([a_m @ b_m for a_m, b_m in zip(own, parts, strict=True)])
    else:
        dy = dy.astype(np.float64).reshape(len(parts), each, b.shape[-1])
        result = np.stack([a_m.T @ dy_m for a_m, dy_m in zip(own, dy, strict=True)])
    return result if b.ndim == 3 else result[0]


def check(cupy, arguments, dtype):
    given = cast(arguments, dtype)
    expected = exact(given)
    assert_close(device_results(OP, cupy, copied(given)), [expected], arguments, dtype)
    dy = np.random.default_rng(1).standard_normal(expected.shape).astype(dtype)
    got = device_results(OP.backward, cupy, copied(given) | {"dy": dy})
    assert_close(got, [exact(given, dy)], arguments | {"dy": dy}, dtype)


@by_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("integer", [np.int32, np.int64], ids=["int32", "int64"])
def test_products(case, dtype, integer, cupy):
    check(cupy, arguments_of(case, integer), dtype)


def test_cases_reach_every_path():
    digits = {
        len(digits_of(max(models, 1) * columns)) for _, columns, _, models, _ in CASES.values()
    }
    assert digits == {1, 2}
    entries = len(arguments_of(CASES["several blocks, two digits"])["data"])
    assert entries > 2 * _LEAST_ENTRIES


def test_digits_cover_the_keys():
    for keys in (0, 1, 2, 1024, 1025, 2**20, 2**20 + 1, 2**31):
        digits = digits_of(keys)
        assert sum(bits for _, bits in digits) == max((keys - 1).bit_length(), 1)
        assert all(1 <= bits <= 10 for _, bits in digits)
        starts = [0, *np.cumsum([bits for _, bits in digits])]
        assert [shift for shift, _ in digits] == starts[:-1]


@pytest.mark.parametrize("bits", [1, 3, 7])
def test_many_digits(bits, cupy, monkeypatch):
    """As of keys of more than 20 bits, but with shorter digits."""
    monkeypatch.setattr(transpose, "MOST_BITS", bits)
    monkeypatch.setattr(transpose, "digits", transpose.digits.__wrapped__)
    check(cupy, arguments_of(CASES["two digits of models"]), np.float64)


def test_a_column_given_twice_adds_up(cupy):
    """Also where rows are not sorted, and many lanes have the same column."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 90, 40)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    arguments = {
        "data": rng.standard_normal(indptr[-1]),
        "indices": rng.integers(0, 5, indptr[-1]).astype(np.int32),
        "indptr": indptr,
        "b": rng.standard_normal((5, 3)),
    }
    check(cupy, arguments, np.float64)


def test_types_are_mixed(cupy):
    arguments = arguments_of(CASES["ten columns"])
    arguments["indices"] = arguments["indices"].astype(np.int64)
    arguments["data"] = arguments["data"].astype(np.float32)
    (y,) = device_results(OP, cupy, arguments)
    np.testing.assert_allclose(y, exact(arguments), rtol=1e-12, atol=1e-12)
    dy = np.ones(y.shape)
    (db,) = device_results(OP.backward, cupy, arguments | {"dy": dy})
    np.testing.assert_allclose(db, exact(arguments, dy), rtol=1e-12, atol=1e-12)


def entries_of(arguments: dict, m: int, models: int) -> dict:
    """The arguments of one model."""
    rows = (len(arguments["indptr"]) - 1) // models
    indptr = arguments["indptr"][m * rows : (m + 1) * rows + 1]
    part = slice(indptr[0], indptr[-1])
    return {
        "data": arguments["data"][part],
        "indices": arguments["indices"][part],
        "indptr": indptr - indptr[0],
        "b": arguments["b"][m],
    }


@pytest.mark.parametrize("name", ["models", "models, odd", "long rows of models",
                                  "long columns of models", "two digits of models"])  # fmt: skip
def test_a_model_is_the_same_in_any_stack(name, cupy):
    """To the bit, also where its weights begin at no multiple of 16 bytes."""
    models = CASES[name][3]
    arguments = cast(arguments_of(CASES[name]), np.float32)
    placed = {k: on_device(cupy, v) for k, v in arguments.items()}
    size = arguments["b"][0].size
    parameters = cupy.empty((models, size + 3), np.float32)
    parameters[:, 1 : size + 1] = placed["b"].reshape(models, size)
    placed["b"] = parameters[:, 1 : size + 1].reshape(arguments["b"].shape)
    assert placed["b"].base is not None
    stack = on_host(OP.cuda(**placed))
    dy = np.random.default_rng(1).standard_normal(stack.shape).astype(np.float32)
    gradient = device_results(OP.backward, cupy, arguments | {"dy": dy})[0]
    for m in range(models):
        own = entries_of(arguments, m, models)
        np.testing.assert_array_equal(device_results(OP, cupy, own)[0], stack[m])
        (alone,) = device_results(OP.backward, cupy, own | {"dy": dy[m]})
        np.testing.assert_array_equal(alone, gradient[m])


def test_entries_keep_their_order(cupy):
    """The sum of a column begins with the first rows: the order is that of the matrix."""
    rows = 300
    arguments = {
        "data": np.ones(rows, np.float32),
        "indices": np.zeros(rows, np.int32),
        "indptr": np.arange(rows + 1, dtype=np.int32),
        "b": np.zeros((7, 128), np.float32),  # a warp takes one entry at a time
    }
    dy = np.ones((rows, 128), np.float32)
    dy[0], dy[-1] = 2.0**24, -(2.0**24)  # after the first, adding 1 is lost
    (db,) = device_results(OP.backward, cupy, arguments | {"dy": dy})
    np.testing.assert_array_equal(db[0], 0)
    assert not db[1:].any()


@pytest.mark.parametrize("blocks", [1, 2, 15, 16, 17, 40])
def test_counts_of_many_blocks(blocks, cupy):
    """The last block replaces them by the sums over the blocks before."""
    rng, digits = np.random.default_rng(0), 8
    entries = blocks * _LEAST_ENTRIES - 5
    keys = rng.integers(0, 2 * digits, entries).astype(np.int32)
    arrays = (on_device(cupy, a) for a in (keys, np.array([0, entries], np.int32)))
    counts, totals = cupy.empty((blocks, digits), np.int32), cupy.empty(digits, np.int32)
    arrived = cupy.zeros(1, np.uint32)
    transpose._COUNT["int"](
        (blocks, 1, 1), transpose.THREADS, *arrays, counts, totals, arrived, 1, entries, 1, 3
    )
    blocked = np.split(keys >> 1 & 7, range(_LEAST_ENTRIES, entries, _LEAST_ENTRIES))
    expected = np.stack([np.bincount(part, minlength=digits) for part in blocked])
    np.testing.assert_array_equal(on_host(totals), expected.sum(axis=0))
    np.testing.assert_array_equal(on_host(counts), expected.cumsum(axis=0) - expected)
    assert not on_host(arrived).any()
