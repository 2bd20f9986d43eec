"""Searches on several GPUs: every job takes its turn, and what is equal stays equal.

What runs in processes of its own is in `_on_several_gpus.py`: on two devices of one kind, since
results on different ones differ in bits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import _gpu
from _requirements import require
from cukernels.runtime import cuda_in_turn, resolve_device
from estimators import LogisticRegression, MLPClassifier
from estimators.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from estimators.neural.fit import NeuralFit
from estimators.search.turns import Turn, current_turn, in_turn, turns

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Y = np.arange(36) % 3
X = (np.random.default_rng(0).integers(0, 9, (36, 16)) / 8 + Y[:, None] / 4).astype("float32")
MLP = MLPClassifier((5,), max_iter=2, random_state=0, device="cuda")
GRID = {"alpha": [0.01, 0.1, 1.0, 10.0]}
MODELS = ["mlp", "pipeline", "convnet", "logistic", "perceptron"]
FIRST, SECOND = 1, 2  # devices, as bits of a number


# In processes of their own ------------------------------------------------------------------------


def outcome(backend: str) -> dict:
    """What `_on_several_gpus` prints on two devices of one kind."""
    _gpu.require_gpu()
    here = str(Path(__file__).parent)
    variables = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    if _gpu.is_software():
        variables = _gpu.environment() | {"SOFTGPU_DEVICES": "90,90"}
    elif len(set(_gpu.capabilities())) != 1 or len(_gpu.capabilities()) < 2:
        pytest.skip("needs two GPUs of one kind")
    else:
        variables["CUDA_VISIBLE_DEVICES"] = "0,1"
    variables["PYTHONPATH"] = os.pathsep.join([here, variables["PYTHONPATH"]])
    use = f"import _on_several_gpus; _on_several_gpus.main({backend!r})"
    done = subprocess.run(
        [sys.executable, "-c", use], env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["loky", "threading"])
def found(request):
    return outcome(request.param) | {"backend": request.param}


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_every_job_trains_its_share_on_a_gpu_of_its_own(found, model):
    alone, shared = found[f"{model} 1"], found[f"{model} 2"]
    assert {fit["devices"] for fit in alone} == {FIRST}
    assert [fit["devices"] for fit in shared] == [FIRST] * 4 + [SECOND] * 4  # fold by fold
    assert {fit["stack"] for fit in shared} == {4}
    # a worker that is done early may take two jobs, the second on the other device
    in_threads = found["backend"] == "threading"
    assert ({fit["process"] for fit in shared} == {found["own"]}) == in_threads
    assert in_threads or found["own"] not in {fit["process"] for fit in shared}


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_results_are_those_of_one_gpu(found, model):
    scores = [[fit["score"] for fit in found[f"{model} {n}"]] for n in (1, 2)]
    assert scores[0] == scores[1]
    assert len(set(scores[0])) > 2


@pytest.mark.gpu
def test_more_jobs_than_gpus_begin_anew_with_the_first(found):
    assert sorted((f["devices"], f["stack"]) for f in found["mlp 3"]) == [
        *[(FIRST, 2)] * 2, *[(FIRST, 3)] * 3, *[(SECOND, 3)] * 3,
    ]  # fmt: skip
    assert [f["score"] for f in found["mlp 3"]] == [f["score"] for f in found["mlp 1"]]


@pytest.mark.gpu
def test_a_device_with_a_number_stays_what_it_is(found):
    assert {fit["devices"] for fit in found["cuda:1 2"]} == {SECOND}


@pytest.mark.gpu
def test_what_comes_after_the_jobs_is_on_the_first_gpu(found):
    """The refit, and predictions of estimators that come back from a job."""
    assert found["refit"] == found["predict"] == [0]
    assert found["its estimators"] == [[0], [0]]


@pytest.mark.gpu
def test_cross_validation(found):
    assert [fit["devices"] for fit in found["cross_validate 2"]] == [FIRST, SECOND]
    assert found["cross_val_predict"] is True


@pytest.mark.gpu
def test_a_search_inside_a_cross_validation(found):
    """The outer fits are scikit-learn's own, and train their stacks on the GPU of their job."""
    assert [fit["devices"] for fit in found["nested 2"]] == [FIRST, SECOND]


@pytest.mark.gpu
def test_a_search_of_scikit_learns_knows_no_turns(found):
    assert {(fit["devices"], fit["stack"]) for fit in found["theirs 2"]} == {(FIRST, 1)}


@pytest.mark.gpu
def test_workers_of_a_cluster():
    """Turns decide on workers of Dask's; one of dask-cuda's has a GPU of its own, as cuda:0."""
    require("distributed", "cluster")
    found = outcome("dask")
    assert [fit["devices"] for fit in found["mlp 4"]] == 2 * ([FIRST] * 2 + [SECOND] * 2)
    assert {fit["devices"] for fit in found["own 4"]} == {FIRST}
    for name in ("mlp 4", "own 4"):
        assert found["own"] not in {fit["process"] for fit in found[name]}
        assert [fit["score"] for fit in found[name]] == [fit["score"] for fit in found["mlp 1"]]
    assert found["own turn"] == {"jobs": 4, "number": 0, "numbers": [0, 0]}


# Turns --------------------------------------------------------------------------------------------


def test_turns_begin_anew_where_the_gpus_end(softgpu):
    with softgpu.visible(3):
        for number, name in enumerate(["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]):
            assert cuda_in_turn(number, resolve_device, "cuda") == name
            assert cuda_in_turn(number, resolve_device, "cuda:2") == "cuda:2"
            for other in ("auto", "cpu"):
                assert cuda_in_turn(number, resolve_device, other) == "cpu"
    assert resolve_device("cuda") == "cuda:0"


def test_a_turn_ends_with_its_job(cupy):
    def fails():
        assert resolve_device("cuda") == f"cuda:{1 % cupy.cuda.runtime.getDeviceCount()}"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_turn(turns(2)[1], fails)
    assert resolve_device("cuda") == "cuda:0"
    assert current_turn() == Turn()


def test_jobs_on_the_same_device(softgpu):
    with softgpu.visible(2):
        counts = [turn.jobs_beside(lambda: resolve_device("cuda")) for turn in turns(5)]
        assert counts == [3, 2, 3, 2, 3]
        for name in ("cuda:1", "cpu"):
            assert {t.jobs_beside(lambda name=name: resolve_device(name)) for t in turns(5)} == {5}
    own = Turn(jobs=5, number=0, numbers=(0, 0))  # two threads of a worker of dask-cuda's
    assert own.jobs_beside(lambda: resolve_device("cuda")) == 2
    assert own.jobs_beside(lambda: "cpu") == 5
    assert Turn().jobs_beside(lambda: resolve_device("cuda")) == 1


# Memory -------------------------------------------------------------------------------------------


@pytest.fixture
def ran(monkeypatch):
    """The device and the size of each stack of networks."""
    found, run = [], NeuralFit.run.__func__

    def noted(cls, fits, watch=None):
        found.append((fits[0].device, len(fits)))
        return run(cls, fits, watch)

    monkeypatch.setattr(NeuralFit, "run", classmethod(noted))
    return found


def searched(estimator=MLP, n_jobs=2, grid=GRID, x=X, **options):
    with joblib.parallel_config("threading"):
        options = {"cv": 2, "refit": False, "error_score": "raise", "n_jobs": n_jobs} | options
        return GridSearchCV(estimator, grid, **options).fit(x, Y)


def test_a_stack_has_the_room_of_its_own_device(softgpu, ran):
    estimator = MLPClassifier((50,), max_iter=2, random_state=0, batch_size=10, device="cuda")
    with softgpu.visible(2), softgpu.limited_memory(300_000, device=1):
        searched(estimator)
    assert ran.count(("cuda:0", 4)) == 1
    there = [size for device, size in ran if device == "cuda:1"]
    assert sum(there) == 4 and len(there) > 1
    ran.clear()
    with softgpu.visible(2), softgpu.limited_memory(300_000, device=0):
        searched(estimator)
    assert ("cuda:1", 4) in ran and len(ran) > 2


def test_jobs_on_one_device_share_its_room(softgpu, ran, monkeypatch):
    """A quarter has room for 8 fits: for 4 of each job where two have the device."""
    monkeypatch.setattr(NeuralFit, "n_bytes", 1000)
    monkeypatch.setattr("estimators.search.run.free_memory", lambda device: 4 * 8 * 1000)
    grid = {"alpha": np.logspace(-4, 0, 12).tolist()}  # 24 fits
    with softgpu.visible(2):
        searched(n_jobs=3, grid=grid)
    sizes = {
        name: sorted(n for device, n in ran if device == name) for name in ("cuda:0", "cuda:1")
    }
    assert sizes == {"cuda:0": [4, 4, 4, 4], "cuda:1": [8]}
    ran.clear()
    with softgpu.visible(2):
        searched(MLPClassifier((5,), max_iter=2, random_state=0, device="cuda:1"), 3, grid)
    assert sorted(ran) == [("cuda:1", 2)] * 12  # a third of 8, rounded down


# Samples on a GPU ---------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_threads_compute_where_the_samples_are(softgpu, cupy, ran, device):
    estimator = MLPClassifier((5,), max_iter=2, random_state=0, device=device)
    alone = searched(estimator, 1, x=cupy.asarray(X))
    assert ran == [("cuda:0", 8)]
    ran.clear()
    shared = searched(estimator, 2, x=cupy.asarray(X))
    assert ran == [("cuda:0", 4)] * 2
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(alone.cv_results_[name], shared.cv_results_[name])


def test_samples_on_the_second_gpu(softgpu, cupy, ran):
    with cupy.cuda.Device(1):
        there = cupy.asarray(X)
    searched(MLPClassifier((5,), max_iter=2, random_state=0), 2, x=there)
    assert ran == [("cuda:1", 4)] * 2
    with pytest.raises(ValueError, match="X is on cuda:1, and device='cuda' is cuda:0"):
        searched(MLP, 2, x=there)


@pytest.mark.parametrize(
    "run",
    [
        lambda x: GridSearchCV(MLP, GRID, n_jobs=2).fit(x, Y),
        lambda x: cross_val_score(make_pipeline(FunctionTransformer(), MLP), x, Y, n_jobs=2),
        lambda x: cross_val_predict(LogisticRegression(), x, Y, n_jobs=2),
        lambda x: cross_val_score(GridSearchCV(MLP, GRID), x, Y, n_jobs=2),
    ],
    ids=["search", "pipeline", "predictions", "nested"],
)
def test_samples_on_a_gpu_are_not_sent_to_processes(cupy, softgpu, run):
    x = cupy.asarray(X)
    with softgpu.transfers() as copies, pytest.raises(ValueError) as error:
        run(x)
    assert "X is on cuda:0, and the 2 jobs are processes" in str(error.value)
    assert "give cupy.asnumpy(X)" in str(error.value) and "n_jobs=1" in str(error.value)
    assert copies.to_host == 0
