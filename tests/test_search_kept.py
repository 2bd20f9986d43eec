"""Searches that keep their fits in a folder, and go on after they were stopped."""

from __future__ import annotations

import contextlib
import json
import os
import pickle

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _requirements import require
from _searches import QUIET, SEARCHES, assert_same_results, mlp
from estimators import LogisticRegression, Perceptron
from estimators import model_selection as ours
from estimators.neural.callbacks import NetworkCallbacks
from estimators.neural.fit import NeuralFit
from estimators.search import kept

pytestmark = QUIET

ALPHAS = {"alpha": [1e-4, 1e-2, 1.0]}
IN_STEPS = {f"mlpclassifier__{name}": values for name, values in ALPHAS.items()}
ESTIMATORS = {
    "mlp": (mlp(), ALPHAS),
    "pipeline": (make_pipeline(StandardScaler(), mlp()), IN_STEPS),
    "early stopping": (mlp(early_stopping=True, max_iter=20, n_iter_no_change=2), ALPHAS),
    "lbfgs": (mlp(solver="lbfgs"), ALPHAS),
    "logistic": (LogisticRegression(max_iter=20), {"C": [0.1, 1.0, 10.0]}),
    "perceptron": (Perceptron(), {"eta0": [0.1, 1.0, 3.0]}),
    "scikit-learn's": (RidgeClassifier(), ALPHAS),
}


class Killed(BaseException):
    """What stands for the end of a process."""


def search(name, folder=None, **options):
    estimator, grid = ESTIMATORS[name]
    return ours.GridSearchCV(estimator, grid, cv=2, refit=False, checkpoint=folder, **options)


def results(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".json"))


@pytest.fixture
def no_fits(monkeypatch):
    """Nothing may be trained any more."""

    def refuse(*args, **kwargs):
        raise Killed

    for cls in (NeuralFit, LogisticRegression, Perceptron, RidgeClassifier):
        monkeypatch.setattr(cls, "run" if cls is NeuralFit else "fit", refuse)
    monkeypatch.setattr("estimators.search.run._train", refuse)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_done_is_not_done_again(name, digits, tmp_path, request):
    whole = search(name).fit(*digits)
    first = search(name, tmp_path / "a folder").fit(*digits)
    assert_same_results(first.cv_results_, whole.cv_results_)
    assert len(os.listdir(tmp_path / "a folder")) == 6
    request.getfixturevalue("no_fits")
    again = search(name, str(tmp_path / "a folder")).fit(*digits)
    for column, values in first.cv_results_.items():
        np.testing.assert_array_equal(again.cv_results_[column], values)  # the times as well


@pytest.mark.parametrize("after", [1, 3, 4])
@pytest.mark.parametrize("name", ["mlp", "pipeline", "scikit-learn's"])
def test_a_search_that_was_stopped(name, after, digits, tmp_path, monkeypatch):
    whole = search(name).fit(*digits)
    n_done, write = [0], kept.KeptFit.write

    def stopped(self, result):
        if n_done[0] == after:
            raise Killed
        n_done[0] += 1
        write(self, result)

    monkeypatch.setattr(kept.KeptFit, "write", stopped)
    with pytest.raises(Killed):
        search(name, tmp_path).fit(*digits)
    monkeypatch.undo()
    assert len(results(tmp_path)) == after
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in results(tmp_path)}
    again = search(name, tmp_path).fit(*digits)
    assert_same_results(again.cv_results_, whole.cv_results_)
    assert len(results(tmp_path)) == 6
    assert all((tmp_path / path).stat().st_mtime_ns == t for path, t in before.items())


@pytest.mark.parametrize("name", ["mlp", "pipeline", "early stopping", "lbfgs"])
def test_networks_that_are_under_way(name, digits, tmp_path, monkeypatch):
    """A stack ends all at once: without files in between a kill would lose all of it."""
    whole = search(name).fit(*digits)
    tell, n_epochs = NetworkCallbacks.tell, []

    def stopped(self, member, arrays):
        if member.state.n_iter == 4:
            raise Killed
        return counted(self, member, arrays)

    def counted(self, member, arrays):
        n_epochs.append(member.state.n_iter)
        return tell(self, member, arrays)

    monkeypatch.setattr(kept, "_SECONDS", 0.0)
    monkeypatch.setattr(NetworkCallbacks, "tell", stopped)
    with pytest.raises(Killed):
        search(name, tmp_path).fit(*digits)
    assert sorted(os.listdir(tmp_path)) and not results(tmp_path)
    monkeypatch.setattr(NetworkCallbacks, "tell", counted)
    n_epochs.clear()
    again = search(name, tmp_path).fit(*digits)
    # with "lbfgs" a fold learns after the other, and the second had not begun
    assert min(n_epochs) == (1 if name == "lbfgs" else 4)
    assert 4 in n_epochs and n_epochs.count(1) <= 3
    assert_same_results(again.cv_results_, whole.cv_results_)
    assert len(os.listdir(tmp_path)) == 6  # the files of networks are gone


@pytest.mark.parametrize("name", ["mlp", "logistic", "scikit-learn's"])
def test_jobs(name, digits, tmp_path, request):
    whole = search(name).fit(*digits)
    first = search(name, tmp_path, n_jobs=2).fit(*digits)
    assert_same_results(first.cv_results_, whole.cv_results_)
    for path in results(tmp_path)[::2]:
        (tmp_path / path).unlink()
    assert_same_results(
        search(name, tmp_path, n_jobs=2).fit(*digits).cv_results_, whole.cv_results_
    )
    request.getfixturevalue("no_fits")
    assert_same_results(search(name, tmp_path).fit(*digits).cv_results_, whole.cv_results_)


@pytest.mark.parametrize("name", SEARCHES)
def test_all_searches(name, digits, tmp_path, request):
    options = {"cv": 2, "refit": False}
    if name != "GridSearchCV":
        options["random_state"] = 0
    whole = getattr(ours, name)(mlp(), ALPHAS, **options).fit(*digits)
    getattr(ours, name)(mlp(), ALPHAS, **options, checkpoint=tmp_path).fit(*digits)
    request.getfixturevalue("no_fits")
    again = getattr(ours, name)(mlp(), ALPHAS, **options, checkpoint=tmp_path).fit(*digits)
    assert_same_results(again.cv_results_, whole.cv_results_)


def test_searches_share_a_folder_and_take_their_own(digits, tmp_path):
    X, y = digits
    one = search("mlp", tmp_path).fit(X, y)
    changed = {
        "X": lambda: search("mlp", tmp_path).fit(X + 0.01, y),
        "y": lambda: search("mlp", tmp_path).fit(X, y[::-1]),
        "folds": lambda: search("mlp", tmp_path).set_params(cv=3).fit(X, y),
        "a parameter": lambda: search("mlp", tmp_path).set_params(estimator__tol=0.1).fit(X, y),
        "scoring": lambda: search("mlp", tmp_path, scoring="neg_log_loss").fit(X, y),
        "weights": lambda: search("mlp", tmp_path).fit(X, y, sample_weight=np.ones(len(y))),
        "train scores": lambda: search("mlp", tmp_path, return_train_score=True).fit(X, y),
    }
    n = 6
    for what, run in changed.items():
        run()
        assert len(results(tmp_path)) == n + (9 if what == "folds" else 6), what
        n = len(results(tmp_path))
    more = search("mlp", tmp_path)
    more.set_params(param_grid={"alpha": [1e-4, 1e-2, 1.0, 10.0]}).fit(X, y)
    assert len(results(tmp_path)) == n + 2  # one candidate more, in two folds
    np.testing.assert_array_equal(
        more.cv_results_["mean_test_score"][:3], one.cv_results_["mean_test_score"]
    )


@pytest.mark.parametrize("name", ["mlp", "pipeline"])
def test_what_is_printed_is_no_part_of_a_result(name, digits, tmp_path, request):
    one = search(name, tmp_path).fit(*digits)
    request.getfixturevalue("no_fits")
    loud = clone(search(name, tmp_path, verbose=3))
    names = [n for n in loud.estimator.get_params() if n.endswith("verbose")]
    loud.estimator.set_params(**dict.fromkeys(names, True))
    assert_same_results(loud.fit(*digits).cv_results_, one.cv_results_)


def test_several_scores_and_the_best(digits, tmp_path, request):
    options = {"scoring": ["accuracy", "neg_log_loss"], "return_train_score": True}
    one = search("mlp", tmp_path, **options).set_params(refit="neg_log_loss").fit(*digits)
    again = search("mlp", tmp_path, **options).set_params(refit="neg_log_loss").fit(*digits)
    assert_same_results(one.cv_results_, again.cv_results_)
    np.testing.assert_array_equal(one.predict(digits[0]), again.predict(digits[0]))


def test_what_fails_is_tried_again(digits, tmp_path):
    grid = {"alpha": [1e-4], "learning_rate_init": [1e-3, 1e30], "solver": ["sgd"]}
    failing = ours.GridSearchCV(mlp(), grid, cv=2, refit=False, checkpoint=tmp_path)
    with pytest.warns(FitFailedWarning, match="fits failed"):
        failing.fit(*digits)
    assert len(results(tmp_path)) == 2
    with pytest.warns(FitFailedWarning, match="fits failed"):
        failing.fit(*digits)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"test_scores": 1}', b"[" * 10**5, None])
def test_damaged_results_are_run_again(damage, digits, tmp_path):
    whole = search("mlp", tmp_path).fit(*digits)
    for path in results(tmp_path)[:2]:
        (tmp_path / path).write_bytes(b" " * 2**21 if damage is None else damage)
    again = search("mlp", tmp_path).fit(*digits)
    assert_same_results(again.cv_results_, whole.cv_results_)
    for path in results(tmp_path):
        assert json.loads((tmp_path / path).read_text())["fit_error"] is None


def test_a_damaged_network_begins_anew(digits, tmp_path):
    whole = search("mlp", tmp_path).fit(*digits)
    for path in results(tmp_path):
        (tmp_path / path).rename((tmp_path / path).with_suffix(".ckpt"))
    with pytest.warns(UserWarning, match="begins anew: .* is no checkpoint, or is damaged"):
        again = search("mlp", tmp_path).fit(*digits)
    assert_same_results(again.cv_results_, whole.cv_results_)


def test_what_cannot_be_kept_is_said(digits, tmp_path):
    scorer = make_scorer(lambda y, z: accuracy_score(y, z))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(scorer)
    with pytest.raises(ValueError, match="cannot be pickled, so that its results cannot be told"):
        search("mlp", tmp_path, scoring=scorer).fit(*digits)
    with pytest.raises(ValueError, match="checkpoint belongs to fused=True"):
        search("mlp", tmp_path, fused=False).fit(*digits)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        search("mlp", tmp_path / "file").fit(*digits)


class DiesOnce:
    """Kills the process in which a network trains for the first time."""

    def __init__(self, path):
        self.path = str(path)

    def on_epoch_end(self, estimator, info):
        if info.epoch == 4 and not os.path.exists(self.path):
            with open(self.path, "w"):
                os._exit(9)


def test_a_worker_that_dies(digits, tmp_path):
    """Dask loses the share of a worker with it; the next call takes what is done."""
    import joblib

    distributed = require("distributed", "cluster")
    grid = {"alpha": [1e-4, 1e-2], "callbacks": [[DiesOnce(tmp_path / "died")]]}
    options = {"cv": 4, "refit": False}
    whole = ours.GridSearchCV(mlp(), {"alpha": [1e-4, 1e-2]}, **options).fit(*digits)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", processes=True
    )
    one = ours.GridSearchCV(
        mlp(), grid, **options, n_jobs=2, max_stack_bytes=1, checkpoint=tmp_path / "kept"
    )
    with cluster as local, distributed.Client(local) as client:
        with joblib.parallel_backend("dask"), contextlib.suppress(Exception):
            one.fit(*digits)
        assert (tmp_path / "died").exists()
        before = results(tmp_path / "kept")
        client.wait_for_workers(2, timeout=60)
        with joblib.parallel_backend("dask"):
            one.fit(*digits)
    assert len(results(tmp_path / "kept")) == 8 and set(before) <= set(results(tmp_path / "kept"))
    for i in range(4):
        column = f"split{i}_test_score"
        np.testing.assert_array_equal(one.cv_results_[column], whole.cv_results_[column])


def test_it_is_scikit_learns_result(digits, tmp_path):
    ours_ = search("scikit-learn's", tmp_path).fit(*digits)
    theirs = sk.GridSearchCV(*ESTIMATORS["scikit-learn's"], cv=2, refit=False).fit(*digits)
    assert_same_results(ours_.cv_results_, theirs.cv_results_)
