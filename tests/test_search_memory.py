"""`estimate_memory` of searches, held to what their stacks take."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators.costs import memory as memories
from estimators.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from estimators.shared import samples as shared_samples

pytestmark = pytest.mark.filterwarnings("ignore")

X, Y = np.random.default_rng(0).random((700, 120), np.float32), np.arange(700) % 10
MLP = MLPClassifier((60,), max_iter=1, random_state=0, device="cuda")
ALPHAS, CS = {"alpha": [1e-4, 1e-3, 1e-2]}, {"C": [0.1, 1.0, 10.0]}
WHOLE = {"cv": 3, "refit": False, "max_stack_bytes": 2**30, "error_score": 0}

SEARCHES = {
    "mlp": GridSearchCV(MLP, ALPHAS, **WHOLE),
    "orders of their own": GridSearchCV(clone(MLP).set_params(random_state=None), ALPHAS, **WHOLE),
    "divided": GridSearchCV(MLP, ALPHAS, **WHOLE | {"max_stack_bytes": 1_000_000}),
    "alone": GridSearchCV(MLP, ALPHAS, **WHOLE, fused=False),
    "random": RandomizedSearchCV(MLP, ALPHAS, n_iter=2, **WHOLE),
    "halving": HalvingGridSearchCV(MLP, ALPHAS, random_state=0, **WHOLE),
    "random halving": HalvingRandomSearchCV(MLP, ALPHAS, random_state=0, **WHOLE),
    "early stopping": GridSearchCV(clone(MLP).set_params(early_stopping=True), ALPHAS, **WHOLE),
    "pipeline": GridSearchCV(
        make_pipeline(StandardScaler(), MLP), {"mlpclassifier__alpha": [1e-4, 1e-3]}, **WHOLE
    ),
    "logistic": GridSearchCV(LogisticRegression(max_iter=2, device="cuda"), CS, **WHOLE),
    "perceptron": GridSearchCV(Perceptron(max_iter=1, device="cuda"), ALPHAS, **WHOLE),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_an_estimate_is_what_the_largest_stack_needs(name, cupy, softgpu, monkeypatch):
    search = SEARCHES[name]
    memory = search.estimate_memory(X, Y)
    assert memory.device == "cuda:0"

    def free():
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()

    is_null = name != "perceptron"  # whose fits fail where nothing is computed
    with softgpu.settings(null=is_null):
        clone(search).fit(X, Y)  # what belongs to no fit, as counters, is there now
        free()
        with softgpu.limited_memory(int(1.1 * memory.total)):
            clone(search).fit(X, Y)
        free()
        for module in (memories, shared_samples):  # nobody looks before it begins
            monkeypatch.setattr(module, "device_memory", lambda device: (2**60, 2**60))
        if name in ("alone", "perceptron"):  # scikit-learn goes on after a fit that fails
            search = clone(search).set_params(error_score="raise")
        with softgpu.limited_memory(int(0.9 * memory.total)), pytest.raises(MemoryError):
            clone(search).fit(X, Y)


def test_nothing_is_launched_and_nothing_changes(cupy, softgpu):
    search = clone(SEARCHES["mlp"])
    with softgpu.launched() as launched, softgpu.limited_memory(0):
        search.estimate_memory(X, Y)
    assert not launched and vars(search) == vars(clone(search)) | {
        "estimator": search.estimator, "param_grid": search.param_grid
    }  # fmt: skip


# On any machine --------------------------------------------------------------------------------


def test_more_candidates_need_more():
    model, even = clone(MLP).set_params(device="cpu"), slice(690)  # folds of one size
    few, many = (
        GridSearchCV(model, {"alpha": list(range(1, n))}, **WHOLE).estimate_memory(X[even], Y[even])
        for n in (3, 5)
    )
    assert few.device == "cpu"
    assert many.parameters == 2 * few.parameters
    divided = GridSearchCV(model, ALPHAS, **WHOLE | {"max_stack_bytes": 1})
    small = divided.estimate_memory(X[even], Y[even])
    assert 6 * small.parameters == few.parameters


def test_halving_draws_what_it_would_draw():
    rng = np.random.RandomState(0)
    before = rng.get_state()[1].copy()
    search = HalvingRandomSearchCV(clone(MLP).set_params(device="cpu"), ALPHAS, random_state=rng)
    search.estimate_memory(X, Y)
    np.testing.assert_array_equal(rng.get_state()[1], before)


def test_what_is_not_ours_is_not_known():
    with pytest.raises(ValueError, match="no fit of RidgeClassifier"):
        GridSearchCV(RidgeClassifier(), ALPHAS).estimate_memory(X, Y)


# In main memory ------------------------------------------------------------------------------

MANY, LABELS = np.random.default_rng(0).random((4000, 500), np.float32), np.arange(4000) % 10
ON_CPU = clone(MLP).set_params(device="cpu", hidden_layer_sizes=(30,))
STEPS = {"mlpclassifier__alpha": [1e-4, 1e-3]}
IN_MAIN_MEMORY = {
    "mlp": (ON_CPU, {"alpha": [1e-4, 1e-3]}, None, 3.0),
    "little": (ON_CPU, {"alpha": [1e-4, 1e-3]}, 1_000_000, 1.0),
    "logistic": (LogisticRegression(max_iter=2), CS, None, 3.0),
    "logistic, one by one": (LogisticRegression(max_iter=2, solver="sag"), CS, None, 3.0),
    "perceptron": (Perceptron(max_iter=1), ALPHAS, None, 1.5),
    "pipeline": (make_pipeline(StandardScaler(), ON_CPU), STEPS, None, 25.0),
    "pipeline in parts": (make_pipeline(StandardScaler(), ON_CPU), STEPS, 40_000_000, 9.0),
    "pipeline, one by one": (make_pipeline(StandardScaler(), ON_CPU), STEPS, 1_000_000, 3.5),
}


@pytest.mark.parametrize("name", IN_MAIN_MEMORY)
def test_a_search_takes_what_it_says(name):
    """And not a copy of the training samples of every fold."""
    estimator, grid, limit, most_of_X = IN_MAIN_MEMORY[name]
    search = GridSearchCV(estimator, grid, cv=10, refit=False, max_stack_bytes=limit)
    says = search.estimate_memory(MANY, LABELS).total
    clone(search).fit(MANY[:500], LABELS[:500])  # what is imported stays
    tracemalloc.start()
    try:
        search.fit(MANY, LABELS)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < most_of_X * MANY.nbytes
    # the scaler makes one copy more while it is fitted
    assert says > (0.7 if "one by one" in name else 0.85) * (taken + MANY.nbytes)
    assert says < 1.15 * (taken + MANY.nbytes)


@pytest.mark.parametrize("listens", [False, True])
def test_samples_to_train_on_are_copied_for_who_looks_at_them(listens):
    looked = []

    class Looks:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, *args, X=None, **kwargs):
            looked.append(X)

        def on_fit_task_end(self, *args, **kwargs): ...

    search = GridSearchCV(ON_CPU, {"alpha": [1e-4]}, cv=3, refit=False)
    if listens:
        if not hasattr(search, "set_callbacks"):
            pytest.skip("this scikit-learn has no callbacks")
        search.set_callbacks(Looks())
    search.fit(MANY[:300], LABELS[:300])
    assert any(X is not None and len(X) == 200 for X in looked) == listens
