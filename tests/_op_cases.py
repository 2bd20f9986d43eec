"""The cases of all ops as parameters of tests, and what tests assert of a body's results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cukernels
from cukernels.runtime.cases import DTYPES, Case, cases, judge, judge_body
from cukernels.runtime.registry import OPS

assert cukernels.OPS is OPS
CASES = list(cases())
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def each_case(wanted: Callable[[Case], Any] = bool) -> pytest.MarkDecorator:
    """One test a case, of all cases or of those that are wanted."""
    chosen = [pytest.param(case, id=case.name) for case in CASES if wanted(case)]
    assert chosen, "no case is left to test"
    return pytest.mark.parametrize("case", chosen)


@functools.cache
def all_calls() -> list:
    """Every case as a parameter of two values: the op, and the arguments in float64."""
    return [pytest.param(case.op, case.arguments, id=case.name) for case in CASES]


def assert_right(case: Case, body: Callable[..., Any], dtype: Any, **options: Any) -> None:
    """Assert what `judge_body` looks at: the definition's results, and no input modified."""
    failure = judge_body(case, body, dtype, **options).failure
    assert not failure, failure


def assert_close(
    got: list[np.ndarray], exact: list[np.ndarray], arguments: dict, dtype: Any
) -> None:
    """Assert that results are those of the definition in float64, but for rounding."""
    failure = judge(got, exact, arguments, dtype).failure
    assert not failure, failure


def assert_same_bits(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    assert [a.tobytes() for a in one] == [a.tobytes() for a in other]
