"""Fits on a GPU that go on from a file, and those that Ctrl-C stops within an epoch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from estimators import ConvNetClassifier, MLPClassifier
from estimators.callbacks import Checkpoint
from estimators.checkpoints.archive import read_archive
from estimators.model_selection import GridSearchCV
from estimators.training import replay
from test_checkpoints import CHANGES, assert_same

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
SMALL = {"max_iter": 8, "random_state": 0, "batch_size": 24, "device": "cuda"}
MLP = MLPClassifier((8,), **SMALL)
CONV = ConvNetClassifier((2,), hidden_layer_sizes=(), **SMALL)
FITS = {
    "adam": MLP,
    "sgd": clone(MLP).set_params(solver="sgd", learning_rate="invscaling"),
    "early stopping": clone(MLP).set_params(early_stopping=True, dropout=0.2),
    "images that change": clone(CONV).set_params(augment=CHANGES, batch_norm=True),
    "no seed": clone(MLP).set_params(random_state=None),
}


@pytest.fixture
def data(cupy):
    rng = np.random.default_rng(0)
    return rng.random((70, 36), np.float32), np.arange(70) % 3


@pytest.mark.parametrize("name", FITS)
def test_it_goes_on_as_if_nothing_had_happened(name, data, tmp_path):
    """Although the next epoch is drawn already while a file is written."""
    np.random.seed(3)
    model = clone(FITS[name])
    whole = clone(model).set_params(callbacks=Checkpoint(tmp_path / "{epoch}")).fit(*data)
    for epoch in (1, 5, 7, 8):
        again = clone(model).fit(*data, resume_from=tmp_path / str(epoch))
        assert_same(again, whole)


@pytest.mark.parametrize("begun", ["cpu", "cuda"])
def test_from_one_device_to_the_other(begun, data, tmp_path):
    model, other = clone(MLP), {"cpu": "cuda", "cuda": "cpu"}[begun]
    model.set_params(device=begun, callbacks=Checkpoint(tmp_path / "{epoch}"))
    whole = model.fit(*data)
    moved = clone(MLP).set_params(device=other).fit(*data, resume_from=tmp_path / "4")
    assert moved.loss_curve_[:4] == whole.loss_curve_[:4]
    np.testing.assert_allclose(moved.loss_curve_, whole.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(moved.coefs_[0], whole.coefs_[0], rtol=1e-3, atol=1e-4)


def test_each_model_of_a_stack_writes_its_own(data, tmp_path):
    """Also where models leave the stack, and others do not."""
    X, y = data
    model = clone(MLP).set_params(n_iter_no_change=1, tol=0.02)
    grid = [
        {"callbacks": [Checkpoint(tmp_path / f"{alpha}-{{fit}}-{{epoch}}")], "alpha": [alpha]}
        for alpha in (1e-4, 1.0, 100.0)
    ]
    folds = [(np.arange(60), np.arange(60, 70))]
    GridSearchCV(model, grid, cv=folds, refit=False).fit(X, y)
    for entry in grid:
        alpha = entry["alpha"][0]
        files = Checkpoint(tmp_path / f"alone-{alpha}-{{epoch}}")
        whole = clone(model).set_params(alpha=alpha, callbacks=files).fit(X[:60], y[:60])
        for epoch in range(1, whole.n_iter_ + 1):
            meta, arrays = read_archive(tmp_path / f"{alpha}-1-{epoch}")
            alone, own = read_archive(tmp_path / f"alone-{alpha}-{epoch}")
            for name in ("state", "order", "has_ended"):
                assert meta[name] == alone[name], (alpha, epoch, name)
            for name in own:
                np.testing.assert_array_equal(arrays[name], own[name])


@pytest.mark.parametrize("replayed", [True, False])
@pytest.mark.parametrize("step", [2, 13, 20])
def test_ctrl_c_within_an_epoch(replayed, step, data, monkeypatch):
    """The weights are those of the last epoch that has ended, and so is all else."""
    if not replayed:
        monkeypatch.setattr(replay, "can_replay", lambda *_: False)
    left = [step]

    def struck(of):
        def run(*args):
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return of(*args)

        return run

    if replayed:
        run = replay.Recorded.__call__
        monkeypatch.setattr(replay.Recorded, "__call__", struck(run))
    else:
        from estimators.training.stack import ModelGroup

        monkeypatch.setattr(ModelGroup, "update", struck(ModelGroup.update))
    model = clone(MLP)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(*data)
    assert left[0] <= 0 and 0 <= model.n_iter_ < 8
    left[0] = -1
    if model.n_iter_:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = clone(MLP).set_params(max_iter=model.n_iter_).fit(*data)
        assert_same(model, whole)
