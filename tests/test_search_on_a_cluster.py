"""Searches on joblib's backends, a Dask cluster among them: the results of one process."""

from __future__ import annotations

import os

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _requirements import require
from estimators import LogisticRegression, MLPClassifier
from estimators.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
)
from estimators.neural.fit import NeuralFit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

START = 20  # seconds after which workers that do not come up, or cannot be reached, are an error


def count_stacks(dask_worker):
    """Note, on a worker, the sizes of the stacks of networks that run there from now on."""
    dask_worker.stacks, run = [], NeuralFit.run.__func__

    def counted(cls, trainings, watch=None):
        dask_worker.stacks.append(len(trainings))
        return run(cls, trainings, watch)

    NeuralFit.run = classmethod(counted)


def noted_stacks(dask_worker):
    """Return the sizes noted since this was last asked."""
    noted, dask_worker.stacks[:] = list(dask_worker.stacks), []
    return noted


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """A client of two workers, each a process of one thread; all are gone afterwards."""
    dask, distributed = require("dask", "cluster"), require("distributed", "cluster")
    settings = {
        "distributed.comm.timeouts.connect": f"{START}s",
        "temporary_directory": str(tmp_path_factory.mktemp("dask")),
    }
    cluster = {"processes": True, "threads_per_worker": 1, "memory_limit": "600MiB"}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, dashboard_address="127.0.0.1:0", death_timeout=START, **cluster
        ) as local,
        distributed.Client(local, timeout=START) as client,
    ):
        client.run(count_stacks)
        yield client


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


def score(estimator, X, y):
    """The accuracy, and where it was computed."""
    return {"score": estimator.score(X, y), "process": os.getpid()}


NETWORK = MLPClassifier((24,), max_iter=40, random_state=0)
SEARCHES = {
    "network": (NETWORK, {"alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 1e-2, 1e-1]}),
    "pipeline": (
        make_pipeline(StandardScaler(), LogisticRegression()),
        {"logisticregression__C": [1e-2, 1.0, 1e2]},
    ),
}
each = pytest.mark.parametrize(("estimator", "grid"), SEARCHES.values(), ids=SEARCHES)


def searched(estimator, grid, data, n_jobs=None):
    options = {"scoring": score, "refit": "score", "return_train_score": True}
    return GridSearchCV(estimator, grid, cv=4, n_jobs=n_jobs, **options).fit(*data)


def processes(search):
    """Where the fits of a search were scored, fit by fit."""
    columns = [search.cv_results_[f"split{i}_test_process"] for i in range(4)]
    return [int(number) for column in columns for number in column]


def assert_same_outcome(search, other):
    """All scores are equal, and so are the predictions of the best."""
    assert search.cv_results_.keys() == other.cv_results_.keys()
    scores = [name for name in search.cv_results_ if name.endswith("_score")]
    assert len(scores) == 2 * (4 + 2) + 1  # folds, mean, spread, of both parts; and the rank
    for name in scores:
        np.testing.assert_array_equal(search.cv_results_[name], other.cv_results_[name], name)
    assert search.cv_results_["params"] == other.cv_results_["params"]
    assert search.best_params_ == other.best_params_


@each
@pytest.mark.parametrize("n_jobs", [None, -1, 2])
def test_workers_of_a_cluster_share_a_search(workers, digits, estimator, grid, n_jobs):
    with joblib.parallel_config("dask"):
        search = searched(estimator, grid, digits, n_jobs)
    assert_same_outcome(search, searched(estimator, grid, digits))
    fits = processes(search)
    pids = set(workers.run(os.getpid).values())
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert {fits.count(pid) for pid in pids} == {len(fits) // 2}
    stacks = workers.run(noted_stacks)
    if estimator is NETWORK:  # each has its share of the fits as one stack
        assert list(stacks.values()) == [[12], [12]]


def test_results_of_workers_come_back_in_order(workers, digits):
    expected = cross_val_predict(NETWORK, *digits, cv=5, method="predict_proba")
    with joblib.parallel_config("dask"):
        predicted = cross_val_predict(NETWORK, *digits, cv=5, method="predict_proba")
    np.testing.assert_array_equal(predicted, expected)
    assert sorted(map(sum, workers.run(noted_stacks).values())) == [2, 3]


def test_halving_on_a_cluster(workers, digits):
    grid = {"alpha": np.logspace(-4, 1, 6)}
    options = {"resource": "max_iter", "max_resources": 18, "cv": 2, "random_state": 0}
    expected = HalvingGridSearchCV(NETWORK, grid, **options).fit(*digits)
    with joblib.parallel_config("dask"):
        search = HalvingGridSearchCV(NETWORK, grid, **options).fit(*digits)
    for name in ("iter", "mean_test_score", "n_resources"):
        np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])
    noted = workers.run(noted_stacks).values()
    assert all(len(stacks) == search.n_iterations_ > 1 for stacks in noted)


def test_an_error_on_a_worker_is_raised_here(workers, digits):
    search = GridSearchCV(NETWORK, {"alpha": [1.0, -1.0]}, cv=2, error_score="raise")
    with (
        joblib.parallel_config("dask"),
        pytest.raises(ValueError, match="The 'alpha' parameter of MLPClassifier must be"),
    ):
        search.fit(*digits)
    with joblib.parallel_config("dask"):  # and the workers go on working
        assert cross_val_score(NETWORK, *digits, cv=2).shape == (2,)


@each
def test_processes_of_this_machine(digits, estimator, grid):
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        search = searched(estimator, grid, digits, n_jobs=2)
    assert_same_outcome(search, searched(estimator, grid, digits))
    assert os.getpid() not in processes(search)


@each
def test_threads(digits, estimator, grid):
    with joblib.parallel_config("threading", n_jobs=2):
        search = searched(estimator, grid, digits)
    assert_same_outcome(search, searched(estimator, grid, digits))
    assert set(processes(search)) == {os.getpid()}
