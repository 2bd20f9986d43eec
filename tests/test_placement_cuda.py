"""Where samples lie that a GPU has little room for: folds of a stack, validation sets, new samples.

However much room there is, the numbers are those of a fit that has plenty, to the bit.
"""

from __future__ import annotations

import gc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators.costs import memory as memories
from estimators.model_selection import GridSearchCV
from estimators.neural import stack_memory
from estimators.neural.fit import NeuralFit
from estimators.shared import parts
from estimators.shared import samples as shared_samples
from estimators.shared.samples import Samples

pytestmark = pytest.mark.filterwarnings("ignore")

N, D = 800, 600
RNG = np.random.default_rng(0)
X, Y = RNG.random((N, D), np.float32), np.arange(N) % 3
SPARSE = sp.random(N, D, 0.1, "csr", np.float32, random_state=RNG)
MLP = MLPClassifier((5,), batch_size=20, max_iter=1, random_state=0, device="cuda")


def folds(samples):
    return [Samples(samples[:400], Y[:400]), Samples(samples[400:], Y[400:])]


def learned(stacks):
    """The parameters after stacks of fits, one stack after the other."""
    found = []
    for stack in stacks:
        fits = [clone(MLP).set_params(alpha=alpha)._prepare(of) for of, alpha in stack]
        NeuralFit.run(fits)
        found += [fit.learned.tobytes() for fit in fits]
        where = fits[0].streamed, fits[0].is_kept
    return found, where


def some_stacks(samples):
    """Two folds, one after the other, and then a stack of both."""
    a, b = folds(samples)
    return [[(a, 0.1)], [(b, 0.1)], [(a, 0.2), (b, 0.2)]]


def test_a_stack_of_folds_lies_where_there_is_room(softgpu):
    plenty, _ = learned(some_stacks(X))
    ways = set()
    for room in (0.8, 1.2, 2.0, 2.7, 4.2, 4.8):  # times the samples of a fold
        gc.collect()
        with softgpu.limited_memory(int(room * X.nbytes / 2)):
            found, way = learned(some_stacks(X))
        assert found == plenty
        ways.add(way)
    assert ways == {(True, False), (False, False), (False, True)}


def test_what_the_device_keeps_goes_where_a_stack_needs_the_room(softgpu):
    a, b = folds(X)
    with softgpu.limited_memory(int(1.4 * X.nbytes)):
        learned([[(a, 0.1)], [(b, 0.1)]])
        assert a._kept and b._kept
        found, where = learned([[(a, 0.2), (b, 0.2)]])
    assert where == (False, False)
    assert not (a._kept or b._kept)
    assert found == learned([[(one, 0.2) for one in folds(X)]])[0]


def test_others_let_go_of_what_they_keep(softgpu):
    """A fit of other samples goes before, as does one of a perceptron."""
    a, b = folds(X)
    perceptron = Perceptron(max_iter=1, device="cuda")
    with softgpu.limited_memory(int(1.2 * a.X.nbytes)):
        perceptron._prepare(a)
        for of in (a, b, a):
            fit = perceptron._prepare(of)
            fit.run([fit])
    assert a._kept and not b._kept


def test_sparse_folds_come_to_the_device_once(softgpu):
    """Only what they are joined to does."""
    stack = [(of, 0.2) for of in folds(SPARSE)]
    plenty, _ = learned([stack])
    kept = [data for of, _ in stack for _, data in of._kept["cuda:0"].values()]
    assert len(kept) == 2 and not any(data.is_placed for data in kept)
    learned([stack[:1]])
    assert [data.is_placed for data in kept] == [True, False]
    assert learned([stack])[0] == plenty


# Validation sets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("own", ["dense", "sparse"])
@pytest.mark.parametrize("n_held_out", [200, 1500])
def test_the_estimate_counts_a_validation_set(own, n_held_out, cupy, softgpu, monkeypatch):
    samples = X if own == "dense" else SPARSE
    held_out = np.tile(X, (4, 1))[:n_held_out]
    if own == "sparse":
        held_out = sp.vstack([SPARSE] * 4, "csr")[:n_held_out]
    more = {"X_val": held_out, "y_val": np.arange(n_held_out) % 3}
    model = clone(MLP).set_params(early_stopping=True, max_iter=1)
    found = []

    def needed(fits, **where):
        found.append(stack_memory_of(fits, **where))
        return found[-1]

    stack_memory_of = stack_memory.stack_memory
    monkeypatch.setattr(stack_memory, "stack_memory", needed)
    with softgpu.settings(null=own == "dense"):  # losses of nothing computed may be anything
        model.fit(samples, Y, **more)
        memory = found[0].total
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()
        with softgpu.limited_memory(int(1.1 * memory)):
            model.fit(samples, Y, **more)
        for module in (memories, shared_samples):
            monkeypatch.setattr(module, "device_memory", lambda device: (2**60, 2**60))
        with softgpu.limited_memory(int(0.9 * memory)), pytest.raises(MemoryError):
            model.fit(samples, Y, **more)


@pytest.mark.parametrize("room", [0.9, 1.3, 2.4])
def test_a_validation_set_stays_on_the_host(room, softgpu):
    """Or the samples do, or both."""
    more = {"X_val": X[::-1].copy(), "y_val": Y[::-1].copy()}
    model = clone(MLP).set_params(early_stopping=True)
    plenty = clone(model).fit(X, Y, **more)
    gc.collect()
    with softgpu.limited_memory(int(room * X.nbytes)):
        little = clone(model).fit(X, Y, **more)
    assert little.validation_scores_ == plenty.validation_scores_
    for a, b in zip(little.coefs_, plenty.coefs_, strict=True):
        assert a.tobytes() == b.tobytes()


# New samples -------------------------------------------------------------------------------------

PREDICTORS = {
    "mlp": (MLP, "predict_proba"),
    "logistic": (LogisticRegression(max_iter=2, device="cuda"), "decision_function"),
    "perceptron": (Perceptron(max_iter=2, device="cuda"), "decision_function"),
}


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("name", PREDICTORS)
def test_predictions_go_in_parts(name, kind, softgpu, monkeypatch):
    model, method = PREDICTORS[name]
    samples, asked = X if kind == "dense" else SPARSE, []
    model = clone(model).fit(samples, Y)
    expected = getattr(model, method)(samples)
    copied = parts.to_host
    monkeypatch.setattr(parts, "to_host", lambda x: asked.append(len(x)) or copied(x))
    n_bytes = X.nbytes if kind == "dense" else memories.samples_bytes(SPARSE, 4)
    gc.collect()
    with softgpu.limited_memory(n_bytes // 3):
        found = getattr(model, method)(samples)
        assert model.score(samples, Y) == np.mean(model.predict(samples) == Y)
    assert found.tobytes() == expected.tobytes()
    assert len(asked) >= 9
    with softgpu.limited_memory(100), pytest.raises(MemoryError, match="cuda:0 is out of memory"):
        getattr(model, method)(samples)


@pytest.mark.parametrize("name", ["mlp", "logistic"])
def test_a_search_scores_in_parts(name, cupy, softgpu):
    """Also after a fold that was streamed, and beside one that is on the device."""
    model = PREDICTORS[name][0]
    search = GridSearchCV(model, {"max_iter": [1, 2]}, cv=KFold(2), refit=False)
    if name == "mlp":
        search = GridSearchCV(
            make_pipeline(StandardScaler(), MLP), {"mlpclassifier__alpha": [0.1, 0.2]},
            cv=KFold(2), refit=False, error_score="raise",
        )  # fmt: skip
    plenty = clone(search).fit(X, Y).cv_results_["mean_test_score"]
    for room in (0.6, 0.8, 1.2) if name == "mlp" else (1.3,):
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()
        with softgpu.limited_memory(int(room * X.nbytes)):
            found = clone(search).fit(X, Y).cv_results_["mean_test_score"]
        np.testing.assert_array_equal(found, plenty)
