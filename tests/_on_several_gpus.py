"""Searches whose jobs spread over two GPUs, in a process of its own, which starts the others.

import _on_several_gpus; _on_several_gpus.main("loky")    prints what each search found, and where

Workers import this file with the scorer, before they train: from then on they note on which device
each kernel is launched. A kernel's arrays are on that device too, else the launch is refused.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import warnings

import joblib
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV as TheirGridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cukernels.gpu.kernel import Instance
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.linear.logistic_fit import LogisticFit
from estimators.linear.perceptron_swept import SweptFit
from estimators.model_selection import GridSearchCV, cross_val_predict, cross_validate
from estimators.neural.fit import NeuralFit
from estimators.search.turns import current_turn, in_turn, turns

Y = np.arange(36) % 3
X = (np.random.default_rng(0).integers(0, 9, (36, 16)) / 8 + Y[:, None] / 4).astype("float32")
NETWORK = {"max_iter": 2, "random_state": 0, "device": "cuda"}
MLP = MLPClassifier((5,), **NETWORK)
MODELS = {
    "mlp": (MLP, "alpha"),
    "pipeline": (make_pipeline(StandardScaler(), MLP), "mlpclassifier__alpha"),
    "convnet": (ConvNetClassifier((3,), hidden_layer_sizes=(4,), **NETWORK), "alpha"),
    "logistic": (LogisticRegression(max_iter=3, device="cuda"), "C"),
    "perceptron": (Perceptron(max_iter=2, device="cuda"), "eta0"),
}
VALUES = [0.01, 0.1, 1.0, 10.0]
FOLDS = 2


class _Noted(threading.local):
    """What a thread has done since its last stack began: on which devices, and how large it was."""

    def __init__(self):
        self.devices, self.stack = set(), 0


noted = _Noted()


def note():
    """Note every launch that is not replayed, and every stack."""
    launch = Instance.__call__

    def launched(self, *args, **kwargs):
        noted.devices.add(sys.modules["cupy"].cuda.runtime.getDevice())
        return launch(self, *args, **kwargs)

    def noting(run):
        def ran(cls, fits, watch=None):
            noted.devices, noted.stack = set(), len(fits)
            return run(cls, fits, watch)

        return classmethod(ran)

    Instance.__call__ = launched
    for kind in (NeuralFit, LogisticFit, SweptFit):
        kind.run = noting(kind.run.__func__)


note()


def score(estimator, X, y):
    """A number that every bit of the outputs is in, and where they come from."""
    method = "predict_proba" if hasattr(estimator, "predict_proba") else "decision_function"
    outputs = getattr(estimator, method)(X)
    found = {"score": float(np.square(outputs).sum()), "process": os.getpid()}
    found["devices"] = sum(1 << number for number in noted.devices)
    found["thread"], found["stack"] = threading.get_ident(), noted.stack
    return found


def fits_of(results):
    """What the scorer said of every fit, fold by fold."""
    names = ("score", "devices", "process", "thread", "stack")
    if "test_devices" in results:
        columns = [results[f"test_{name}"] for name in names]
    else:
        columns = [
            np.concatenate([results[f"split{i}_test_{name}"] for i in range(FOLDS)])
            for name in names
        ]
    return [dict(zip(names, map(float, fit), strict=True)) for fit in zip(*columns, strict=True)]


def search(model, name, n_jobs, face=GridSearchCV, **options):
    """A search of four candidates in two folds."""
    how = {"cv": FOLDS, "scoring": score, "refit": False, "error_score": "raise"}
    return face(model, {name: VALUES}, n_jobs=n_jobs, **how | options).fit(X, Y)


def devices_of(use):
    """The devices of what this thread itself does."""
    noted.devices = set()
    use()
    return sorted(noted.devices)


def everything():
    """What is to be shown on one of joblib's backends."""
    found = {}
    for model, name in MODELS.items():
        for n_jobs in (1, 2):
            found[f"{model} {n_jobs}"] = fits_of(search(*name, n_jobs).cv_results_)
    found["mlp 3"] = fits_of(search(MLP, "alpha", 3).cv_results_)
    found["theirs 2"] = fits_of(search(MLP, "alpha", 2, TheirGridSearchCV).cv_results_)
    named = MLPClassifier((5,), **NETWORK | {"device": "cuda:1"})
    found["cuda:1 2"] = fits_of(search(named, "alpha", 2).cv_results_)

    refitted = []
    found["refit"] = devices_of(lambda: refitted.append(search(MLP, "alpha", 2, refit="score")))
    found["predict"] = devices_of(lambda: refitted[0].predict(X))
    how = {"cv": FOLDS, "n_jobs": 2}
    validated = cross_validate(MLP, X, Y, scoring=score, return_estimator=True, **how)
    found["cross_validate 2"] = fits_of(validated)
    found["its estimators"] = [
        devices_of(lambda one=one: one.predict(X)) for one in validated["estimator"]
    ]
    inner = GridSearchCV(MLP, {"alpha": VALUES[:2]}, cv=FOLDS)
    found["nested 2"] = fits_of(cross_validate(inner, X, Y, scoring=score, **how))
    outputs = [
        cross_val_predict(MLP, X, Y, cv=FOLDS, n_jobs=n, method="predict_proba") for n in (1, 2)
    ]
    found["cross_val_predict"] = bool((outputs[0] == outputs[1]).all())
    return found


def on_a_cluster():
    """The same on workers of Dask's, each a process; then on such as dask-cuda would start."""
    import distributed

    class CPUAffinity(distributed.WorkerPlugin):
        """In the place of dask-cuda's plugins, of which each of its workers has this one."""

    CPUAffinity.__module__ = "dask_cuda.plugins"
    found = {"mlp 1": fits_of(search(MLP, "alpha", 1).cv_results_)}
    cluster = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(processes=True, **cluster) as workers,
        distributed.Client(workers) as client,
        joblib.parallel_config("dask"),
    ):
        found["mlp 4"] = fits_of(search(MLP, "alpha", 4).cv_results_)
        client.register_plugin(CPUAffinity())
        found["own 4"] = fits_of(search(MLP, "alpha", 4).cv_results_)
        turn = dataclasses.asdict(client.submit(in_turn, turns(4)[3], current_turn).result())
    return found | {"own turn": turn}


def main(backend):
    """The other end of the tests that start this file."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    if backend == "dask":
        found = on_a_cluster()
    else:
        with joblib.parallel_config(backend):
            found = everything()
    print(json.dumps({"own": os.getpid(), **found}))
