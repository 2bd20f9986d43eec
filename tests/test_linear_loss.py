"""The objective of linear classifiers, Newton's method and the exact lasso step on it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from estimators.linear.lasso import quadratic_lasso
from estimators.linear.loss import LinearObjective
from estimators.linear.newton import minimize_newton
from estimators.linear.proximal import _L1Objective, minimize_proximal
from estimators.linear.row_blocks import gram_chunks
from estimators.optimize.lbfgs import minimize_lbfgs

ONE = np.zeros(1, dtype=int)


@pytest.fixture(autouse=True, params=["one block", "many blocks"])
def _blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr("estimators.linear.row_blocks.BLOCK_BYTES", 64)  # 64 rows each at least


def make(n_classes, *, seed=0, sparse=False, weights=None, l2=(0.3,), n_samples=150, **kwargs):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 4))
    y = rng.integers(n_classes, size=n_samples)
    weights = None if weights is None else rng.random((weights, n_samples))
    X = sp.csr_matrix(X) if sparse else X
    objective = LinearObjective(
        X, y, n_classes, l2=np.array(l2), sample_weight=weights, intercept_scaling=2.0, **kwargs
    )
    return objective, 0.5 * rng.standard_normal((len(l2), objective.n_parameters))


def slopes(function, x, step=1e-5):
    return np.array(
        [(function(x + step * e) - function(x - step * e)) / (2 * step) for e in np.eye(len(x))]
    )


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loss", ["log_loss", "squared_error"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weights", [None, 1])
@pytest.mark.parametrize("penalize", [False, True])
def test_the_gradient_is_the_slope_of_the_value(n_classes, loss, sparse, weights, penalize):
    objective, x = make(
        n_classes, sparse=sparse, weights=weights, loss=loss, penalize_intercept=penalize
    )
    expected = slopes(lambda v: objective.value_and_gradient(v[None], ONE)[0][0], x[0])
    np.testing.assert_allclose(objective.value_and_gradient(x, ONE)[1][0], expected, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weights", [None, 1])
def test_the_hessian_is_the_slope_of_the_gradient(n_classes, sparse, weights):
    objective, x = make(n_classes, sparse=sparse, weights=weights)
    expected = slopes(lambda v: objective.value_and_gradient(v[None], ONE)[1][0], x[0])
    probabilities = objective.probabilities(x[0])
    hessian = objective.hessian(probabilities)
    np.testing.assert_allclose(hessian, expected, atol=1e-8)
    some = np.array([0, 2, len(hessian) - 1])
    part = objective.hessian(probabilities, some)
    np.testing.assert_allclose(part, hessian[np.ix_(some, some)], rtol=1e-12)
    v = np.random.default_rng(1).standard_normal(len(hessian))
    product = objective.hessian_product(probabilities, v)
    np.testing.assert_allclose(product, hessian @ v, atol=1e-12)


@pytest.mark.parametrize("density", [0.01, 0.1, 0.3, 1.0])
def test_the_hessian_of_sparse_rows_is_that_of_the_same_dense_ones(density):
    """Few values a row are multiplied as such, many as bounded arrays."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 40)) * (rng.random((200, 40)) < density)
    y, weights = rng.integers(3, size=200), rng.random((1, 200))
    some = np.unique(rng.integers(3 * 41, size=50))
    hessians = []
    for rows in (X, sp.csr_matrix(X)):
        objective = LinearObjective(rows, y, 3, l2=np.array([0.3]), sample_weight=weights)
        probabilities = objective.probabilities(np.linspace(-1, 1, objective.n_parameters))
        hessians.append(objective.hessian(probabilities, some))
    np.testing.assert_allclose(hessians[1], hessians[0], rtol=1e-12, atol=1e-15)
    forms = [piece for _, piece in gram_chunks(sp.csc_matrix(X))]
    assert [sp.issparse(piece) for piece in forms] == [density < 0.3] * len(forms)
    together = np.vstack([piece.toarray() if density < 0.3 else piece for piece in forms])
    np.testing.assert_array_equal(together, X)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_stack_has_its_own_weights_and_penalties(n_classes):
    objective, x = make(n_classes, weights=3, l2=(0.1, 0.2, 0.3))
    some = np.array([2, 0])
    values, gradients = objective.value_and_gradient(x[some], some)
    for i, model in enumerate(some):
        alone, _ = make(n_classes, weights=3, l2=(0.1, 0.2, 0.3))
        alone.l2 = alone.l2[[model]]
        for block in alone.blocks:
            block.weights, block.share = block.weights[[model]], block.share[[model]]
        value, gradient = alone.value_and_gradient(x[[model]], ONE)
        np.testing.assert_allclose(values[i], value[0], rtol=1e-12)
        np.testing.assert_allclose(gradients[i], gradient[0], atol=1e-12)


def test_samples_of_weight_zero_count_as_absent():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 4)), rng.integers(3, size=200)
    weights = np.repeat([1.0, 0.0], 100)  # whole blocks of zeros among them
    zeros = LinearObjective(X, y, 3, l2=np.ones(1), sample_weight=weights)
    absent = LinearObjective(X[:100], y[:100], 3, l2=np.ones(1))
    x = rng.standard_normal((1, 15))
    for one, other in zip(
        zeros.value_and_gradient(x, ONE), absent.value_and_gradient(x, ONE), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_stack_of_fits_is_the_fits_alone():
    strengths = (1e-3, 1e-2, 1e-1, 1.0)
    stack, _ = make(3, l2=strengths)
    together = minimize_lbfgs(stack.value_and_gradient, np.zeros((4, 15)), gtol=1e-9, ftol=0)
    for model, strength in enumerate(strengths):
        objective, _ = make(3, l2=(strength,))
        alone = minimize_lbfgs(objective.value_and_gradient, np.zeros((1, 15)), gtol=1e-9, ftol=0)
        assert abs(together.n_iter[model] - alone.n_iter[0]) <= 1  # sums are rounded differently
        np.testing.assert_allclose(together.x[model], alone.x[0], atol=1e-7)


@pytest.mark.parametrize("factorize", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_newton_from_far_away(factorize, n_classes):
    objective, _ = make(n_classes, l2=(1e-3,))  # there a full step overshoots by far
    start = 4 * np.random.default_rng(3).standard_normal(objective.n_parameters)
    values = []
    result = minimize_newton(
        objective,
        start,
        factorize=factorize,
        tol=1e-9,
        max_iter=100,
        callback=lambda stage: values.append(stage.point.value),
    )
    assert result.converged and len(values) == result.n_iter
    assert (np.diff(values) <= 1e-12).all()
    assert np.abs(objective.value_and_gradient(result.x[None], ONE)[1]).max() <= 1e-9


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n_classes", [2, 3])
def test_dependent_features_without_penalty_get_the_shortest_weights(seed, n_classes):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((150, 3))
    mixing = rng.standard_normal((3, 6))
    y = rng.integers(n_classes, size=150)
    objective = LinearObjective(X @ mixing, y, n_classes, l2=np.zeros(1))
    start = np.zeros(objective.n_parameters)
    result = minimize_newton(objective, start, factorize=True, tol=1e-10, max_iter=100)
    assert result.converged and result.n_iter < 15
    coef, intercept = objective.unpacked(result.x)
    in_row_space = coef @ np.linalg.pinv(mixing) @ mixing
    np.testing.assert_allclose(coef, in_row_space, atol=1e-6)
    if n_classes > 2:  # a constant added to all classes changes nothing, so none is
        np.testing.assert_allclose(coef.sum(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(intercept.sum(), 0, atol=1e-6)


@pytest.mark.parametrize("condition", [1e0, 1e4, 1e8])
@pytest.mark.parametrize("seed", range(5))
def test_the_lasso_step_is_exact(condition, seed):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((30, 30)))
    hessian = basis * np.logspace(0, np.log10(condition), 30) @ basis.T
    linear = rng.standard_normal(30) * 10
    l1 = np.where(np.arange(30) % 7 == 0, 0, rng.random(30) * 10)
    w = quadratic_lasso(hessian, linear, l1, rng.integers(-1, 2, size=30).astype(float))
    slope = linear + hessian @ w
    zero = w == 0
    assert 0 < zero.sum() < 30
    assert (np.abs(slope[zero]) <= l1[zero] * (1 + 1e-9)).all()
    np.testing.assert_allclose(slope[~zero], -(l1 * np.sign(w))[~zero], atol=1e-6)


def test_the_l1_norm_with_more_features_than_samples(monkeypatch):
    monkeypatch.setattr(_L1Objective, "orthant_step", None)  # Newton steps are enough
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 60)), np.arange(40) % 3
    objective = LinearObjective(X, y, 3, l2=np.zeros(1))
    l1 = 0.02
    start = np.zeros(objective.n_parameters)
    result = minimize_proximal(objective, l1, start, tol=1e-9, max_iter=50)
    assert result.converged and result.n_iter < 30
    coef = result.x[:180]
    slope = objective.value_and_gradient(result.x[None], ONE)[1][0, :180]
    assert (np.abs(slope[coef == 0]) <= l1 + 1e-9).all()
    np.testing.assert_allclose(slope[coef != 0], -l1 * np.sign(coef[coef != 0]), atol=1e-9)
    assert 0 < (coef != 0).sum() <= 80
