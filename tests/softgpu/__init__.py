"""A GPU in software: CUDA kernels under the unmodified CuPy wheel, where there is no GPU.

After `install()`, `import cupy` finds several devices. CuPy and NVRTC are the wheels: NVRTC
compiles a kernel to PTX as ever, with CuPy's options, and instead of a driver a C++ library
(`src/`) takes the PTX and executes it on the CPU, by the PTX ISA, a warp at a time. A launch is
checked as a driver checks it, and a kernel for more than any device looks for: bounds of arrays
and of shared variables, alignment, shared memory that nobody wrote, races, barriers that a part of
a block does not reach, lanes that do not come to a warp's instruction. What it finds is a
CUDADriverError at the launch, which names the kernel, the block and the thread, and the lines of
the source if NVRTC was given -lineinfo.

It shows that kernels are right for what the PTX ISA promises, that launches and memory are within
limits, that streams, captures, graphs and several devices are used as the driver allows. It cannot
show what comes after the PTX: machine code and registers. Nor does it show time; a stream does its
work at once, so works of two streams that should have waited for each other still come in order.
cuBLAS and the like, CUB and Thrust (which are machine code), textures, cooperative launches and
memory shared between processes are not there: what is missing says so.

    python -m softgpu SCRIPT ARGUMENTS...    run a script on it, with tests/ on the path

What a person may set from a shell (`settings` says what the first six mean):

    SOFTGPU_SEED, SOFTGPU_ROUGH, SOFTGPU_RACES, SOFTGPU_STRICT, SOFTGPU_NULL, SOFTGPU_STICKY
    SOFTGPU_MMA        how tensor cores add: `exact`, or products and bits as `8,2` or `4,1`
    SOFTGPU_VERBOSE    1: what is refused, 2: launches too, to stderr
    SOFTGPU_DEVICES    compute capabilities, as `90,75`
    SOFTGPU_MEMORY     bytes of each device
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from softgpu import cupy_loader
from softgpu.build import BUILD, FOLDER, built_library
from softgpu.library import Launch, Library, Usage

__all__ = [
    "Failing", "Launch", "Launched", "Transfers", "Usage", "environment", "failing_allocations",
    "install", "is_installed", "launched", "limited_memory", "profile", "real_gpu", "settings",
    "transfers", "visible",
]  # fmt: skip

ARCHITECTURES = ("90", "80", "75", "86")
MEMORY = 8 << 30
SETTINGS = ("seed", "rough", "races", "strict", "null", "sticky", "verbose")

_library: Library | None = None
_devices: tuple[tuple[str, ...], int] | None = None


def install(architectures: Sequence[str] | None = None, memory: int | None = None) -> None:
    """Give CuPy devices in software; before it is imported.

    Parameters
    ----------
    architectures : sequence of str, optional
        The compute capability of each device, as "90" for 9.0. By default what SOFTGPU_DEVICES
        says, or else an H100, an A100, a T4 and an A10.
    memory : int, optional
        Bytes of each device; by default what SOFTGPU_MEMORY says, or else 8 GB.

    Raises
    ------
    ImportError
        If CuPy was imported before, or its wheel is not one that is known.
    """
    global _library, _devices
    names = os.environ.get("SOFTGPU_DEVICES", "").split(",")
    architectures = tuple(architectures or (names if names[0] else ARCHITECTURES))
    memory = memory or int(os.environ.get("SOFTGPU_MEMORY", MEMORY))
    if _library is not None:
        if _devices != (architectures, memory):
            raise ValueError(f"softgpu has its devices already: {_devices}")
        return
    real_gpu()  # which cannot be asked later
    made = Library(built_library())
    for architecture in architectures:
        made.call("softgpu_add_device", int(architecture), memory)
    cupy_loader.prepare(made, BUILD / "kernels")
    _library, _devices = made, (architectures, memory)
    for name in SETTINGS:
        if value := os.environ.get(f"SOFTGPU_{name.upper()}"):
            made.set_option(name, int(value))
    if mma := os.environ.get("SOFTGPU_MMA"):
        for name, value in zip(("mma_products", "mma_bits"), _mma(mma), strict=True):
            made.set_option(name, value)


def is_installed() -> bool:
    """Whether this process has devices in software."""
    return _library is not None


def _installed() -> Library:
    if _library is None:
        raise RuntimeError("softgpu.install() comes first")
    return _library


@functools.cache
def real_gpu() -> bool:
    """Whether NVIDIA's driver is there, and has a device. Another process asks it."""
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():
        return False
    ask = (
        "import ctypes; cuda = ctypes.CDLL('libcuda.so.1'); n = ctypes.c_int()\n"
        "assert not cuda.cuInit(0) and not cuda.cuDeviceGetCount(ctypes.byref(n)) and n.value"
    )
    return not subprocess.run([sys.executable, "-I", "-c", ask], capture_output=True).returncode


def environment() -> dict[str, str]:
    """Variables for a process that is to have the same devices and settings when it starts."""
    made, (architectures, memory) = _installed(), _devices or ((), 0)
    path = [str(FOLDER / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        "PYTHONPATH": os.pathsep.join(path),
        "SOFTGPU_DEVICES": ",".join(architectures),
        "SOFTGPU_MEMORY": str(memory),
        **{f"SOFTGPU_{name.upper()}": str(made.option(name)) for name in SETTINGS},
    }
    if made.option("mma_products") >= 0:
        variables["SOFTGPU_MMA"] = f"{made.option('mma_products')},{made.option('mma_bits')}"
    return variables | cupy_loader.environment(BUILD / "kernels")


def _mma(words: str) -> tuple[int, int]:
    """Products and bits, as the library wants them: no products mean an exact sum."""
    if words == "exact":
        return 0, 0
    products, bits = map(int, words.split(","))
    return products, bits


@contextlib.contextmanager
def settings(
    *,
    seed: int | None = None,
    rough: bool | None = None,
    races: bool | None = None,
    strict: bool | None = None,
    null: bool | None = None,
    sticky: bool | None = None,
    mma: str | None = None,
) -> Iterator[None]:
    """Run kernels in another way for a while.

    Parameters
    ----------
    seed : int, optional
        Of the order of warps and blocks; 0 (the default of the devices) is ascending.
    rough : bool, optional
        Approximate instructions are as wrong as the PTX ISA allows.
    races : bool, optional
        Two threads at one place without a barrier between them are a fault. CuPy's own kernels
        are never held to this, nor to the next: they do both.
    strict : bool, optional
        A read of shared memory that nobody wrote is a fault.
    null : bool, optional
        Kernels do nothing: what remains is the time of the host.
    sticky : bool, optional
        After a fault every call fails, as on a GPU, until this setting is taken back.
    mma : str, optional
        How tensor cores add: `exact`, or the products that are added at once and the bits that
        are kept below the largest, as `8,2`. By default as the device's generation does.
    """
    made = _installed()
    products, bits = (None, None) if mma is None else _mma(mma)
    wanted = {
        "seed": seed, "rough": rough, "races": races, "strict": strict, "null": null,
        "sticky": sticky, "mma_products": products, "mma_bits": bits,
    }  # fmt: skip
    changes = {name: int(value) for name, value in wanted.items() if value is not None}
    before = {name: made.option(name) for name in changes}
    for name, value in changes.items():
        made.set_option(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            made.set_option(name, value)


@contextlib.contextmanager
def visible(devices: int) -> Iterator[None]:
    """Let the runtime report only so many devices for a while. Of 0 it says cudaErrorNoDevice."""
    made = _installed()
    before = made.option("visible")
    made.set_option("visible", devices)
    try:
        yield
    finally:
        made.set_option("visible", before)


@contextlib.contextmanager
def limited_memory(free: int, device: int = 0) -> Iterator[None]:
    """Leave so many bytes of a device's memory free, for a while."""
    made = _installed()
    used, before = made.memory(device)
    made.call("softgpu_set_capacity", device, used + free)
    try:
        yield
    finally:
        made.call("softgpu_set_capacity", device, before)


class Failing:
    """Allocations that are to fail."""

    def __init__(self, made: Library, count: int) -> None:
        self._made, self._count = made, count

    @property
    def failed(self) -> int:
        """How many have failed so far; CuPy's pools ask again, after they have freed what they can.

        It is 0 where there were too few allocations for any to fail.
        """
        return self._count - self._made.option("failures")


@contextlib.contextmanager
def failing_allocations(first: int, count: int = 2**40) -> Iterator[Failing]:
    """Let allocations of a device's memory, or of pinned memory of the host, fail for a while.

    Parameters
    ----------
    first : int
        The first that fails, from 1 on.
    count : int, default=2**40
        How many fail, that one and those after it.
    """
    made = _installed()
    made.set_option("allocations", first - 1)
    made.set_option("failures", count)
    try:
        yield Failing(made, count)
    finally:
        made.set_option("allocations", -1)


class Launched(Sequence[Launch]):
    """The kernels that have run, as they ran: names, with `grid` and `block`."""

    def __init__(self, made: Library, begin: int) -> None:
        self._made, self._begin = made, begin
        self._all: list[Launch] | None = None

    def _launches(self) -> list[Launch]:
        return self._made.launches(self._begin) if self._all is None else self._all

    def close(self) -> None:
        """Count no more."""
        self._all = self._launches()

    def __len__(self) -> int:
        return len(self._launches())

    def __getitem__(self, i):
        return self._launches()[i]

    def __repr__(self) -> str:
        return repr(self._launches())


_recorders = 0


@contextlib.contextmanager
def launched() -> Iterator[Launched]:
    """Record which kernels run, in their order; a graph's too, each time that it is launched."""
    global _recorders
    made = _installed()
    _recorders += 1
    made.record(True)
    record = Launched(made, made.recorded())
    try:
        yield record
    finally:
        record.close()
        _recorders -= 1
        if not _recorders:
            made.record(False)


class Transfers:
    """How often memory was copied, and how often the host waited, since this was made."""

    def __init__(self, made: Library) -> None:
        self._made, self._begin = made, made.counts()
        self._end: tuple[int, ...] | None = None

    def _count(self, which: int) -> int:
        return (self._end or self._made.counts())[which] - self._begin[which]

    def close(self) -> None:
        """Count no more."""
        self._end = self._made.counts()

    @property
    def to_host(self) -> int:
        """Copies from a device to the host."""
        return self._count(0)

    @property
    def to_device(self) -> int:
        """Copies from the host to a device."""
        return self._count(1)

    @property
    def within_device(self) -> int:
        """Copies from devices to devices."""
        return self._count(2)

    @property
    def synchronizations(self) -> int:
        """Waits for a stream, an event or a device; CuPy waits after a copy to the host."""
        return self._count(3)


@contextlib.contextmanager
def transfers() -> Iterator[Transfers]:
    """Count copies and waits."""
    counted = Transfers(_installed())
    try:
        yield counted
    finally:
        counted.close()


def profile() -> list[Usage]:
    """Launches and seconds of every kernel so far, the dearest first."""
    return _installed().usage()
