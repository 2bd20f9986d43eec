"""What a process of its own does on a GPU: every op and every estimator once, or one small fit.

python tests/_on_a_gpu.py everything    prints the libraries of NVIDIA's that are then loaded
python tests/_on_a_gpu.py ops           every op once, for compute-sanitizer
python tests/_on_a_gpu.py first-fit     prints the seconds of a first and of a second fit
"""

from __future__ import annotations

import re
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from cukernels.runtime.cases import DTYPES, cases, cast


def placed(cupy, arguments: dict) -> dict:
    """Arguments of an op with its arrays on the device."""
    return {k: cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}


def run_ops(cupy) -> None:
    """Every op on every sample, in both precisions."""
    for case in cases():
        for dtype in DTYPES:
            case.op.cuda(**placed(cupy, cast(case.arguments, dtype)))
    cupy.cuda.runtime.deviceSynchronize()


def run_estimators() -> None:
    """One training of each kind, and predictions."""
    from _cuda_models import CONVNETS, IMAGE_LABELS, IMAGES, MLPS, PERCEPTRONS, SPARSE, X, Y
    from estimators import LogisticRegression, Perceptron

    for model, samples, labels, fit in MLPS.values():
        model.set_params(device="cuda").fit(samples, labels, **fit).predict(samples)
    for model in CONVNETS.values():
        model.set_params(device="cuda").fit(IMAGES, IMAGE_LABELS).predict(IMAGES)
    for samples in (X, SPARSE):
        for solver in ("lbfgs", "newton-cg", "newton-cholesky", "saga"):
            LogisticRegression(solver=solver, device="cuda").fit(samples, Y).predict(samples)
        for settings in PERCEPTRONS.values():
            Perceptron(**settings, device="cuda").fit(samples, Y).predict(samples)


def loaded_libraries() -> list[str]:
    """File names of the shared libraries in this process that are NVIDIA's."""
    maps = Path("/proc/self/maps").read_text()
    names = {Path(line.split()[-1]).name for line in maps.splitlines() if ".so" in line}
    return sorted(name for name in names if re.match("lib(cu|nv)", name))


def first_fit() -> tuple[float, float]:
    """Seconds of the first fit in this process and of one more, kernels being there."""
    from sklearn.datasets import load_digits

    from estimators import MLPClassifier

    X, y = load_digits(return_X_y=True)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        MLPClassifier(batch_size=128, max_iter=5, random_state=0, device="cuda").fit(X / 16, y)
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


def main(what: str) -> None:
    """The other end of the tests that start this file."""
    import cupy

    warnings.simplefilter("ignore", ConvergenceWarning)
    if what == "first-fit":
        print(*first_fit())
        return
    if what == "ops":
        cupy.cuda.set_allocator(None)  # a pool would hide what is past the end of an array
    run_ops(cupy)
    if what == "everything":
        run_estimators()
        print(*loaded_libraries())


if __name__ == "__main__":
    main(sys.argv[1])
