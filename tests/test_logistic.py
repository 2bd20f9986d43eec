"""`LogisticRegression` against scikit-learn's, which is the oracle of everything here."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from scipy.special import expit, softmax
from sklearn.datasets import load_iris, make_classification

from _logistic import fit_quietly, peer, samples, takes
from _requirements import RELEASE
from estimators.logistic import LogisticRegression

# every penalty that each solver takes: (solver, l1_ratio, C)
SOLVERS = [
    *((solver, 0.0, 0.7) for solver in ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")),
    *((solver, 0.0, np.inf) for solver in ("lbfgs", "newton-cg", "newton-cholesky", "saga")),
    ("liblinear", 0.0, 0.7),
    ("liblinear", 1.0, 0.7),
    ("saga", 1.0, 0.7),
    ("saga", 0.4, 0.7),
]
TIGHT = {"tol": 1e-10, "max_iter": 20000}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 0.5, 1: 0.9}])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    "solver, l1_ratio, C, n_classes",
    [(*case, n) for case in SOLVERS for n in (2, 3) if takes(case[0], n)],
)
def test_coefficients_are_those_of_scikit_learn(
    solver, l1_ratio, C, n_classes, fit_intercept, class_weight, weighted
):
    if class_weight == "balanced" and weighted and RELEASE < (1, 9):
        pytest.skip("older releases balance the numbers of samples, not their weights")
    X, y, weights = samples(n_classes)
    weights = weights if weighted else None
    parameters = {
        "solver": solver,
        "l1_ratio": l1_ratio,
        "C": C,
        "fit_intercept": fit_intercept,
        "class_weight": class_weight,
        "random_state": 0,
        **TIGHT,
    }
    theirs = fit_quietly(peer(**parameters), X, y, weights)
    ours = LogisticRegression(**parameters)
    for data in (X, sp.csr_array(X)):
        ours.fit(data, y, weights)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
        np.testing.assert_allclose(
            ours.intercept_, np.broadcast_to(theirs.intercept_, ours.intercept_.shape), atol=1e-5
        )
        np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        assert ours.n_iter_.dtype == np.int32 and ours.n_iter_.shape == (1,)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_iterations_of_lbfgs_are_those_of_scikit_learn(n_classes):
    X, y = make_classification(
        500, 20, n_informative=8, n_classes=n_classes, class_sep=0.5, random_state=0
    )
    ours, theirs = LogisticRegression().fit(X, y), peer().fit(X, y)
    np.testing.assert_array_equal(ours.n_iter_, theirs.n_iter_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)


@pytest.mark.parametrize("solver", ["newton-cholesky", "newton-cg", "lbfgs", "saga"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_collinear_features_share_their_weight(solver, n_classes):
    X, y, _ = samples(n_classes)
    X = np.hstack([X, X[:, :2]])
    model = LogisticRegression(C=np.inf, solver=solver, tol=1e-9, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.coef_[:, :2], model.coef_[:, 4:], atol=1e-4)
    once = LogisticRegression(C=np.inf, tol=1e-9, max_iter=1000).fit(X[:, :4], y)
    np.testing.assert_allclose(2 * model.coef_[:, :2], once.coef_[:, :2], atol=1e-4)


@pytest.mark.parametrize("scaling", [0.5, 20.0])
def test_liblinear_penalizes_the_scaled_intercept(scaling):
    X, y, _ = samples(2)
    for l1_ratio in (0.0, 1.0):
        parameters = {"solver": "liblinear", "l1_ratio": l1_ratio, "intercept_scaling": scaling}
        ours = LogisticRegression(tol=1e-9, **parameters).fit(X, y)
        theirs = peer(tol=1e-10, max_iter=10000, **parameters).fit(X, y)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_the_dual_formulation_has_the_same_optimum():
    X, y, _ = samples(2)
    ours = LogisticRegression(solver="liblinear", dual=True, tol=1e-9).fit(X, y)
    theirs = peer(solver="liblinear", dual=True, tol=1e-9, max_iter=100000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


@pytest.mark.parametrize(
    "solver, l1_ratio, n_classes",
    [
        (solver, l1_ratio, n_classes)
        for solver in ("lbfgs", "newton-cg", "newton-cholesky", "saga", "liblinear")
        for l1_ratio in (0.0, 1.0)
        for n_classes in (2, 3)
        if takes(solver, n_classes) and (not l1_ratio or solver in ("saga", "liblinear"))
    ],
)
def test_float32_stays_float32(solver, l1_ratio, n_classes):
    X, y, weights = samples(n_classes, np.float32)
    model = LogisticRegression(solver=solver, l1_ratio=l1_ratio, tol=1e-6).fit(X, y, weights)
    wide = LogisticRegression(solver=solver, l1_ratio=l1_ratio, tol=1e-8)
    wide.fit(X.astype(np.float64), y, weights)
    np.testing.assert_allclose(model.coef_, wide.coef_, atol=1e-4)
    for array in (model.coef_, model.intercept_, model.predict_proba(X)):
        assert array.dtype == np.float32


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_squared_error_is_minimized(n_classes, weighted):
    X, y, weights = samples(n_classes)
    weights = weights if weighted else np.ones(len(y))
    n_outputs = 1 if n_classes == 2 else n_classes
    targets = y[:, None] if n_classes == 2 else np.eye(n_classes)[y]

    def objective(parameters):
        w, b = parameters[: 4 * n_outputs].reshape(n_outputs, 4), parameters[4 * n_outputs :]
        scores = X @ w.T + b
        p = expit(scores) if n_classes == 2 else softmax(scores, axis=1)
        return weights @ ((p - targets) ** 2).sum(axis=1) / 2 + (w**2).sum() / (2 * 0.7)

    expected = scipy.optimize.minimize(objective, np.zeros(5 * n_outputs), tol=1e-9)
    model = LogisticRegression(loss="squared_error", C=0.7, tol=1e-9, max_iter=1000)
    model.fit(X, y, weights)
    found = np.concatenate([model.coef_.ravel(), model.intercept_])
    assert objective(found) <= expected.fun + 1e-9
    np.testing.assert_allclose(found, expected.x, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities(n_classes):
    X, y, _ = samples(n_classes)
    ours, theirs = LogisticRegression(tol=1e-9).fit(X, y), peer(tol=1e-9).fit(X, y)
    probabilities = ours.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(probabilities, theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.predict_log_proba(X), np.log(probabilities), rtol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    far = ours.predict_log_proba(1e6 * X)
    assert np.isfinite(far).all()  # where the probabilities themselves are 0


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_warm_start(solver, fit_intercept, n_classes):
    X, y, _ = samples(n_classes)
    model = LogisticRegression(
        solver=solver, warm_start=True, fit_intercept=fit_intercept, tol=1e-6
    )
    first = model.fit(X, y).n_iter_[0]
    coef = model.coef_
    assert model.sparsify().fit(X, y).n_iter_[0] <= 1 < first
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)
    with pytest.raises(ValueError, match="Initialization coef is of shape"):
        model.fit(X[:, :3], y)


def test_string_labels_and_sparsified_coefficients():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = LogisticRegression(max_iter=500, solver="saga", l1_ratio=1).fit(X, names)
    assert model.score(X, names) > 0.95
    proba = model.predict_proba(X)
    assert sp.issparse(model.sparsify().coef_)
    np.testing.assert_allclose(model.predict_proba(X), proba)
    assert isinstance(model.densify().coef_, np.ndarray)
