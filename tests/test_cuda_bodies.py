"""The CUDA body of every op of the registry, run on the host, against the reference.

The kernels are the same text that a GPU gets. Older devices have variants of their own.
"""

from __future__ import annotations

import numpy as np
import pytest

from cukernels.runtime.registry import OPS
from test_ops import DTYPES, all_calls, assert_close, cast, copied, results

# 9.0 has all instructions; 7.5 has neither asynchronous copies nor TF32
ARCHITECTURES = ("75", "90")


def on_device(cupy, value):
    return cupy.asarray(value) if isinstance(value, np.ndarray) else value


def on_host(result):
    return result._host if hasattr(result, "_host") else np.asarray(result)


def device_results(op, cupy, arguments: dict) -> list[np.ndarray]:
    """What a call on the device returns, and what it leaves in the arguments that it updates."""
    placed = {name: on_device(cupy, value) for name, value in arguments.items()}
    returned = op.cuda(**placed)
    returned = returned if isinstance(returned, tuple) else (returned,)
    updated = tuple(placed[name] for name in op.mutates)
    for name in set(arguments) - set(op.mutates):
        if isinstance(arguments[name], np.ndarray):
            np.testing.assert_array_equal(
                on_host(placed[name]), arguments[name], err_msg=f"{name} was modified"
            )
    return [on_host(r) for r in returned + updated if r is not None]


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_every_op_has_a_cuda_body(op):
    assert op.cuda is not None


@pytest.mark.parametrize("emulated_cupy", ARCHITECTURES, indirect=True, ids="sm_{}".format)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(("op", "arguments"), [c for c in all_calls() if c.values[0].cuda])
def test_cuda_body(op, arguments, dtype, emulated_cupy):
    given = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    assert_close(device_results(op, emulated_cupy, copied(given)), exact, arguments, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(("op", "arguments"), [c for c in all_calls() if c.values[0].cuda])
def test_layout_is_of_no_consequence(op, arguments, dtype, emulated_cupy):
    """Views with odd strides, and views that begin at no multiple of 16 bytes."""
    given = cast(arguments, dtype)
    exact = results(op, op.reference, copied(cast(given, np.float64)))
    for view in (reverse, shift):
        placed = {name: view(emulated_cupy, value) for name, value in copied(given).items()}
        returned = op.cuda(**placed)
        returned = returned if isinstance(returned, tuple) else (returned,)
        got = [*returned, *(placed[name] for name in op.mutates)]
        assert_close([on_host(r) for r in got if r is not None], exact, arguments, dtype)


def reverse(cupy, value):
    """The same values, stored backwards along the last axis."""
    if not isinstance(value, np.ndarray) or not value.ndim:
        return on_device(cupy, value)
    return cupy.asarray(value[..., ::-1])[..., ::-1]


def shift(cupy, value):
    """The same values, contiguous from one element past an aligned address."""
    if not isinstance(value, np.ndarray) or not value.ndim:
        return on_device(cupy, value)
    room = cupy.empty(value.size + 1, value.dtype)
    view = room[1:].reshape(value.shape)
    view[...] = cupy.asarray(value)
    return view
