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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _gpu_work
import _rounds
import _trainings
import _turns
import torch
from _digits import digits
from _gpu_device import Device, facts
from _gpu_rows import Row, limits, measure, table

from estimators.shared.files import write_text

SECONDS, SECONDS_QUICK = 200, 60  # of all trainings: none begins later


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
        write_text(folder / f"{name}.json", json.dumps(document, indent=1) + "\n")
        write_text(folder / f"{name}.md", text + "\n")


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
