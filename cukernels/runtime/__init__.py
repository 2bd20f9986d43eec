"""The machinery below the ops: how an op finds its body, and how a kernel is launched on a GPU."""

from cukernels.runtime.arrays import (
    LOWER,
    Array,
    cuda_in_turn,
    current,
    device_memory,
    like,
    namespace,
    resolve_device,
    to_device,
    to_host,
)
from cukernels.runtime.blas_threads import is_undivided, on_one_blas_thread
from cukernels.runtime.chunks import shares, slices
from cukernels.runtime.interrupts import and_surely, while_set
from cukernels.runtime.machine import Work
from cukernels.runtime.recording import Recorded, Recording
from cukernels.runtime.repetition import Repetition
from cukernels.runtime.workers import in_parallel, threads
from cukernels.runtime.workspace import LARGE, Workspaces, empty

__all__ = [
    "LARGE",
    "LOWER",
    "Array",
    "cuda_in_turn",
    "current",
    "device_memory",
    "like",
    "namespace",
    "resolve_device",
    "to_device",
    "to_host",
    "is_undivided",
    "on_one_blas_thread",
    "and_surely",
    "in_parallel",
    "shares",
    "slices",
    "threads",
    "Recorded",
    "Recording",
    "Repetition",
    "Work",
    "empty",
    "Workspaces",
    "while_set",
]
