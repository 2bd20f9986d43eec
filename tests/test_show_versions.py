"""`python -m cukernels`: its report, and a self-check that finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

import cukernels
from cukernels import __main__ as main
from cukernels.runtime import show_versions
from cukernels.runtime.cases import cases
from cukernels.runtime.registry import OPS
from cukernels.runtime.self_check import check_body, self_check


def test_the_report_names_versions_ops_and_bodies(capsys):
    cukernels.show_versions()
    printed = capsys.readouterr().out
    assert f"cukernels: {cukernels.__version__}" in printed
    assert f"numpy: {np.__version__}" in printed
    for name, op in OPS.items():
        (line,) = [line for line in printed.splitlines() if line.split()[:1] == [name]]
        bodies = [op.reference, op.numpy, op.cuda]
        assert [mark == "yes" for mark in line.split()[1:]] == [b is not None for b in bodies]


def test_without_cupy_the_report_says_so(monkeypatch):
    monkeypatch.setattr(show_versions, "installed_cupy", lambda: None)
    assert show_versions.cuda_facts()["GPU"] == "none can be used: CuPy is not installed"
    assert show_versions.cuda_devices() == []


class Machine:
    """A CuPy with one GPU of which all is known, or none of it."""

    class runtime:
        class CUDARuntimeError(Exception):
            pass

        known = True

        @classmethod
        def getDeviceCount(cls):
            if not cls.known:
                raise cls.CUDARuntimeError("no driver")
            return 1

        @staticmethod
        def driverGetVersion():
            return 13020

        @staticmethod
        def getDeviceProperties(index):
            return {
                "name": b"A GPU", "major": 9, "minor": 0,
                "totalGlobalMem": 141 * 2**30, "multiProcessorCount": 132,
            }  # fmt: skip

    class nvrtc:
        @staticmethod
        def getVersion():
            return 13, 2

    def __init__(self, known=True):
        self.cuda = self
        self.runtime.known = known


def test_the_report_describes_gpus(monkeypatch):
    monkeypatch.setenv("CUPY_CACHE_DIR", "/somewhere")
    monkeypatch.setattr(show_versions, "installed_cupy", Machine)
    facts = show_versions.cuda_facts()
    assert facts["NVRTC"] == "13.2"
    assert facts["driver"] == "13.2"
    assert facts["cache"] == "/somewhere"
    expected = "A GPU, compute capability 9.0, 141.0 GiB, 132 multiprocessors"
    assert facts["cuda:0"] == expected
    assert show_versions.cuda_devices() == ["cuda:0"]
    monkeypatch.setattr(Machine.runtime, "driverGetVersion", lambda: 0)
    assert show_versions.cuda_facts()["driver"] == "none"
    monkeypatch.setattr(show_versions, "installed_cupy", lambda: Machine(known=False))
    assert show_versions.cuda_facts()["devices"] == "unknown (no driver)"
    assert show_versions.cuda_devices() == []


def test_the_self_check_passes_for_every_body_and_covers_every_op():
    checks = list(self_check())
    assert [(check.op, check.failure) for check in checks if not check.passed] == []
    assert {check.op for check in checks if check.body == "reference"} == set(OPS)
    assert {check.op for check in checks if check.body == "numpy"} == {
        name for name, op in OPS.items() if op.numpy
    }
    assert all(check.calls >= 2 for check in checks)
    assert 0 < max(check.error for check in checks) <= 1


def as_in_memory(x):
    """What a kernel would read that knows nothing of strides."""
    return x[..., ::-1] if x.ndim and x.strides[-1] < 0 else x


RELU = [case for case in cases() if case.op.name == "relu"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x: x.copy(), "times the error that rounding explains"),
        (lambda x: np.maximum(x, 0) * (1 + 1e-4), "times the error that rounding explains"),
        (lambda x: np.maximum(x, 0) * (1 + (x.dtype == np.float32) * 1e-4), "times the error"),
        (lambda x: np.where(x > 0, x, np.nan), "times the error that rounding explains"),
        (lambda x: np.maximum(x, 0)[..., None], "shape "),
        (lambda x: np.maximum(x, 0).astype(float), "dtype float64 where float32 is right"),
        (lambda x: (np.maximum(x, 0), x), "2 results where 1 are right"),
        (lambda x: np.maximum(x, 0, out=x), "x was modified (arrays: contiguous)"),
        (lambda x: np.maximum(as_in_memory(x), 0), "rounding explains (arrays: backwards)"),
        (lambda x: x.no_such_thing, "AttributeError"),
    ],
)
def test_the_self_check_finds_a_wrong_body(body, message):
    wrong = check_body("numpy", body, RELU)
    assert not wrong.passed and message in wrong.failure
    assert check_body("numpy", lambda x: np.maximum(x, 0), RELU).passed


def test_the_self_check_runs_on_a_device(cupy):
    """A body that works on the device passes; one that does not is named."""
    good = check_body("cuda:0", OPS["relu"].cuda, RELU, "cuda:0")
    assert good.passed and good.calls >= 2
    bad = check_body("cuda:0", OPS["tanh"].cuda, RELU, "cuda:0")
    assert not bad.passed


def test_the_exit_status_tells(monkeypatch, capsys):
    monkeypatch.setattr(main, "cuda_devices", lambda: [])
    some = list(islice(self_check(), 4))
    monkeypatch.setattr(main, "self_check", lambda devices: iter(some))
    assert main.check() == 0
    assert "all is well" in capsys.readouterr().out
    wrong = some[0]._replace(failure="7.0 times the error that rounding explains")
    monkeypatch.setattr(main, "self_check", lambda devices: iter([wrong, *some[1:]]))
    assert main.check() == 1
    assert f"{wrong.op}, {wrong.body}: 7.0 times" in capsys.readouterr().out


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "cukernels", "--no-check"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Ops and their bodies" in run.stdout
    assert run.stderr == ""
