"""Callbacks of the linear models, alone and in the stacks of a search."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from _checkpoints import LINEAR, SPARSE, X, Y, assert_equal, fit_of, quietly
from _requirements import RELEASE
from estimators import LogisticRegression, Perceptron
from estimators.callbacks import Checkpoint, EpochInfo
from estimators.linear.logistic_fit import LogisticFit
from estimators.linear.perceptron_swept import SweptFit
from estimators.model_selection import GridSearchCV
from estimators.shared.samples import Samples

each = pytest.mark.parametrize("name", LINEAR)
STACKS = {
    "lbfgs": (LogisticFit, [LogisticRegression(C=c, tol=1e-9) for c in (0.01, 1.0, 100.0)]),
    "saga": (LogisticFit, [LogisticRegression(C=c, solver="saga") for c in (0.01, 1.0)]),
    "perceptron": (
        SweptFit,
        [
            Perceptron(multi_class="multinomial", max_iter=n, tol=None, penalty=penalty, alpha=0.01)
            for n, penalty in ((7, None), (12, "l2"), (9, "l2"))
        ],
    ),
}


@each
def test_a_callback_is_told_of_each_epoch(name):
    heard = []
    model = clone(LINEAR[name]).set_params(callbacks=lambda *told: heard.append(told))
    model, alone = fit_of(model, X), fit_of(LINEAR[name], X)
    assert_equal(model, alone)
    n_iter = int(np.max(model.n_iter_))
    infos = [info for _, info in heard]
    assert all(isinstance(info, EpochInfo) for info in infos)
    assert [info.epoch for info in infos] == list(range(1, n_iter + 1))
    assert {info.n_epochs for info in infos} == {model.max_iter}
    assert (np.diff([info.seconds for info in infos]) >= 0).all()
    rates = {info.learning_rate for info in infos}
    if isinstance(model, LogisticRegression):
        assert np.isnan(list(rates)).all()
        assert infos[-1].loss <= infos[0].loss
    elif model.learning_rate == "constant":
        assert rates == {1.0}
    else:
        assert min(rates) == infos[-1].learning_rate == (n_iter * len(X)) ** -0.5
    assert (infos[0].validation_score is None) == (name != "early stopping")
    # the snapshots are whole, and stay what they were
    for snapshot, info in heard:
        assert snapshot.callbacks is None
        short = fit_of(clone(LINEAR[name]).set_params(max_iter=info.epoch), X)
        assert_equal(pickle.loads(pickle.dumps(snapshot)), short)
        if info.epoch > 4:
            break
    assert_equal(heard[-1][0], alone)


@each
def test_true_stops(name):
    others = []
    stop, note = lambda e, info: info.epoch == 2, lambda e, info: others.append(info.epoch)
    model = clone(LINEAR[name]).set_params(callbacks=[stop, note])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was not the limit that stopped it
        np.random.seed(0)
        model.fit(X, Y > 0 if model.get_params().get("solver") == "liblinear" else Y)
    assert_equal(model, fit_of(clone(LINEAR[name]).set_params(max_iter=2), X))
    assert others == [1, 2]


@pytest.mark.parametrize("name", ["lbfgs", "newton-cg", "elastic net", "perceptron"])
def test_a_failure_leaves_the_last_fit(name):
    """Also one of a kind that a solver understands in its own way."""
    for kind in (OSError, FloatingPointError, StopIteration, ZeroDivisionError):

        def fails(estimator, info, kind=kind):
            raise kind("the disk is full")

        model = fit_of(LINEAR[name], X)
        before = model.coef_.copy(), np.copy(model.n_iter_)
        with pytest.raises(kind, match="the disk is full"):
            model.set_params(callbacks=fails).fit(X[:60], Y[:60])
        np.testing.assert_array_equal(model.coef_, before[0])
        np.testing.assert_array_equal(model.n_iter_, before[1])


@pytest.mark.parametrize("name", ["lbfgs", "saga", "perceptron"])
def test_ctrl_c_in_a_callback_keeps_what_is_trained(name):
    def interrupts(estimator, info):
        if info.epoch == 2:
            raise KeyboardInterrupt

    model = clone(LINEAR[name]).set_params(callbacks=interrupts)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, Y)
    assert_equal(model, fit_of(clone(LINEAR[name]).set_params(max_iter=2), X))


def test_what_is_no_callback_is_refused():
    for cls in (LogisticRegression, Perceptron):
        with pytest.raises(ValueError, match=f"'callbacks' parameter of {cls.__name__} must be"):
            cls(callbacks="print").fit(X, Y)
    with pytest.raises(ValueError, match=r"objects with a method on_epoch_end.*got 'print'"):
        LogisticRegression(callbacks=["print"]).fit(X, Y)


@pytest.mark.skipif(RELEASE < (1, 9), reason="callbacks came with scikit-learn 1.9")
def test_scikit_learns_callbacks_stop_too():
    class Stops:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = lambda self, *args, **more: None

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **more):
            return context.task_name != "fit" and context.task_id == 1

    for solver in ("lbfgs", "newton-cg", "saga"):
        model = LogisticRegression(solver=solver, tol=1e-9).set_callbacks(Stops())
        assert quietly(model, X, Y).n_iter_ == 2


# scikit-learn's loop -----------------------------------------------------------------------------


def test_scikit_learns_loop_says_that_it_tells_nothing(tmp_path):
    file = tmp_path / "one.ckpt"
    quietly(Perceptron(multi_class="multinomial", callbacks=Checkpoint(file)), X, Y)
    message = r"scikit-learn's loop.*for {}, set multi_class='multinomial', or device="
    for callbacks in (Checkpoint(file), lambda e, info: None, [Checkpoint(file)]):
        model = Perceptron(callbacks=callbacks, device="cpu")
        with pytest.raises(ValueError, match=message.format("callbacks")):
            model.fit(X, Y)
        with pytest.raises(ValueError, match=message.format("callbacks")):
            model.partial_fit(X, Y, classes=np.unique(Y))
        model.set_params(callbacks=None).partial_fit(X, Y, classes=np.unique(Y))
    with pytest.raises(ValueError, match=message.format("resume_from")):
        Perceptron(device="cpu").fit(X, Y, resume_from=file)
    assert_equal(quietly(Perceptron(callbacks=[]), X, Y), quietly(Perceptron(), X, Y))


def test_partial_fit_of_a_perceptron_tells_and_writes_nothing(tmp_path):
    heard, file = [], tmp_path / "one.ckpt"
    hears = [Checkpoint(file), lambda estimator, info: heard.append(estimator.t_)]
    model = Perceptron(multi_class="multinomial", callbacks=hears)
    for _ in range(3):
        model.partial_fit(X, Y, classes=np.unique(Y))
    assert heard == [121.0, 241.0, 361.0]
    assert not file.exists()


# Stacks ------------------------------------------------------------------------------------------


def run(kind, models, samples, rows=None):
    """Fit models as a search does; return the fits."""
    fits = [model._prepare(samples, rows=rows) for model in models]
    kind.run(fits)
    return fits


@pytest.mark.parametrize("data", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", STACKS)
def test_files_of_a_stack_are_those_of_fits_alone(name, data, tmp_path):
    kind, models = STACKS[name]
    rows = np.flatnonzero(np.arange(len(Y)) % 5)
    files = [tmp_path / f"{i}-{{epoch}}.ckpt" for i in range(len(models))]
    stack = [
        clone(m).set_params(callbacks=Checkpoint(f)) for m, f in zip(models, files, strict=True)
    ]
    for fit in run(kind, stack, Samples(data, Y), rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit.finish()
    for model, told, file in zip(models, stack, files, strict=True):
        whole = quietly(clone(model), data[rows], Y[rows])
        assert_equal(told, whole)
        n_iter = int(np.max(whole.n_iter_))
        for epoch in {1, n_iter // 2, n_iter}:
            one = str(file).format(epoch=epoch)
            assert_equal(quietly(clone(model), data[rows], Y[rows], resume_from=one), whole)


@pytest.mark.parametrize("name", STACKS)
def test_what_a_callback_raises_or_stops_is_its_model_alone(name):
    kind, models = STACKS[name]

    def fails(estimator, info):
        if info.epoch == 2:
            raise OSError("the disk is full")

    for callback in (fails, lambda estimator, info: info.epoch == 2):
        stack = [clone(m) for m in models]
        stack[0].set_params(callbacks=callback)
        for i, (fit, model) in enumerate(zip(run(kind, stack, Samples(X, Y)), models, strict=True)):
            if i or callback is not fails:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    fit.finish()
                ends = clone(model).set_params(max_iter=2) if i == 0 else clone(model)
                assert_equal(fit.estimator, quietly(ends, X, Y))
            else:
                with pytest.raises(OSError, match="the disk is full"):
                    fit.finish()


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.filterwarnings("ignore")
def test_a_search(name):
    """It tells each fit's callbacks, and its scores are those without them."""
    _, models = STACKS[name]
    heard = []

    def hears(estimator, info):
        heard.append(info.epoch)

    def fails(estimator, info):
        raise OSError("the disk is full")

    grid = {"callbacks": [None, hears, fails], "tol": [models[0].tol]}
    search = GridSearchCV(clone(models[0]), grid, cv=3, refit=False)
    with pytest.warns(FitFailedWarning, match=r"(?s)3 fits failed.*the disk is full"):
        search.fit(X, Y)
    scores = np.stack([search.cv_results_[f"split{i}_test_score"] for i in range(3)], axis=1)
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.isfinite(scores[:2]).all() and np.isnan(scores[2]).all()
    assert heard.count(1) == 3
