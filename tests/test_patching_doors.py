"""Modules, folders, archives and compiled files that are run, and the command ``cukernels-run``."""

from __future__ import annotations

import py_compile
import tomllib
import zipapp

import pytest

from _patching import ROOT, python

LASTS = """
import atexit, builtins, os, pickle, sys, threading
from sklearn.linear_model import Perceptron

class Own:
    pass

def late():
    main = sys.modules["__main__"]
    print(type(pickle.loads(pickle.dumps(Own()))) is Own, main.__dict__ is globals())

print(__builtins__ is builtins, __name__, __package__, __spec__ and __spec__.name, __file__)
print(os.path.basename(sys.argv[0]), sys.argv[1:], sys.path[0])
print(type(__loader__).__name__)
os.chdir(os.sep)
import helper  # beside this one
atexit.register(late)
print("estimators" in Perceptron.__module__, file=sys.stderr)
end = threading.main_thread()
threading.Thread(target=lambda: (end.join(), late())).start()
"""
KINDS = ["-m alone", "-m room.inner", "-m room", "room", "packed", "alone.pyc", "alone.py"]


@pytest.fixture
def programs(tmp_path):
    (tmp_path / "room").mkdir()
    for name in ("alone.py", "room/__main__.py", "room/inner.py"):
        (tmp_path / name).write_text(LASTS)
    for name in ("helper.py", "room/__init__.py", "room/helper.py"):
        (tmp_path / name).write_text("")
    zipapp.create_archive(tmp_path / "room", tmp_path / "packed")
    py_compile.compile(str(tmp_path / "alone.py"), str(tmp_path / "alone.pyc"))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_all_forms_have_what_python_gives_them_to_the_last_moment(kind, programs):
    plain, ours = (
        python(*start, *kind.split(), "a", "-q", cwd=programs)
        for start in ((), ("-m", "estimators", "-q"))
    )
    assert plain.returncode == ours.returncode == 0, ours.stderr
    assert ours.stdout == plain.stdout and plain.stdout.count("True True\n") == 2
    assert (plain.stderr, ours.stderr) == ("False\n", "True\n")


def test_what_cannot_be_run_is_said_as_python_says_it(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "fails.py").write_text("import no_such_module")
    for kind in (["empty"], ["-m", "empty"], ["-m", "fails.x"], ["no_such.zip"]):
        plain, ours = (
            python(*start, *kind, cwd=tmp_path) for start in ((), ("-m", "estimators", "-q"))
        )
        assert ours.returncode == plain.returncode != 0
        assert ours.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]


@pytest.fixture
def command(tmp_path):
    """The file that pip writes for ``cukernels-run``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["cukernels-run"].split(":")
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "cukernels-run"
    text = f"import sys\nfrom {module} import {function}\n"
    path.write_text(text + f"if __name__ == '__main__':\n    sys.exit({function}())\n")
    return path


def test_a_folder_with_an_estimators_of_its_own(command, programs):
    (programs / "estimators.py").write_text("print('of the program')")
    for kind in ("-m alone", "alone.py", "room"):
        plain = python(*kind.split(), "a", cwd=programs)
        ours = python(command, "-q", *kind.split(), "a", cwd=programs)
        assert ours.stdout == plain.stdout, ours.stderr
        assert ours.stderr == "True\n"


def test_tracebacks_of_the_command_begin_at_the_program(command, tmp_path):
    (tmp_path / "fails.py").write_text("def first():\n    raise KeyError('x')\nfirst()\n")
    plain, ours = python("fails.py", cwd=tmp_path), python(command, "-q", "fails.py", cwd=tmp_path)
    assert ours.stderr == plain.stderr and ours.returncode == 1
    text = "import sys; print(sys.path[0] == '')"
    assert python(command, "-q", "-c", text, cwd=tmp_path).stdout == "True\n"


def test_workers_run_scikit_learns_classes_unless_their_file_patches(tmp_path):
    """As the manual says it; and what is sent there is not changed."""
    own = "from sklearn.linear_model import Perceptron\ndef kind(model):\n"
    own += "    return Perceptron.__module__.split('.')[0], type(model).__module__.split('.')[0]\n"
    patch = "from estimators import patch_sklearn\npatch_sklearn(verbose=False)\n"
    (tmp_path / "plain.py").write_text(own)
    (tmp_path / "patches.py").write_text(patch + own)
    text = "from joblib import Parallel, delayed\nimport {0}\n"
    text += "task = delayed({0}.kind)({0}.Perceptron())\nprint(*Parallel(2)([task] * 2)[0])\n"
    for name, found in (("plain", "sklearn estimators\n"), ("patches", "estimators estimators\n")):
        path = tmp_path / "program.py"
        path.write_text(text.format(name))
        assert python("-m", "estimators", "-q", path).stdout == found
