"""The file of a machine's constants with every value in it damaged: they are measured anew."""

from __future__ import annotations

import copy
import json

import pytest

from cukernels.gpu import auto, calibration
from cukernels.runtime import machine_file
from cukernels.runtime.machine import KINDS, Machine, Rate, Work
from cukernels.runtime.version import __version__

MACHINE = Machine(
    "A GPU", "580.1", __version__, 16, 15e-6, 4e-6, Rate(1e-5, 1e10), Rate(1e-5, 1e10),
    on_cpu=dict.fromkeys(KINDS, Rate(3e-6, 1e11)), on_gpu=dict.fromkeys(KINDS, Rate(1e-5, 2e13)),
)  # fmt: skip
IDENTITY = (MACHINE.gpu, MACHINE.driver, MACHINE.version, MACHINE.threads)
WORK = [Work(kind, 100, 1e9, 6, 20, 10, 1e6, 1e6, 1e8) for kind in KINDS]
BAD = [
    0, 0.0, -0.0, -1.0, True, False, None, "", "1e-5", "1", [], [1e-5], [1e-5, 1e10, 1.0], {},
    {"0": 1e-5, "1": 1e10}, [1e-5, 0], [0, 1e10], [True, True], [[1e-5], 1e10], float("nan"),
    float("inf"), -float("inf"), 10**400, -(10**400), [1e-5, 10**400], [["A GPU", 1e-5]],
]  # fmt: skip


def places(value, path=()):
    """Yield the path to each value of a content, also of those that hold others."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def damaged(content, path, bad):
    """Return the content with another value at a path."""
    if not path:
        return bad
    content = copy.deepcopy(content)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = bad
    return content


@pytest.fixture
def file(monkeypatch, tmp_path):
    """The file with constants in it, for a machine that seems to have that GPU."""
    monkeypatch.setenv("CUKERNELS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(auto, "may_have_gpu", lambda: True)
    monkeypatch.setattr(auto, "threads", lambda: MACHINE.threads)
    monkeypatch.setattr(auto, "device_memory", lambda device: (2**36, 2**36))
    monkeypatch.setattr(calibration, "_identity", lambda device: IDENTITY[:2])
    machine_file.save(MACHINE)
    return machine_file.path()


def test_every_value_damaged_is_measured_anew(file, monkeypatch):
    measured = []

    def calibrate(device):
        measured.append(device)
        machine_file.save(MACHINE)
        return MACHINE

    monkeypatch.setattr(calibration, "calibrate", calibrate)
    whole = json.loads(file.read_text())
    expected = [auto.chosen_device("auto", lambda work=work: work) for work in WORK]
    tried = 0
    for path in places(whole):
        for bad in BAD:
            content = damaged(whole, path, bad)
            if content == whole:  # true is 1 where the format is
                continue
            file.write_text(json.dumps(content))
            assert machine_file.load(*IDENTITY) is None, (path, bad)
            measured.clear()
            calibration.machine_of.cache_clear()
            chosen = [auto.chosen_device("auto", lambda work=work: work) for work in WORK]
            assert chosen == expected, (path, bad)
            assert measured == ["cuda:0"], (path, bad)
            assert machine_file.load(*IDENTITY) == MACHINE, (path, bad)
            tried += 1
    assert tried > 600
    calibration.machine_of.cache_clear()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": 1', "1" * 5000, '{"format": 1, "machines": [[1, 2]]}']
)
def test_a_file_that_is_no_such_thing(text, file):
    file.write_text(text)
    assert machine_file.load(*IDENTITY) is None
    machine_file.save(MACHINE)
    assert machine_file.load(*IDENTITY) == MACHINE


def test_what_goes_wrong_in_the_estimate_means_the_cpu(file, monkeypatch, capsys):
    """A defect of the estimates must not stop a fit that the CPU can do."""
    monkeypatch.setattr(auto, "machine_of", lambda *_: None)
    assert auto.chosen_device("auto", lambda: WORK[0], verbose=1) == "cpu"
    assert "the GPU cannot be used (AttributeError" in capsys.readouterr().out


def test_a_folder_below_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CUKERNELS_CACHE_DIR", "~/kept")
    machine_file.save(MACHINE)
    assert (tmp_path / "kept" / "machine.json").exists()
    assert machine_file.load(*IDENTITY) == MACHINE
