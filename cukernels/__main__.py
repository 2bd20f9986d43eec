"""``python -m cukernels``: versions, devices, and a check of every op on this machine.

``python -m cukernels compile`` compiles all kernels, so that no fit has to.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence

from cukernels.gpu.compile_all import compilable, compile_all
from cukernels.runtime.arrays import INSTALL_CUDA, installed_cupy
from cukernels.runtime.self_check import Check, self_check
from cukernels.runtime.show_versions import cuda_devices, kernel_cache, show_versions


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cukernels",
        description="Prints versions, devices, and a check of every op on this machine.",
    )
    parser.add_argument("--no-check", action="store_true", help="print versions and devices alone")
    commands = parser.add_subparsers(dest="command", metavar="compile")
    command = commands.add_parser(
        "compile",
        help="compile all kernels into CuPy's cache",
        description="Compiles all kernels into CuPy's cache (the folder in CUPY_CACHE_DIR, or "
        "~/.cupy/kernel_cache), for images and clusters. It needs CuPy and NVRTC, and no GPU.",
    )
    command.add_argument(
        "--arch", nargs="+", default=[], metavar="CAPABILITY", type=capability,
        help="compute capabilities, as 90 for 9.0; by default those of the GPUs of this machine",
    )  # fmt: skip
    command.add_argument(
        "--jobs", type=positive, metavar="N", help="kernels at a time; by default one a core"
    )
    options = parser.parse_args(arguments)
    if options.command == "compile":
        return compile_kernels(options.arch, options.jobs)
    show_versions()
    return 0 if options.no_check else check()


def capability(text: str) -> int:
    """Read a compute capability, as 90, 9.0 or sm_90."""
    return int(text.removeprefix("sm_").replace(".", ""))


def positive(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text}")
    return number


def compile_kernels(architectures: Sequence[int], n_jobs: int | None) -> int:
    """Compile all kernels, and return 1 if one of them failed or could not be begun, else 0."""
    try:
        cupy = installed_cupy()
    except ImportError as error:
        return refuse(str(error))
    if cupy is None:
        return refuse(f"CuPy is not installed. {INSTALL_CUDA}")
    found = [cupy.cuda.Device(int(name[5:])).compute_capability for name in cuda_devices()]
    architectures = list(architectures) or sorted(set(map(int, found)))
    if not architectures:
        return refuse(
            "This machine has no GPU: say for which one to compile, as --arch 90 for 9.0."
        )
    # every kernel would fail by the same error, and the last ones after minutes
    known = compilable()
    for architecture in architectures:
        if architecture not in known:
            return refuse(
                f"No kernel can be compiled for {architecture}: this NVRTC and the kernels take "
                f"{', '.join(map(str, known))}."
            )
    try:
        os.makedirs(kernel_cache(), exist_ok=True)
        tempfile.TemporaryFile(dir=kernel_cache()).close()
    except OSError as error:
        return refuse(
            f"CuPy cannot keep kernels in {kernel_cache()!r} ({type(error).__name__}: {error}): "
            "name another folder in CUPY_CACHE_DIR."
        )
    failed = kept = 0
    for architecture in architectures:
        begun = time.perf_counter()
        outcome = compile_all(architecture, n_jobs, _show_progress)
        failed += len(outcome.failures)
        kept += outcome.compiled + outcome.present
        print(
            f"sm_{architecture}: {outcome.compiled} kernels compiled, {outcome.present} were there "
            f"already, {len(outcome.failures)} failed; {time.perf_counter() - begun:.0f} s"
        )
        print(*outcome.failures, sep="\n", end="\n" if outcome.failures else "")
    if kept:
        print(f"They are in {kernel_cache()}")
    return int(failed > 0)


def refuse(reason: str) -> int:
    """Say why nothing is compiled, and return the exit status of that."""
    print(reason, file=sys.stderr)
    return 1


def _show_progress(done: int, of: int) -> None:
    """Write how far it is into one line of a terminal."""
    if sys.stderr.isatty():
        print(f"{done} of {of}", end="\r" if done < of else "\n", file=sys.stderr, flush=True)


def check() -> int:
    """Check every body of every op, print the results, and return 1 if one of them is wrong."""
    devices = cuda_devices()
    places = ["cpu", *devices]
    print("\nSelf-check: every body against the definition of its op, on", ", ".join(places))
    by_body: dict[str, list[Check]] = defaultdict(list)
    for result in self_check(devices):
        by_body[result.body].append(result)
        if not result.passed:
            print(f"  {result.op}, {result.body}: {result.failure}")
    wrong = 0
    for body, results in by_body.items():
        failed = sum(not result.passed for result in results)
        calls = sum(result.calls for result in results)
        worst = max(results, key=lambda result: result.error)
        print(
            f"  {body}: {len(results) - failed} of {len(results)} ops right, in {calls} calls; the "
            f"largest error is {worst.error:.2f} of what rounding explains ({worst.op})"
        )
        wrong += failed
    print(f"  {wrong} wrong: please report it with all of the above" if wrong else "  all is well")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
