"""The same search on a cluster
============================

joblib sends the work of a search wherever it is told: to processes, to threads, or to the workers
of a Dask cluster. Two lines more than in the example before, and everything else stays::

    with LocalCluster(n_workers=2) as cluster, Client(cluster):
        with joblib.parallel_config("dask"):
            search.fit(X, y)

`LocalCluster` starts its workers on this machine. Those of other machines are reached in the same
way, as ``Client("tcp://address:8786")``, wherever a `dask scheduler` waits and a `dask worker` has
been started on each of them; they need the packages that are installed here.

Each worker is given an equal share of the networks, and trains its share as one stack. A share is
all candidates of some folds, as far as that comes out even: so a worker scales the digits and
computes their components for its own folds only. The scores are those of the search in one process,
to the last bit, which the script checks.

Left: the scores. Right: which worker has trained which network.
"""

import os

import joblib
import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save
from dask.distributed import Client, LocalCluster
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from estimators import MLPClassifier
from estimators.inspection import SearchDisplay
from estimators.model_selection import GridSearchCV

FOLDS = 5


def accuracy(estimator, X, y):
    """The score, and the process in which it was computed."""
    return {"accuracy": estimator.score(X, y), "process": os.getpid()}


def main():
    X, X_test, y, y_test = load(2000, 5000)
    model = Pipeline(
        [
            ("scale", StandardScaler()),
            ("components", PCA(pick(50, 20), random_state=0)),
            ("network", MLPClassifier((32,), max_iter=pick(15, 3), random_state=0)),
        ]
    )
    grid = {
        "network__alpha": pick([0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10], [0.001, 1]),
        "network__learning_rate_init": [0.001, 0.003, 0.01, 0.03, 0.1],
    }
    search = GridSearchCV(model, grid, cv=FOLDS, scoring=accuracy, refit="accuracy")

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster), joblib.parallel_config("dask"):
        search.fit(X, y)
    results = search.cv_results_
    print(f"{search.best_score_:.3f} right with {search.best_params_}")

    fits = np.array([results[f"split{fold}_test_process"] for fold in range(FOLDS)]).astype(int)
    workers, where = np.unique(fits, return_inverse=True)
    where = where.reshape(fits.shape)
    for number, worker in enumerate(workers):
        print(f"worker {number} (process {worker}): {np.sum(where == number)} networks")

    here = GridSearchCV(model, grid, cv=FOLDS, refit=False).fit(X, y).cv_results_
    same = np.array_equal(results["mean_test_accuracy"], here["mean_test_score"])
    print("the same scores as in one process:", same)

    figure, (scores, shares) = plt.subplots(
        1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=[1.25, 1]
    )
    SearchDisplay.from_estimator(
        search, metric="accuracy", ax=scores,
        params=["network__learning_rate_init", "network__alpha"],
    )  # fmt: skip
    scores.set_title("Which rate, which penalty?")

    shares.pcolormesh(where, cmap="tab10", vmin=0, vmax=10, edgecolors="white", linewidth=0.8)
    for number in range(len(workers)):
        shares.scatter([], [], marker="s", color=plt.cm.tab10(number), label=f"worker {number}")
    shares.set(title="Who trains what", xlabel="candidate", ylabel="fold")
    shares.set_yticks(np.arange(FOLDS) + 0.5, range(FOLDS))
    shares.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
    save(figure)


if __name__ == "__main__":  # the workers import this file
    main()
