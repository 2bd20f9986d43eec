"""`device="auto"`: which side it takes, what it asks for, and where the constants are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

import cukernels
from cukernels.gpu import auto, calibration
from cukernels.runtime import machine as machines
from cukernels.runtime import machine_file
from cukernels.runtime.machine import KINDS, MARGIN, START, Machine, Rate, Work
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.costs import work
from estimators.linear import scores
from estimators.shared.samples import Samples

# Invented constants, of about an H100 beside 16 cores.
MACHINE = Machine(
    "A GPU", "580.1", "1.0", 16, 15e-6, 4e-6, Rate(1e-5, 1e10), Rate(1e-5, 1e10),
    on_cpu=dict.fromkeys(KINDS, Rate(3e-6, 1e11)) | {"online": Rate(1e-5, 5e9)},
    on_gpu=dict.fromkeys(KINDS, Rate(1e-5, 2e13)) | {"online": Rate(1.5e-6, 2e10)},
)  # fmt: skip
WORK = Work("float32", 100, 1e9, 6, 20, 10, 1e6, 1e6, 1e8)


@pytest.fixture
def invented(monkeypatch, tmp_path):
    """A GPU that seems to be there, with the constants above; returns what changes them."""
    monkeypatch.setenv("CUKERNELS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(auto, "may_have_gpu", lambda: True)
    monkeypatch.setattr(work, "threads", lambda: 2)

    def become(machine=MACHINE, free=2**36):
        monkeypatch.setattr(auto, "machine_of", lambda device, n_threads: machine)
        monkeypatch.setattr(auto, "device_memory", lambda device: (free, free))

    become()
    return become


def samples(n, n_features, n_classes):
    labels = np.arange(n) % n_classes
    return np.zeros((n, n_features), np.float32), labels


FITS = {  # an estimator, the features and classes of its samples, and how many are few and many
    "mlp": (MLPClassifier((512, 512)), 784, 10, 300, 6000),
    "mlp-lbfgs": (MLPClassifier((512, 512), solver="lbfgs"), 784, 10, 100, 6000),
    "convnet": (ConvNetClassifier((32, 64)), 784, 10, 30, 2000),
    "logistic": (LogisticRegression(), 784, 100, 200, 20000),
    "perceptron": (Perceptron(), 784, 100, 200, 10000),
    "perceptron-multinomial": (Perceptron(multi_class="multinomial"), 784, 10, 100, 9000),
}


@pytest.mark.parametrize("name", FITS)
def test_fits_on_both_sides_of_the_border(name, invented):
    model, n_features, n_classes, few, many = FITS[name]
    for n, device in ((few, "cpu"), (many, "cuda:0")):
        fit = model._prepare(Samples(*samples(n, n_features, n_classes)))
        assert getattr(fit, "device", "cpu") == device
    invented(replace(MACHINE, up=Rate(1e-5, 1e6)))  # now the data are copied slowly
    assert (
        getattr(model._prepare(Samples(*samples(many, n_features, n_classes))), "device", "cpu")
        == "cpu"
    )


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_predictions_of_networks_on_both_sides(name, invented):
    model, n_features, n_classes = FITS[name][:3]
    model._as_rows(np.zeros((1, n_features)))
    network = model._build_network(n_features, n_classes)
    row = np.zeros((1, n_features), np.float32)
    chosen = [
        model._device_of_prediction(network, np.broadcast_to(row, (n, n_features)))
        for n in (1000, 400_000)
    ]
    assert chosen == ["cpu", "cuda:0"]


class Stop(Exception):
    pass


@pytest.mark.parametrize(("n", "device"), [(1000, "cpu"), (2_000_000, "cuda:0")])
def test_predictions_of_linear_models_on_both_sides(n, device, invented, monkeypatch):
    def current(place):
        assert place == device
        raise Stop

    monkeypatch.setattr(scores, "current", current)
    X = np.broadcast_to(np.zeros((1, 200), np.float32), (n, 200))
    with pytest.raises(Stop):
        scores.linear_scores(X, np.zeros((1000, 200), np.float32), 0.0, "auto")


def test_a_fit_in_a_search_is_where_it_is_alone(invented):
    """The choice follows from the rows of the fit, and not from those that it shares."""
    model = FITS["mlp"][0]
    X, y = samples(9000, 784, 10)
    rows = np.arange(0, 9000, 30)
    assert model._prepare(Samples(X, y), rows=rows).device == "cpu"
    assert model._prepare(Samples(X[rows], y[rows])).device == "cpu"


def test_the_margin(invented):
    on_gpu = MACHINE.seconds_on_gpu(WORK)
    one = replace(WORK, products=0)
    for factor, is_chosen in ((1.01 * MARGIN, True), (0.99 * MARGIN, False)):
        rate = Rate(0, one.steps * one.operations / (factor * on_gpu))
        machine = replace(MACHINE, on_cpu=MACHINE.on_cpu | {"float32": rate})
        assert machine.seconds_on_cpu(one) == pytest.approx(factor * on_gpu)
        assert machine.prefers_gpu(one) is is_chosen


def test_what_each_constant_does():
    """A slower constant makes the GPU's estimate longer, by what is waited for."""
    before = MACHINE.seconds_on_gpu(WORK)
    slower = {
        "launch": (115e-6, 100 * 20 * 1e-4), "up": (Rate(1e-5, 1e9), 0.9e-3),
        "down": (Rate(1e-3, 1e10), 10 * 0.99e-3),
        "on_gpu": (dict.fromkeys(KINDS, Rate(0, 1e13)), 100 * 1e9 * 0.5e-13),
    }  # fmt: skip
    for name, (value, more) in slower.items():
        after = replace(MACHINE, **{name: value}).seconds_on_gpu(WORK)
        assert after - before == pytest.approx(more, rel=1e-6)
    replayed = MACHINE.seconds_on_gpu(replace(WORK, is_replayed=True))
    assert before - replayed == pytest.approx(100 * 20 * 11e-6)


def test_too_little_memory_means_the_cpu(invented, capsys):
    model, X_y = FITS["mlp"][0], samples(6000, 784, 10)
    invented(free=10**6)
    model = MLPClassifier((512, 512), verbose=True)
    assert model._prepare(Samples(*X_y)).device == "cpu"
    assert "and cuda:0 has 1,000,000 free" in capsys.readouterr().out
    invented()
    assert model._prepare(Samples(*X_y)).device == "cuda:0"
    line = capsys.readouterr().out
    assert line.startswith("device='auto' is cuda:0: expected are ") and line.count("\n") == 1


def test_little_work_asks_for_nothing(invented, monkeypatch):
    monkeypatch.setattr(auto, "machine_of", lambda *a: pytest.fail("asked"))
    little = replace(WORK, steps=1, operations=1e6)
    assert little.is_small and not WORK.is_small
    assert auto.chosen_device("auto", lambda: little) == "cpu"


def test_a_gpu_that_cannot_be_used_is_none(invented, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(auto, "machine_of", fail)
    assert auto.chosen_device("auto", lambda: WORK, verbose=1) == "cpu"
    assert "cannot be used (RuntimeError: no kernel image)" in capsys.readouterr().out


def test_a_device_that_is_named_needs_no_work(invented):
    assert auto.chosen_device("cpu", lambda: pytest.fail("asked")) == "cpu"
    with pytest.raises(ValueError, match="Unknown device 'gpu'"):
        auto.chosen_device("gpu", lambda: pytest.fail("asked"))


def test_without_a_gpu_nothing_is_imported_or_printed():
    """Nor where there is one that a variable hides."""
    code = (
        "import sys, numpy as np; from estimators import MLPClassifier\n"
        "MLPClassifier(max_iter=1000000, verbose=0)._prepare\n"
        "from cukernels.gpu import chosen_device\n"
        "assert chosen_device('auto', lambda: 1 / 0, verbose=1) == 'cpu'\n"
        "assert 'cupy' not in sys.modules"
    )
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | hidden
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# The file --------------------------------------------------------------------------------------

OWN = (MACHINE.gpu, MACHINE.driver, MACHINE.version, MACHINE.threads)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CUKERNELS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_constants_come_back(folder):
    assert machine_file.load(*OWN) is None
    other = replace(MACHINE, threads=4, launch=1e-3)
    machine_file.save(MACHINE)
    machine_file.save(other)
    assert machine_file.load(*OWN) == MACHINE
    assert machine_file.load(*OWN[:3], 4) == other
    assert machine_file.load("Another GPU", *OWN[1:]) is None
    assert [path.name for path in folder.iterdir()] == ["machine.json"]


def test_an_old_version_is_forgotten(folder):
    machine_file.save(replace(MACHINE, version="0.9"))
    assert machine_file.load(*OWN) is None
    machine_file.save(MACHINE)
    assert len(json.loads(machine_file.path().read_text())["machines"]) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: "[]",
        lambda text: "\x00\xff",
        lambda text: text.replace('"format": 1', '"format": 0'),
        lambda text: text.replace('"launch": 1.5e-05', '"launch": "fast"'),
        lambda text: text.replace('"launch": 1.5e-05', '"launch": NaN'),
        lambda text: text.replace('"launch": 1.5e-05', '"launch": Infinity'),
        lambda text: text.replace('"online"', '"offline"'),
        lambda text: text.replace('"replay"', '"repeat"'),
        lambda text: text + " " * 2**20,
        lambda text: "[" * 10**5,
    ],
)
def test_a_damaged_file_is_ignored(damage, folder):
    machine_file.save(MACHINE)
    text = machine_file.path().read_text()
    assert damage(text) != text
    machine_file.path().write_text(damage(text))
    assert machine_file.load(*OWN) is None
    machine_file.save(MACHINE)
    assert machine_file.load(*OWN) == MACHINE


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CUKERNELS_CACHE_DIR", str(tmp_path / "file" / "below"))
    machine_file.save(MACHINE)
    assert machine_file.load(*OWN) is None


def test_a_disk_that_is_full_costs_only_the_new_constants(folder, monkeypatch):
    machine_file.save(MACHINE)
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(os, "replace", Mock(side_effect=error))
            machine_file.save(replace(MACHINE, threads=4))
        assert [path.name for path in folder.iterdir()] == ["machine.json"]
        assert machine_file.load(*OWN) == MACHINE


def test_the_folders(monkeypatch, tmp_path):
    monkeypatch.delenv("CUKERNELS_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine_file.path() == tmp_path / "cukernels" / "machine.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine_file.path() == tmp_path / ".cache" / "cukernels" / "machine.json"


def test_writers_at_once_leave_a_whole_file(folder):
    def write(launch):
        for _ in range(30):
            machine_file.save(replace(MACHINE, launch=launch))

    machine_file.save(MACHINE)
    writers = [threading.Thread(target=write, args=(1e-6 * n,)) for n in (1, 2, 3)]
    for one in writers:
        one.start()
    while any(one.is_alive() for one in writers):
        found = machine_file.load(*OWN)
        assert found is not None and found.launch in (MACHINE.launch, 1e-6, 2e-6, 3e-6)
    for one in writers:
        one.join()
    assert machine_file.load(*OWN) is not None
    assert [path.name for path in folder.iterdir()] == ["machine.json"]


# Measuring -------------------------------------------------------------------------------------


def test_the_words_for_a_machine():
    text = repr(MACHINE)
    assert "A GPU (driver 580.1) beside a CPU of 16 thread(s)" in text
    assert "15 us, in a graph 4 us" in text and "10 GB/s" in text and "20 TFLOP/s" in text
    assert all(name in text for name in KINDS.values())


def test_calibrate_needs_a_gpu(monkeypatch):
    with pytest.raises(ValueError, match="measures a GPU"):
        cukernels.calibrate("cpu")


def test_calibrate_measures_and_keeps(folder, softgpu, monkeypatch):
    with softgpu.settings(null=True):
        machine = cukernels.calibrate()
    assert (
        machine_file.load(machine.gpu, machine.driver, machine.version, machine.threads) == machine
    )
    rates = [machine.up, machine.down, *machine.on_cpu.values(), *machine.on_gpu.values()]
    assert all(rate.latency > 0 and rate.per_second > 0 for rate in rates)
    monkeypatch.setattr(calibration, "calibrate", lambda device: pytest.fail("measured again"))
    calibration.machine_of.cache_clear()
    assert calibration.machine_of("cuda:0", machine.threads) == machine
    calibration.machine_of.cache_clear()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_chosen_trains_there(invented, cupy, softgpu, monkeypatch):
    """The whole way, with constants that make the GPU faster for a few samples."""
    monkeypatch.setattr(machines, "START", 0.0)
    eager = dict.fromkeys(KINDS, Rate(1.0, 1.0))
    invented(replace(MACHINE, on_cpu=eager))
    X, y = samples(30, 5, 3)
    for model in (MLPClassifier((4,), max_iter=2), LogisticRegression(max_iter=2)):
        with softgpu.launched() as launched:
            model.fit(X, y)
        assert launched
        with softgpu.launched() as launched:
            model.predict(X)
        assert launched
    assert START == 0.5
