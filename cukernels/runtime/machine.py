"""How fast a machine's CPU and GPU are, and what a piece of work takes on either.

The estimates decide where `device="auto"` computes, and lean to the CPU. The GPU's time counts the
start of CUDA, every launch and every copy, and products that wait for all of these. The CPU's time
counts nothing but its products, at the rate of all cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

KINDS = {
    "float32": "products, float32",
    "float64": "products, float64",
    "sparse": "products, sparse",
    "online": "perceptron's steps",
}
"""The kinds of work that have a rate of their own, and what they are called."""

START = 0.5  # seconds to import CuPy, to start CUDA and to load kernels, in every process
MARGIN = 1.5  # the GPU has to be expected to be so many times as fast

# No CPU is slower than this, so what it does in less than `START` needs no look at the GPU.
_LEAST_OPERATIONS, _MOST_OVERHEAD = 2e9, 5e-5


class Rate(NamedTuple):
    """The time of a computation: some seconds for each call, and some for what it does.

    Attributes
    ----------
    latency : float
        Seconds of a call, however small.
    per_second : float
        Floating-point operations, or bytes of a copy, in a second.
    """

    latency: float
    per_second: float

    def seconds(self, calls: float, amount: float) -> float:
        """Return what so many calls take that do so much together."""
        return calls * self.latency + amount / self.per_second


@dataclass(frozen=True)
class Work:
    """What a fit or a prediction has to do.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    steps : float
        How many steps there are, one after the other.
    operations : float
        Floating-point operations of the products of a step.
    products : float
        How many products a step has. On the CPU each is a call.
    launches : float
        How many kernels a step launches on a GPU.
    copies : float
        How often something is copied to or from the GPU, over all steps.
    bytes_up, bytes_down : float
        What is copied to the GPU and back, over all steps.
    memory : float
        Bytes that it needs on the GPU.
    cpu_seconds : float or None, default=None
        What it takes on the CPU, where that follows from something else than products.
    is_replayed : bool, default=False
        Whether the steps are replayed as a CUDA graph.
    """

    kind: str
    steps: float
    operations: float
    products: float
    launches: float
    copies: float
    bytes_up: float
    bytes_down: float
    memory: float
    cpu_seconds: float | None = None
    is_replayed: bool = False

    @property
    def is_small(self) -> bool:
        """Whether any CPU is done with it before CUDA has started."""
        if self.cpu_seconds is not None:
            return self.cpu_seconds < START
        of_step = self.operations / _LEAST_OPERATIONS + self.products * _MOST_OVERHEAD
        return self.steps * of_step < START


@dataclass(frozen=True, repr=False)
class Machine:
    """The constants of a machine, as `cukernels.calibrate` measures them.

    Attributes
    ----------
    gpu, driver : str
        The name of the GPU, and the version of its driver.
    version : str
        The version of this package.
    threads : int
        How many threads the CPU computes on.
    launch : float
        Seconds of the host for the launch of a kernel.
    replay : float
        Seconds of a small product in a CUDA graph that is replayed.
    up, down : Rate
        Copies of bytes to the GPU and to the host.
    on_cpu, on_gpu : dict of str to Rate
        Rates of each of `KINDS` on either side.
    """

    gpu: str
    driver: str
    version: str
    threads: int
    launch: float
    replay: float
    up: Rate
    down: Rate
    on_cpu: Mapping[str, Rate]
    on_gpu: Mapping[str, Rate]

    def seconds_on_cpu(self, work: Work) -> float:
        """Return what a piece of work takes on the CPU at least."""
        if work.cpu_seconds is not None:
            return work.cpu_seconds
        return work.steps * self.on_cpu[work.kind].seconds(work.products, work.operations)

    def seconds_on_gpu(self, work: Work) -> float:
        """Return what a piece of work takes on the GPU at most, in a process that begins."""
        products = work.operations / self.on_gpu[work.kind].per_second
        if work.kind == "online":  # a step is one of many in a launch, which wait for each other
            products += self.on_gpu[work.kind].latency
        of_launch = self.replay if work.is_replayed else self.launch
        return (
            START
            + work.steps * (work.launches * of_launch + products)
            + work.copies * max(self.up.latency, self.down.latency)
            + work.bytes_up / self.up.per_second
            + work.bytes_down / self.down.per_second
        )

    def prefers_gpu(self, work: Work) -> bool:
        """Whether the GPU is expected to be clearly faster."""
        return MARGIN * self.seconds_on_gpu(work) < self.seconds_on_cpu(work)

    def __repr__(self) -> str:
        lines = [
            f"{self.gpu} (driver {self.driver}) beside a CPU of {self.threads} thread(s), as "
            f"cukernels {self.version} has measured them:",
            f"  launch of a kernel   {_time(self.launch)}, in a graph {_time(self.replay)}",
            f"  copies up            {_time(self.up.latency)} and {_number(self.up)}B/s",
            f"  copies down          {_time(self.down.latency)} and {_number(self.down)}B/s",
        ]
        for kind, name in KINDS.items():
            sides = (("CPU", self.on_cpu[kind]), ("GPU", self.on_gpu[kind]))
            rates = (f"{side} {_time(r.latency)} and {_number(r)}FLOP/s" for side, r in sides)
            lines.append(f"  {name:20} {', '.join(rates)}")
        return "\n".join(lines)


def _time(seconds: float) -> str:
    """Write a short time, as 12.3 us."""
    return f"{1e6 * seconds:.3g} us" if seconds < 1e-3 else f"{1e3 * seconds:.3g} ms"


def _number(rate: Rate) -> str:
    """Write how much is done in a second, as 12.3 G."""
    for unit, name in ((1e12, "T"), (1e9, "G")):
        if rate.per_second >= unit:
            return f"{rate.per_second / unit:.3g} {name}"
    return f"{rate.per_second / 1e6:.3g} M"
