"""Compile every kernel of the package into CuPy's cache, on all cores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from cukernels.gpu.cupy_cache import store, without_device
from cukernels.gpu.kernel import KERNELS, Instance
from cukernels.gpu.precompile import cores
from cukernels.runtime.registry import OPS


class Outcome(NamedTuple):
    """What became of the kernels for one architecture.

    Attributes
    ----------
    compiled : int
        How many were compiled.
    present : int
        How many were in the cache already.
    failures : list of str
        For the others, which one failed and why.
    """

    compiled: int
    present: int
    failures: list[str]


def compile_all(
    architecture: int,
    n_jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    only: Sequence[Instance] | None = None,
) -> Outcome:
    """Compile all kernels for an architecture into CuPy's cache. No GPU is needed.

    Parameters
    ----------
    architecture : int
        The compute capability, as 90 for 9.0.
    n_jobs : int, default=None
        How many kernels are compiled at a time; None: as many as there are cores.
    progress : callable, default=None
        Called after each kernel with the number of kernels that are done, and of all.
    only : sequence of Instance, default=None
        These instead of all.
    """
    instances = list(all_instances(architecture)) if only is None else only
    counts, failures = {True: 0, False: 0}, []
    with without_device(), ThreadPoolExecutor(n_jobs or cores()) as pool:
        under_way = {pool.submit(store, instance, architecture): instance for instance in instances}
        try:
            for done, future in enumerate(as_completed(under_way), 1):
                try:
                    counts[future.result()] += 1
                except ImportError:
                    raise
                except Exception as error:  # noqa: BLE001 (the next one may compile)
                    expression = under_way[future].expression
                    failures.append(f"{expression}: {type(error).__name__}: {error}")
                if progress is not None:
                    progress(done, len(instances))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Outcome(counts[True], counts[False], failures)


def compilable() -> list[int]:
    """Return the compute capabilities for which NVRTC compiles, and which kernels are made for."""
    least = min(instance.kernel.since for instance in all_instances(10**6))
    archs = sys.modules["cupy"].cuda.nvrtc.getSupportedArchs()
    return sorted(arch for arch in map(int, archs) if arch >= least)


def all_instances(architecture: int) -> Iterator[Instance]:
    """Yield the instances of all kernels that an architecture can run."""
    for op in OPS.values():
        op.cuda  # noqa: B018 (it imports the file of the body, whose kernels are then known)
    for kernel in KERNELS:
        if kernel.since <= architecture:
            yield from kernel.instances.values()
