"""`LogisticRegression` against scikit-learn's, which is the oracle of everything here."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
import sklearn
import sklearn.linear_model
from scipy.special import expit, softmax
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from estimators.logistic import LogisticRegression

RELEASE = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
same_wording = pytest.mark.skipif(
    RELEASE != (1, 9), reason="compares messages, which are those of scikit-learn 1.9"
)

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


def peer(**parameters):
    """scikit-learn's estimator, whichever way its release says the penalty."""
    if RELEASE < (1, 8):
        l1_ratio = parameters.pop("l1_ratio", 0.0)
        penalty = {0.0: "l2", 1.0: "l1"}.get(l1_ratio, "elasticnet")
        if parameters.get("C") == np.inf:
            penalty = None
            del parameters["C"]
        parameters |= {"penalty": penalty}
        if penalty == "elasticnet":
            parameters["l1_ratio"] = l1_ratio
    return sklearn.linear_model.LogisticRegression(**parameters)


def samples(n_classes, dtype=np.float64):
    """80 noisy samples of four features, of which one says nothing, and random weights."""
    rng = np.random.default_rng(n_classes)
    X = rng.standard_normal((80, 4))
    X[rng.random(X.shape) < 0.2] = 0
    scores = X @ rng.standard_normal((4, n_classes)) + np.linspace(0, 1, n_classes)
    y = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    # scikit-learn's saga finds the optimum only with weights up to 1
    return X.astype(dtype), y, rng.integers(1, 4, size=80) / 3


def takes(solver, n_classes):
    return solver != "liblinear" or n_classes == 2


def fit_quietly(estimator, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(*args)


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


@pytest.mark.parametrize("solver", ["liblinear", "saga"])
def test_zeros_of_the_l1_norm_are_those_of_scikit_learn(solver):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    parameters = {"solver": solver, "l1_ratio": 1.0, "C": 0.1, "tol": 1e-8, "max_iter": 5000}
    theirs = fit_quietly(peer(random_state=0, **parameters), X, y)
    ours = LogisticRegression(**parameters).fit(X, y)
    assert 0 < (ours.coef_ != 0).sum() < 15
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_features_of_any_scale_with_the_l1_norm():
    X, y = load_breast_cancer(return_X_y=True)  # from 1e-3 to 1e3
    parameters = {"solver": "liblinear", "l1_ratio": 1.0}
    theirs = peer(tol=1e-12, max_iter=100000, **parameters).fit(X, y)
    ours = LogisticRegression(tol=1e-9, **parameters).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    assert ours.n_iter_[0] < 20


def test_more_parameters_than_a_hessian_is_made_for(monkeypatch):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    parameters = {"solver": "saga", "l1_ratio": 0.5, "tol": 1e-9, "max_iter": 5000}
    newton = LogisticRegression(**parameters).fit(X, y)
    monkeypatch.setattr("estimators.linear.proximal.LARGEST_HESSIAN", 0)
    orthants = LogisticRegression(**parameters).fit(X, y)
    assert orthants.n_iter_[0] > newton.n_iter_[0]
    np.testing.assert_allclose(orthants.coef_, newton.coef_, atol=1e-6)
    np.testing.assert_array_equal(orthants.coef_ == 0, newton.coef_ == 0)


def objective(model, X, y, sample_weight=None):
    """What the parameters of a model minimise, in float64."""
    X = (X.toarray() if sp.issparse(X) else X).astype(float)
    scores = X @ model.coef_.T.astype(float) + np.asarray(model.intercept_, float)
    if len(model.classes_) == 2:
        scores = np.hstack([0 * scores, scores])
    right = scores[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    losses = scipy.special.logsumexp(scores, axis=1) - right
    norms = (
        model.l1_ratio * abs(model.coef_).sum()
        + (1 - model.l1_ratio) / 2 * (model.coef_.astype(float) ** 2).sum()
    )
    return model.C * (losses if sample_weight is None else sample_weight * losses).sum() + norms


def hard_for_the_l1_norm():
    """Data on which the quadratic models have no curvature in some direction, or hardly any."""
    five = make_classification(300, 30, n_informative=10, n_classes=5, random_state=0)
    wide = make_classification(60, 120, n_informative=10, n_classes=4, random_state=0)
    digits = tuple(a[:300] for a in load_digits(return_X_y=True))
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(-3, 5, 30))
    alike = np.ones((30, 30)) + 0.1 * rng.standard_normal((30, 30))
    sparse = sp.random(200, 700, density=0.03, random_state=0, format="csr")
    return {
        "five classes": (*five, None),
        "weights": (*five, 3 * rng.random(300)),
        "two classes": (five[0], (five[1] > 2) * 1, None),
        "float32": (five[0].astype(np.float32), five[1], None),
        "features of any scale": (five[0] * scales, five[1], None),
        "features that are alike": (five[0] @ alike, five[1], None),
        "more features than samples": (*wide, None),
        "raw digits": (*digits, None),
        "sparse": (sparse, (sparse @ rng.standard_normal((700, 3))).argmax(axis=1), None),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("l1_ratio, C", [(1.0, 1), (0.5, 1), (1.0, 100), (0.1, 0.1)])
@pytest.mark.parametrize("data", hard_for_the_l1_norm())
def test_the_l1_norm_ends_no_higher_than_in_scikit_learn(data, l1_ratio, C, monkeypatch):
    X, y, weights = hard_for_the_l1_norm()[data]
    factorizations, factorize = [0], scipy.linalg.cho_factor

    def counted(*args, **kwargs):
        factorizations[0] += 1
        return factorize(*args, **kwargs)

    monkeypatch.setattr("scipy.linalg.cho_factor", counted)
    parameters = {"solver": "saga", "l1_ratio": l1_ratio, "C": C}
    for max_iter in (5, 100):
        factorizations[0] = 0
        ours = LogisticRegression(max_iter=max_iter, **parameters).fit(X, y, weights)
        theirs = peer(max_iter=max_iter, random_state=0, **parameters).fit(X, y, weights)
        theirs.l1_ratio = l1_ratio
        assert objective(ours, X, y, weights) <= objective(theirs, X, y, weights) * (1 + 1e-7)
        assert ours.n_iter_.dtype == np.int32 and ours.n_iter_.shape == (1,)
        assert ours.n_iter_[0] <= max_iter
        # and an iteration is no more than some steps, each some factorisations
        assert factorizations[0] <= 70 * ours.n_iter_[0]


@pytest.mark.parametrize("solver, n_classes", [("saga", 5), ("saga", 2), ("liblinear", 2)])
def test_the_l1_norm_warns_where_it_ends_early(solver, n_classes):
    X, y, _ = hard_for_the_l1_norm()["five classes" if n_classes > 2 else "two classes"]
    with pytest.warns(ConvergenceWarning) as caught:
        model = LogisticRegression(solver=solver, l1_ratio=1, max_iter=2).fit(X, y)
    assert "failed to converge" in str(caught[0].message) or "max_iter" in str(caught[0].message)
    np.testing.assert_array_equal(model.n_iter_, [2])


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


BAD = {
    "unknown solver": ({"solver": "adam"}, {}),
    "C of 0": ({"C": 0}, {}),
    "negative tol": ({"tol": -1.0}, {}),
    "l1_ratio beyond 1": ({"l1_ratio": 1.5}, {}),
    "max_iter no number": ({"max_iter": "many"}, {}),
    "class_weight no dict": ({"class_weight": "fair"}, {}),
    "class_weight of strangers": ({"class_weight": {7: 1.0}}, {}),
    "l1 with lbfgs": ({"l1_ratio": 1}, {}),
    "elastic net with lbfgs": ({"l1_ratio": 0.5}, {}),
    "elastic net with liblinear": ({"l1_ratio": 0.5, "solver": "liblinear"}, {}),
    "no penalty with liblinear": ({"C": np.inf, "solver": "liblinear"}, {}),
    "dual with sag": ({"dual": True, "solver": "sag"}, {}),
    "dual with l1": ({"dual": True, "solver": "liblinear", "l1_ratio": 1}, {}),
    "penalty=l1": ({"penalty": "l1", "solver": "saga"}, {}),
    "penalty=l2": ({"penalty": "l2", "l1_ratio": 1}, {}),
    "penalty=None": ({"penalty": None, "C": 2.0}, {}),
    "penalty=elasticnet": ({"penalty": "elasticnet", "solver": "saga", "l1_ratio": None}, {}),
    "l1_ratio=None": ({"l1_ratio": None}, {}),
    "n_jobs": ({"n_jobs": 2}, {}),
    "NaN": ({}, {"X": [[np.nan], [1.0], [2.0]]}),
    "infinity": ({}, {"X": [[np.inf], [1.0], [2.0]]}),
    "one class": ({}, {"y": [1, 1, 1]}),
    "empty": ({}, {"X": np.empty((0, 2)), "y": []}),
    "no features": ({}, {"X": np.empty((3, 0))}),
    "one dimension": ({}, {"X": [1.0, 2.0, 3.0]}),
    "fewer labels": ({}, {"y": [0, 1]}),
    "continuous labels": ({}, {"y": [0.1, 0.2, 0.3]}),
    "weights of another length": ({}, {"sample_weight": [1.0, 2.0]}),
    "text": ({}, {"X": [["a"], ["b"], ["c"]]}),
    "huge, liblinear": ({"solver": "liblinear"}, {"X": [[1e31], [1.0], [2.0]], "y": [0, 1, 1]}),
}


def outcome(estimator, data):
    """The types and texts of all warnings, and of the error if there is one."""
    inputs = {"X": [[0.0], [1.0], [2.0]], "y": [0, 1, 0]} | data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(**inputs)
            error = None
        except Exception as raised:
            # a message lists the known names in any order
            error = type(raised), sorted(re.findall(r"[\w'-]+", str(raised)))
    seen = [(w.category, str(w.message)) for w in caught]
    return [w for w in seen if w[0] is not ConvergenceWarning], error


@same_wording
@pytest.mark.parametrize("case", BAD)
def test_errors_and_warnings_are_those_of_scikit_learn(case):
    parameters, data = BAD[case]
    model = LogisticRegression(**parameters)
    ours, theirs = outcome(model, data), outcome(peer(**parameters), data)
    assert ours[0] or ours[1]
    assert ours == theirs
    X, y, _ = samples(2)
    model.set_params(**LogisticRegression().get_params()).fit(X, y)  # none the worse for it


@pytest.mark.filterwarnings("ignore:.*penalty")
def test_the_deprecated_penalty_still_decides():
    X, y, _ = samples(2)
    for old, new in (
        ({"penalty": None, "C": 2.0}, {"C": np.inf}),
        ({"penalty": "l1", "l1_ratio": 1}, {"l1_ratio": 1}),
        ({"penalty": "l2"}, {"l1_ratio": 0}),
        ({"penalty": "elasticnet", "l1_ratio": 0.3}, {"l1_ratio": 0.3}),
    ):
        expected = LogisticRegression(solver="saga", **new).fit(X, y).coef_
        found = LogisticRegression(solver="saga", **old).fit(X, y).coef_
        np.testing.assert_array_equal(found, expected)


LOGISTIC = [
    *({"solver": solver} for solver in ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")),
    {"solver": "saga", "l1_ratio": 1.0},
    {"solver": "saga", "l1_ratio": 0.5},
    {"solver": "liblinear"},
    {"solver": "liblinear", "l1_ratio": 1.0},
    {"loss": "squared_error"},
]


@pytest.mark.parametrize("parameters", LOGISTIC, ids=str)
def test_weights_without_a_positive_sum(parameters):
    X, y, _ = samples(2)
    nothing = "Sample weights must contain at least one non-zero number"  # scikit-learn's words
    one = np.bincount(y)
    for class_weight, sample_weight, message in (
        (None, np.zeros(80), nothing),
        ("balanced", np.zeros(80), nothing),
        ({0: 0, 1: 0}, None, nothing),
        ({0: 1, 1: 0}, (y == 1) * 1.0, nothing),
        ({0: one[1], 1: -one[0]}, None, "sum to 0"),
        (None, np.where(y == 0, one[1], -one[0]) * 0.1, "sum to 0"),
        ({0: -1, 1: -1}, None, "sum to a negative number"),
        ({0: 1e300, 1: 1e300}, np.full(80, 1e300), "too large for dtype"),
        (None, np.full(80, 1e-320), "not finite for C=1 and weights that sum to"),
    ):
        model = LogisticRegression(class_weight=class_weight, **parameters)
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, sample_weight)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "dtype, scale", [("float64", 1e160), ("float64", 1e308), ("float32", 1e38)]
)
@pytest.mark.parametrize("parameters", LOGISTIC, ids=str)
def test_values_that_cannot_be_squared(parameters, dtype, scale, n_classes, kind):
    """A warning in words, or an error, and none of floating-point arithmetic."""
    if not takes(parameters.get("solver"), n_classes):
        return
    X, y, _ = samples(n_classes)
    X = (X / abs(X).max() * scale).astype(dtype)
    X = sp.csr_matrix(X) if kind == "sparse" else X
    model = LogisticRegression(**parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if parameters.get("solver") == "liblinear":
            with pytest.raises(ValueError, match="X contains a maximum value > 1e30"):
                model.fit(X, y)
            return
        model.fit(X, y)
        model.predict_proba(X)
        model.predict_log_proba(X)
    texts = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    assert not [w for w in caught if issubclass(w.category, RuntimeWarning)]
    assert np.isfinite(model.coef_).all()
    # where float32 can be multiplied by its inverse, some solvers find the minimum all the same
    assert texts or model.score(X, y) > 0.5
    if texts and parameters.get("solver", "lbfgs") != "lbfgs":
        assert "Floating-point under-/overflow occurred at iteration #1. Scaling" in texts[0]
    LogisticRegression(**parameters).fit(*samples(n_classes)[:2])


@same_wording
def test_three_classes_with_liblinear():
    X, y, _ = samples(3)
    with pytest.raises(ValueError) as theirs:
        peer(solver="liblinear").fit(X, y)
    with pytest.raises(ValueError) as ours:
        LogisticRegression(solver="liblinear").fit(X, y)
    assert str(ours.value).startswith(str(theirs.value))


@same_wording
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "liblinear", "saga"])
def test_too_few_iterations_warn_in_the_words_of_scikit_learn(solver):
    X, y, _ = samples(2)
    texts = []
    for model in (LogisticRegression, sklearn.linear_model.LogisticRegression):
        with pytest.warns(ConvergenceWarning) as caught:
            model(solver=solver, max_iter=1, tol=1e-12).fit(X, y)
        texts.append(str(caught[0].message))
    ours, theirs = texts
    if solver == "newton-cg":  # names the loss, which depends on the path
        ours, theirs = (text.replace(text.split()[7], "") for text in texts)
    assert ours == theirs


def test_parameters_that_scikit_learn_does_not_have():
    X, y, _ = samples(2)
    with pytest.raises(ValueError, match="'squared_error'"):
        LogisticRegression(loss="hinge").fit(X, y)
    with pytest.raises(ValueError, match="only by solver='lbfgs', got solver='sag'"):
        LogisticRegression(loss="squared_error", solver="sag").fit(X, y)
    with pytest.raises(ValueError, match="Unknown device 'tpu'"):
        LogisticRegression(device="tpu").fit(X, y)
    model = LogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but LogisticRegression is expecting 4"):
        model.predict(X[:, :3])


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky", "saga"])
def test_ctrl_c_keeps_what_there_is(solver, monkeypatch):
    X, y, _ = samples(3)
    calls = 0
    from estimators.linear.loss import LinearObjective

    evaluate = LinearObjective.value_and_gradient

    def interrupted(self, parameters, models):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return evaluate(self, parameters, models)

    monkeypatch.setattr(LinearObjective, "value_and_gradient", interrupted)
    model = LogisticRegression(solver=solver, l1_ratio=float(solver == "saga"), tol=1e-9)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert 0 < model.n_iter_[0] < 4
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("verbose", [1, True, 2, 10])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "liblinear"])
def test_verbose_prints_a_line_an_iteration(solver, verbose, capsys):
    X, y, _ = samples(2)
    n_iter = LogisticRegression(solver=solver, verbose=verbose).fit(X, y).n_iter_[0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == n_iter > 0
    assert lines[0].startswith("Iteration 1, loss = 0.")


def test_verbose_bar_shows_a_bar(capsys):
    X, y, _ = samples(2)
    LogisticRegression(verbose="bar", max_iter=50).fit(X, y)
    captured = capsys.readouterr()
    assert "/50" in captured.err and "iteration" in captured.err
    assert captured.out == ""


def test_two_fits_are_bit_for_bit_the_same():
    X, y, _ = samples(3)
    first, second = (LogisticRegression().fit(X, y).coef_ for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.skipif(RELEASE < (1, 9), reason="callbacks came with scikit-learn 1.9")
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_callbacks_are_told_what_scikit_learn_tells(solver):
    class Recorder:
        """The norm of the weights at each hook."""

        def __init__(self):
            self.heard = []

        def setup(self, estimator, context):
            self.heard.append("setup")

        def on_fit_task_begin(self, estimator, context, **arguments):
            self.hear("begin", context, arguments)

        def on_fit_task_end(self, estimator, context, **arguments):
            self.hear("end", context, arguments)

        def teardown(self, estimator, context):
            self.heard.append("teardown")

        def hear(self, hook, context, arguments):
            self.heard.append((hook, context.task_name, context.task_id, context.max_subtasks))

    X, y, weights = samples(3)
    ours, theirs = Recorder(), Recorder()
    LogisticRegression(solver=solver).set_callbacks(ours).fit(X, y, weights)
    peer(solver="lbfgs").set_callbacks(theirs).fit(X, y, weights)
    if solver == "lbfgs":
        assert ours.heard == theirs.heard
    assert ours.heard[0] == "setup" and ours.heard[-1] == "teardown"
    assert ("end", f"{solver}-iter", 2, 0) in ours.heard


def test_an_interrupt_before_anything_is_learned_is_an_interrupt(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("estimators.linear.logistic_fit._objective", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LogisticRegression().fit([[0.0], [1.0]], [0, 1])
