"""CUDA bodies of the perceptron's sweeps, which launch the kernels of `perceptron.cu`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from cukernels.gpu.kernel import Kernel, architecture, contiguous, ctype
from cukernels.gpu.shared_memory import shared_limit
from cukernels.perceptron.rule import (
    SweepArguments,
    as_floats,
    check_rates,
    check_record,
    checked_order,
)
from cukernels.runtime.arrays import Array, namespace

THREADS, GROUP = 256, 32  # sweep_threads and group_size of perceptron.cu
CLASS_BYTES = {4: 80, 8: 104}  # bytes of its struct Class, by the size of an element
_GRAM_BYTES = 2**28  # bytes of Gram matrices at a time

_TYPES, _MULTINOMIAL = ("float", "double"), ("false", "true")
_GRAM = Kernel("perceptron.cu", "gram", [("float",), ("double",)])
_SWEEP = Kernel("perceptron.cu", "perceptron_sweep", product(_TYPES, _MULTINOMIAL))
_CSR_SWEEP = Kernel(
    "perceptron.cu", "csr_perceptron_sweep", product(_TYPES, ("int", "int64"), _MULTINOMIAL)
)


def perceptron_sweep(x: Array, *args: Any, **kwargs: Any) -> Array:
    def launch(sweep: _Sweep) -> None:
        rows, features = contiguous(as_floats(x, sweep.w.dtype)), sweep.w.shape[-1]
        item, k = sweep.w.itemsize, sweep.k
        instance = _SWEEP[ctype(sweep.w), sweep.multinomial]
        # A block needs its classes in shared memory. If there is room, it takes samples in groups
        # (their products, changes and Gram matrix), and if there is more, it keeps the weights too.
        static = instance.static_shared
        least = static + k * CLASS_BYTES[item]
        grouped = least + (2 * k + GROUP) * GROUP * item
        limit = shared_limit(architecture(x))
        in_groups = grouped <= limit and not sweep.may_have_l1
        shared = grouped if in_groups else least + k * item
        in_shared = in_groups and shared + k * features * item <= limit
        shared += k * features * item * in_shared
        _check_shared(shared, limit, k)
        chunks = _chunks(sweep.n, sweep.orders * GROUP * item) if in_groups else [(0, sweep.n)]
        for begin, end in chunks:
            gram, gram_row = _gram(rows, sweep, begin, end) if in_groups else (None, 0)
            instance(
                (sweep.problems, 1, 1), THREADS, rows, gram, gram_row, *sweep.arguments,
                begin, end, features, k, in_shared, shared=shared - static,
            )  # fmt: skip

    return _run(launch, *args, **kwargs)


def csr_perceptron_sweep(
    data: Array, indices: Array, indptr: Array, *args: Any, **kwargs: Any
) -> Array:
    def launch(sweep: _Sweep) -> None:
        where = indices if indices.dtype == np.int32 else indices.astype(np.int64, copy=False)
        ends = indptr.astype(where.dtype, copy=False)
        instance = _CSR_SWEEP[ctype(sweep.w), ctype(where), sweep.multinomial]
        shared = sweep.k * (CLASS_BYTES[sweep.w.itemsize] + sweep.w.itemsize)
        _check_shared(instance.static_shared + shared, shared_limit(architecture(data)), sweep.k)
        instance(
            (sweep.problems, 1, 1), THREADS, contiguous(data), contiguous(where), contiguous(ends),
            *sweep.arguments, 0, sweep.n, sweep.w.shape[-1], sweep.k, data.size, shared=shared,
        )  # fmt: skip

    return _run(launch, *args, **kwargs)


class _Sweep:
    """The arguments that both kernels take, made contiguous and of the declared dtypes."""

    def __init__(self, given: SweepArguments) -> None:
        y, w, b, weight, classes = given.y, given.w, given.b, given.sample_weight, given.classes
        xp, rows = namespace(w), b.shape
        self.multinomial = str(classes is None).lower()
        self.k = rows[-1] if classes is None else 1
        self.problems = math.prod(rows) // self.k
        order, follows = checked_order(given.order, given.follows, classes)
        self.n = len(y) if order is None else order.shape[-1]
        self.orders = 1 if order is None or order.ndim == 1 else len(order)
        check_rates(np.shape(given.eta), self.n)
        if self.n and not len(y):
            raise ValueError(f"a perceptron's sweep visits {self.n} samples, and there are none")
        check_record(given)
        self.w = contiguous(w)
        self.may_have_l1 = _may_have_l1(given.alpha, given.l1_ratio)
        due, paid = given.due, given.paid
        if due is None and self.may_have_l1:
            due, paid = xp.zeros(rows, w.dtype), xp.zeros(w.shape, w.dtype)
        self.state = {"w": w, "b": b, "due": due, "paid": paid, "norms": given.norms}
        self.state["record"] = given.record
        self.used = {name: None if a is None else contiguous(a) for name, a in self.state.items()}
        self.used["w"] = self.w
        self.used["b"] = contiguous(b, np.float64)
        if given.record is not None:
            self.used["record"] = contiguous(given.record, np.float64)
        shape = (*rows[:-1], 1) if classes is None else rows
        self.objective = xp.empty(shape, w.dtype)
        self.order = None if order is None else contiguous(order, np.int64)
        classes, follows = (
            None if a is None else contiguous(xp.broadcast_to(a.astype(np.int64, copy=False), rows))
            for a in (classes, follows)
        )
        compete = given.classes is None
        of_stack = _OfClasses(rows[:-1] if compete else rows, compete, w)
        *rate, rate_step = of_stack.of_steps(given.eta, np.float64)
        if weight is not None:
            weight = xp.broadcast_to(weight, (*weight.shape[:-1], len(y)))
        self.arguments = (
            self.order, self.n, self.orders, follows,
            contiguous(y, np.int64), classes,
            self.w, self.used["b"], *rate, rate_step, *of_stack.of_steps(weight, w.dtype)[:3],
            *of_stack.of_problems(given.alpha), *of_stack.of_problems(given.l1_ratio),
            self.used["due"], self.used["paid"], self.used["norms"], self.objective,
            self.used["record"], given.bias_rate, len(y),
        )  # fmt: skip

    def write_back(self) -> None:
        """Copy what was updated into the caller's arrays, if those are not contiguous."""
        for name, given in self.state.items():
            if given is not None and self.used[name] is not given:
                given[...] = self.used[name]


def _run(launch: Callable[[_Sweep], None], *args: Any, **kwargs: Any) -> Array:
    sweep = _Sweep(SweepArguments(*args, **kwargs))
    launch(sweep)
    sweep.write_back()
    return sweep.objective


def _chunks(n: int, step_bytes: int) -> list[tuple[int, int]]:
    """Split the steps of a sweep into chunks of whole groups, whose Gram matrices fit in memory.

    A launch for each chunk gives the same result as a single one: each begins with what the one
    before has left.
    """
    most = max(_GRAM_BYTES // step_bytes // GROUP, 1) * GROUP
    return [(begin, min(begin + most, n)) for begin in range(0, max(n, 1), most)]


def _gram(x: Array, sweep: _Sweep, begin: int, end: int) -> tuple[Array, int]:
    """Return the Gram matrices of all groups, in each order, and the elements of one order."""
    groups = -(-(end - begin) // GROUP)
    gram = namespace(x).empty((sweep.orders, groups, GROUP, GROUP), x.dtype)
    _GRAM[ctype(x)](
        (groups, sweep.orders, 1),
        THREADS,
        x,
        sweep.order,
        sweep.n,
        gram,
        begin,
        end,
        len(x),
        x.shape[-1],
    )
    return gram, groups * GROUP * GROUP


def _may_have_l1(alpha: Array | float, l1_ratio: Array | float) -> bool:
    """Whether there may be an L1 penalty. Arrays on the device are not read, and may have one."""
    return not any(isinstance(value, float | int) and value == 0 for value in (alpha, l1_ratio))


class _OfClasses:
    """How kernels take numbers that broadcast to the classes of all problems.

    Parameters
    ----------
    stack : tuple of int
        The leading axes, which the problems fill.
    compete : bool
        Whether the classes of a problem compete. If so, the next axis is theirs.
    w : array
        Weights, whose dtype and device count.
    """

    def __init__(self, stack: tuple[int, ...], compete: bool, w: Array) -> None:
        self.stack, self.compete, self.w = stack, compete, w

    def of_problems(self, value: Array | float) -> tuple[Array | None, int, int]:
        """Return one number for all, or for each problem or class, and the strides to the next."""
        if not isinstance(value, float | int):
            value = value[..., None]
        return self.of_steps(value, self.w.dtype)[:3]

    def of_steps(
        self, value: Array | float | None, dtype: Any
    ) -> tuple[Array | None, int, int, int]:
        """Return numbers for each step, and the elements to the next problem, class and step.

        No array stands for zeros, and no value either.
        """
        xp = namespace(self.w)
        if value is None or (isinstance(value, float | int) and value == 0):
            return None, 0, 0, 0
        if isinstance(value, float | int):
            value = np.full(1, value, dtype)  # which is copied, where filling would be a kernel
        numbers = xp.asarray(value, dtype)
        if numbers.size == 1:
            return contiguous(numbers.reshape(1)), 0, 0, 0
        *lead, n = numbers.shape
        k = lead.pop() if self.compete and lead else 1
        if math.prod(lead) == 1:
            return contiguous(numbers), 0, n * (k > 1), int(n > 1)
        if tuple(lead) != self.stack:
            numbers = xp.broadcast_to(numbers, (*self.stack, *(k,) * self.compete, n))
        return contiguous(numbers), n * k, n * (k > 1), int(n > 1)


def _check_shared(wanted: int, limit: int, k: int) -> None:
    """Raise ValueError if the classes need more shared memory than a block can have."""
    if wanted > limit:
        raise ValueError(
            f"a perceptron of {k} classes that compete takes {wanted} bytes of shared memory, and "
            f"this GPU has {limit} a block: train one class against the rest"
        )
