"""The searches and functions of `model_selection`: scikit-learn's face, and its results."""

import inspect

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.base import clone

from _searches import FUNCTIONS, QUIET, SEARCHES, assert_same_results, mlp
from estimators import model_selection as ours

pytestmark = QUIET


@pytest.mark.parametrize("name", SEARCHES + FUNCTIONS)
def test_signatures_are_scikit_learns_with_our_options_more(name):
    own = inspect.signature(getattr(ours, name)).parameters
    theirs = inspect.signature(getattr(sk, name)).parameters
    more = ["checkpoint", "keep_curves"] if name in SEARCHES else []
    assert list(own) == [*theirs, "fused", "max_stack_bytes", "progress", *more]
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
