"""The L1 norm in `LogisticRegression`: the zeros and the minimum are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from _logistic import fit_quietly, peer
from estimators.logistic import LogisticRegression


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
