"""Parameters of the ready callbacks: set, cloned, printed and searched as those of estimators."""

from __future__ import annotations

from inspect import signature

import pytest
from sklearn import model_selection as theirs
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _told import MODELS, X, Y, with_callbacks
from estimators import callbacks, model_selection
from estimators.callbacks import (
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    LearningRateLogger,
    ProgressBar,
    TensorBoard,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

READY = {
    Checkpoint("a.ckpt"): {"every": 3},
    CSVLogger("a.csv"): {"path": "{fit}.csv"},
    EarlyStopping("loss", 2): {"patience": 7, "baseline": 0.5},
    LearningRateLogger(): {"verbose": False},
    ProgressBar(): {"backend": "rich"},
    TensorBoard(): {"log_dir": "{fit}"},
}


def test_all_of_them_are_here():
    public = {getattr(callbacks, name) for name in callbacks.__all__} - {callbacks.EpochInfo}
    assert {type(callback) for callback in READY} == public


@pytest.mark.parametrize("callback", READY, ids=repr)
def test_parameters_are_got_and_set(callback):
    changes, own = READY[callback], clone(callback)
    assert list(own.get_params()) == list(signature(type(own)).parameters)
    assert own.set_params(**changes) is own
    assert own.get_params() == callback.get_params() | changes
    # one that was made with them
    made = type(own)(**own.get_params())
    assert repr(made) == repr(own) != repr(callback) and vars(made) == vars(own)
    with pytest.raises(ValueError, match=f"{type(own).__name__} has no parameter 'patients'"):
        own.set_params(patients=1)


@pytest.mark.parametrize(
    ("callback", "wrong"),
    [
        (EarlyStopping(), {"patience": -1}),
        (CSVLogger("a.csv"), {"separator": "\n"}),
        (CSVLogger("a.csv", append=True), {"path": "{fit}"}),
        (Checkpoint("a"), {"keep": "all"}),
        (TensorBoard(), {"log_dir": "{"}),
    ],
)
def test_what_a_constructor_refuses_is_not_set(callback, wrong):
    before = callback.get_params()
    with pytest.raises(ValueError, match="must|append|path is"):
        callback.set_params(**wrong)
    assert callback.get_params() == before


@pytest.mark.parametrize("of", [model_selection, theirs], ids=["ours", "scikit-learn's"])
def test_a_search_varies_them(of):
    stopping = EarlyStopping("loss", min_delta=10.0)
    model = clone(MODELS["mlp"]).set_params(callbacks=stopping, max_iter=9)
    patience = "callbacks__patience"
    search = of.GridSearchCV(model, {patience: [2, 4]}, cv=2).fit(X, Y)
    best = search.best_estimator_
    assert best.n_iter_ == search.best_params_[patience] + 1 == best.callbacks.stopped_epoch_
    assert stopping.patience == 5 and stopping.stopped_epoch_ is None
    alone = {
        n: theirs.cross_val_score(clone(model).set_params(**{patience: n}), X, Y, cv=2).mean()
        for n in (2, 4)
    }
    assert search.cv_results_["mean_test_score"].tolist() == list(alone.values())
    pipeline = make_pipeline(StandardScaler(), model)
    search = of.GridSearchCV(pipeline, {f"mlpclassifier__{patience}": [2, 4]}, cv=2).fit(X, Y)
    assert search.best_estimator_[-1].n_iter_ == [*search.best_params_.values()][0] + 1


def test_a_model_with_one_is_shown():
    model = clone(MODELS["mlp"]).set_params(callbacks=EarlyStopping(patience=3))
    assert "callbacks=EarlyStopping(patience=3)" in repr(model)
    assert "EarlyStopping" in model._repr_html_()


class Doubled(EarlyStopping):
    """One with a parameter of its own, that hands on the others."""

    def __init__(self, factor=2, **kw):
        super().__init__(**kw)
        self.factor = factor


class Named(Doubled):
    """One without a constructor."""


@pytest.mark.parametrize("cls", [Doubled, Named])
def test_a_subclass_may_hand_on_what_it_is_given(cls):
    own = cls(3, patience=7)
    assert repr(own) == f"{cls.__name__}(patience=7, factor=3)"
    new = clone(own).set_params(verbose=True)
    assert (type(new), new.factor, new.patience, new.verbose) == (cls, 3, 7, True)
    model = with_callbacks("logistic", own)
    assert clone(model).callbacks[0].get_params() == own.get_params()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("cls", [*map(type, READY), dict])
def test_a_class_in_the_place_of_an_object_is_refused(cls, name):
    for given in (cls, [cls], [lambda e, info: None, cls]):
        model = clone(MODELS[name]).set_params(callbacks=given)
        message = rf"callbacks has the class {cls.__name__}: give an object, as in {cls.__name__}\("
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y)
        with pytest.raises(ValueError, match=message):
            model_selection.cross_val_score(model, X, Y, cv=2)
