"""Models that will draw the same orders of their rows share one; no others do."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone

from estimators import MLPClassifier
from estimators.model_selection import cross_validate
from estimators.training.order import RowOrder, share_orders

ROWS = np.arange(20)


def order(seed=0, rows=ROWS, **options):
    return RowOrder(rows, np.random.RandomState(seed), **{"is_private": True} | options)


def members(*orders, first_rows=(0, 0)):
    return [SimpleNamespace(order=o, first_row=f) for o, f in zip(orders, first_rows, strict=True)]


ALIKE = {
    "equal": (order, order),
    "equal rows": (order, lambda: order(rows=ROWS.copy())),
    "in order": (lambda: order(shuffles=False), lambda: order(9, shuffles=False)),
}
DIFFERENT = {
    "seed": (order, lambda: order(1)),
    "rows": (order, lambda: order(rows=ROWS[::-1].copy())),
    "shuffle": (order, lambda: order(shuffles=False)),
    "stream of others": (order, lambda: order(is_private=False)),
    "both of others": (lambda: order(is_private=False), lambda: order(is_private=False)),
}


@pytest.mark.parametrize("case", ALIKE)
def test_orders_that_will_be_the_same_are_one(case):
    one, other = members(*(make() for make in ALIKE[case]))
    share_orders([one, other])
    assert one.order is other.order


@pytest.mark.parametrize("case", DIFFERENT)
def test_orders_that_may_differ_are_two(case):
    one, other = members(*(make() for make in DIFFERENT[case]))
    share_orders([one, other])
    assert one.order is not other.order


def test_rows_of_two_data_sets_are_two_orders():
    one, other = members(order(), order(), first_rows=(0, 20))
    share_orders([one, other])
    assert one.order is not other.order


def test_an_order_is_that_of_scikit_learn():
    drawn, rng = order(3), np.random.RandomState(3)
    for _ in range(2):
        drawn.next()
        places = np.arange(20)
        rng.shuffle(places)
    np.testing.assert_array_equal(np.sort(drawn.rows), ROWS)
    first = np.arange(20)
    np.random.RandomState(3).shuffle(first)
    np.testing.assert_array_equal(drawn.rows, ROWS[first][places])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_stack_learns_what_its_models_do_alone():
    """Folds have rows of their own, and are one stack."""
    rng = np.random.default_rng(0)
    X, y = rng.random((120, 5)), np.arange(120) % 3
    model = MLPClassifier((4,), batch_size=16, max_iter=3, random_state=0)
    folds = [(np.arange(80), np.arange(80, 120)), (np.arange(40, 120), np.arange(40))]
    found = cross_validate(model, X, y, cv=[*folds, folds[0]], return_estimator=True)["estimator"]
    for fitted, (train, _) in zip(found, [*folds, folds[0]], strict=True):
        assert fitted.loss_curve_ == clone(model).fit(X[train], y[train]).loss_curve_
