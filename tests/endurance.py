"""Fits that are killed, interrupted and repeated: ``python tests/endurance.py --minutes 10``.

Each fit runs in a process of its own, and is killed by SIGKILL at random moments, also while it
writes. It then goes on from its file until it ends: its weights have to be those of the fit that
was never stopped. Others are struck by SIGINT or SIGTERM, handled as Ctrl-C is: they have to have
the weights of the last epoch that has ended. And many are repeated in one process: memory, threads
and open files have to stay.
With ``--gpu`` they run on a GPU, or on one in software.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = 10
_HANGS = 120  # seconds


def cases(device: str) -> dict[str, Callable[..., Any]]:
    """What is fitted, by name: functions of parameters that make an estimator."""
    from estimators import ConvNetClassifier, MLPClassifier

    few = {"device": device, "random_state": 0, "max_iter": EPOCHS, "tol": 0.0}
    size = {"batch_size": 100 if device == "cpu" else 40}
    images = {"augment": {"shift": 1}, "conv_layer_sizes": (3,), "hidden_layer_sizes": ()}
    return {
        "mlp": lambda **p: MLPClassifier((64,), **few | size | p),
        "early stopping": lambda **p: MLPClassifier(
            (32,), early_stopping=True, dropout=0.2, n_iter_no_change=20, **few | size | p
        ),
        "convnet": lambda **p: ConvNetClassifier(**images | few | size | p),
    }


def data(device: str) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels; few for a GPU in software."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    n = 900 if device == "cpu" else 120
    return (X[:n] / 16).astype(np.float32), y[:n]


def digest(model: Any) -> str:
    """What tells a fitted model from others, to the bit."""
    found = hashlib.sha256()
    for array in (*model.coefs_, *model.intercepts_, *model._state.moments.values()):
        found.update(np.ascontiguousarray(array).tobytes())
    found.update(repr((model.n_iter_, model.loss_curve_, model.validation_scores_)).encode())
    return found.hexdigest()


def in_process(
    work: Callable[[], Any], after: float | None = None, by: int = signal.SIGKILL
) -> Any:
    """Do work in a process of its own; stop that after so many seconds. None if it was killed."""
    read, write = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {by})  # until the work takes it
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    else:
        os.close(read)
        answer: Any = {"error": "?"}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = work()
        except BaseException:
            answer = {"error": traceback.format_exc()}
        with os.fdopen(write, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(write)
    timers = [threading.Timer(_HANGS, os.kill, (child, signal.SIGABRT))]
    if after is not None:
        timers.append(threading.Timer(after, _strike, (child, by)))
    for timer in timers:
        timer.start()
    with os.fdopen(read) as pipe:
        said = pipe.read()
    for timer in timers:
        timer.cancel()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT:
        raise TimeoutError("a fit hangs")
    try:
        answer = json.loads(said)
    except ValueError:
        return None
    if isinstance(answer, dict) and "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


def _strike(child: int, by: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, by)


def killed(name: str, device: str, kills: int, rng: random.Random, folder: Path) -> Counter:
    """Kill a fit at random moments until it was resumed so often; count what came of it."""
    from estimators.callbacks import Checkpoint

    X, y = data(device)
    make, path = cases(device)[name], folder / "a.ckpt"

    def fit() -> list[Any]:
        start = time.perf_counter()
        goes_on = path if path.exists() else None
        model = make(callbacks=Checkpoint(path)).fit(X, y, resume_from=goes_on)
        return [digest(model), time.perf_counter() - start]

    whole, seconds = in_process(fit)
    counts: Counter = Counter()
    while counts["resumes"] < kills:
        path.unlink(missing_ok=True)
        counts["fits"] += 1
        for attempt in itertools.count(2):
            # it has more time with each attempt, so that it ends on a slow machine too
            done = in_process(fit, after=rng.uniform(0, 0.3 * seconds * attempt) + 0.01)
            counts["within a write"] += any(n.endswith(".part") for n in os.listdir(folder))
            if done is not None:
                break
            counts["kills"] += 1
            counts["resumes"] += path.exists()
        counts["differences"] += done[0] != whole
        counts["left over"] += len(os.listdir(folder)) != 1
    return counts


def interrupted(name: str, device: str, times: int, rng: random.Random) -> Counter:
    """Strike fits by SIGINT; count those that have not the weights of an epoch's end."""
    X, y = data(device)
    make, kinds = cases(device)[name], [signal.SIGINT, signal.SIGTERM]

    def fit() -> list[Any]:
        for kind in kinds:
            signal.signal(kind, signal.default_int_handler)
        begun, model = time.perf_counter(), make()
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, kinds)
            model.fit(X, y)
            for kind in kinds:  # what comes now is too late
                signal.signal(kind, signal.SIG_IGN)
        except KeyboardInterrupt:  # before anything was prepared, or after all was done
            return ["", 0, 0.0]
        return [digest(model), model.n_iter_, time.perf_counter() - begun]

    def ends() -> list[str]:
        return [digest(make(max_iter=n).fit(X, y)) for n in range(1, EPOCHS + 1)]

    whole, n_iter, seconds = in_process(fit)
    of_epoch, counts = in_process(ends), Counter()
    assert whole == of_epoch[n_iter - 1]
    while counts["within the fit"] < times:
        after, by = rng.uniform(0, seconds), rng.choice(kinds)
        found, n_iter, _ = in_process(fit, after=after, by=by)
        counts["interrupts"] += 1
        counts["within the fit"] += 0 < n_iter < len(of_epoch)
        counts["differences"] += n_iter > 0 and found != of_epoch[n_iter - 1]
    return counts


def repeated(name: str, device: str, times: int) -> Counter:
    """Fit many times in one process; count what grows between the first tenth and the end."""
    X, y = data(device)
    make = cases(device)[name]

    def state() -> dict[str, int]:
        gc.collect()
        found = {
            "threads": threading.active_count(),
            "files": len(os.listdir("/proc/self/fd")),
            "kB of Python's": tracemalloc.get_traced_memory()[0] // 1024,
        }
        if device == "cpu":  # a GPU in software remembers who touched which of its addresses
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found["kB"] = pages * os.sysconf("SC_PAGE_SIZE") // 1024
        else:
            import cupy

            found["kB on the device"] = cupy.get_default_memory_pool().used_bytes() // 1024
        return found

    def fits() -> dict[str, int]:
        tracemalloc.start()
        for i in range(times):
            make(max_iter=1).fit(X[:200], y[:200])
            if i == times // 10:
                before = state()
        after = state()
        return {what: after[what] - before[what] for what in after}

    return Counter({"fits": times, **{f"more {k}": n for k, n in in_process(fits).items()}})


def run(device: str, kills: int, interrupts: int, fits: int, seed: int = 0) -> dict[str, Counter]:
    """Run everything once; return what was counted, by name."""
    rng, found = random.Random(seed), {}
    for name in cases(device):
        with tempfile.TemporaryDirectory() as folder:
            found[f"{name}, killed"] = killed(name, device, kills, rng, Path(folder))
        found[f"{name}, interrupted"] = interrupted(name, device, interrupts, rng)
        if fits:
            found[f"{name}, repeated"] = repeated(name, device, fits)
    return found


def main() -> None:
    """Run for so long, and print the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--gpu", action="store_true", help="on a GPU, or on one in software")
    parser.add_argument("--kills", type=int, default=20, help="of each kind, in a round")
    parser.add_argument("--fits", type=int, default=1000, help="how many are repeated")
    given = parser.parse_args()
    if given.gpu and not os.path.exists("/dev/nvidiactl"):
        import softgpu

        softgpu.install(["90"])
    device, seed = "cuda" if given.gpu else "cpu", 0
    end = time.monotonic() + 60 * given.minutes
    sums = run(device, given.kills, given.kills, given.fits)
    while time.monotonic() < end:
        seed += 1
        for name, counts in run(device, given.kills, given.kills, 0, seed).items():
            sums[name].update(counts)
    for name, counts in sums.items():
        print(f"{name}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    sys.exit(any(counts["differences"] for counts in sums.values()))


if __name__ == "__main__":
    main()
