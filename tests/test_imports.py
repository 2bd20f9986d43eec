"""What an import costs: only what is asked for, and no CUDA body before the first GPU array."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import estimators


def loaded_after(statement: str) -> set[str]:
    """The modules that a new Python has after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_package_alone_is_nothing_yet():
    assert not {"numpy", "sklearn", "estimators.mlp"} & loaded_after("import estimators")


def test_a_class_comes_with_what_it_needs():
    loaded = loaded_after("from estimators import MLPClassifier; MLPClassifier()")
    unneeded = {"convnet", "logistic", "neighbors", "perceptron", "vision", "model_selection"}
    assert not {f"estimators.{name}" for name in unneeded} & loaded
    assert not {"matplotlib", "cupy", "sklearn.cluster", "cukernels.matmul.matmul_cuda"} & loaded


def test_every_public_name_is_there():
    assert set(estimators.__all__) <= set(dir(estimators))
    for name in estimators.__all__:
        assert getattr(estimators, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Transformer'"):
        _ = estimators.Transformer
    everything: dict = {}
    exec("from estimators import *", everything)
    assert set(estimators.__all__) <= set(everything)


def test_type_checkers_see_what_python_finds():
    """The imports for type checkers name the same classes, in the same modules."""
    tree = ast.parse(Path(estimators.__file__).read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    seen = {
        name.asname: node.module.removeprefix("estimators.")
        for node in imports
        if node.module.startswith("estimators.")
        for name in node.names
        if name.name == name.asname  # else it is not public to a type checker
    }
    assert seen == estimators._MODULES
