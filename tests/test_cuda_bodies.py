"""The CUDA body of every op of the registry, run on the host, against the reference.

The kernels are the same text that a GPU gets. Older devices have variants of their own.
"""

from __future__ import annotations

import pytest

from _op_cases import assert_right, each_case, each_dtype
from cukernels.runtime.cases import backwards, contiguous, unaligned
from cukernels.runtime.registry import OPS

# 9.0 has all instructions; 7.5 has neither asynchronous copies nor TF32
ARCHITECTURES = ("75", "90")


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_every_op_has_a_cuda_body(op):
    assert op.cuda is not None


@pytest.mark.parametrize("emulated_cupy", ARCHITECTURES, indirect=True, ids="sm_{}".format)
@each_dtype
@each_case()
def test_cuda_body(case, dtype, emulated_cupy):
    place = emulated_cupy.asarray
    assert_right(case, case.op.cuda, dtype, layouts=[contiguous], place=place)


@each_dtype
@each_case()
def test_layout_is_of_no_consequence(case, dtype, emulated_cupy):
    """Every body makes its arrays contiguous, and then some begin at no multiple of 16 bytes."""
    place = emulated_cupy.asarray
    assert_right(case, case.op.cuda, dtype, layouts=[backwards, unaligned], place=place)
