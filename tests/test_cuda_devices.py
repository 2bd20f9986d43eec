"""Several devices, and too little memory on one: on stand-ins, which refuse what CuPy may let pass.

An array is made on the device that is current, and computed with there and nowhere else.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from cukernels.runtime.arrays import current
from emulator.compiler import has_compiler
from emulator.cupy_on_host import installed
from estimators import (
    ConvNetClassifier,
    FilterBankTransformer,
    LogisticRegression,
    MLPClassifier,
    NearestNeighborClassifier,
    Perceptron,
    VisualWordsTransformer,
)
from estimators.inspection.probe import Probe
from estimators.model_selection import GridSearchCV

pytestmark = [
    pytest.mark.skipif(not has_compiler(), reason="needs g++, which compiles the kernels"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

Y = np.arange(36) % 3
X = (np.random.default_rng(0).integers(0, 9, (36, 36)) / 8 + Y[:, None] / 4).astype("float32")
SPARSE = sp.csr_matrix(np.where(X > 0.6, X, 0))


def mlp(**settings: Any) -> MLPClassifier:
    return MLPClassifier((5,), max_iter=2, random_state=0, **settings)


CONVNET = ConvNetClassifier((3,), hidden_layer_sizes=(4,), max_iter=2, random_state=0)
MODELS = {
    "mlp": (mlp(batch_norm=True, dropout=0.2, early_stopping=True), X),
    "mlp-lbfgs": (mlp(solver="lbfgs"), X),
    "mlp-sparse": (mlp(solver="sgd"), SPARSE),
    "mlp-search": (GridSearchCV(mlp(), {"alpha": [1e-4, 1.0]}, cv=2), X),
    "convnet": (CONVNET, X),
    "perceptron": (Perceptron(max_iter=2), X),
    "perceptron-sparse": (Perceptron(max_iter=2), SPARSE),
    "neighbors": (NearestNeighborClassifier(block_size=16), X),
    **{
        f"logistic-{solver}": (LogisticRegression(solver=solver, max_iter=5), samples)
        for solver, samples in (
            ("lbfgs", X), ("newton-cg", SPARSE), ("newton-cholesky", X), ("saga", X),
        )
    },
}  # fmt: skip


def placed(model: Any, device: str) -> Any:
    """The same model, which computes on a device; it may be fitted."""
    copy = pickle.loads(pickle.dumps(model))
    name = "estimator__device" if isinstance(model, GridSearchCV) else "device"
    return copy.set_params(**{name: device})


@pytest.mark.parametrize("case", MODELS)
def test_estimators_on_another_device(case: str) -> None:
    model, samples = MODELS[case]
    with installed(devices=2) as cupy:
        first, second = (
            placed(clone(model), device).fit(samples, Y).predict(samples)
            for device in ("cuda:0", "cuda:1")
        )
        assert cupy.cuda.runtime.getDevice() == 0
    np.testing.assert_array_equal(first, second)


def test_features_on_another_device() -> None:
    bank = FilterBankTransformer().fit(X)
    responses = bank.transform(X[:4])
    words = VisualWordsTransformer(5, random_state=0).fit(responses)
    expected = words.transform(responses)
    with installed(devices=2):
        np.testing.assert_allclose(placed(bank, "cuda:1").transform(X[:4]), responses, atol=1e-6)
        np.testing.assert_array_equal(placed(words, "cuda:1").transform(responses), expected)


def test_a_look_into_a_network_on_another_device() -> None:
    net = clone(CONVNET).fit(X, Y)
    how = {"low": 0.0, "high": 1.5, "steps": 2, "rate": 0.1, "decay": 0.03}
    with installed(devices=2):
        here, there = Probe(net, 0), Probe(placed(net, "cuda:1"), 0)
        for a, b in zip(here.outputs(X[:3]), there.outputs(X[:3]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        moved = [probe.ascend(X[:2], np.array([0, 1]), **how) for probe in (here, there)]
    np.testing.assert_allclose(*moved, atol=1e-4)


# Memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*MODELS, "filters"])
def test_says_what_memory_is_wanted_and_what_to_lower(case: str) -> None:
    model, samples = MODELS.get(case, (FilterBankTransformer(), X))
    lowered = "block_size" if case == "neighbors" else "batch_size of a network, max_stack_bytes"

    def use(model: Any) -> None:
        if hasattr(model.fit(samples, Y), "predict"):
            model.predict(samples)
        else:
            model.transform(samples)

    own = clone(model)
    if case == "mlp-search":
        own.set_params(error_score="raise")
    message = (
        rf"cuda:1 is out of memory: [\d,]+ bytes were asked for, and 100 of 200 are free\. "
        rf"Lower {lowered}.*, or use device='cpu'\."
    )
    with installed(devices=2, memory=100), pytest.raises(MemoryError, match=message):
        use(placed(own, "cuda:1"))


def test_names_the_bytes() -> None:
    with installed(memory=1000) as cupy, pytest.raises(MemoryError) as raised:  # noqa: SIM117
        with current("cuda:0"):
            cupy.empty(1_000_000, np.float32)
    assert "cuda:0 is out of memory: 4,000,000 bytes were asked for, and 1,000 of 2,000" in str(
        raised.value
    )
    assert type(raised.value.__cause__).__name__ == "OutOfMemoryError"


@pytest.mark.parametrize("fails", [lambda: 1 / 0, lambda: np.empty(3)[5]])
def test_other_errors_pass(fails: Callable[[], Any]) -> None:
    with installed(), pytest.raises((ZeroDivisionError, IndexError)), current("cuda:0"):
        fails()
