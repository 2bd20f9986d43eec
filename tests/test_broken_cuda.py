"""A CuPy that is installed and broken: the report goes on, and errors say what to do.

And `python -m cukernels compile`, which refuses what cannot come to anything before it begins.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import cukernels
from _requirements import require
from cukernels import __main__ as main
from cukernels.gpu import compile_all
from cukernels.runtime import arrays, resolve_device

NO_LIBRARY = "raise ImportError('libcudart.so.13: cannot open shared object file')"
BROKEN = {  # what a module `cupy` does when it is imported, and what the report says
    "library": (NO_LIBRARY, "ImportError: libcudart.so.13: cannot open", "cukernels[cuda13]"),
    "lacks": ("import numpy; numpy.no_such_name", "AttributeError: ", "cukernels[cuda13]"),
    "driver": ("raise RuntimeError('no driver')", "RuntimeError: no driver", "cukernels[cuda13]"),
    "folder": ("import os; os.makedirs('')", "FileNotFoundError: ", "CUPY_CACHE_DIR has to name"),
    "file": ("import os; os.makedirs(__file__)", "FileExistsError: ", "CUPY_CACHE_DIR has to"),
}


@pytest.fixture(params=BROKEN)
def broken(request, tmp_path):
    """The environment of a process with such a CuPy, what that raises, and the advice."""
    code, raised, advice = BROKEN[request.param]
    (tmp_path / "cupy.py").write_text(code)
    here = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    return os.environ | {"PYTHONPATH": here}, raised, advice


def run(environment, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment
    )


def test_the_report_goes_on(broken):
    environment, raised, advice = broken
    done = run(environment, "-m", "cukernels", "--no-check")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = [line for line in done.stdout.splitlines() if line.lstrip().startswith("GPU:")]
    assert "GPU: none can be used: CuPy is installed, but importing it raises " + raised in line
    assert advice in line
    assert "Ops and their bodies" in done.stdout


def test_the_words_of_the_others(broken):
    environment, raised, advice = broken
    code = (
        "import sys; from cukernels.runtime import resolve_device\n"
        "from cukernels.runtime.show_versions import cuda_devices\n"
        "assert cuda_devices() == []\n"
        "for _ in range(2):\n"
        "    try: resolve_device('cuda')\n"
        "    except ImportError as error: print(error)\n"
    )
    done = run(environment, "-c", code)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == second and first.startswith("device='cuda': CuPy is installed, but importing")
    assert raised in first and advice in first
    done = run(environment, "-m", "cukernels", "compile", "--arch", "90")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("CuPy is installed, but") and advice in done.stderr


def test_the_cache_of_the_real_one(tmp_path):
    """CuPy makes its folder while it is imported."""
    require("cupy", "kernels")
    (tmp_path / "file").write_text("")
    for folder in ("", str(tmp_path / "file")):
        done = run(os.environ | {"CUPY_CACHE_DIR": folder}, "-m", "cukernels", "--no-check")
        assert done.returncode == 0
        assert "GPU: none can be used: " in done.stdout and "CUPY_CACHE_DIR has to" in done.stdout


def test_a_missing_one_has_words_of_its_own(monkeypatch):
    monkeypatch.setattr(arrays, "installed_cupy", lambda: None)
    with pytest.raises(ImportError, match="needs CuPy, which is not installed"):
        resolve_device("cuda")


@pytest.mark.parametrize("device", [0, 1.0, None, b"cuda"])
def test_calibrate_is_told_a_name(device):
    with pytest.raises(TypeError, match="name a GPU by text, as 'cuda' or 'cuda:0'"):
        cukernels.calibrate(device)


# The command -----------------------------------------------------------------------------------


@pytest.fixture
def compiled(monkeypatch):
    """What is asked to be compiled, where nothing is."""
    require("cupy", "kernels")
    calls = []

    def compile_nothing(architecture, n_jobs, progress):
        calls.append(architecture)
        return compile_all.Outcome(1, 0, [])

    monkeypatch.setattr(main, "compile_all", compile_nothing)
    return calls


@pytest.mark.parametrize("jobs", ["-1", "0", "two", "1.5"])
def test_a_number_of_jobs(jobs, capsys, compiled):
    with pytest.raises(SystemExit) as stopped:
        main.main(["compile", "--arch", "90", "--jobs", jobs])
    assert stopped.value.code == 2 and not compiled
    assert "argument --jobs" in capsys.readouterr().err


@pytest.mark.parametrize("arch", ["999", "70", "1", "0"])
def test_an_architecture_that_cannot_be_compiled_for(arch, capsys, compiled):
    """It is refused before the others are compiled."""
    assert main.main(["compile", "--arch", "90", arch]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and not compiled
    assert f"No kernel can be compiled for {arch}: " in printed.err
    assert " 75, 80, 86, " in printed.err and "70," not in printed.err


def test_a_folder_that_takes_no_kernels(capsys, compiled, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert main.main(["compile", "--arch", "90"]) == 1
    printed = capsys.readouterr()
    assert "CuPy cannot keep kernels in " in printed.err and "NotADirectoryError" in printed.err
    assert printed.out == "" and not compiled

    def fail(dir):
        raise PermissionError(13, "Permission denied", dir)

    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(main.tempfile, "TemporaryFile", fail)  # root may write anywhere
    assert main.main(["compile", "--arch", "90"]) == 1
    assert "PermissionError" in capsys.readouterr().err and not compiled


def test_where_they_are_if_there_are_any(capsys, compiled, monkeypatch, tmp_path):
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))
    assert main.main(["compile", "--arch", "90"]) == 0
    assert f"They are in {tmp_path / 'kernels'}" in capsys.readouterr().out
    assert not any((tmp_path / "kernels").iterdir())
    outcome = compile_all.Outcome(0, 0, ["f<int>: no"])
    monkeypatch.setattr(main, "compile_all", lambda *_: outcome)
    assert main.main(["compile", "--arch", "90"]) == 1
    assert "They are in" not in capsys.readouterr().out
