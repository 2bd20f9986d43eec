"""Every op of the registry with arguments that are not what its docstring says.

Each call works, or raises a ValueError or TypeError in words; on a device no kernel reads or writes
outside its arrays. The calls are the samples of the registry with one argument changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import cukernels
from _cuda_calls import on_device, on_host
from _malformed import complaint
from _op_cases import all_calls
from cukernels.runtime.cases import copied
from cukernels.runtime.contract import explain
from cukernels.runtime.registry import OPS
from cukernels.runtime.rules import rules_of

NUMBERS_OUT = (-1, 9, 2**31, -(2**40))
THINGS: list[Any] = [
    None, "x", {}, set(), (), (1, 2, 3), [[1.0]], [1, "a"], 1.5, True, object(), np.float32(2),
    np.array(3), np.array("a"), np.array(None), np.array([]), sp.eye(3, format="csr"),
]  # fmt: skip
GEOMETRY = ("stride", "padding", "dilation", "pool_size", "n_decayed")
SIZES = [-1, 0, 10**20, (1, -1), (10**20, 1), float("nan"), float("inf")]


def given(call) -> frozenset:
    return frozenset(name for name, value in call.values[1].items() if value is not None)


def size(call) -> int:
    return sum(v.size for v in call.values[1].values() if isinstance(v, np.ndarray))


def one_a_kind(kind) -> list:
    """The smallest call of each op and kind of arguments, of those with more than one of each."""
    found: dict[Any, Any] = {}
    for call in sorted(all_calls(), key=size):
        arrays = [v for v in call.values[1].values() if isinstance(v, np.ndarray)]
        if max(a.size for a in arrays) > 1 and all(a.size for a in arrays):
            found.setdefault((call.values[0].name, kind(call)), call)
    return list(found.values())


def with_most_arguments() -> list:
    """One call of each op."""
    calls = sorted(one_a_kind(given), key=lambda call: -len(given(call)))
    return list({call.values[0].name: call for call in reversed(calls)}.values())


def misshapen(value: np.ndarray) -> Iterator[np.ndarray]:
    yield value[None]
    yield value[None, None]
    yield value[..., None]
    yield value.reshape(-1)[0].reshape(())
    yield value.reshape(-1)
    if value.ndim:
        yield value[:0]
        yield value[:-1]
        yield value[..., 1:]
        yield value[..., :1]
        yield np.concatenate([value, value[:1]])
        yield np.concatenate([value, value, value], axis=-1)
        yield value.swapaxes(0, -1)


def mistyped(value: np.ndarray) -> Iterator[Any]:
    yield value.tolist()
    yield value.astype(object)
    yield value.astype("U")
    if value.dtype.kind in "iu":
        yield value + 0.5


def out_of_range(value: np.ndarray) -> Iterator[np.ndarray]:
    for number in NUMBERS_OUT if value.dtype.kind in "iu" else ():
        changed = value.astype(np.int64)
        changed.reshape(-1)[-1:] = number
        yield changed


def malformed(op, arguments: dict) -> Iterator[tuple[str, dict]]:
    for name in op.parameters:
        value = arguments.get(name)
        changed = list(THINGS) + SIZES * (name in GEOMETRY)
        if isinstance(value, np.ndarray):
            changed += [*misshapen(value), *mistyped(value), *out_of_range(value)]
        for other in changed:
            yield name, copied(arguments | {name: other})


@pytest.mark.parametrize(("op", "arguments"), one_a_kind(given))
def test_a_malformed_call_is_refused_in_words(op, arguments):
    function = getattr(cukernels, op.name)
    told = []
    for name, changed in malformed(op, arguments):
        why = complaint(lambda changed=changed: function(**changed))
        told += [f"{name}={changed[name]!r:.60}: {why}"] * bool(why)
    assert not told, "\n".join(told[:10])


@pytest.mark.parametrize(("op", "arguments"), all_calls())
def test_samples_are_what_docstrings_say(op, arguments):
    explain(op, (), arguments)
    assert set(rules_of(op)) >= {n for n, v in arguments.items() if isinstance(v, np.ndarray)}


@pytest.mark.parametrize(("op", "arguments"), with_most_arguments())
def test_no_kernel_leaves_its_arrays(op, arguments, cupy):
    """The GPU in software fails where memory around an array is touched."""
    function = getattr(cukernels, op.name)
    told = []
    for name, value in arguments.items():
        if not isinstance(value, np.ndarray):
            continue
        for other in (*misshapen(value), *list(out_of_range(value))[:2]):
            changed = copied(arguments | {name: other})
            placed = {n: on_device(cupy, v) for n, v in changed.items()}
            why = complaint(lambda placed=placed: function(**placed))
            told += [f"{name} {other.shape}: {why}"] * bool(why)
    assert not told, "\n".join(told[:10])


# Numbers that point somewhere ----------------------------------------------------------------

Z = np.linspace(-1, 1, 20).reshape(4, 5)
CSR = {
    "data": np.array([1.0, 2.0, 3.0]),
    "indices": np.array([0, 2, 1]),
    "indptr": np.array([0, 2, 2, 3]),
}


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "perceptron_loss"])
@pytest.mark.parametrize("label", [-1, 5, 9, 2**32 + 1])
def test_a_label_that_is_no_class(loss, label):
    for body in (getattr(cukernels, loss), OPS[loss].reference):
        with pytest.raises(ValueError, match=f"y holds {label}, which is none of the 5 classes"):
            body(Z, np.array([0, label, 4, 2]))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "perceptron_loss"])
@pytest.mark.parametrize("label", [-1, 5, 9, 2**32 + 1])
def test_a_label_that_is_no_class_on_a_device(loss, label, cupy):
    function = getattr(cukernels, loss)
    stack, y = np.stack([Z, Z]), np.array([[0, label, 4, 2], [0, 1, 4, 2]])
    value, dz = (on_host(a) for a in function(*map(cupy.asarray, (stack, y))))
    assert np.isnan(value[0])
    assert np.isnan(dz[0, 1]).all()
    for got, expected in zip((value[1], dz[1]), function(Z, y[1]), strict=True):
        np.testing.assert_allclose(got, expected)


def test_labels_of_few_bits():
    """300 samples of 3 classes are 900 scores: more than a byte can count."""
    z, y = np.random.default_rng(0).standard_normal((300, 3)), np.arange(300) % 3
    expected = cukernels.softmax_cross_entropy(z, y)
    for dtype in (np.uint8, np.int8, np.uint64):
        for got, right in zip(
            cukernels.softmax_cross_entropy(z, y.astype(dtype)), expected, strict=True
        ):
            np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("row", [-1, 4, 2**40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint32])
def test_a_row_that_is_not_there(row, dtype):
    x, rows, dy = Z.astype(dtype), np.array([1, row, 2]), np.ones((3, 5))
    with pytest.raises(ValueError, match=f"rows holds {row}, which is none of the 4 rows of x"):
        cukernels.gather_rows(x, rows)
    with pytest.raises(ValueError, match=f"rows holds {row}, which is none of the 4 rows of x"):
        cukernels.gather_rows_backward(dy, Z, rows)


@pytest.mark.parametrize("row", [-1, 4, 2**40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint32])
def test_a_row_that_is_not_there_on_a_device(row, dtype, cupy):
    x, rows, dy = Z.astype(dtype), np.array([1, row, 2]), np.ones((3, 5))
    got = on_host(cukernels.gather_rows(*map(cupy.asarray, (x, rows))))
    np.testing.assert_array_equal(got[[0, 2]], x[[1, 2]])
    assert (got[1].view(np.uint8) == 255).all()
    assert np.isnan(got[1]).all() if np.dtype(dtype).kind == "f" else True
    dx = on_host(cukernels.gather_rows_backward(*map(cupy.asarray, (dy, Z, rows))))
    np.testing.assert_array_equal(dx, [[0] * 5, [1] * 5, [1] * 5, [0] * 5])


POINTS_OUTSIDE = pytest.mark.parametrize(
    ("name", "values", "nan", "message"),
    [
        ("indices", [0, 9, 1], [0], "indices holds 9, which is none of the 4 columns"),
        ("indices", [0, 2, -1], [2], "indices holds -1, which is none of the 4 columns"),
        ("indices", [0, 2**33, 1], [0], "indices holds 8589934592, which is none of the 4 columns"),
        ("indptr", [0, 2, 2, 9], [2], "indptr holds 9, which is none of the 4 places"),
        ("indptr", [-5, 2, 2, 3], [0], "indptr holds -5, which is none of the 4 places"),
        ("indptr", [0, 2, 1, 3], [1], "indptr must never fall, and goes from 0 to 3 or falls"),
    ],
)


@POINTS_OUTSIDE
def test_a_sparse_matrix_that_points_outside(name, values, nan, message):
    """The CPU once returned what happened to lie in memory beside `b`."""
    matrix = CSR | {name: np.array(values)}
    for function in (cukernels.csr_matmul, OPS["csr_matmul"].reference):
        with pytest.raises(ValueError, match=message):
            function(**matrix, b=Z)
    with pytest.raises(ValueError, match=message):
        cukernels.csr_matmul_backward(np.ones((3, 5)), **matrix, b=Z)


@POINTS_OUTSIDE
def test_a_sparse_matrix_that_points_outside_on_a_device(name, values, nan, message, cupy):
    matrix = CSR | {name: np.array(values)}
    placed = {n: cupy.asarray(v) for n, v in (matrix | {"b": Z}).items()}
    y = on_host(cukernels.csr_matmul(**placed))
    assert np.isnan(y).any(axis=1).nonzero()[0].tolist() == nan
    if name == "indices":
        dy = cupy.asarray(np.ones((3, 5)))
        db = on_host(cukernels.csr_matmul_backward(dy, **placed)[0])
        wrong = np.isnan(db).any(axis=1)
        assert wrong.sum() == 1
        inside = [v if 0 <= v < 4 else 3 * (v > 0) for v in values]
        right = cukernels.csr_matmul_backward(
            np.ones((3, 5)), **CSR | {name: np.array(inside)}, b=Z
        )[0]
        np.testing.assert_allclose(db[~wrong], right[~wrong])


def visits(name, form, order, place=lambda v: v):
    """The weights that a sweep over some rows of four samples leaves, in two classes."""
    w, b = (place(a) for a in (np.zeros((2, 3)), np.zeros(2)))
    given = {n: place(v) for n, v in form.items()}
    y = place(np.array([0, 1, 1, 0]))
    getattr(cukernels, name)(**given, y=y, w=w, b=b, eta=1.0, order=place(np.array(order)))
    return w


SAMPLES = Z[:, :3].copy()
SWEEPS = {
    "perceptron_sweep": {"x": SAMPLES},
    "csr_perceptron_sweep": {
        n: getattr(sp.csr_array(SAMPLES), n) for n in ("data", "indices", "indptr")
    },
}


@pytest.mark.parametrize(("name", "form"), SWEEPS.items(), ids=SWEEPS)
def test_a_sweep_that_visits_rows_that_are_not_there(name, form):
    with pytest.raises(ValueError, match="order holds 7, which is none of the 4 samples"):
        visits(name, form, [0, 7])
    with pytest.raises(ValueError, match="y holds 3, which is none of the 2 classes"):
        getattr(cukernels, name)(
            **form, y=np.array([2, 3, 3, 2]), w=np.zeros((2, 3)), b=np.zeros(2), eta=1.0
        )


@pytest.mark.parametrize(("name", "form"), SWEEPS.items(), ids=SWEEPS)
def test_a_sweep_that_visits_rows_that_are_not_there_on_a_device(name, form, cupy):
    got = on_host(visits(name, form, [-3, 7, 1], cupy.asarray))
    np.testing.assert_allclose(got, visits(name, form, [0, 3, 1]))
