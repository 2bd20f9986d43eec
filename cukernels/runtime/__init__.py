"""The machinery below the ops: how an op finds its body, and how a kernel is launched on a GPU."""

from cukernels.runtime.arrays import (
    Array,
    cuda_in_turn,
    current,
    free_memory,
    like,
    namespace,
    resolve_device,
    to_device,
    to_host,
)
from cukernels.runtime.blas_threads import is_undivided, on_one_blas_thread
from cukernels.runtime.chunks import shares, slices
from cukernels.runtime.workers import in_parallel, threads
from cukernels.runtime.workspace import Workspaces

__all__ = [
    "Array",
    "cuda_in_turn",
    "current",
    "free_memory",
    "like",
    "namespace",
    "resolve_device",
    "to_device",
    "to_host",
    "is_undivided",
    "on_one_blas_thread",
    "in_parallel",
    "shares",
    "slices",
    "threads",
    "Workspaces",
]
