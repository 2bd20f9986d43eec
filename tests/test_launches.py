"""How many kernels a training step launches, and that none of them is CuPy's.

Kernels do nothing here, so networks may be as large as those that people train.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from cukernels.gpu.kernel import KERNELS
from estimators import Conv2D, ConvNetClassifier, Dense, LayerNorm, MLPClassifier
from estimators.model_selection import GridSearchCV
from estimators.neural import classifier

pytestmark = pytest.mark.filterwarnings("ignore")

PIXELS = np.random.default_rng(0).random((240, 784), np.float32)
DIGITS = np.arange(240) % 10
SPARSE = sp.csr_matrix(PIXELS * (PIXELS > 0.8))


def mlp(*sizes, **options):
    return MLPClassifier(sizes, **options)


def convnet(*filters, **options):
    return ConvNetClassifier(filters, **{"hidden_layer_sizes": ()} | options)


# The most kernels of a step. Samples come by one, the loss is one, and the optimizer is one.
STEPS = {
    "mlp": (mlp(100), PIXELS, 7),
    "mlp, two layers": (mlp(512, 512), PIXELS, 9),
    "mlp, sgd": (mlp(100, solver="sgd"), PIXELS, 7),
    "mlp, adamw": (mlp(100, solver="adamw", activation="tanh"), PIXELS, 7),
    "mlp, rmsprop": (mlp(100, solver="rmsprop", loss="squared_error"), PIXELS, 9),
    "mlp, gelu": (mlp(100, activation="gelu"), PIXELS, 9),
    "mlp, dropout": (mlp(100, dropout=0.2), PIXELS, 10),
    "mlp, sparse": (mlp(100), SPARSE, 9),
    "convnet": (convnet(16, 32), PIXELS, 14),
    "convnet, dense": (convnet(32, 64, hidden_layer_sizes=(128,)), PIXELS, 16),
    "convnet, shifts": (convnet(16, augment={"shift": 2}), PIXELS, 11),
    "batch_norm": (mlp(100, batch_norm=True), PIXELS, 13),
    "layer_norm": (
        ConvNetClassifier(layers=[Conv2D(8), LayerNorm(), Dense(20)]), PIXELS, 15,
    ),
}  # fmt: skip


def in_a_search(model):
    """Four candidates on two folds."""
    grid = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}
    folds = [(np.arange(240), np.arange(20)), (np.arange(240)[::-1], np.arange(20))]
    return GridSearchCV(model, grid, cv=folds, refit=False)


def launched(model, samples, batches, softgpu, inside=lambda model: model):
    """The kernels of a fit of one epoch, in so many batches of one size."""
    model = clone(model).set_params(
        device="cuda", max_iter=1, random_state=0, batch_size=240 // batches
    )
    nothing_computed = contextlib.suppress(ValueError)  # so weights may be no numbers
    with softgpu.settings(null=True), softgpu.launched() as kernels, nothing_computed:
        inside(model).fit(samples, DIGITS)
    return [name.partition("<")[0] for name in kernels]


@pytest.mark.parametrize("case", STEPS)
def test_kernels_of_a_step(case, softgpu):
    model, samples, most = STEPS[case]
    few, many = (launched(model, samples, batches, softgpu) for batches in (5, 8))
    assert (len(many) - len(few)) / 3 <= most, many[-most - 4 :]
    assert set(many) <= {kernel.name for kernel in KERNELS}


@pytest.mark.parametrize("case", STEPS)
def test_the_choice_of_a_device_reckons_with_about_as_many(case, softgpu):
    """With rather too many kernels than too few."""
    model, samples, most = STEPS[case]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        original = classifier.network_fit_work
        patch.setattr(classifier, "network_fit_work", lambda *a: found.append(original(*a)))
        patch.setattr(classifier, "device_for", lambda X, device, work: (work(), "cpu")[1])
        clone(model).estimate_memory(samples, DIGITS)
    assert most <= found[0].launches <= 1.5 * most


@pytest.mark.parametrize("case", ["mlp", "mlp, sparse", "convnet", "batch_norm"])
def test_a_stack_launches_no_more_than_one_model(case, softgpu):
    model, samples, most = STEPS[case]

    few, many = (launched(model, samples, batches, softgpu, in_a_search) for batches in (5, 8))
    most += "sparse" in case  # the columns of all models are sorted in one digit more
    assert (len(many) - len(few)) / 3 <= most, many[-most - 4 :]
    assert set(many) <= {kernel.name for kernel in KERNELS}
