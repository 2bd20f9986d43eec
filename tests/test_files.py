"""What the packages write is whole or not there; what they read is no program."""

from __future__ import annotations

import ast
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cukernels
import estimators
from _requirements import require
from _small_digits import X, Y
from estimators import MLPClassifier
from estimators.callbacks import Checkpoint, CSVLogger, TensorBoard
from estimators.checkpoints.archive import read_archive, write_archive
from estimators.convert import SKOPS_TRUSTED
from estimators.model_selection import GridSearchCV
from estimators.shared.files import replacing, write_text

ROOT = Path(__file__).parent.parent
FOLDERS = [*(Path(p.__file__).parent for p in (cukernels, estimators)), ROOT / "benchmarks"]
# Those that open a file to write: all others ask them to.
WRITERS = {"estimators/shared/files.py", "cukernels/runtime/machine_file.py"}
# They add to the end of a file, a whole row or record by each call of the system.
WRITERS |= {f"estimators/callbacks/{name}.py" for name in ("csv_logger", "tensorboard")}
NEVER = {"pickle", "joblib.load", "dill", "cloudpickle", "marshal", "shelve"}


def sources():
    """Each file, with the names that it imports and the calls that may write a file."""
    for path in sorted(path for folder in FOLDERS for path in folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        imported, writes = set(), []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported |= {alias.name for alias in node.names}
                imported.add(getattr(node, "module", ""))
            elif isinstance(node, ast.Call) and may_write(node):
                writes.append(ast.unparse(node))
        yield path.relative_to(ROOT).as_posix(), imported, writes


def may_write(call):
    of, _, function = ast.unparse(call.func).rpartition(".")
    if function == "open":  # `archive` is a file that is open already
        mode = call.args[1].value if len(call.args) > 1 else "r"
        return of != "archive" and mode.strip("rbt") != ""
    if function == "write_text":
        return of != ""
    saves = function in ("save", "savez", "savez_compressed", "savetxt", "dump")
    return saves and of in ("np", "json", "joblib") or function in ("write_bytes", "tofile")


@pytest.mark.parametrize(("name", "imported", "writes"), list(sources()))
def test_one_place_writes_files(name, imported, writes):
    assert name in WRITERS or not writes
    assert not imported & NEVER, "it reads what is executed"


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), MemoryError(), KeyboardInterrupt()]
)
@pytest.mark.parametrize("where", ["open", "fsync", "replace", "within"])
def test_an_error_leaves_what_was_there(where, error, tmp_path, monkeypatch):
    write_text(tmp_path / "file", "old")

    def fails(*args, **options):
        raise error

    if where == "open":
        monkeypatch.setattr("builtins.open", fails)
    elif where != "within":
        monkeypatch.setattr(os, where, fails)
    with pytest.raises(type(error)), replacing(tmp_path / "file") as file:
        file.write(b"new" * 100_000)
        if where == "within":
            fails()
    monkeypatch.undo()
    assert content(tmp_path) == {"file": b"old"}
    write_text(tmp_path / "file", "new")
    assert content(tmp_path) == {"file": b"new"}


def writers(path):
    """Each way to write a file of this name."""
    yield "replacing", lambda: write_text(path, "")
    for callback in (CSVLogger, Checkpoint):
        model = MLPClassifier((4,), max_iter=2, callbacks=callback(path))
        yield callback.__name__, lambda model=model: model.fit(X, Y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_error_names_the_file_that_was_asked_for(tmp_path, monkeypatch):
    """And no other, which is to become that file."""
    (tmp_path / "file").write_text("a file")
    monkeypatch.chdir(tmp_path)
    for path, error, named in (
        ("nofolder/a.csv", FileNotFoundError, "nofolder"),
        ("file/a.csv", FileNotFoundError, "file"),
        (tmp_path, IsADirectoryError, str(tmp_path)),
        (".", IsADirectoryError, "."),
        ("a" * 300, OSError, "a" * 300),
    ):
        for name, write in writers(path):
            with pytest.raises(error) as told:
                write()
            assert told.value.filename == named and ".part" not in str(told.value), (name, path)
    if hasattr(os, "geteuid") and os.geteuid():  # root may write everywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        for _, write in writers("closed/a.csv"):
            with pytest.raises(PermissionError, match=r"'closed/a\.csv'$"):
                write()
    monkeypatch.setattr(os, "replace", fails_as_a_disk)
    for _, write in writers("a.csv"):
        with pytest.raises(OSError, match=r"'a\.csv'$"):
            write()


def fails_as_a_disk(new, target):
    raise OSError(28, "No space left on device", str(new), None, str(target))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # on Windows
    monkeypatch.chdir(tmp_path)
    write_text("~/text", "")
    ready = [Checkpoint("~/a.ckpt"), CSVLogger("~/{fit}.csv"), TensorBoard("~/run")]
    ready.append(Checkpoint("~/{fit}-{epoch}"))
    model = MLPClassifier((4,), max_iter=2, random_state=0, callbacks=ready).fit(X, Y)
    names = ["1-1", "1-2", "1.csv", "a.ckpt", "run", "text"]
    assert sorted(os.listdir(tmp_path)) == names
    assert model.fit(X, Y, resume_from="~/a.ckpt").n_iter_ == 2
    GridSearchCV(MLPClassifier((4,), max_iter=2), {}, cv=2, checkpoint="~/search").fit(X, Y)
    assert len(os.listdir(tmp_path / "search")) == 2


FILLS = """
import resource, signal, sys
from estimators.checkpoints.archive import write_archive
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
write_archive(sys.argv[1], {}, {"a": np.zeros(100_000)})
"""
WRITES = """
import sys
from estimators.checkpoints.archive import write_archive
import numpy as np
print("ready", flush=True)
while True:
    write_archive(sys.argv[1], {}, {"a": np.ones(1_000_000)})
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no such limit")
def test_a_disk_without_room_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_archive(path, {}, {"a": np.zeros(3)})
    run = subprocess.run([sys.executable, "-c", FILLS, path], capture_output=True, text=True)
    assert run.returncode and "OSError: [Errno 27]" in run.stderr
    assert list(content(tmp_path)) == ["file"]
    np.testing.assert_array_equal(read_archive(path)[1]["a"], np.zeros(3))


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    write_archive(path, {}, {"a": np.ones(1_000_000)})
    unfinished = 0
    for wait in (0.0, 0.004, 0.009, 0.015):
        with subprocess.Popen(
            [sys.executable, "-c", WRITES, path], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline()
            time.sleep(0.02 + wait)
            process.send_signal(signal.SIGKILL)
        assert read_archive(path)[1]["a"].sum() == 1_000_000
        unfinished += len(content(tmp_path)) - 1
        write_archive(path, {}, {"a": np.ones(1_000_000)})
        assert list(content(tmp_path)) == ["file"]
    assert unfinished, "none was killed while it wrote"


def test_a_fit_whose_disk_is_full_says_so_and_leaves_the_file(tmp_path, monkeypatch):
    settings = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
    path = tmp_path / "file"
    whole = MLPClassifier(**settings).fit(X, Y)
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        MLPClassifier(**settings, callbacks=Checkpoint(path)).fit(X, Y)
    assert list(content(tmp_path)) == ["file"]
    resumed = MLPClassifier(**settings).fit(X, Y, resume_from=path)
    np.testing.assert_array_equal(resumed.coefs_[0], whole.coefs_[0])


class Stranger:
    """Something that no file of a model holds."""


@pytest.mark.parametrize(
    "strange", [os.system, Stranger(), print], ids=["function", "class", "print"]
)
@pytest.mark.parametrize("where", ["callbacks", "hidden_layer_sizes", "coefs_", "_network"])
def test_skops_refuses_types_that_are_not_trusted(where, strange):
    io = require("skops.io", "test")
    model = MLPClassifier((4,), max_iter=2).fit(X, Y)
    setattr(model, where, strange)
    try:
        data = io.dumps(model)
    except Exception as error:  # skops does not write functions of C
        pytest.skip(str(error)[:80])
    with pytest.raises(Exception, match="(?i)untrusted"):
        io.loads(data, trusted=SKOPS_TRUSTED)
