"""The perceptron's online rule: one pass over the samples, with an update at every mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.perceptron.penalty import measure
from cukernels.perceptron.rule import Sweep, SweepArguments, TakeRow, as_floats, sweep_samples
from cukernels.runtime.arrays import Array
from cukernels.runtime.dtypes import INTEGER, REAL_OR_BYTES
from cukernels.runtime.op import op
from cukernels.sparse.sparse import check_rows

_IN_PLACE = "it updates its weights in place"
_STATE = ("w", "b", "due", "paid", "norms", "record")


def _problems(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    r = rng.standard_normal

    def case(n: int, d: int, *stack: int, labels: int = 3, **more: Any) -> dict[str, Any]:
        """Arguments for n samples of d features, and weights of shape (*stack, d)."""
        state = {"due": None, "paid": None, "norms": None, "record": None}
        y = rng.integers(labels, size=n)
        arrays = {"x": r((n, d)), "y": y, "w": r((*stack, d)), "b": r(stack), "eta": np.array(0.5)}
        return arrays | state | more

    yield case(1, 1, 1, classes=np.array([1]))
    yield case(0, 3, 2, classes=np.arange(2))
    yield case(5, 0, 3)  # only biases
    yield case(40, 5, 1, labels=2, classes=np.array([1]), record=np.zeros((1, 2)))
    yield case(150, 6, 3, classes=np.arange(3))  # not a multiple of a block
    yield case(150, 6, 3)  # multinomial
    recorded = case(70, 4, 2, 3, classes=np.arange(3), eta=rng.random((2, 1, 1)))
    yield recorded | {"record": np.zeros((2, 3, 2))}
    yield recorded | {"record": np.zeros((2, 1, 2)), "classes": None}
    yield case(70, 4, 2, 3, eta=rng.random((2, 1, 70)), bias_rate=0.0)
    yield case(70, 4, 5, classes=rng.integers(3, size=5), eta=rng.random((5, 70)))
    rows = rng.permutation(90)[:70]
    some = rng.random(90) * rng.integers(2, size=90)  # half of the samples weigh nothing
    yield case(90, 4, 3, classes=np.arange(3), order=rows, sample_weight=some, bias_rate=0.01)
    yield case(90, 4, 2, 3, order=rows, sample_weight=rng.random((2, 1, 90)))
    orders = np.stack([rng.permutation(90)[:70] for _ in range(4)])
    several: dict[str, Any] = {"order": orders, "follows": np.array([2, 0, 3])}
    yield case(90, 4, 3, classes=np.arange(3), sample_weight=some, **several)
    several["follows"] = rng.integers(4, size=(2, 3))
    yield case(90, 4, 2, 3, classes=np.arange(3), eta=rng.random((2, 1, 70)), **several)
    for ratio in (0.0, 0.5):
        yield case(90, 4, 2, 3, classes=np.arange(3), alpha=0.01, l1_ratio=ratio, **several)
    yield case(70, 4, 3, order=rows[None] % 70, eta=np.array(1.0))  # an array of one order
    yield case(90, 4, 3, classes=np.arange(3), sample_weight=rng.random((3, 90)))
    for ratio in (0.0, 0.3, 1.0):
        yield case(90, 4, 3, classes=np.arange(3), alpha=0.01, l1_ratio=ratio)
        yield case(90, 4, 3, alpha=0.01, l1_ratio=ratio)
    strengths: dict[str, Any] = {"alpha": np.array([[0.0], [0.02]]), "eta": rng.random((2, 1, 90))}
    yield case(90, 4, 2, 3, classes=np.arange(3), **strengths)
    weighted = case(90, 4, 2, 3, sample_weight=some, **strengths)
    yield weighted | {"norms": measure(weighted["w"])}
    kept = {"due": rng.random(3), "paid": 0.1 * r((3, 4)), "norms": rng.random((3, 2))}
    yield case(70, 4, 3, classes=np.arange(3)) | {"alpha": 0.02, "l1_ratio": 0.5} | kept
    yield case(9, 4, 2, classes=np.arange(2), alpha=3.0)  # shrinks the weights to nothing
    zero = {"w": np.zeros((3, 4)), "b": np.zeros(3), "eta": np.array(1.0)}
    tied = {
        "x": rng.integers(-1, 2, (140, 4)).astype(float)
    }  # small integers, which give exact ties
    yield case(140, 4, 3, classes=np.arange(3)) | zero | tied
    yield case(140, 4, 3) | zero | tied
    small = {"x": 1e-6 * r((140, 4))}  # too small for float32 to add to a bias
    yield case(140, 4, 3, classes=np.arange(3)) | zero | small
    yield case(140, 4, 3) | zero | small


def _dense_problems(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _problems(rng):
        yield case
        if case["x"].size > 500:
            yield case | {"x": rng.integers(256, size=case["x"].shape).astype(np.uint8)}


def _sparse_problems(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _problems(rng):
        x = case.pop("x")
        x = sp.csr_array(x if x.size <= 1 else x * (rng.random(x.shape) < 0.5))
        yield {"data": x.data, "indices": x.indices, "indptr": x.indptr} | case


@op(
    samples=_dense_problems,
    outputs=("objective",),
    mutates=_STATE,
    no_backward=_IN_PLACE,
    kinds={"x": REAL_OR_BYTES} | dict.fromkeys(("y", "order", "follows", "classes"), INTEGER),
)
def perceptron_sweep(
    x: Array,
    y: Array,
    w: Array,
    b: Array,
    eta: Array | float,
    *,
    order: Array | None = None,
    follows: Array | None = None,
    sample_weight: Array | None = None,
    classes: Array | None = None,
    bias_rate: float = 1.0,
    alpha: Array | float = 0.0,
    l1_ratio: Array | float = 0.0,
    due: Array | None = None,
    paid: Array | None = None,
    norms: Array | None = None,
    record: Array | None = None,
) -> Array:
    """Apply the perceptron's rule to the samples, one after the other, and update in place.

    Every sample is scored with the weights that the samples before it have left. At a mistake,
    ``eta * sample_weight`` times the sample is added to the weights of the class that should
    score higher, and subtracted from those of the class that should score lower (Rosenblatt,
    Psychological Review 65, 1958).

    All models of a stack see the same samples. Models that see them in the same order share the
    dot products between samples.

    Parameters
    ----------
    x : array of shape (N, D), float32, float64 or uint8
        Samples. Bytes become numbers of the dtype of `w`: on the CPU those of some samples at a
        time, on a GPU all.
    y : integer array of shape (N,)
        Labels from 0 to K - 1; with `classes`, any integers.
    w : array of shape (..., K, D)
        Weights of a stack of models; updated.
    b : array of shape (..., K)
        Biases, float32 or float64; updated. Within a call they are summed in float64.
    eta : array that broadcasts to (..., K, n), or float
        The rate of each of the n steps, in float64.
    order : integer array of shape (n,) or (R, n), default=None
        The rows to visit, from 0 to N - 1, in one order or in several. None visits all rows in
        their order. On a GPU a number out of range stands for the nearest row.
    follows : integer array that broadcasts to (..., K), default=None
        Which of the R orders each problem follows, from 0 to R - 1; needs `classes`.
    sample_weight : array that broadcasts to (..., K, N), default=None
        Weights of the updates; None is 1.
    classes : integer array that broadcasts to (..., K), default=None
        If given, the K problems are independent. Each separates the samples of this label, which
        should score above 0, from all others, which should score below 0; a score of 0 is
        a mistake. If None, there is one problem of K classes, and it is a mistake if the first of
        the highest scores is not that of the right class; `eta` is then the same for all K.
    bias_rate : float, default=1.0
        Factor of the updates of `b`; 0 leaves it alone.
    alpha : array that broadcasts to (..., K), or float, default=0.0
        Strength of the elastic-net penalty.
    l1_ratio : array that broadcasts to (..., K), or float, default=0.0
        The share of L1 in the penalty; the rest is L2. At each sample, before the update, L2
        multiplies the weights by ``1 - eta * alpha * (1 - l1_ratio)``, or 0 if that is negative.
        L1 is cumulative (Tsuruoka et al., ACL 2009).
    due, paid, norms : arrays of shape (..., K), (..., K, D), (..., K, 2), default=None
        The state of the penalty between the sweeps of one fit; updated. `due` and `paid` belong to
        L1 and begin as zeros; `norms` are the squared L2 and the L1 norm of the weights. None
        begins anew. See `Penalty`.
    record : array of shape (..., J, 2), default=None
        Set to what a host wants to know of each problem: the objective, and 1 if all of its weights
        and biases are finite, else 0. J is K, or 1 where `classes` is None.

    Returns
    -------
    objective : array of shape (..., K), or (..., 1) where `classes` is None
        The loss of each problem plus its penalty, both as of before each sample's update, summed
        over the visits. The loss is how far the score is on the wrong side of 0, or below the
        winner's. It is not multiplied by `sample_weight`.

    Raises
    ------
    ValueError
        If `record` has another shape. If, on the CPU, a number in `order`, in `follows`, or,
        without `classes`, in `y` is out of range.
    """
    given = SweepArguments(
        y, w, b, eta, order=order, follows=follows, sample_weight=sample_weight, classes=classes,
        bias_rate=bias_rate, alpha=alpha, l1_ratio=l1_ratio, due=due, paid=paid, norms=norms,
        record=record,
    )  # fmt: skip
    return sweep_samples(Sweep(given), dense_row(x, w.dtype))


@op(
    samples=_sparse_problems,
    outputs=("objective",),
    mutates=_STATE,
    no_backward=_IN_PLACE,
    kinds=dict.fromkeys(("indices", "indptr", "y", "order", "follows", "classes"), INTEGER),
)
def csr_perceptron_sweep(
    data: Array,
    indices: Array,
    indptr: Array,
    y: Array,
    w: Array,
    b: Array,
    eta: Array | float,
    *,
    order: Array | None = None,
    follows: Array | None = None,
    sample_weight: Array | None = None,
    classes: Array | None = None,
    bias_rate: float = 1.0,
    alpha: Array | float = 0.0,
    l1_ratio: Array | float = 0.0,
    due: Array | None = None,
    paid: Array | None = None,
    norms: Array | None = None,
    record: Array | None = None,
) -> Array:
    """`perceptron_sweep` over the rows of a sparse matrix in CSR form, in place.

    The result is that of the dense matrix, except for the L1 penalty: a weight pays what it owes
    only at a sample that has a value stored in its column (Tsuruoka et al. 2009). So at the end of
    a sweep the weights of rare features may still owe some of it.

    Parameters
    ----------
    data : array of shape (nnz,), float32 or float64
        The stored values, row after row.
    indices : integer array of shape (nnz,)
        The column of each value, from 0 to D - 1; no row has a column twice. On a GPU a value
        whose column is out of range is ignored.
    indptr : integer array of shape (N + 1,)
        Row i holds the values from ``indptr[i]`` to ``indptr[i + 1]``.
    y, w, b, eta, order, follows, sample_weight, classes, bias_rate
        As for `perceptron_sweep`.
    alpha, l1_ratio, due, paid, norms, record
        As for `perceptron_sweep`.

    Returns
    -------
    objective : array of shape (..., K), or (..., 1) where `classes` is None
        As from `perceptron_sweep`.
    """
    given = SweepArguments(
        y, w, b, eta, order=order, follows=follows, sample_weight=sample_weight, classes=classes,
        bias_rate=bias_rate, alpha=alpha, l1_ratio=l1_ratio, due=due, paid=paid, norms=norms,
        record=record,
    )  # fmt: skip
    if isinstance(data, np.ndarray):
        check_rows("csr_perceptron_sweep", data, indices, indptr, w.shape[-1])
    return sweep_samples(Sweep(given), csr_row(data, indices, indptr))


def dense_row(x: Array, dtype: Any) -> TakeRow:
    """Return the function that takes a row, as floats, and all columns."""
    return lambda row: (as_floats(x[row : row + 1], dtype), slice(None))


def csr_row(data: Array, indices: Array, indptr: Array) -> TakeRow:
    """Return the function that takes the values of a row, and their columns."""

    def take(row: int) -> tuple[Array, Array]:
        stored = slice(int(indptr[row]), int(indptr[row + 1]))
        return data[None, stored], indices[stored]

    return take
