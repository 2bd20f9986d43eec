"""The ready callbacks that stop a fit or show how it goes."""

from __future__ import annotations

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from pytest import MonkeyPatch
from sklearn.base import clone

from _checkpoints import quietly
from _requirements import require
from _told import MODELS, Hears, X, Y, fails, interrupts, with_callbacks
from estimators.callbacks import (
    EarlyStopping,
    EpochInfo,
    LearningRateLogger,
    ProgressBar,
)
from estimators.model_selection import GridSearchCV, cross_validate

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each = pytest.mark.parametrize("name", MODELS)


# EarlyStopping -----------------------------------------------------------------------------------


def stops_at(stopping, losses, scores=None):
    """The epoch after which it stops, told of these losses and scores."""
    stopping.on_fit_begin(None, EpochInfo(0, 99, np.nan, None, 0.1, 0.0))
    for k, loss in enumerate(losses):
        score = None if scores is None else scores[k]
        if stopping.on_epoch_end(None, EpochInfo(k + 1, 99, loss, score, 0.1, 0.0)):
            return k + 1
    return None


def test_when_it_stops():
    falls = [5, 4, 3, 3, 3, 2, 2, 2, 2, 2]
    assert stops_at(EarlyStopping(patience=2), falls) == 5
    assert stops_at(EarlyStopping(patience=3), falls) == 9
    assert stops_at(EarlyStopping(patience=0), falls) == stops_at(EarlyStopping(patience=1), falls)
    assert stops_at(EarlyStopping(patience=9), falls) is None
    assert stops_at(EarlyStopping("loss", 2, min_delta=1.0), [5, 4.5, 4.2, 3.9]) == 3
    assert stops_at(EarlyStopping("loss", 2, mode="max"), falls) == 3
    # by the score, where there is one: more is better
    scores = [0.1, 0.5, 0.4, 0.5, 0.6]
    assert stops_at(EarlyStopping(patience=2), falls[:5], scores) == 4
    assert stops_at(EarlyStopping("loss", patience=2), falls[:5], scores) == 5
    # a baseline that is not reached counts, however it gets better
    assert stops_at(EarlyStopping(patience=3, baseline=1.0), falls) == 3
    assert stops_at(EarlyStopping(patience=3, baseline=4.5), falls) == 9
    assert stops_at(EarlyStopping(patience=2, start_from_epoch=4), falls) == 8
    # NaN is no improvement, also as the first
    assert stops_at(EarlyStopping(patience=2), [np.nan, np.nan, 1.0]) == 2
    assert stops_at(EarlyStopping(patience=3), [np.nan, 5, np.inf, np.nan, np.nan]) == 5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"monitor": "val_loss"}, "monitor must be a function or one of .*'loss'"),
        ({"mode": "less"}, "mode must be"),
        ({"monitor": lambda e, i: 0.0}, "mode must be 'min' or 'max' where monitor is a function"),
        ({"patience": -1}, "patience must be"),
        ({"patience": 1.5}, "patience must be"),
        ({"start_from_epoch": -1}, "start_from_epoch must be"),
        ({"min_delta": -1.0}, "min_delta must not be below 0"),
    ],
)
def test_what_early_stopping_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**parameters)


@each
def test_it_stops_each_estimator_and_ends_with_the_best(name):
    """The best by a function of the estimator, which no built-in early stopping knows."""

    def far_from_third(estimator, info):
        return abs(info.epoch - 3)

    for restore_best in (False, True):
        stopping = EarlyStopping(far_from_third, 2, mode="min", restore_best=restore_best)
        model = quietly(with_callbacks(name, stopping), X, Y)
        assert np.max(model.n_iter_) == stopping.stopped_epoch_ == 5
        assert (stopping.best_epoch_, stopping.best_value_) == (3, 0.0)
        ends = quietly(clone(MODELS[name]).set_params(max_iter=3 if restore_best else 5), X, Y)
        for attribute in ("coef_", "intercept_", "coefs_", "intercepts_"):
            mine, theirs = (getattr(m, attribute, []) for m in (model, ends))
            for a, b in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(model.predict(X), ends.predict(X))
        # it goes on from these weights, and says how long it has trained
        model.set_params(warm_start=True, max_iter=1, callbacks=None).fit(X, Y)


@each
def test_a_function_monitors_the_estimator_as_it_is_then(name):
    """The scores of snapshots, of which the last is the fit's."""
    scores = []

    def score(estimator, info):
        scores.append(estimator.score(X, Y))
        return scores[-1]

    stopping = EarlyStopping(score, 99, mode="max", restore_best=True)
    model = quietly(with_callbacks(name, stopping), X, Y)
    assert stopping.best_value_ == max(scores) == model.score(X, Y)
    assert stopping.best_epoch_ == 1 + scores.index(max(scores))


@each
def test_ctrl_c_leaves_the_best(name):
    stopping = EarlyStopping(
        lambda estimator, info: abs(info.epoch - 2), 9, mode="min", restore_best=True
    )
    model = with_callbacks(name, stopping, Hears(("epoch", 4), interrupts))
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, Y)
    ends = quietly(clone(MODELS[name]).set_params(max_iter=2), X, Y)
    np.testing.assert_array_equal(model.predict(X), ends.predict(X))
    for attribute in {"coef_", "coefs_"} & set(vars(ends)):
        for a, b in zip(getattr(model, attribute), getattr(ends, attribute), strict=True):
            np.testing.assert_array_equal(a, b)


@each
def test_a_search_stops_each_fit_by_itself_with_the_results_of_fits_alone(name):
    """Stacked or not, scores are those of the best epochs; the user's object is untouched."""
    stopping = EarlyStopping("loss", 2, 1e-2, restore_best=True)
    model = with_callbacks(name, stopping)
    key = {"logistic": "C", "saga": "C", "perceptron": "alpha"}.get(name, "alpha")
    grid = {key: [1e-4, 1e-1, 10.0]}
    if name == "perceptron":
        model.set_params(penalty="l2")
    searches = [GridSearchCV(model, grid, cv=3, fused=fused).fit(X, Y) for fused in (True, False)]
    np.testing.assert_array_equal(*(search.cv_results_["mean_test_score"] for search in searches))
    assert stopping.best_epoch_ is None
    (own,) = searches[0].best_estimator_.callbacks
    assert own is not stopping and own.best_epoch_ is not None


@pytest.mark.parametrize(
    ("callback", "goes_on"), [(EarlyStopping("loss", 4), False), (ProgressBar(), True)], ids=repr
)
def test_a_killed_search_has_the_scores_of_one_that_was_not(callback, goes_on, tmp_path):
    """A fit in its middle begins anew if its callback remembers something."""
    grid, epochs = {"alpha": [1e-4, 1.0]}, []

    def killed(estimator, info):
        epochs.append(info.epoch)
        if info.epoch == 5:
            raise SystemExit
        return False

    killed_by, counts = SimpleNamespace(on_epoch_end=killed), SimpleNamespace()
    counts.on_epoch_end = lambda estimator, info: epochs.append(info.epoch)
    killed_by.may_stop = counts.may_stop = False
    whole = GridSearchCV(with_callbacks("mlp", callback), grid, cv=2, refit=False).fit(X, Y)
    search = GridSearchCV(with_callbacks("mlp"), grid, cv=2, refit=False, checkpoint=tmp_path)
    with MonkeyPatch.context() as patch:
        patch.setattr("estimators.search.kept._SECONDS", 0.0)
        patch.setattr("estimators.search.kept._hashed", lambda what, of: _name_of(of))
        with pytest.raises(SystemExit):
            search.set_params(estimator__callbacks=[callback, killed_by]).fit(X, Y)
        epochs.clear()
        search.set_params(estimator__callbacks=[callback, counts]).fit(X, Y)
    np.testing.assert_array_equal(*(s.cv_results_["mean_test_score"] for s in (whole, search)))
    assert (min(epochs) > 1) == goes_on


def _name_of(of):
    """The name of a fit, which does not depend on its callbacks."""
    if "parameters" not in (of[1] if isinstance(of[1], dict) else {}):
        return "samples"
    return f"{of[1]['parameters']['alpha']}-{of[1]['train'][0]}-{of[1]['train'][-1]}"


def test_a_search_with_two_jobs():
    model = with_callbacks("mlp", EarlyStopping("loss", 2, 0.1), ProgressBar())
    alone, jobs = (cross_validate(model, X, Y, cv=4, n_jobs=n)["test_score"] for n in (None, 2))
    np.testing.assert_array_equal(alone, jobs)


def test_without_a_validation_score_it_says_what_to_do():
    with pytest.raises(ValueError, match="give X_val and y_val to fit"):
        with_callbacks("mlp", EarlyStopping("validation_score")).fit(X, Y)


def test_weights_of_an_epoch_before_the_fit_diverged_are_kept():
    stopping = EarlyStopping("loss", 20, restore_best=True)
    model = with_callbacks(
        "mlp", stopping, solver="sgd", learning_rate_init=1e3, activation="relu", max_iter=30
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X, Y)
        except ValueError:
            assert stopping.best_epoch_ is None  # its first epoch was lost already
        else:
            assert np.isfinite(model.coefs_[0]).all()


def test_it_counts_the_calls_of_partial_fit():
    stopping = EarlyStopping("loss", patience=3, min_delta=10.0)
    model = with_callbacks("perceptron", stopping)
    calls = 0
    while stopping.stopped_epoch_ is None:
        model.partial_fit(X, Y, classes=np.unique(Y))
        calls += 1
    assert calls == stopping.stopped_epoch_ == 4 and stopping.best_epoch_ == 1


def test_it_says_that_it_stops(capsys):
    stopping = EarlyStopping("loss", patience=2, min_delta=10.0, verbose=True)
    quietly(with_callbacks("mlp", stopping), X, Y)
    line = capsys.readouterr().out
    assert line.startswith("Epoch 3: stopping, as 'loss' has not improved for 2 epochs.")
    assert f"The best value is {stopping.best_value_:.6g}, of epoch 1." in line


# What all of them do -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "callback",
    [EarlyStopping("loss", 2, restore_best=True), LearningRateLogger(False), ProgressBar("rich")],
    ids=repr,
)
def test_clone_and_pickle(callback):
    new = clone(callback)
    model = quietly(clone(MODELS["mlp"]).set_params(callbacks=[callback]), X, Y)
    own = clone(model).callbacks[0]
    assert own is not callback and repr(own) == repr(callback) == repr(new)
    assert vars(own) == vars(new)  # it knows nothing of the fit
    for one in (callback, pickle.loads(pickle.dumps(model)).callbacks[0]):
        assert {n: v for n, v in vars(one).items() if n[-1:] == "_"} == {
            n: v for n, v in vars(callback).items() if n[-1:] == "_"
        }


def test_the_rates_of_a_fit(capsys):
    logger = LearningRateLogger()
    model = with_callbacks("mlp", logger, solver="sgd", learning_rate="invscaling")
    heard = Hears()
    model.callbacks.append(heard)
    quietly(model, X, Y)
    rates = [info.learning_rate for _, info in heard.infos[1:-1]]
    assert logger.learning_rates_ == rates and len(set(rates)) == 9
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Epoch {k + 1}, learning rate = {r:.6g}" for k, r in enumerate(rates)]
    # one line, where the rate stays; none, where there is no rate, or in a search
    quietly(with_callbacks("mlp", LearningRateLogger()), X, Y)
    assert capsys.readouterr().out == "Epoch 1, learning rate = 0.001\n"
    logger = LearningRateLogger()
    quietly(with_callbacks("logistic", logger), X, Y)
    assert np.isnan(logger.learning_rates_).all() and len(logger.learning_rates_) == 9
    cross_validate(with_callbacks("mlp", LearningRateLogger()), X, Y, cv=2)
    assert capsys.readouterr().out == ""


# ProgressBar -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["tqdm", "rich"])
@each
def test_a_bar_by_either_package(name, backend, capsys):
    require(backend, "test")
    bar = ProgressBar(backend)
    model = quietly(with_callbacks(name, bar), X, Y)
    out, err = capsys.readouterr()
    n = int(np.max(model.n_iter_))
    assert out == "" and f"{n}/9" in err and "loss=" in err and "epoch" in err
    assert ("rate=" in err) == (name in ("mlp", "convnet", "perceptron"))
    assert bar._reporter is None  # closed
    # fits that a search trains together show nothing
    grid = {"C" if "C" in model.get_params() else "alpha": [0.1, 1.0]}
    GridSearchCV(with_callbacks(name, bar), grid, cv=2, refit=False).fit(X, Y)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_closed_however_the_fit_ends(capsys):
    for does in (interrupts, fails):
        bar = ProgressBar()
        model = with_callbacks("mlp", bar, Hears(("epoch", 2), does))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(X, Y)
            except OSError:
                assert does is fails
        assert bar._reporter is None and "2/9" in capsys.readouterr().err


def test_a_bar_in_partial_fit_is_one_of_an_epoch(capsys):
    bar = ProgressBar()
    model = with_callbacks("mlp", bar)
    for _ in range(2):
        model.partial_fit(X, Y, classes=np.unique(Y))
        assert "1/1" in capsys.readouterr().err and bar._reporter is None


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend must be one of"):
        ProgressBar("curses")


def test_a_bar_can_be_pickled_while_it_is_shown():
    bar = ProgressBar()
    model = with_callbacks("mlp", bar)
    model.callbacks.append(lambda estimator, info: pickle.loads(pickle.dumps(bar)).backend == 0)
    assert quietly(model, X, Y).n_iter_ == 9
