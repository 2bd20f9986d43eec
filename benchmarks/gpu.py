"""How fast the kernels are on an NVIDIA GPU, against cuBLAS and cuDNN through PyTorch.

    python benchmarks/gpu.py                      everything, under eight minutes
    python benchmarks/gpu.py --quick              fewer shapes and rounds
    python benchmarks/gpu.py --only trainings     whole trainings and predictions, under four
    python benchmarks/gpu.py --only "conv2d"      the kernels whose name has this in it
    python benchmarks/gpu.py --dry-run            tiny shapes, in software: shows that this works

A row is a kernel and a shape: both times, as called from Python and as kernels alone (replayed
from a CUDA graph), the rate, its share of what the same run measures as the device's limit (a large
copy, a large product of cuBLAS), and the error of both against float64. Inputs are random and
rotate through more memory than the L2 cache holds; ours and theirs take turns; times are medians.
Results go to benchmarks/results/gpu.json and gpu.md.

Trainings are named `trainings: PART: ...`, with the parts network, accuracy, stack, prediction,
streaming and linear. They learn MNIST from the folder of --data or CUKERNELS_DATA, else
scikit-learn's digits in the same shapes; the time to an accuracy needs MNIST. Their results go to
benchmarks/results/gpu-trainings.json and gpu-trainings.md, beside what `expected.py` has expected.
All files are written after each row, so that a run that is cut short has them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import _gpu_work
import _rounds
import _trainings
import _turns
import torch
from _digits import digits
from _gpu_work import Work

SECONDS, SECONDS_QUICK = 200, 60  # of all trainings: none begins later


@dataclass
class Row:
    """What was measured of one kernel and shape; times in microseconds."""

    family: str
    shape: str
    ours: float
    theirs: float | None
    ours_alone: float | None
    theirs_alone: float | None
    rate: float  # 10^12 operations or 10^9 bytes a second
    unit: str
    share: float | None = None  # of the device's limit
    error: float | None = None  # relative, against float64
    their_error: float | None = None


@dataclass
class Device:
    """CuPy and PyTorch on one stream of one device, or CuPy in software and PyTorch on the host."""

    cupy: Any
    torch_device: str
    dry: bool
    stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def real(cls) -> Device:
        import cupy

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = True
        stream = torch.cuda.Stream()
        device = cls(cupy, "cuda", dry=False)
        device.stack.enter_context(torch.cuda.stream(stream))
        device.stack.enter_context(cupy.cuda.ExternalStream(stream.cuda_stream))
        return device

    @classmethod
    def in_software(cls) -> Device:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        import softgpu

        if not softgpu.real_gpu():
            softgpu.install()
        import cupy

        return cls(cupy, "cpu", dry=True)

    def synchronize(self) -> None:
        if not self.dry:
            torch.cuda.synchronize()

    def to_cupy(self, x: torch.Tensor) -> Any:
        """Share a tensor with CuPy."""
        return self.cupy.asarray(x.numpy()) if self.dry else self.cupy.from_dlpack(x.contiguous())

    def to_torch(self, x: Any) -> torch.Tensor:
        return torch.from_numpy(self.cupy.asnumpy(x)) if self.dry else torch.from_dlpack(x)

    def microseconds(self, call: Callable[[int], Any], calls: int) -> float:
        """Time of a call, from the first one's start on the device to the last one's end."""
        if self.dry:
            start = time.perf_counter()
            for i in range(calls):
                call(i)
            return (time.perf_counter() - start) / calls * 1e6
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for i in range(calls):
            call(i)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / calls * 1e3

    def alone(self, call: Callable[[int], Any], calls: int) -> float | None:
        """Time of a call without what Python does: the calls as one CUDA graph."""
        if self.dry:
            return None
        try:
            graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
            external = self.cupy.cuda.ExternalStream(stream.cuda_stream)
            # CuPy's pool, which has blocks for each stream, must not grow in a capture: let it
            # have beforehand all that the calls want at once
            with torch.cuda.stream(stream), external:
                kept = [call(i) for i in range(calls)]
            stream.synchronize()
            del kept
            with torch.cuda.graph(graph, stream=stream), external:
                kept = []  # what is freed in a capture may be handed out to the next call
                for i in range(calls):
                    kept.append(call(i))
            return min(self.microseconds(lambda _: graph.replay(), 1) for _ in range(5)) / calls
        except Exception as error:  # the figure is left out, the run goes on
            print(f"  no graph: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
            torch.cuda.synchronize()
            return None


def measure(work: Work, device: Device, rounds: int) -> Row:
    """Time one piece of work by us and by the peer, in turns, and compare the results."""
    generator = torch.Generator(device.torch_device).manual_seed(0)
    first = work.inputs(generator, device.torch_device)
    size = sum(x.numel() * x.element_size() for x in first)
    sets = 1 if device.dry else max(1, min(64, -(-200_000_000 // max(size, 1))))
    theirs_in = [first] + [work.inputs(generator, device.torch_device) for _ in range(sets - 1)]
    ours_in = [[device.to_cupy(x) for x in inputs] for inputs in theirs_in]

    def ours(i: int) -> Any:
        return work.ours(*ours_in[i % sets])

    def theirs(i: int) -> Any:
        assert work.theirs is not None
        return work.theirs(*theirs_in[i % sets])

    contestants = [ours, theirs] if work.theirs else [ours]
    calls = 1
    if not device.dry:
        for call in contestants:
            device.microseconds(call, 3)
        calls = max(3, min(200, int(20_000 / max(device.microseconds(ours, 3), 1))))
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for taken, call in zip(times, contestants, strict=True):
            taken.append(device.microseconds(call, calls))
    medians = [statistics.median(taken) for taken in times]
    alone = [device.alone(call, min(calls, 20)) for call in contestants]
    best = alone[0] or medians[0]
    row = Row(
        work.family, work.shape, medians[0], medians[1] if work.theirs else None,
        alone[0], alone[1] if work.theirs else None, work.amount / best / 1e6 * work.scale,
        work.unit,
    )  # fmt: skip
    if work.exact:
        exact = work.exact(*(x.double() if x.is_floating_point() else x for x in first))
        row.error = error(device.to_torch(work.result(ours(0))), exact)
        if work.theirs:
            row.their_error = error(work.result(theirs(0)), exact)
    return row


def error(y: torch.Tensor, exact: torch.Tensor) -> float:
    """How far a result is from the exact one, relative to its size."""
    return float((y.double() - exact).norm() / exact.norm().clamp(min=1e-300))


def launch_overhead(device: Device) -> dict[str, float]:
    """Microseconds of Python that a launch takes, bare and through the door."""
    from cukernels.activations.activations_cuda import _FORWARD

    xp = device.cupy
    x, y = xp.zeros(1, "float32"), xp.zeros(1, "float32")
    instance = _FORWARD["float", "Relu"]
    instance((1, 1, 1), 256, x, y, 1, 0.0)
    function, packed = instance.function(), instance.packed((x, y, 1, 0.0))
    calls = 10 if device.dry else 500  # fewer than the queue holds

    def bare() -> None:
        function((1, 1, 1), (256, 1, 1), packed, shared_mem=0)

    def door() -> None:
        instance((1, 1, 1), 256, x, y, 1, 0.0)

    found: dict[str, list[float]] = {"bare": [], "through the door": []}
    for _ in range(3 if device.dry else 20):
        for name, call in zip(found, (bare, door), strict=True):
            device.synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            found[name].append((time.perf_counter() - start) / calls * 1e6)
    return {name: statistics.median(values) for name, values in found.items()}


FIRST_USE = """
import time, numpy as np, warnings
warnings.simplefilter("ignore")
from estimators import MLPClassifier
X = np.random.default_rng(0).random((1000, 64), np.float32); y = np.arange(1000) % 10
import cupy; cupy.zeros(1).sum()
start = time.perf_counter()
MLPClassifier(max_iter=1, device="cuda").fit(X, y)
print(time.perf_counter() - start)
"""


def first_use(device: Device) -> dict[str, float]:
    """Seconds of the first fit in a new process: with an empty cache of kernels, and a full one."""
    if device.dry:
        return {}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"CUPY_CACHE_DIR": cache}

        def seconds() -> float:
            command = [sys.executable, "-c", FIRST_USE]
            run = subprocess.run(command, env=environment, capture_output=True, text=True)
            return float(run.stdout.split()[-1]) if run.returncode == 0 else float("nan")

        return {"cold": seconds(), "warm": seconds()}


def limits(rows: list[Row]) -> dict[str, float]:
    """The device's own rates, as this run has measured them."""
    found: dict[str, float] = {}
    for row in rows:
        if row.family in ("copy", "cuBLAS") and row.unit not in found:
            found[row.unit] = max(r.rate for r in rows if r.family == row.family)
    return found


def table(rows: list[Row]) -> str:
    lines = [
        "| kernel | shape | ours, us | alone | PyTorch, us | alone | times as fast | rate | share |"
        " error | theirs |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        both = (row.ours_alone, row.theirs_alone)
        ratio = both[1] / both[0] if all(both) else (row.theirs or 0) / row.ours
        cells = [
            row.family, row.shape, *map(number, (row.ours, row.ours_alone)),
            *map(number, (row.theirs, row.theirs_alone)), number(ratio or None),
            f"{row.rate:.3g} {row.unit}", "" if row.share is None else f"{row.share:.0%}",
            number(row.error), number(row.their_error),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number(x: float | None) -> str:
    return "" if x is None else f"{x:.3g}"


def facts(device: Device) -> dict[str, Any]:
    if device.dry:
        return {"device": "none: dry run"}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "driver": device.cupy.cuda.runtime.driverGetVersion(),
        "cuda": torch.version.cuda,
        "cupy": device.cupy.__version__,
        "cudnn": torch.backends.cudnn.version(),
        **_rounds.machine(),
    }


def kernels(device: Device, arguments: argparse.Namespace, rounds: int, folder: Path) -> None:
    """Measure the kernels that were asked for."""
    document: dict[str, Any] = {"facts": facts(device)}
    rows: list[Row] = []

    def write() -> str:
        found = limits(rows)
        for row in rows:
            if row.unit in found:
                row.share = row.rate / found[row.unit]
        more = {k: document[k] for k in ("launch", "first use") if k in document}
        text = [in_words(document), table(rows), *(f"{k}: {json.dumps(more[k])}" for k in more)]
        result = document | {"limits": found, "rows": [asdict(row) for row in rows]}
        save(device, folder, "gpu", result, text := "\n\n".join(text))
        return text

    for work in _gpu_work.everything(arguments.quick, device.dry):
        if arguments.only not in work.family:
            continue
        try:
            rows.append(measure(work, device, rounds))
        except Exception as failure:
            if device.dry:
                raise
            document.setdefault("failed", []).append(f"{work.family} {work.shape}: {failure}")
            print(f"FAILED {work.family} {work.shape}: {failure}", flush=True)
            continue
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        write()
        free(device)
    for name, figures in (("launch", launch_overhead), ("first use", first_use)):
        if arguments.only in name:
            document[name] = figures(device)
    if len(document) > 1 or rows:
        print(write())


def trainings(device: Device, arguments: argparse.Namespace, rounds: int, folder: Path) -> None:
    """Time the whole trainings that were asked for, until their time is over."""
    end = time.perf_counter() + (SECONDS_QUICK if arguments.quick else SECONDS)
    document: dict[str, Any] = {"facts": facts(device)}
    rows: list[_turns.Row] = []
    expected_file = _rounds.RESULTS / "expected.json"
    expected = json.loads(expected_file.read_text())["expected"] if expected_file.exists() else {}
    data = digits(arguments.data, small=device.dry)
    for work in _trainings.works(data, device.torch_device, device.dry):
        if arguments.only not in work.title:
            continue
        if time.perf_counter() > end:
            document.setdefault("left out", []).append(work.title)
        else:
            rows.append(_turns.measure(work, rounds, strict=device.dry))
            print("\n".join(_turns.table(rows[-1:], expected).splitlines()[2:-2]), flush=True)
        text = f"{in_words(document)}\n\n{_turns.table(rows, expected)}"
        save(device, folder, "gpu-trainings", document | {"rows": list(map(asdict, rows))}, text)
        free(device)
    if document.get("left out"):
        print("left out, as the time is over:", *document["left out"], sep="\n  ")


def in_words(document: dict[str, Any]) -> str:
    """What was measured on, in one line."""
    return ", ".join(f"{k} {v}" for k, v in document["facts"].items() if k != "packages")


def save(device: Device, folder: Path, name: str, document: dict[str, Any], text: str) -> None:
    """Write a result in both kinds; a dry run has none."""
    if not device.dry:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
        (folder / f"{name}.md").write_text(text + "\n")


def free(device: Device) -> None:
    """Give the device its memory back."""
    if not device.dry:
        device.cupy.get_default_memory_pool().free_all_blocks()
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rounds")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes, in software")
    parser.add_argument("--only", default="", help="what has this in its name")
    parser.add_argument("--data", help="folder of MNIST's files, for trainings")
    parser.add_argument("--out", default=str(_rounds.RESULTS), help="folder of the results")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        sys.exit("there is no NVIDIA GPU here that PyTorch can use; --dry-run needs none")
    device = Device.in_software() if arguments.dry_run else Device.real()
    rounds = 1 if device.dry else 3 if arguments.quick else 5
    with device.stack:
        kernels(device, arguments, rounds, Path(arguments.out))
    # outside, on the stream that users have
    trainings(device, arguments, min(rounds, 3), Path(arguments.out))


if __name__ == "__main__":
    main()
