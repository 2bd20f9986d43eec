"""What a program for scikit-learn gets from replaced classes: the same scores, and no refusals."""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from contextlib import nullcontext

import joblib
import numpy as np
import pytest
import sklearn.linear_model
import sklearn.model_selection
import sklearn.neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFE
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import estimators
from _patching import patched  # noqa: F401
from estimators import patch_sklearn, unpatch_sklearn
from estimators.convert import from_sklearn, to_sklearn
from estimators.patching import classes, notices
from estimators.patching.stand_in import stand_in
from estimators.scikit_learn import RELEASE

Original = sklearn.linear_model.LogisticRegression
Network = sklearn.neural_network.MLPClassifier
X, Y = load_digits(return_X_y=True)
X = X / 16
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def said_anew():
    notices.set_verbose(False)


class Theirs(sklearn.linear_model.Perceptron):
    """A class of scikit-learn's that takes more than ours."""

    def __init__(self, penalty=None, *, kind="plain", random_state=0, warm_start=False):
        super().__init__(penalty=penalty, random_state=random_state, warm_start=warm_start)
        self.kind = kind

    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None):
        if self.kind == "wrong":
            raise ValueError("theirs has no kind 'wrong'")
        super().fit(X, y, coef_init, intercept_init, sample_weight)
        if self.kind == "new":
            self.intercept_ = self.intercept_ + 100 * np.arange(len(self.intercept_))
        return self


Replaced = stand_in(estimators.Perceptron, Theirs, __name__)
Replaced.__qualname__ = "Replaced"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("LogisticRegression", {"C": 0.1, "max_iter": 300}),
        ("LogisticRegression", {"solver": "newton-cg", "tol": 1e-9}),
        ("Perceptron", {"early_stopping": True}),
        ("MLPClassifier", {"max_iter": 30, "random_state": 1}),
        ("MLPClassifier", {"solver": "sgd", "max_iter": 20, "random_state": 1, "alpha": 0.1}),
        ("MLPClassifier", {"early_stopping": True, "max_iter": 15, "random_state": 1}),
    ],
)
def test_scores_are_those_of_scikit_learn(name, settings):
    def scores():
        place = classes.PLACES[name].split(".")[1]
        model = getattr(getattr(sklearn, place), name)(**settings)
        folds = sklearn.model_selection.cross_val_score(model, X, Y, cv=3)
        return type(model), folds, model.fit(X, Y).predict(X)

    theirs, expected, labels = scores()
    patch_sklearn(verbose=False)
    try:
        ours, found, own_labels = scores()
    finally:
        unpatch_sklearn()
    assert ours is not theirs
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert (labels == own_labels).mean() > 0.999


def test_a_network_has_scikit_learns_loss_curve(patched):  # noqa: F811
    settings = {"hidden_layer_sizes": (20,), "max_iter": 12, "random_state": 3}
    theirs = Network(**settings).fit(X, Y)
    ours = sklearn.neural_network.MLPClassifier(**settings).fit(X, Y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)


def search(n_jobs):
    models = make_pipeline(
        StandardScaler(),
        sklearn.neural_network.MLPClassifier((8,), max_iter=4, random_state=0),
    )
    grid = {"mlpclassifier__alpha": [1e-4, 1e-1], "mlpclassifier__learning_rate_init": [0.01, 0.1]}
    found = sklearn.model_selection.GridSearchCV(models, grid, cv=3, n_jobs=n_jobs).fit(X, Y)
    return found.cv_results_["mean_test_score"], found.best_params_, found.predict(X)


def test_a_search_in_other_processes_has_scikit_learns_results():
    scores, best, labels = search(2)
    patch_sklearn(verbose=False)
    try:
        for n_jobs in (None, 2):
            own_scores, own_best, own_labels = search(n_jobs)
            np.testing.assert_allclose(own_scores, scores, rtol=0, atol=1e-12)
            assert own_best == best and (own_labels == labels).all()
    finally:
        unpatch_sklearn()


def test_a_search_trains_replaced_classes_as_one_stack(patched, monkeypatch):  # noqa: F811
    sizes, run = [], estimators.neural.fit.NeuralFit.run

    def counted(fits, *args):
        sizes.append(len(fits))
        return run(fits, *args)

    monkeypatch.setattr(estimators.neural.fit.NeuralFit, "run", staticmethod(counted))
    search(None)
    assert sizes == [12, 1]  # four candidates in three folds, and the best one again


def of_model(model):
    return type(model), model.score(X, Y)


def test_models_go_to_other_processes_and_back(patched):  # noqa: F811
    model = sklearn.linear_model.LogisticRegression().fit(X, Y)
    tasks = [joblib.delayed(of_model)(model)] * 2
    assert joblib.Parallel(n_jobs=2)(tasks) == [of_model(model)] * 2


@pytest.mark.parametrize(
    "make",
    [
        lambda m: CalibratedClassifierCV(m, cv=2),
        lambda m: BaggingClassifier(m, n_estimators=2, random_state=0),
        lambda m: VotingClassifier([("m", m), ("n", clone(m))]),
        lambda m: StackingClassifier([("m", m)], final_estimator=clone(m), cv=2),
        lambda m: OneVsRestClassifier(m),
        lambda m: RFE(m, n_features_to_select=2),
    ],
)
def test_in_scikit_learns_own_ensembles(make, patched):  # noqa: F811
    X, y = load_iris(return_X_y=True)
    model = sklearn.linear_model.LogisticRegression(max_iter=300)
    theirs = make(Original(max_iter=300)).fit(X, y).predict(X)
    ours = make(model).fit(X, y).predict(X)
    assert (theirs == ours).mean() > 0.99


def test_warnings_are_filtered_as_scikit_learns(patched):  # noqa: F811
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sklearn.linear_model.LogisticRegression(max_iter=1).fit(X, Y)
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
        sklearn.linear_model.LogisticRegression(max_iter=1).fit(X, Y)
        sklearn.neural_network.MLPClassifier(max_iter=1).fit(X, Y)
        model = sklearn.linear_model.LogisticRegression(max_iter=1)
        sklearn.model_selection.cross_val_score(model, X, Y, cv=2)
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert caught[0].filename == __file__  # and yet it points at the line of the program


# What ours refuses --------------------------------------------------------------------------


def test_a_parameter_of_theirs_alone_is_a_fit_of_theirs(caplog):
    model, theirs = Replaced(kind="new"), Theirs(kind="new").fit(X, Y)
    assert model.fit(X, Y) is model
    assert type(model) is Replaced and model.get_params()["kind"] == "new"
    for name in ("predict", "decision_function"):
        np.testing.assert_array_equal(getattr(model, name)(X), getattr(theirs, name)(X))
    assert model.score(X, Y) == theirs.score(X, Y)
    assert model.sparsify() is model and model.densify() is model
    read = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(read.coef_, theirs.coef_)
    clone(model).fit(X, Y)
    message = "own Theirs did a fit that ours does not do (kind='new' is a parameter of"
    assert caplog.text.count(message) == 1  # of two


def test_a_fit_of_ours_follows_one_of_theirs_unless_it_goes_on_from_it(caplog):
    model = Replaced(kind="new").fit(X, Y)
    model.set_params(kind="plain", warm_start=True).fit(X, Y)
    assert "it goes on from a fit of scikit-learn's" in caplog.text
    model.set_params(warm_start=False).fit(X, Y)
    caplog.clear()
    model.partial_fit(X, Y)
    assert not caplog.records and "_fitted_by_scikit_learn" not in vars(model)


def test_candidates_of_a_search_that_ours_refuses_are_fitted_by_theirs(patched):  # noqa: F811
    grid = {"kind": ["plain", "new"], "penalty": [None, "l2"]}
    ours = sklearn.model_selection.GridSearchCV(Replaced(), grid, cv=3, error_score="raise")
    theirs = estimators.model_selection.sk.GridSearchCV
    own = theirs(Theirs(), grid, cv=3)
    expected = own.fit(X, Y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(ours.fit(X, Y).cv_results_["mean_test_score"], expected)


def refuse(monkeypatch, error, draws=False):
    """Have our fits fail, after they have drawn from the generator."""

    def prepare(self, *args, **kwargs):
        if draws:
            np.random.mtrand._rand.rand()
            getattr(self.random_state, "rand", int)()
        raise error

    monkeypatch.setattr(estimators.Perceptron, "_prepare", prepare)
    monkeypatch.setattr(Replaced, "_prepare", prepare)


@pytest.mark.parametrize("random_state", [0, None, "instance"])
def test_what_our_fit_refuses_is_fitted_by_theirs_with_its_draws(random_state, monkeypatch, caplog):
    def fitted(cls):
        np.random.seed(3)
        seed = np.random.RandomState(5) if random_state == "instance" else random_state
        return cls(random_state=seed).fit(X, Y).coef_

    expected = fitted(Theirs)
    refuse(monkeypatch, MemoryError("the GPU has no room"), draws=True)
    np.testing.assert_array_equal(fitted(Replaced), expected)
    assert "a fit that ours does not do (MemoryError" in caplog.text
    assert "the GPU has no room" in caplog.text


@pytest.mark.parametrize("wrong", ["samples", "parameter", "nothing"])
def test_a_refusal_does_not_keep_the_samples(wrong, monkeypatch):
    ours = stand_in(estimators.LogisticRegression, Original, "sklearn.linear_model")
    model, X_seen = ours(C=-1 if wrong == "parameter" else 1), X.copy()
    if wrong == "nothing":  # scikit-learn fits then
        monkeypatch.setattr(Replaced, "_prepare", lambda self, *args, **kwargs: 1 / 0)
        model = Replaced()
    seen = weakref.ref(X_seen)
    gc.disable()
    try:
        with nullcontext() if wrong == "nothing" else pytest.raises(ValueError):
            model.fit(X_seen, Y[:3] if wrong == "samples" else Y)
        del X_seen
        assert seen() is None
    finally:
        gc.enable()


def test_what_both_refuse_is_scikit_learns_error(monkeypatch):
    refuse(monkeypatch, ValueError("ours"))
    with pytest.raises(ValueError, match="theirs has no kind 'wrong'") as caught:
        Replaced(kind="wrong").fit(X, Y)
    assert caught.value.__context__ is None  # one traceback, as from scikit-learn
    with pytest.raises(ValueError, match="Input X contains NaN"):
        Replaced().fit(X * np.nan, Y)


def test_what_ours_alone_has_is_our_error(monkeypatch):
    refuse(monkeypatch, ValueError("ours"))
    with pytest.raises(ValueError, match="^ours$"):
        Replaced(multi_class="multinomial").fit(X, Y)
    with pytest.raises(ValueError, match="^ours$"):
        Replaced().fit(X, Y, resume_from="file")
    Replaced(device="cpu").fit(X, Y)


def test_a_value_of_ours_alone_is_no_wrong_value_if_the_data_are_wrong(patched):  # noqa: F811
    network = sklearn.neural_network.MLPClassifier(activation="gelu")
    with pytest.raises(ValueError, match="Input X contains NaN"):
        network.fit(X * np.nan, Y)
    assert network.set_params(max_iter=2).fit(X, Y).n_iter_ == 2
    with pytest.raises(ValueError, match="The 'alpha' parameter of MLPClassifier must be"):
        network.set_params(alpha=-1).fit(X, Y)


def test_a_network_without_steps_has_no_partial_fit(patched):  # noqa: F811
    assert not hasattr(sklearn.neural_network.MLPClassifier(solver="lbfgs"), "partial_fit")
    network = sklearn.neural_network.MLPClassifier(random_state=0)
    assert network.partial_fit(X, Y, classes=np.unique(Y)).t_ == len(X)


def test_a_subclass_of_a_replaced_class(patched, caplog):  # noqa: F811
    class Own(Replaced):
        def __init__(self, kind="new"):
            super().__init__(kind=kind)

        def fit(self, X, y):
            self.seen_ = len(X)
            return super().fit(X, y)

    model = clone(Own()).fit(X, Y)
    assert model.seen_ == len(X) and type(model) is Own
    assert model.score(X, Y) == Theirs(kind="new").fit(X, Y).score(X, Y)
    assert "own Own did a fit" in caplog.text


@pytest.mark.parametrize("name", ["LogisticRegression", "Perceptron", "MLPClassifier"])
def test_replaced_classes_become_scikit_learns_and_ours(name, patched):  # noqa: F811
    model = getattr(classes, name)().fit(X, Y)
    theirs = to_sklearn(model)
    assert type(theirs) is type(model)._replaced
    assert (theirs.predict(X) == model.predict(X)).all()
    assert type(from_sklearn(theirs)) is getattr(estimators, name)


@pytest.mark.skipif(RELEASE >= (1, 8), reason="scikit-learn has no such parameter any more")
def test_parameters_of_older_releases(patched, caplog):  # noqa: F811
    Logistic = sklearn.linear_model.LogisticRegression
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        for settings in ({}, {"penalty": "l1", "solver": "liblinear", "tol": 1e-9}, {"n_jobs": 1}):
            ours = Logistic(**settings).fit(X, Y == 3).coef_
            np.testing.assert_allclose(ours, Original(**settings).fit(X, Y == 3).coef_, atol=0.02)
    assert not caplog.records
    with pytest.warns(FutureWarning, match="multi_class"):
        model = Logistic(multi_class="ovr").fit(X, Y)
    assert "multi_class='ovr' is a parameter of scikit-learn's alone" in caplog.text
    with pytest.warns(FutureWarning, match="multi_class"):
        np.testing.assert_array_equal(Original(multi_class="ovr").fit(X, Y).coef_, model.coef_)
