"""Several devices, and too little memory on one.

What is computed on a device is made there and nowhere else: in software, the others have no memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import _gpu
from cukernels.runtime.arrays import current
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

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

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


@pytest.fixture
def two_devices(cupy: Any) -> Any:
    """CuPy on a machine with a second GPU."""
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs a second GPU")
    return cupy


@contextmanager
def nothing_beside(number: int) -> Iterator[None]:
    """All memory is that of one device, where the GPUs are in software."""
    with ExitStack() as stack:
        if _gpu.is_software():
            import softgpu

            for other in set(range(len(_gpu.capabilities()))) - {number}:
                stack.enter_context(softgpu.limited_memory(0, device=other))
        yield


@pytest.mark.parametrize("case", MODELS)
def test_estimators_on_another_device(case: str, two_devices: Any) -> None:
    model, samples = MODELS[case]
    predictions = []
    for number in (0, 1):
        with nothing_beside(number):
            own = placed(clone(model), f"cuda:{number}").fit(samples, Y)
            predictions.append(own.predict(samples))
        assert two_devices.cuda.runtime.getDevice() == 0
    np.testing.assert_array_equal(*predictions)


def test_features_on_another_device(two_devices: Any) -> None:
    bank = FilterBankTransformer().fit(X)
    responses = bank.transform(X[:4])
    words = VisualWordsTransformer(5, random_state=0).fit(responses)
    expected = words.transform(responses)
    with nothing_beside(1):
        np.testing.assert_allclose(placed(bank, "cuda:1").transform(X[:4]), responses, atol=1e-6)
        np.testing.assert_array_equal(placed(words, "cuda:1").transform(responses), expected)


def test_a_look_into_a_network_on_another_device(two_devices: Any) -> None:
    net = clone(CONVNET).fit(X, Y)
    how = {"low": 0.0, "high": 1.5, "steps": 2, "rate": 0.1, "decay": 0.03}
    with nothing_beside(1):
        here, there = Probe(net, 0), Probe(placed(net, "cuda:1"), 0)
        for a, b in zip(here.outputs(X[:3]), there.outputs(X[:3]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        moved = [probe.ascend(X[:2], np.array([0, 1]), **how) for probe in (here, there)]
    np.testing.assert_allclose(*moved, atol=1e-4)


# Memory ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("case", [*MODELS, "filters"])
def test_says_what_memory_is_wanted_and_what_to_lower(case: str, softgpu: Any) -> None:
    model, samples = MODELS.get(case, (FilterBankTransformer(), X))
    of_networks = "batch_size or hidden_layer_sizes of a network, max_stack_bytes"
    lowered = "block_size" if case == "neighbors" else of_networks

    def use(model: Any) -> None:
        if hasattr(model.fit(samples, Y), "predict"):
            model.predict(samples)
        else:
            model.transform(samples)

    own = clone(model)
    if case == "mlp-search":
        own.set_params(error_score="raise")
    message = (
        rf"cuda:1 is out of memory: [\d,]+ bytes were asked for, and 100 of [\d,]+ are free\. "
        rf"Lower {lowered}.*, or use device='cpu'\."
    )
    with softgpu.limited_memory(100, device=1), pytest.raises(MemoryError, match=message):
        use(placed(own, "cuda:1"))


@pytest.mark.parametrize("allocator", ["pool", "none"])
def test_names_the_bytes(allocator: str, cupy: Any, softgpu: Any) -> None:
    """CuPy's pool knows how many were asked for; without it CUDA does not say."""
    _, total = cupy.cuda.runtime.memGetInfo()
    malloc = cupy.cuda.MemoryPool().malloc if allocator == "pool" else None
    asked = "4,194,304" if allocator == "pool" else "more"
    message = (
        f"cuda:0 is out of memory: {asked} bytes were asked for, and 1,000 of {total:,} are free"
    )
    with (
        cupy.cuda.using_allocator(malloc),
        softgpu.limited_memory(1000),
        pytest.raises(MemoryError, match=message) as raised,
        current("cuda:0"),
    ):
        cupy.empty(2**20, np.float32)
    cause = {"pool": "OutOfMemoryError", "none": "CUDARuntimeError"}[allocator]
    assert type(raised.value.__cause__).__name__ == cause


def test_another_error_of_cuda_is_none_of_memory(cupy: Any) -> None:
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError), current("cuda:0"):
        cupy.cuda.runtime.setDevice(99)


@pytest.mark.parametrize("fails", [lambda: 1 / 0, lambda: np.empty(3)[5]])
def test_other_errors_pass(fails: Callable[[], Any], cupy: Any) -> None:
    with pytest.raises((ZeroDivisionError, IndexError)), current("cuda:0"):
        fails()
