"""Calls of CUDA bodies on a GPU, with arrays of the host around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cukernels.runtime.arrays import to_host
from cukernels.runtime.cases import results
from cukernels.runtime.registry import Op


def on_device(cupy: Any, value: Any) -> Any:
    """An array of the host on the device; any other argument as it is."""
    return cupy.asarray(value) if isinstance(value, np.ndarray) else value


def on_host(result: Any) -> np.ndarray:
    """A result as an array of the host, wherever it is."""
    return np.asarray(to_host(result))


def device_results(op: Op, cupy: Any, arguments: dict) -> list[np.ndarray]:
    """What a call on the device returns, and what it leaves in the arguments that it updates."""
    placed = {name: on_device(cupy, value) for name, value in arguments.items()}
    got = results(op, op.cuda, placed)
    for name in set(arguments) - set(op.mutates):
        if isinstance(arguments[name], np.ndarray):
            np.testing.assert_array_equal(
                on_host(placed[name]), arguments[name], err_msg=f"{name} was modified"
            )
    return got


def raw_kernel(cupy: Any, code: str, **options: Any) -> Any:
    """The kernel k, from the list of its parameters on."""
    return cupy.RawKernel('extern "C" __global__ void k' + code, "k", **options)


def refused(words: str | None = None) -> Any:
    """A context in which CUDA must refuse a call, or stop a kernel, in these words."""
    from cupy_backends.cuda.api.driver import CUDADriverError
    from cupy_backends.cuda.api.runtime import CUDARuntimeError

    return pytest.raises((CUDADriverError, CUDARuntimeError), match=words)
