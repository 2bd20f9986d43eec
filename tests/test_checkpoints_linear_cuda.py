"""Linear fits and L-BFGS that go on from a file: on a GPU to the bit, elsewhere to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from _checkpoints import LINEAR, NETWORKS, SPARSE, WEIGHT, X, Y, assert_equal, fit_of, some, written
from _cuda_models import here
from estimators import LogisticRegression, Perceptron
from estimators.callbacks import Checkpoint
from estimators.checkpoints.archive import read_archive
from estimators.optimize.lbfgs import minimize_lbfgs
from test_lbfgs import STARTS, rosenbrock

pytestmark = pytest.mark.gpu

OVR = {"max_iter": 6, "tol": None}
ON_A_GPU = {
    **{name: LINEAR[name] for name in ("lbfgs", "newton-cg", "elastic net", "lasso", "no penalty")},
    **{name: LINEAR[name] for name in ("newton-cholesky", "perceptron L1", "early stopping")},
    **NETWORKS,
    "ovr": Perceptron(**OVR),
    "ovr L2": Perceptron(penalty="l2", alpha=0.01, **OVR),
    "ovr stops": Perceptron(early_stopping=True, n_iter_no_change=2, penalty="elasticnet"),
}


@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", ON_A_GPU)
def test_goes_on_to_the_bit(name, samples, cupy, tmp_path):
    model = clone(ON_A_GPU[name]).set_params(device=here())
    whole, files = written(model, tmp_path, samples, sample_weight=WEIGHT)
    assert_equal(fit_of(model, samples, sample_weight=WEIGHT), whole)
    for file in some(files, 3):
        resumed = fit_of(model, samples, sample_weight=WEIGHT, resume_from=file)
        assert_equal(resumed, whole)


@pytest.mark.parametrize("name", ["lbfgs", "elastic net", "network"])
def test_goes_on_to_the_bit_in_float32(name, cupy, tmp_path):
    model = clone(ON_A_GPU[name]).set_params(device=here(), max_iter=12)
    whole, files = written(model, tmp_path, X.astype(np.float32))
    for file in some(files, 3):
        assert_equal(fit_of(model, X.astype(np.float32), resume_from=file), whole)


@pytest.mark.parametrize("name", [name for name, m in ON_A_GPU.items() if "ovr" not in name])
def test_goes_on_elsewhere(name, cupy, tmp_path):
    """A fit that is begun on the CPU and ended on a GPU, or the other way, to rounding."""
    for devices in (("cpu", here()), (here(), "cpu")):
        folder = tmp_path / devices[0].replace(":", "")
        folder.mkdir()
        models = [clone(ON_A_GPU[name]).set_params(device=d, max_iter=12) for d in devices]
        whole, files = written(models[0], folder, X)
        resumed = fit_of(models[1], X, resume_from=files[min(2, len(files) - 1)])
        is_network = name in NETWORKS
        mine, theirs = (m.coefs_[0] if is_network else m.coef_ for m in (resumed, whole))
        rtol = 1e-3 if name == "network" else 1e-6  # which is in float32
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())
        np.testing.assert_array_equal(resumed.n_iter_, whole.n_iter_)


@pytest.mark.parametrize("settings", [{}, {"memory": 3}, {"ftol": 1e-3}], ids=["", "short", "flat"])
def test_states_of_a_stack(settings, cupy):
    """Each model goes on from another iteration, and some begin anew."""

    def on_device(x, models):
        values, gradients = rosenbrock(cupy.asnumpy(x), models)
        return cupy.asarray(values), cupy.asarray(gradients)

    settings = {"gtol": 1e-8, "ftol": 0, "max_iter": 60} | settings
    for evaluate, start in ((rosenbrock, STARTS), (on_device, cupy.asarray(STARTS))):
        states: dict = {}

        def keep(models, x, values, iteration, states=states):
            for place, model in enumerate(models.tolist()):
                states[model, iteration.n_iter(place)] = iteration.state(place)

        whole = minimize_lbfgs(evaluate, start, callback=keep, **settings)
        given = [
            None if m % 4 == 3 else states[m, min(3 * m + 1, int(whole.n_iter[m]))]
            for m in range(len(STARTS))
        ]
        resumed = minimize_lbfgs(evaluate, start, states=given, **settings)
        for name in ("n_iter", "n_evaluations", "status", "fun"):
            np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
        assert resumed.message == whole.message
        np.testing.assert_array_equal(cupy.asnumpy(resumed.x), cupy.asnumpy(whole.x))


def test_the_state_of_a_device_is_not_read_unless_it_is_asked_for(cupy, monkeypatch):
    from estimators.optimize.device_vectors import DeviceVectors

    def read(*args):
        raise AssertionError("it was read")

    monkeypatch.setattr(DeviceVectors, "vectors_of", read)
    told = []
    model = clone(LINEAR["lbfgs"]).set_params(device=here())
    model.set_params(callbacks=lambda e, info: told.append(info)).fit(X, Y)
    assert len(told) == LogisticRegression(device=here(), tol=1e-9).fit(X, Y).n_iter_[0] > 2


@pytest.mark.parametrize("name", ["ovr stops", "early stopping"])
def test_the_score_told_is_that_of_the_classifier(name, cupy, tmp_path):
    """Not the mean of its problems', which early stopping looks at."""
    told, file = [], tmp_path / "one.ckpt"
    model = clone(ON_A_GPU[name]).set_params(device=here())
    model.set_params(callbacks=[Checkpoint(file), lambda *both: told.append(both)])
    fit_of(model, X, sample_weight=WEIGHT)
    held_out = read_archive(file)[1]["held_out"]
    for snapshot, info in told:
        score = snapshot.score(X[held_out], Y[held_out], WEIGHT[held_out])
        assert info.validation_score == pytest.approx(score, abs=1e-12)
    assert len(told) > 2
