"""Fits that another process interrupts: ``python tests/_interrupted_fits.py 100``.

SIGINT comes at a random moment of each fit, from outside, as from a keyboard. What is counted are
fits that were struck, hangs, errors other than KeyboardInterrupt, and fits that left BLAS limited
or the helpers useless.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
import warnings

HANGS = 60.0  # seconds after which a fit of about a second counts as hung
FITS = ("perceptron", "lbfgs", "newton-cholesky", "saga", "mlp adam", "mlp lbfgs", "convnet")
SEARCHES = ("fused search",)
WRONG = ("hung", "error", "blas", "helpers")
WHAT = ("fits", "struck", *WRONG)


def fits():
    """What is fitted, by name; each takes some tenths of a second."""
    from sklearn.datasets import load_digits

    import estimators as e
    from estimators.model_selection import GridSearchCV

    X, y = load_digits(return_X_y=True)
    X = X.astype("float32") / 16

    def logistic(solver, **params):
        return e.LogisticRegression(solver=solver, **params)

    def mlp(solver, max_iter):
        return e.MLPClassifier((512, 256), solver=solver, max_iter=max_iter, random_state=0)

    return {
        "perceptron": lambda: e.Perceptron(max_iter=30, tol=None).fit(X, y),
        "lbfgs": lambda: logistic("lbfgs", tol=1e-9, max_iter=300).fit(X, y),
        "newton-cholesky": lambda: logistic("newton-cholesky", C=100).fit(X[:, ::2], y),
        "saga": lambda: logistic("saga", l1_ratio=0.5, tol=1e-9, max_iter=100).fit(X, y > 4),
        "mlp adam": lambda: mlp("adam", 3).fit(X, y),
        "mlp lbfgs": lambda: mlp("lbfgs", 8).fit(X, y),
        "convnet": lambda: e.ConvNetClassifier(max_iter=2, random_state=0).fit(X, y),
        "fused search": lambda: GridSearchCV(
            e.MLPClassifier((64,), max_iter=8, random_state=0), {"alpha": [1e-4, 1e-3]}, cv=3
        ).fit(X, y),
    }


def child():
    """Fit what the parent names, and say how things stand afterwards."""
    from threadpoolctl import ThreadpoolController

    from cukernels.runtime.workers import in_parallel, threads

    warnings.simplefilter("ignore")
    known = fits()
    for fit in known.values():
        fit()
    blas = ThreadpoolController().select(user_api="blas").lib_controllers
    before, n_threads = [one.num_threads for one in blas], threads()
    listening = False

    def strike(*_):
        if listening:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, strike)
    print(json.dumps({"ready": n_threads}), flush=True)
    for line in sys.stdin:
        begun, struck, error = time.perf_counter(), False, ""
        try:
            listening = True
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                known[line.strip()]()
            struck = any("interrupted by user" in str(w.message) for w in caught)
        except KeyboardInterrupt:
            struck = True
        except Exception as raised:
            struck, error = True, type(raised).__name__
        finally:
            listening = False
        after = [one.num_threads for one in blas]
        all_here = threading.Barrier(n_threads, timeout=20)
        helping = True
        try:
            in_parallel(lambda state, item, here=all_here: here.wait(), range(n_threads))
        except threading.BrokenBarrierError:
            helping = False
        well = {"blas": after == before, "helpers": helping and threads() == n_threads}
        seconds = time.perf_counter() - begun
        print(
            json.dumps({"struck": struck, "seconds": seconds, "error": error, **well}), flush=True
        )


class Child:
    """A process that fits on demand."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "2")},
        )
        self.n_threads = self.answer(10 * HANGS)["ready"]  # it fits each once

    def answer(self, seconds: float) -> dict:
        """What it says within so many seconds; nothing if it hangs."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return {}
        return json.loads(self.process.stdout.readline())

    def fit(self, name: str, after: float | None = None) -> dict:
        """Let it fit, and interrupt it after so many seconds."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        if after is not None:
            time.sleep(after)
            self.process.send_signal(signal.SIGINT)
        return self.answer(HANGS)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def interrupt(names, n_times: int, seed: int = 0) -> dict[str, dict[str, int]]:
    """Interrupt each of the fits so often; return what was counted."""
    rng, child, counts = random.Random(seed), Child(), {}
    for name in names:
        usual = child.fit(name)["seconds"]
        count = counts[name] = dict.fromkeys(WHAT, 0)
        for _ in range(n_times):
            said = child.fit(name, after=rng.uniform(0, usual))
            count["fits"] += 1
            if not said:
                count["hung"] += 1
                child.end()
                child = Child()
                continue
            count["struck"] += said["struck"]
            count["error"] += said["error"] != ""
            count["blas"] += not said["blas"]
            count["helpers"] += not said["helpers"]
        print(name, f"{usual:.2f} s", count, flush=True)
    with contextlib.suppress(OSError):
        child.end()
    return counts


if __name__ == "__main__":
    if len(sys.argv) > 1:
        interrupt(FITS + SEARCHES, int(sys.argv[1]))
    else:
        child()
