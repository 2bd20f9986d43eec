"""Searches whose fits train as stacks: scikit-learn's results, whatever is searched over."""

import inspect
import warnings
import weakref
from itertools import count

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn import linear_model
from sklearn import model_selection as sk
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators import model_selection as ours
from estimators.linear import logistic_fit
from estimators.linear.perceptron_compiled import CompiledFit
from estimators.neural.fit import NeuralFit
from estimators.neural.predictor import Predictor
from estimators.shared.known_outputs import known_outputs
from estimators.shared.samples import Samples

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:The least populated class"),
]

SEARCHES = ["GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"]
FUNCTIONS = [
    "cross_validate",
    "cross_val_score",
    "cross_val_predict",
    "learning_curve",
    "validation_curve",
]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:240] / 16, y[:240]


def mlp(**parameters):
    return MLPClassifier(
        **{"hidden_layer_sizes": (12,), "max_iter": 6, "random_state": 0, **parameters}
    )


@pytest.fixture
def stacks(monkeypatch):
    """The sizes of the stacks of networks that run from now on."""
    sizes, run = [], NeuralFit.run.__func__

    def counted(cls, trainings, watch=None):
        sizes.append(len(trainings))
        return run(cls, trainings, watch)

    monkeypatch.setattr(NeuralFit, "run", classmethod(counted))
    return sizes


def assert_same_results(one, other):
    """Equal in every column, but for the times."""
    assert list(one) == list(other)
    for name, values in one.items():
        if name.endswith("_time"):
            assert (np.asarray(values) >= 0).all()
        elif name == "params":
            assert values == other[name]
        else:
            np.testing.assert_array_equal(values, other[name], err_msg=name)


# What is fused ----------------------------------------------------------------------------------

TOGETHER = {
    "rates": {"learning_rate_init": [1e-3, 1e-2, 0.1], "alpha": [1e-5, 1e-1]},
    "betas": {"beta_1": [0.5, 0.9], "beta_2": [0.9, 0.999], "epsilon": [1e-8, 1e-3]},
    "seeds": {"random_state": [0, 1, 2]},
    "weights": {"class_weight": [None, "balanced", {3: 5.0}]},
    "tolerance": {"tol": [1e-4, 0.5], "n_iter_no_change": [1, 2], "max_iter": [2, 9]},
    "early stopping": {
        "early_stopping": [False, True],
        "validation_fraction": [0.1, 0.2],
        "n_iter_no_change": [1, 3],
    },
    "shuffle": {"shuffle": [False, True]},
    "dropout": {"dropout": [0.1, 0.5]},
    "sgd": {
        "solver": ["sgd"],
        "momentum": [0.0, 0.9],
        "learning_rate": ["constant", "invscaling", "adaptive"],
        "learning_rate_init": [0.05],
    },
    "lbfgs": {"solver": ["lbfgs"], "alpha": [1e-4, 1.0], "tol": [1e-4, 1.0], "max_fun": [4, 15000]},
    "callbacks": {"callbacks": [None, lambda estimator, info: info.epoch == 2]},
}


@pytest.mark.parametrize("grid", TOGETHER.values(), ids=TOGETHER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_candidates_and_folds_are_one_stack(digits, stacks, grid, dtype):
    search = ours.GridSearchCV(mlp(dtype=dtype), grid, cv=3, return_train_score=True, refit=False)
    search.fit(*digits)
    n_candidates = len(search.cv_results_["params"])
    if "early_stopping" in grid:  # which leaves fewer rows to learn from
        assert stacks == [12, 6, 6]
    elif grid.get("solver") == ["lbfgs"]:  # all rows at once: a stack is of one fold
        assert stacks == [n_candidates] * 3
    else:
        assert stacks == [3 * n_candidates]
    expected = sk.GridSearchCV(
        mlp(dtype=dtype), grid, cv=3, return_train_score=True, refit=False
    ).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


@pytest.mark.parametrize(
    "grid",
    [
        {"hidden_layer_sizes": [(5,), (6, 5)]},
        {"activation": ["relu", "tanh"]},
        {"batch_size": [50, 100]},
        {"loss": ["log_loss", "squared_error"]},
        {"batch_norm": [False, True]},
        {"solver": ["adam", "sgd"]},
        {"solver": ["sgd"], "nesterovs_momentum": [True, False]},
    ],
    ids=str,
)
def test_other_shapes_are_other_stacks(digits, stacks, grid):
    search = ours.GridSearchCV(mlp(), grid, cv=3, refit=False).fit(*digits)
    assert stacks == [3, 3]
    expected = sk.GridSearchCV(mlp(), grid, cv=3, refit=False).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


OTHERS = {
    "lbfgs": (mlp(solver="lbfgs"), {"alpha": [1e-4, 1.0]}),
    "convnet": (
        ConvNetClassifier(
            conv_layer_sizes=(4,), hidden_layer_sizes=(8,), max_iter=2, random_state=0
        ),
        {"learning_rate_init": [1e-3, 1e-2], "augment": [None, {"shift": 1}]},
    ),
    "logistic": (
        LogisticRegression(),
        {"C": [0.01, 1.0, 100.0], "class_weight": [None, "balanced"]},
    ),
    "logistic l1": (
        LogisticRegression(solver="saga", max_iter=20),
        {"C": [0.1, 1.0], "l1_ratio": [0.0, 0.5, 1.0]},
    ),
    "perceptron": (
        Perceptron(max_iter=8),
        {"eta0": [0.1, 1.0], "penalty": [None, "l2", "l1"], "alpha": [1e-3]},
    ),
}


@pytest.mark.parametrize(("estimator", "grid"), OTHERS.values(), ids=OTHERS)
def test_every_estimator_has_the_results_of_its_own_fits(digits, estimator, grid):
    search = ours.GridSearchCV(estimator, grid, cv=3, return_train_score=True).fit(*digits)
    expected = sk.GridSearchCV(estimator, grid, cv=3, return_train_score=True).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)
    assert search.best_params_ == expected.best_params_
    np.testing.assert_array_equal(search.predict(digits[0]), expected.predict(digits[0]))


def test_each_fit_equals_the_one_alone(digits):
    X, y = digits
    folds = list(sk.KFold(4).split(X))
    fitted = ours.cross_validate(mlp(), X, y, cv=folds, return_estimator=True)["estimator"]
    for estimator, (train, _) in zip(fitted, folds, strict=True):
        alone = mlp().fit(X[train], y[train])
        for one, other in zip(estimator.coefs_, alone.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)
        assert estimator.loss_curve_ == alone.loss_curve_
        assert estimator.n_iter_ == alone.n_iter_
        assert vars(estimator).keys() == vars(alone).keys()


# The same face ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEARCHES + FUNCTIONS)
def test_signatures_are_scikit_learns_with_three_options_more(name):
    own = inspect.signature(getattr(ours, name)).parameters
    theirs = inspect.signature(getattr(sk, name)).parameters
    assert list(own) == [*theirs, "fused", "max_stack_bytes", "progress"]
    assert all(own[n].default is p.default and own[n].kind is p.kind for n, p in theirs.items())


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_are_clonable(name):
    grid = {"alpha": [1.0, 2.0]}
    search = getattr(ours, name)(mlp(), grid, fused=False, max_stack_bytes=10, cv=2)
    copy = clone(search)
    assert copy.fused is False
    assert copy.max_stack_bytes == 10
    assert isinstance(copy, getattr(sk, name))
    assert copy.set_params(progress=True, estimator__alpha=3.0).estimator.alpha == 3.0


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("fused", [True, False])
def test_searches_equal_scikit_learns(digits, stacks, name, fused):
    values = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1], "learning_rate_init": [1e-3, 1e-2]}
    options = {"cv": 3, "scoring": "neg_log_loss", "return_train_score": True}
    if "Random" in name:
        options["random_state"] = 0
    if "Halving" in name:
        options |= {"resource": "max_iter", "max_resources": 9, "random_state": 0}
    search = getattr(ours, name)(mlp(), values, fused=fused, **options).fit(*digits)
    assert (max(stacks) > 3) == fused
    expected = getattr(sk, name)(mlp(), values, **options).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)
    public = {n for n in vars(expected) if n.endswith("_") and not n.startswith("_")}
    assert public <= set(vars(search))
    assert search.best_index_ == expected.best_index_
    assert search.best_score_ == expected.best_score_
    np.testing.assert_array_equal(
        search.predict_proba(digits[0]), expected.predict_proba(digits[0])
    )


def test_halving_over_samples_equals_scikit_learns(digits):
    grid = {"alpha": np.logspace(-4, 0, 6)}
    options = {"cv": 2, "random_state": 1, "min_resources": 60}
    search = ours.HalvingGridSearchCV(mlp(), grid, **options).fit(*digits)
    expected = sk.HalvingGridSearchCV(mlp(), grid, **options).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)
    assert search.n_resources_ == expected.n_resources_


CALLS = {
    "cross_validate": {
        "return_train_score": True,
        "return_indices": True,
        "scoring": ["accuracy", "f1_macro"],
    },
    "cross_val_score": {"scoring": "roc_auc_ovr"},
    "cross_val_predict": {"method": "predict_proba"},
    "learning_curve": {"train_sizes": [0.3, 0.7, 1.0], "shuffle": True, "random_state": 0},
    "validation_curve": {"param_name": "alpha", "param_range": [1e-4, 1e-1]},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_equal_scikit_learns(digits, stacks, name):
    options = {"cv": 3, **CALLS[name]}
    result = getattr(ours, name)(mlp(), *digits, **options)
    assert max(stacks) >= 3
    ran = len(stacks)
    expected = getattr(sk, name)(mlp(), *digits, **options)
    unfused = getattr(ours, name)(mlp(), *digits, fused=False, **options)
    assert set(stacks[ran:]) == {1}
    for other in (expected, unfused):
        if isinstance(result, dict):
            assert result.keys() == other.keys()
            pairs = [(result[k], other[k]) for k in result if not k.endswith("time")]
        else:
            pairs = zip(result, other, strict=True)
        for one, two in pairs:
            if isinstance(one, dict):
                one, two = (np.concatenate([*x["train"], *x["test"]]) for x in (one, two))
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_check_their_parameters(digits, name):
    options = CALLS[name] | {"cv": "three"}
    with pytest.raises(ValueError, match=f"The 'cv' parameter of {name} must be"):
        getattr(ours, name)(mlp(), *digits, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fused": "yes"}, "The 'fused' parameter of GridSearchCV must be"),
        ({"max_stack_bytes": 0}, "The 'max_stack_bytes' parameter of GridSearchCV must be"),
        ({"progress": 3}, "The 'progress' parameter of GridSearchCV must be"),
        ({"refit": "no"}, "The 'refit' parameter|refit"),
    ],
)
def test_searches_check_their_parameters(digits, options, message):
    search = ours.GridSearchCV(mlp(), {"alpha": [1.0]}, scoring=["accuracy"], **options)
    with pytest.raises(ValueError, match=message):
        search.fit(*digits)


def test_any_other_estimator_is_fitted_as_by_scikit_learn(digits):
    grid = {"var_smoothing": [1e-9, 1e-2]}
    search = ours.GridSearchCV(GaussianNB(), grid, cv=3, n_jobs=2).fit(*digits)
    expected = sk.GridSearchCV(GaussianNB(), grid, cv=3).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


def test_a_search_over_estimators_of_both_kinds(digits, stacks):
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", mlp())])
    grid = [
        {"classify": [GaussianNB()], "classify__var_smoothing": [1e-9, 1e-2]},
        {"classify": [mlp(), mlp(alpha=1.0)], "scale": ["passthrough", MinMaxScaler()]},
    ]
    search = ours.GridSearchCV(pipeline, grid, cv=3, refit=False).fit(*digits)
    assert sum(stacks) == 12
    assert max(stacks) >= 6
    expected = sk.GridSearchCV(pipeline, grid, cv=3, refit=False).fit(*digits)
    for name in ("mean_test_score", "rank_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])


def test_parameters_of_fit_that_stacks_do_not_know(digits, stacks):
    X, y = digits
    given = {"X_val": X[:50], "y_val": y[:50]}
    search = ours.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, refit=False)
    search.fit(X, y, **given)
    assert stacks == [1] * 4
    expected = sk.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, refit=False)
    assert_same_results(search.cv_results_, expected.fit(X, y, **given).cv_results_)


def test_callbacks_of_scikit_learn_hear_of_fits_one_after_the_other(digits, stacks):
    base = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 and later")
    estimator = mlp().set_callbacks(base.ScoringMonitor(scoring="accuracy"))
    ours.cross_val_score(estimator, *digits, cv=2)
    assert stacks == [1, 1]


def test_a_subclass_with_its_own_fit_is_another_estimator(digits, stacks):
    class Patient(MLPClassifier):
        def fit(self, X, y):
            return super().fit(X[:100], y[:100])

    estimator = Patient(hidden_layer_sizes=(12,), max_iter=3, random_state=0)
    scores = ours.cross_val_score(estimator, *digits, cv=3)
    assert stacks == [1, 1, 1]
    np.testing.assert_array_equal(scores, sk.cross_val_score(estimator, *digits, cv=3))


# Samples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["list", "frame", "sparse", "float32", "names", "labels of many"])
def test_samples_of_any_kind(digits, stacks, kind):
    X, y = digits
    X, y = {
        "list": (X.tolist(), y.tolist()),
        "frame": (pd.DataFrame(X).rename(columns=str), pd.Series(y)),
        "sparse": (sp.csr_matrix(X), y),
        "float32": (X.astype(np.float32), y),
        "names": (X, np.array(list("abcdefghij"))[y]),
        "labels of many": (X, np.stack([y > 3, y % 2, y < 7], axis=1).astype(int)),
    }[kind]
    grid = {"alpha": [1e-4, 1.0]}
    search = ours.GridSearchCV(mlp(), grid, cv=3).fit(X, y)
    assert stacks == [6, 1]
    expected = sk.GridSearchCV(mlp(), grid, cv=3).fit(X, y)
    assert_same_results(search.cv_results_, expected.cv_results_)
    if kind == "frame":
        assert list(search.feature_names_in_) == list(X.columns)


def test_ctrl_c_between_fits_of_scikit_learns_loop(digits, monkeypatch):
    """What is done counts, what is not was never begun: the loop gives nothing in between."""
    fit, n_fits = CompiledFit._fit, count()

    def interrupted(self, *args, **kwargs):
        if next(n_fits) == 8:
            raise KeyboardInterrupt
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(CompiledFit, "_fit", interrupted)
    grid = {"eta0": [0.1, 1.0, 2.0]}
    with pytest.warns(UserWarning, match="of 9 fits 6 are done, 2 are taken .* 1 did not begin"):
        search = ours.GridSearchCV(Perceptron(), grid, cv=3, refit=False).fit(*digits)
    monkeypatch.undo()
    expected = sk.GridSearchCV(Perceptron(), grid, cv=3, refit=False).fit(*digits).cv_results_
    scores, right = (
        np.array([results[f"split{i}_test_score"] for i in range(3)])
        for results in (search.cv_results_, expected)
    )
    np.testing.assert_array_equal(scores[:2], right[:2])
    np.testing.assert_array_equal(scores[2, :2], right[2, :2])
    assert np.isnan(scores[2, 2])
    assert search.best_index_ == np.argmax(right.mean(axis=0)[:2])


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("data", ["dense", "sparse"])
def test_a_search_over_perceptrons_is_scikit_learns_over_its_own(digits, data, random_state):
    """Also where they draw from NumPy's one generator, one fit after the other."""
    X, y = digits
    X = sp.csr_matrix(X) if data == "sparse" else X
    grid = {"eta0": [0.1, 1.0], "penalty": [None, "l2", "l1"], "early_stopping": [False, True]}
    results = []
    for package, model in ((ours, Perceptron), (sk, linear_model.Perceptron)):
        np.random.seed(3)  # noqa: NPY002 - what random_state=None draws from
        search = package.GridSearchCV(
            model(max_iter=8, alpha=1e-3, random_state=random_state), grid, cv=3
        )
        results.append(search.fit(X, y))
    assert_same_results(*(search.cv_results_ for search in results))
    np.testing.assert_array_equal(*(search.best_estimator_.coef_ for search in results))


@pytest.mark.parametrize("estimator", [LogisticRegression(), Perceptron()], ids=str)
def test_sparse_samples_of_linear_models(digits, estimator):
    X, y = sp.csr_matrix(digits[0]), digits[1]
    scores = ours.cross_val_score(estimator, X, y, cv=3)
    np.testing.assert_array_equal(scores, sk.cross_val_score(estimator, X, y, cv=3))


@pytest.mark.parametrize("kind", [list, np.array, iter], ids=str)
def test_folds_of_any_kind(digits, stacks, kind):
    """As scikit-learn takes them: rows as lists or ranges too, and folds from a generator."""

    def folds():
        yield range(0, 160), range(160, 240)
        yield range(80, 240), range(0, 80)

    convert = (lambda rows: rows) if kind is iter else kind
    made = ((convert(train), convert(test)) for train, test in folds())
    scores = ours.cross_val_score(mlp(), *digits, cv=made if kind is iter else list(made))
    assert stacks == [2]
    expected = [(np.array(train), np.array(test)) for train, test in folds()]
    np.testing.assert_array_equal(scores, sk.cross_val_score(mlp(), *digits, cv=expected))


def test_a_learning_curve_by_partial_fit(digits):
    options = {"cv": 2, "train_sizes": [0.5, 1.0], "exploit_incremental_learning": True}
    curve = ours.learning_curve(mlp(), *digits, **options)
    for one, other in zip(curve, sk.learning_curve(mlp(), *digits, **options), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_classes", [3, 10])
def test_a_fold_that_lacks_a_class(digits, stacks, n_classes):
    X, y = digits
    X, y = X[y < n_classes], y[y < n_classes]
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    folds = sk.KFold(3)  # the classes left out are others in each fold
    fitted = ours.cross_validate(mlp(), X, y, cv=folds, return_estimator=True)
    assert sum(stacks) == 3
    expected = sk.cross_validate(mlp(), X, y, cv=folds, return_estimator=True)
    np.testing.assert_array_equal(fitted["test_score"], expected["test_score"])
    for one, other in zip(fitted["estimator"], expected["estimator"], strict=True):
        np.testing.assert_array_equal(one.classes_, other.classes_)
        np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])


@pytest.mark.parametrize("estimator", [mlp(), make_pipeline(StandardScaler(), mlp())], ids=str)
def test_weights_of_samples(digits, stacks, estimator):
    weight = np.random.default_rng(0).uniform(0, 3, len(digits[1]))
    name = (
        "sample_weight" if isinstance(estimator, MLPClassifier) else "mlpclassifier__sample_weight"
    )
    grid = {name.replace("sample_weight", "alpha"): [1e-4, 1.0]}
    search = ours.GridSearchCV(estimator, grid, cv=3, refit=False)
    search.fit(*digits, **{name: weight})
    assert len(stacks) < 6
    expected = sk.GridSearchCV(estimator, grid, cv=3, refit=False).fit(*digits, **{name: weight})
    assert_same_results(search.cv_results_, expected.cv_results_)
    unweighted = sk.GridSearchCV(estimator, grid, cv=3, refit=False).fit(*digits)
    assert (
        unweighted.cv_results_["mean_test_score"] != search.cv_results_["mean_test_score"]
    ).any()


# Pipelines --------------------------------------------------------------------------------------


class Counted(TransformerMixin, BaseEstimator):
    """Scales, and counts how often it is fitted."""

    fits = count()

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        next(self.fits)
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        return self.factor * (X - self.mean_)


def test_steps_before_the_last_are_fitted_once_a_fold_and_setting(digits, monkeypatch, stacks):
    monkeypatch.setattr(Counted, "fits", count())
    pipeline = Pipeline([("first", Counted()), ("last", mlp())])
    grid = {"first__factor": [1.0, 2.0], "last__alpha": [1e-4, 1e-2, 1.0]}
    search = ours.GridSearchCV(pipeline, grid, cv=4, refit=False).fit(*digits)
    assert next(Counted.fits) == 2 * 4
    assert sum(stacks) == 24
    assert min(stacks) > 1
    expected = sk.GridSearchCV(pipeline, grid, cv=4, refit=False).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


class Made(np.ndarray):
    """An array that can be counted."""


class Watched(Counted):
    """Counts what it made and what is still alive of it."""

    alive = most = 0

    def transform(self, X):
        made = super().transform(X).view(Made)
        Watched.alive += 1
        Watched.most = max(self.most, self.alive)
        weakref.finalize(made, self.gone)
        return made

    @classmethod
    def gone(cls):
        cls.alive -= 1


def test_what_steps_made_is_dropped_when_no_fit_needs_it(digits):
    pipeline = Pipeline([("first", Watched()), ("last", mlp())])
    grid = {"first__factor": [0.5, 1.0, 2.0, 3.0]}
    ours.GridSearchCV(pipeline, grid, cv=2, refit=False, max_stack_bytes=1).fit(*digits)
    assert 2 <= Watched.most <= 4  # two folds to train on, and what is scored


def test_steps_that_cannot_be_pickled(digits, stacks):
    pipeline = make_pipeline(FunctionTransformer(lambda X: X - 0.5), mlp())
    scores = ours.cross_val_score(pipeline, *digits, cv=3)
    assert stacks == [3]
    np.testing.assert_array_equal(scores, sk.cross_val_score(pipeline, *digits, cv=3))


HEADS = {
    "one step": Pipeline([("last", mlp())]),
    "nested": make_pipeline(make_pipeline(StandardScaler(), PCA(5, random_state=0)), mlp()),
    "union": make_pipeline(FeatureUnion([("a", StandardScaler()), ("b", PCA(3))]), mlp()),
    "columns": make_pipeline(
        ColumnTransformer([("a", StandardScaler(), slice(0, 30)), ("b", "passthrough", [40, 41])]),
        mlp(),
    ),
    "passthrough": Pipeline([("none", "passthrough"), ("last", mlp())]),
    "linear": make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=30)),
}


@pytest.mark.parametrize("pipeline", HEADS.values(), ids=HEADS)
def test_pipelines_of_every_kind(digits, pipeline):
    fitted = ours.cross_validate(pipeline, *digits, cv=3, return_estimator=True)
    expected = sk.cross_validate(pipeline, *digits, cv=3, return_estimator=True)
    np.testing.assert_array_equal(fitted["test_score"], expected["test_score"])
    for one, other in zip(fitted["estimator"], expected["estimator"], strict=True):
        np.testing.assert_array_equal(one.predict(digits[0]), other.predict(digits[0]))
        assert getattr(one, "n_features_in_", None) == getattr(other, "n_features_in_", None)


def test_a_wrapper_around_ours_is_fitted_as_by_scikit_learn(digits):
    wrapped = CalibratedClassifierCV(mlp(), cv=2)
    scores = ours.cross_val_score(wrapped, *digits, cv=3)
    np.testing.assert_array_equal(scores, sk.cross_val_score(wrapped, *digits, cv=3))


def test_a_search_within_a_cross_validation(digits, stacks):
    grid = {"alpha": [1e-4, 1.0]}
    scores = ours.cross_val_score(ours.GridSearchCV(mlp(), grid, cv=2), *digits, cv=3)
    assert stacks == [4, 1] * 3
    expected = sk.cross_val_score(sk.GridSearchCV(mlp(), grid, cv=2), *digits, cv=3)
    np.testing.assert_array_equal(scores, expected)


# Scores -----------------------------------------------------------------------------------------


def test_a_callable_sees_the_fitted_estimator(digits):
    seen = []

    def score(estimator, X, y):
        seen.append(estimator)
        return {"right": estimator.score(X, y), "loss": -estimator.loss_}

    search = ours.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, scoring=score, refit="loss")
    search.fit(*digits)
    assert search.multimetric_
    assert all(type(x) is MLPClassifier and "fit" not in vars(x) for x in seen)
    expected = sk.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, scoring=score, refit="loss")
    assert_same_results(search.cv_results_, expected.fit(*digits).cv_results_)


def test_a_scorer_that_changes_its_samples_harms_no_other_fit(digits):
    def spoils(estimator, X, y):
        score = estimator.score(X, y)
        X[...] = 0
        return score

    for scoring in (spoils, {"a": spoils, "b": "accuracy"}):
        grid = {"alpha": [1e-4, 1e-2, 1.0]}
        options = {"cv": 2, "scoring": scoring, "refit": False}
        search = ours.GridSearchCV(mlp(), grid, **options).fit(*digits)
        expected = sk.GridSearchCV(mlp(), grid, **options).fit(*digits)
        assert_same_results(search.cv_results_, expected.cv_results_)


def test_an_empty_fold_fails_to_be_scored_and_nothing_else(digits):
    folds = [(np.arange(100), np.arange(0)), (np.arange(100), np.arange(100, 240))]
    with pytest.warns(UserWarning, match="Scoring failed"):
        scores = ours.cross_val_score(mlp(), *digits, cv=folds)
    with pytest.warns(UserWarning, match="Scoring failed"):
        expected = sk.cross_val_score(mlp(), *digits, cv=folds)
    np.testing.assert_array_equal(scores, expected)


def test_a_stack_predicts_in_one_pass(digits, monkeypatch):
    asked = []
    probabilities = Predictor.probabilities

    def counted(self, *others):
        asked.append(len(self.parameters[0]["w"]))
        return probabilities(self, *others)

    monkeypatch.setattr(Predictor, "probabilities", counted)
    grid = {"alpha": [1e-4, 1e-2, 1.0]}
    ours.GridSearchCV(mlp(), grid, cv=2, refit=False, scoring=["accuracy", "neg_log_loss"]).fit(
        *digits
    )
    assert asked == [3, 3]


@pytest.mark.parametrize("cls", [MLPClassifier, LogisticRegression, Perceptron])
def test_what_was_predicted_together_is_known_to_the_search_alone(cls, digits):
    class Asked(cls):
        def score(self, X, y):
            known = [known_outputs(*asked) is not None for asked in [(self, X), (self, X[:])]]
            seen.append((self, X, known, set(vars(self))))
            return super().score(X, y)

    seen = []
    name = "C" if cls is LogisticRegression else "alpha"
    ours.GridSearchCV(Asked(max_iter=5), {name: [0.1, 1.0]}, cv=2, refit=False).fit(*digits)
    own = set(vars(cls(max_iter=5).fit(*digits)))
    assert len(seen) == 4
    for clf, X, known, attributes in seen:
        assert known == [True, False]  # of that very object
        assert attributes == own
        assert known_outputs(clf, X) is None


# Memory, progress, failures ---------------------------------------------------------------------


def test_a_stack_is_split_where_memory_ends(digits, stacks):
    grid = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1]}
    whole = ours.GridSearchCV(mlp(), grid, cv=3, refit=False).fit(*digits)
    one = mlp()._prepare(Samples(*digits), rows=np.arange(160)).n_bytes
    limited = ours.GridSearchCV(mlp(), grid, cv=3, refit=False, max_stack_bytes=5 * one)
    limited.fit(*digits)
    assert stacks[0] == 12
    assert sum(stacks[1:]) == 12
    assert set(stacks[1:-1]) == {5}
    assert_same_results(limited.cv_results_, whole.cv_results_)
    stacks.clear()
    ours.GridSearchCV(mlp(), grid, cv=3, refit=False, max_stack_bytes=1).fit(*digits)
    assert stacks == [1] * 12


def test_progress_shows_models_epochs_and_the_best_score(digits, capsys):
    pytest.importorskip("tqdm")
    search = ours.GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2, progress=True).fit(*digits)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    assert "epoch=6" in shown
    best = max(search.cv_results_[f"split{i}_test_score"].max() for i in range(2))
    assert f"best score={best:.4f}" in shown


def test_a_stack_does_not_tell_of_each_of_its_epochs(digits, capsys):
    ours.cross_val_score(mlp(verbose=True), *digits, cv=2)
    assert "Iteration" not in capsys.readouterr().out
    ours.cross_val_score(mlp(verbose=True), *digits, cv=2, fused=False)
    assert "Iteration 6, loss" in capsys.readouterr().out


def test_candidates_that_fail_take_no_other_down(digits):
    grid = {"learning_rate_init": [1e-3, 1e30], "alpha": [1e-4, -1.0]}
    options = {"cv": 2, "error_score": -3.0, "refit": False}
    with pytest.warns(FitFailedWarning) as caught:
        search = ours.GridSearchCV(mlp(), grid, **options).fit(*digits)
    (text,) = (str(w.message) for w in caught if w.category is FitFailedWarning)
    assert "6 fits failed out of a total of 8" in text
    assert "Solver produced non-finite parameter weights" in text
    assert "The 'alpha' parameter of MLPClassifier must be a float in the range" in text
    with pytest.warns(FitFailedWarning):
        expected = sk.GridSearchCV(mlp(), grid, **options).fit(*digits)
    assert_same_results(search.cv_results_, expected.cv_results_)


def test_an_error_can_be_raised(digits):
    grid = {"learning_rate_init": [1e-3, 1e30]}
    search = ours.GridSearchCV(mlp(), grid, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        search.fit(*digits)
    with pytest.raises(ValueError, match="Invalid parameter 'alfa' for estimator MLPClassifier"):
        ours.GridSearchCV(mlp(), {"alfa": [1]}, cv=2).fit(*digits)


def test_a_failing_callback_fails_its_fit(digits):
    def fails(estimator, info):
        raise RuntimeError("no more paper")

    search = ours.GridSearchCV(mlp(), {"callbacks": [None, fails]}, cv=2, refit=False)
    with pytest.warns(FitFailedWarning, match="no more paper"):
        search.fit(*digits)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


def test_samples_that_only_some_folds_can_use(digits):
    X, y = digits[0].copy(), digits[1]
    X[0, 0] = np.nan
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 3"):
        scores = ours.cross_val_score(mlp(), X, y, cv=sk.KFold(3))
    with pytest.warns(FitFailedWarning):
        expected = sk.cross_val_score(mlp(), X, y, cv=sk.KFold(3))
    np.testing.assert_array_equal(scores, expected)


def test_warnings_of_a_fit_are_those_of_the_fit_alone(digits):
    def heard(module):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module.cross_val_score(mlp(), *digits, cv=3)
        return [(w.category, str(w.message)) for w in caught]

    assert heard(ours) == heard(sk)
    assert [category for category, _ in heard(ours)] == [ConvergenceWarning] * 3


class _Interrupt:
    """Presses Ctrl-C after some epochs."""

    def __init__(self, after):
        self.after = after

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, estimator, info):
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt
        return False


def test_an_interrupt_keeps_what_is_done_and_says_what_is_missing(digits):
    grid = {"alpha": [1e-4, 1e-2, 1.0]}
    one = mlp()
    whole = ours.GridSearchCV(one, grid, cv=2, refit=False).fit(*digits)
    one.set_params(callbacks=_Interrupt(after=6 * 2 + 2 * 2 + 1))
    search = ours.GridSearchCV(one, grid, cv=2, refit=False, max_stack_bytes=1)
    with pytest.warns(UserWarning) as caught:
        search.fit(*digits)
    told = "\n".join(str(w.message) for w in caught)
    assert "Search interrupted by user: of 6 fits 2 are done, 1 are taken as far" in told
    assert "3 did not begin: their scores are NaN" in told
    assert not any(issubclass(w.category, FitFailedWarning) for w in caught)
    assert search.best_index_ == 0 and np.isfinite(search.best_score_)
    scores = np.stack([search.cv_results_[f"split{i}_test_score"] for i in range(2)], axis=1)
    expected = np.stack([whole.cv_results_[f"split{i}_test_score"] for i in range(2)], axis=1)
    np.testing.assert_array_equal(scores[0], expected[0])
    assert np.isfinite(scores[1, 0])
    assert np.isnan([scores[1, 1], *scores[2]]).all()


def _started(name, one, X, y, **options):
    """Whatever fits in stacks, by its name."""
    function = getattr(ours, name)
    known = one.get_params()
    place = next(p for p in ("mlpclassifier__alpha", "C", "alpha") if p in known)
    grid = (place, [0.1, 1.0])
    if name in SEARCHES:
        return function(one, dict([grid]), cv=2, **options).fit(X, y)
    if name == "validation_curve":
        options.update(param_name=grid[0], param_range=grid[1])
    return function(one, X, y, cv=2, **options)


class _ThatIsInterrupted:
    """Ctrl-C on the way to the first step, and once more at each try after it."""

    def __init__(self, monkeypatch, where):
        self.n_times = 0
        monkeypatch.setattr(where, self._strike)

    def _strike(self, *args, **kwargs):
        self.n_times += 1
        raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{}, {"error_score": "raise"}], ids=["nan", "raise"])
@pytest.mark.parametrize(
    "one, where",
    [
        (mlp(), "estimators.neural.classifier.NeuralClassifier._prepare"),
        (LogisticRegression(), "estimators.logistic.LogisticRegression._prepare"),
        (LogisticRegression(), "estimators.linear.logistic_fit._objective"),
        (LogisticRegression(solver="newton-cg"), "estimators.linear.logistic_fit._objective"),
        (Perceptron(), "estimators.perceptron.Perceptron._prepare"),
        (make_pipeline(StandardScaler(), mlp()), "sklearn.preprocessing.StandardScaler.fit"),
    ],
    ids=["mlp", "logistic", "objective", "newton", "perceptron", "pipeline"],
)
@pytest.mark.parametrize("name", SEARCHES + FUNCTIONS)
def test_an_interrupt_before_the_first_fit_is_an_interrupt(
    name, one, where, options, digits, monkeypatch
):
    """Not fits that failed, nor a model that is misconfigured: scikit-learn stops as well."""
    if name == "cross_val_predict":
        options = {}
    struck = _ThatIsInterrupted(monkeypatch, where)
    one_thread = threadpool_limits(1, user_api="blas")  # no other one that does get to its fit
    with one_thread, warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.filterwarnings("error", "Search interrupted|.*fits failed")
        _started(name, one, *digits, **options)
    assert struck.n_times == 1


def _after_an_iteration(monkeypatch):
    """Ctrl-C in the first stack of `LogisticRegression`, which is that of the first fold."""
    solve = logistic_fit.solve_lbfgs

    def interrupted(*args, callback, **kwargs):
        def strike(*told):
            callback(*told)
            raise KeyboardInterrupt

        return solve(*args, callback=strike, **kwargs)

    monkeypatch.setattr(logistic_fit, "solve_lbfgs", interrupted)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("one", ["logistic", "mlp", "fails"])
def test_an_interrupt_before_a_candidate_has_all_its_folds_is_an_interrupt(
    name, one, digits, monkeypatch
):
    """The best of candidates without a score would be any of them."""
    options = {"random_state": 0} if "Random" in name else {}
    if one == "logistic":
        _after_an_iteration(monkeypatch)
        model = LogisticRegression(max_iter=500, tol=1e-10)
        grid = {"C": np.logspace(-5, 3, 6)}
    else:
        model, grid = mlp(callbacks=_Interrupt(after=2)), {"alpha": [1e-4, 1e-2, 1.0]}
        options["max_stack_bytes"] = 1 if one == "mlp" else None
    if one == "fails":  # all are under way, and none of them can be finished
        monkeypatch.setattr(NeuralFit, "finish", _fails)
    search = getattr(ours, name)(model, grid, cv=3, **options)
    one_thread = threadpool_limits(1, user_api="blas")
    with one_thread, warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.filterwarnings("error", ".*fits failed")
        search.fit(*digits)


def _fails(training):
    raise ValueError("it diverged")


def test_an_interrupt_in_a_fold_of_a_function_keeps_that_fold(digits, monkeypatch):
    """Scores of folds have no best among them, so that each is of use alone."""
    _after_an_iteration(monkeypatch)
    with threadpool_limits(1, user_api="blas"), pytest.warns(UserWarning) as caught:
        scores = ours.cross_val_score(LogisticRegression(), *digits, cv=3)
    assert np.isfinite(scores).tolist() == [True, False, False]
    assert not any(issubclass(w.category, FitFailedWarning) for w in caught)


def test_predictions_that_are_not_complete_are_an_interrupt(digits):
    one = mlp(callbacks=_Interrupt(after=8))
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.filterwarnings("error", "Search interrupted")
        ours.cross_val_predict(one, *digits, cv=3, max_stack_bytes=1)


def test_an_interrupted_stack_is_scored_as_it_stands(digits):
    one = mlp(callbacks=_Interrupt(after=4 * 3), max_iter=50)
    with pytest.warns(UserWarning, match="of 4 fits 0 are done, 4 are taken as far"):
        search = ours.GridSearchCV(one, {"alpha": [1e-4, 1.0]}, cv=2, refit=False).fit(*digits)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_an_interrupt_does_not_raise_what_it_leaves_out(digits):
    one = mlp(callbacks=_Interrupt(after=8))
    search = ours.GridSearchCV(
        one, {"alpha": [1e-4, 1.0]}, cv=2, refit=False, max_stack_bytes=1, error_score="raise"
    )
    with pytest.warns(UserWarning, match="of 4 fits 1 are done, 1 are taken as far"):
        search.fit(*digits)
    assert np.isfinite(search.cv_results_["split0_test_score"][0])
