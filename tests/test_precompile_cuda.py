"""Kernels compiled ahead: side by side before a first fit, and all of them by a command."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import _gpu
import cukernels
from _cuda_models import IMAGE_LABELS, IMAGES, X, Y, convnet, mlp
from _requirements import require
from cukernels import __main__ as main
from cukernels.gpu import compile_all, cupy_cache, precompile
from cukernels.gpu.kernel import Instance
from cukernels.gpu.precompile import RECORDING, precompile_once, recorded

MODELS = {
    "mlp": (mlp(), X, Y),
    # the last batch has so few rows that its products have other kernels
    "last-batch": (mlp(batch_size=40), X, Y),
    "convnet": (convnet(batch_norm=True, dropout=0.3, augment={"shift": 1}), IMAGES, IMAGE_LABELS),
}


@pytest.fixture
def cold(monkeypatch):
    """A process that has no kernel and knows none."""
    for kernel in compile_all.KERNELS:
        for instance in kernel.instances.values():
            monkeypatch.setattr(instance, "_functions", {})
    monkeypatch.setattr(precompile, "_known", set())


@pytest.fixture
def compiled_together(monkeypatch):
    """How many kernels each call of `precompile` has found to compile."""
    counts, original = [], precompile.precompile

    def counted(needs):
        counts.append(original(needs))
        return counts[-1]

    monkeypatch.setattr(precompile, "precompile", counted)
    return counts


@pytest.fixture
def compiled_by_launches(monkeypatch):
    """The kernels that were compiled in the main thread, as launches do."""
    found, original = [], Instance._raw

    def counted(self):
        if threading.current_thread() is threading.main_thread():
            found.append(self.expression)
        return original(self)

    monkeypatch.setattr(Instance, "_raw", counted)
    return found


def test_what_is_recorded_is_not_launched(cupy, softgpu):
    x = cupy.asarray(np.array([-1, 2], np.float32))
    out = cupy.zeros_like(x)
    with softgpu.launched() as launched, recorded() as needs:
        cukernels.relu_backward(x, x, out={"x": out})
        with recorded() as inner:
            cukernels.relu(x)
        cukernels.relu(x)
    assert not launched and not RECORDING
    assert len(inner) == 1 and len(needs) == 2 and set(inner) < set(needs)
    np.testing.assert_array_equal(cukernels.relu(x).get(), [0, 2])


def test_other_threads_go_on(cupy):
    x = cupy.asarray(np.array([-1, 2], np.float32))
    found = []

    def compute():
        with cupy.cuda.Device(x.device.id):
            found.append(cukernels.relu(x).get())

    with recorded() as needs:
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found, [[0, 2]])
    assert not needs


@pytest.mark.parametrize("name", MODELS)
def test_a_first_fit_compiles_its_steps_side_by_side(
    name, cupy, cold, compiled_together, compiled_by_launches
):
    model, samples, labels = MODELS[name]
    model.set_params(device="cuda", max_iter=1).fit(samples, labels)
    (n_together,) = compiled_together
    assert n_together >= 5  # samples, the loss, the optimizer, and products forward and back
    assert not compiled_by_launches
    model.fit(samples, labels)
    assert len(compiled_together) == 1 and not compiled_by_launches


def test_what_scores_an_epoch_is_compiled_with_it(
    cupy, cold, compiled_together, compiled_by_launches
):
    """Also where the same steps have been taken before, without samples held out."""
    model = mlp(device="cuda", max_iter=1, batch_size=len(X) // 2)
    model.fit(X, Y)
    more = {"X_val": X, "y_val": Y}
    model.set_params(early_stopping=True).fit(X, Y, **more)
    assert len(compiled_together) == 2 and compiled_together[1] >= 2
    assert not compiled_by_launches


@pytest.mark.parametrize("name", MODELS)
def test_it_changes_no_result(name, cupy, monkeypatch):
    model, samples, labels = MODELS[name]
    model.set_params(device="cuda")
    monkeypatch.setattr(precompile, "_known", set())
    first = model.fit(samples, labels)
    weights, losses = [a.tobytes() for a in first.coefs_], first.loss_curve_
    second = model.fit(samples, labels)  # knows its kernels
    assert second.loss_curve_ == losses
    assert [a.tobytes() for a in second.coefs_] == weights


def test_a_first_fit_launches_what_a_second_does(cupy, softgpu, monkeypatch):
    """Also of CuPy's own kernels, which are not recorded: a step has none."""
    monkeypatch.setattr(precompile, "_known", set())
    model = mlp(device="cuda")
    counts = []
    for _ in range(2):
        with softgpu.launched() as launched:
            model.fit(X, Y)
        counts.append(list(launched))
    assert counts[0] == counts[1]


def test_a_failure_comes_through_and_is_tried_again(cupy):
    def fail():
        raise MemoryError("no")

    for _ in range(2):
        with pytest.raises(MemoryError, match="no"):
            precompile_once("a failure", fail)
    assert not RECORDING


# The command -----------------------------------------------------------------------------------

COMPILE = """
import sys
from cukernels.gpu.compile_all import all_instances, compile_all
from cukernels.runtime.arrays import installed_cupy
cupy = installed_cupy()
try:
    assert "softgpu" not in sys.modules and cupy.cuda.runtime.getDeviceCount() == int(sys.argv[2])
except cupy.cuda.runtime.CUDARuntimeError:
    assert sys.argv[2] == "0"
arch = int(sys.argv[1])
some = [i for i in all_instances(arch) if i.expression in sys.argv[3:]]
print(*compile_all(arch, only=some)[:2], *compile_all(arch, only=some)[:2])
"""
USE = """
import os, sys
os.environ["CUPY_CACHE_DIR"] = sys.argv[1]  # the GPU in software has one of its own
import cupy, numpy as np
from cupy.cuda import compiler
compiled, original = [], compiler._NVRTCProgram.compile
def counted(self, *a, **k):
    if self.src:
        compiled.append(self.name_expressions)
    return original(self, *a, **k)
compiler._NVRTCProgram.compile = counted
import cukernels
x = cupy.asarray(np.eye(3, dtype=np.float32))
cukernels.gather_rows(x, cupy.asarray(np.array([2])))
cukernels.relu(x)
print(len(compiled), *compiled)
"""


def run(code, environment, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_process_with_a_gpu_finds_what_one_without_has_compiled(cupy, tmp_path):
    with recorded() as needs:
        x = cupy.zeros((3, 3), np.float32)
        cukernels.gather_rows(x, cupy.zeros(1, np.int64))
        cukernels.relu(x)
    expressions = [instance.expression for instance, _ in needs]
    # the process that compiles does not have the GPU in software, but makes PTX as it needs it
    alone = {"CUPY_CACHE_DIR": str(tmp_path / "cache")}
    alone["CUPY_COMPILE_WITH_PTX"] = "1" if _gpu.is_software() else ""
    n_devices = 0 if _gpu.is_software() else len(_gpu.capabilities())
    arch = _gpu.capabilities()[0]
    assert run(COMPILE, alone, arch, n_devices, *expressions) == ["2", "0", "0", "2"]
    assert run(USE, _gpu.environment(), tmp_path / "cache") == ["0"]
    assert run(USE, _gpu.environment(), tmp_path / "other")[0] == "2"


def test_the_command(capsys, monkeypatch):
    require("cupy", "kernels")
    calls = []

    def compiled(architecture, n_jobs, progress):
        calls.append((architecture, n_jobs))
        return compile_all.Outcome(3, 1, ["f<int>: no"] if architecture == 75 else [])

    monkeypatch.setattr(main, "compile_all", compiled)
    monkeypatch.setattr(main, "cuda_devices", list)
    assert main.main(["compile"]) == 1
    assert "as --arch 90 for 9.0" in capsys.readouterr().err
    assert main.main(["compile", "--arch", "9.0", "sm_80", "--jobs", "3"]) == 0
    assert calls == [(90, 3), (80, 3)]
    assert "sm_90: 3 kernels compiled, 1 were there already, 0 failed" in capsys.readouterr().out
    assert main.main(["compile", "--arch", "75"]) == 1
    assert "f<int>: no" in capsys.readouterr().out


def test_all_kernels_are_meant():
    """Those of every file, and of an old architecture only what it can run."""
    require("cupy", "kernels")
    new, old = (set(compile_all.all_instances(arch)) for arch in (90, 75))
    assert old < new
    assert {i.kernel.file for i in new} == {kernel.file for kernel in compile_all.KERNELS}


@pytest.mark.parametrize("name", ["_DiskKernelCacheBackend", "_get_arch_for_options_for_nvrtc"])
def test_a_name_that_cupy_lacks(name, monkeypatch):
    compiler = require("cupy", "kernels").cuda.compiler
    monkeypatch.delattr(compiler, name)
    with (
        pytest.raises(ImportError, match=rf"has no cupy.cuda.compiler.{name}"),
        cupy_cache.without_device(),
    ):
        pass


def test_cupy_is_left_as_it_was(monkeypatch):
    compiler = require("cupy", "kernels").cuda.compiler
    before = compiler._kernel_cache_backend, compiler._get_arch_for_options_for_nvrtc
    with pytest.raises(ZeroDivisionError), cupy_cache.without_device():
        assert compiler._kernel_cache_backend is not before[0]
        _ = 1 / 0
    assert (compiler._kernel_cache_backend, compiler._get_arch_for_options_for_nvrtc) == before
