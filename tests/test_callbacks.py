"""Callbacks of the networks, their own and scikit-learn's."""

from __future__ import annotations

import pickle
import threading
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss

from _estimators import LEARNERS
from _requirements import RELEASE, require
from estimators import ConvNetClassifier, MLPClassifier, Perceptron

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FITS = [
    MLPClassifier((8,), max_iter=6, random_state=0),
    MLPClassifier((8,), solver="sgd", learning_rate="adaptive", max_iter=6, random_state=0),
    MLPClassifier((8,), solver="lbfgs", max_iter=6, random_state=0),
    ConvNetClassifier((2,), hidden_layer_sizes=(8,), max_iter=6, random_state=0),
    MLPClassifier((8,), batch_norm=True, dropout=0.2, max_iter=6, random_state=0),
]
each = pytest.mark.parametrize("network", FITS, ids=["adam", "sgd", "lbfgs", "conv", "norm"])


SMALL = {"hidden_layer_sizes": (8,), "conv_layer_sizes": (2,), "max_iter": 3, "random_state": 0}
SMALL |= {"early_stopping": True}
WITH_A_BAR = [cls for cls in LEARNERS if cls is not Perceptron]  # its loop is scikit-learn's


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200] / 16, y[:200]


@each
def test_a_callback_is_told_of_each_epoch(network, digits):
    X, y = digits
    heard = []
    model = clone(network).set_params(
        callbacks=lambda estimator, info: heard.append((estimator, info))
    )
    model.fit(X, y)
    assert [info.epoch for _, info in heard] == list(range(1, model.n_iter_ + 1))
    assert {info.n_epochs for _, info in heard} == {6}
    assert {info.validation_score for _, info in heard} == {None}
    seconds = [info.seconds for _, info in heard]
    assert seconds == sorted(seconds) and seconds[0] > 0
    if network.solver != "lbfgs":
        assert [info.loss for _, info in heard] == model.loss_curve_
        assert heard[0][1].learning_rate == 0.001
    # it is told with a fitted copy, which stays as it was then, and the last is the model
    losses = [log_loss(y, estimator.predict_proba(X)) for estimator, _ in heard]
    assert losses[0] > losses[-1]
    np.testing.assert_array_equal(heard[-1][0].predict_proba(X), model.predict_proba(X))
    assert [estimator.n_iter_ for estimator, _ in heard] == [info.epoch for _, info in heard]


@each
def test_what_a_callback_is_told_with_is_a_whole_estimator(network, digits):
    """it is pickled without callbacks, and goes on like a fit that ended there."""
    X, y = digits
    lock = threading.Lock()  # cannot be pickled
    pickles = []

    def keep(estimator, info, lock=lock):
        pickles.append(pickle.dumps(estimator))

    clone(network).set_params(callbacks=keep).fit(X, y)
    assert len(pickles) > 2
    for epochs in (1, 2):
        told = pickle.loads(pickles[epochs - 1])
        assert told.callbacks is None
        ended = clone(network).set_params(max_iter=epochs).fit(X, y)
        for model in (told, ended):
            model.set_params(max_iter=2, warm_start=True, random_state=1).fit(X, y)
        np.testing.assert_array_equal(told.coefs_[0], ended.coefs_[0])
        if network.solver == "lbfgs":
            continue
        np.testing.assert_array_equal(told.loss_curve_, ended.loss_curve_)
        for model in (told, ended):
            model.partial_fit(X, y)
        np.testing.assert_array_equal(told.coefs_[0], ended.coefs_[0])
        # without a fit in between, the moments go on
        told = pickle.loads(pickles[epochs - 1])
        ended = clone(network).set_params(max_iter=epochs).fit(X, y)
        for model in (told, ended):
            model.set_params(random_state=2).partial_fit(X, y)
        np.testing.assert_array_equal(told.coefs_[-1], ended.coefs_[-1])


@each
def test_callbacks_do_not_change_a_fit(network, digits):
    X, y = digits
    told = clone(network).set_params(callbacks=[lambda estimator, info: estimator.predict(X)])
    alone = clone(network).fit(X, y)
    np.testing.assert_array_equal(told.fit(X, y).predict_proba(X), alone.predict_proba(X))


@each
@pytest.mark.filterwarnings("error::UserWarning")
def test_true_stops(network, digits):
    X, y = digits
    others = []
    model = clone(network).set_params(
        callbacks=[lambda estimator, info: info.epoch == 3, lambda e, info: others.append(info)]
    )
    assert model.fit(X, y).n_iter_ == 3
    assert len(others) == 3  # the second is told of the last epoch as well
    short = clone(network).set_params(max_iter=3)
    np.testing.assert_array_equal(model.coefs_[0], _fitted_silently(short, X, y).coefs_[0])


def _fitted_silently(model, X, y):

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


def test_true_of_numpy_stops_too(digits):
    """As a comparison of a mean is one."""
    X, y = digits
    model = MLPClassifier((4,), max_iter=3, random_state=0)
    assert model.set_params(callbacks=lambda e, info: np.mean(y) > 0).fit(X, y).n_iter_ == 1


def test_what_is_not_true_does_not_stop(digits):
    X, y = digits
    for answer in (None, False, np.False_, 1, "yes", np.ones(2)):
        model = MLPClassifier((4,), max_iter=2, callbacks=lambda e, info, answer=answer: answer)
        assert model.fit(X, y).n_iter_ == 2


class Best:
    """Keeps the best of the models, as bytes."""

    def __init__(self):
        self.score, self.model = 0.0, b""

    def on_epoch_end(self, estimator, info):
        if info.validation_score > self.score:
            self.score, self.model = info.validation_score, pickle.dumps(estimator)


def test_an_object_with_a_validation_set(digits):
    X, y = digits
    best = Best()
    model = MLPClassifier((8,), max_iter=10, random_state=0, callbacks=best)
    model.fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])
    assert best.score == max(model.validation_scores_)
    assert pickle.loads(best.model).score(X[150:], y[150:]) == best.score


def test_partial_fit_tells_and_a_failure_leaves_the_last_fit(digits):
    X, y = digits
    heard = []
    model = MLPClassifier((8,), random_state=0, callbacks=lambda e, info: heard.append(info.epoch))
    for _ in range(3):
        model.partial_fit(X, y, classes=np.arange(10))
    assert heard == [1, 1, 1]

    def fails(estimator, info):
        raise OSError("the disk is full")

    before = model.predict_proba(X)
    with pytest.raises(OSError, match="the disk is full"):
        model.set_params(callbacks=fails, warm_start=True).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_what_is_no_callback_is_refused(digits):
    with pytest.raises(ValueError, match="'callbacks' parameter of MLPClassifier must be"):
        MLPClassifier(callbacks="print").fit(*digits)
    with pytest.raises(ValueError, match=r"objects with a method on_epoch_end.*got 'print'"):
        MLPClassifier(callbacks=["print"]).fit(*digits)


# scikit-learn's callbacks ------------------------------------------------------------------------


class Recorder:
    def __init__(self, stop_at=None):
        self.heard, self.scores, self.stop_at = [], [], stop_at

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.heard.append(("end", context.task_name, context.task_id))
        if context.task_name != "fit" and fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y))
            return context.task_id + 1 == self.stop_at
        return False


@pytest.mark.skipif(RELEASE < (1, 9), reason="callbacks came with scikit-learn 1.9")
@each
def test_scikit_learns_callbacks_are_told_and_can_stop(network, digits):
    X, y = digits
    recorder = Recorder()
    model = clone(network).set_callbacks(recorder).fit(X, y)
    assert recorder.heard[:2] == ["setup", ("begin", "fit", 0)]
    assert recorder.heard[-2:] == [("end", "fit", 0), "teardown"]
    name = f"{network.solver}-iter"
    for k in range(model.n_iter_):
        begin = recorder.heard.index(("begin", name, k))
        assert recorder.heard.index(("end", name, k)) > begin
    assert len(recorder.scores) == model.n_iter_
    assert recorder.scores[-1] == model.score(X, y)
    stopped = _fitted_silently(clone(network).set_callbacks(Recorder(stop_at=2)), X, y)
    assert stopped.n_iter_ == 2


@pytest.mark.skipif(RELEASE < (1, 9), reason="callbacks came with scikit-learn 1.9")
@each
def test_scikit_learns_own_callbacks(network, digits, capsys):
    from sklearn.callback import ProgressBar, ScoringMonitor

    require("rich", "test")
    X, y = digits
    monitor, heard = ScoringMonitor(scoring="accuracy"), []
    model = clone(network).set_params(callbacks=lambda e, info: heard.append(e.score(X, y)))
    model.set_callbacks(monitor, ProgressBar()).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] != "fit"]
    assert [row["task_id"] for row in rows] == list(range(model.n_iter_))
    assert [row["accuracy"] for row in rows] == heard
    printed = capsys.readouterr().out
    assert f"{type(network).__name__} - fit" in printed and "100%" in printed
