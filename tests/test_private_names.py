"""Private names of scikit-learn, joblib and CuPy: in one file each, and missed in words.

An upgrade is played here by taking names out of the installed scikit-learn, one at a time.
"""

from __future__ import annotations

import ast
import dis
import importlib
import pickle
import re
import subprocess
import sys
from functools import cache
from inspect import unwrap
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn

import cukernels
import estimators
from _upgrades import forget, take_out
from cukernels.gpu import cupy_cache
from cukernels.runtime import arrays
from estimators import LogisticRegression, scikit_learn
from estimators.scikit_learn import NAMES, MissingNameError

PACKAGES = [Path(package.__file__).parent for package in (cukernels, estimators)]
FILES = sorted(file for package in PACKAGES for file in package.rglob("*.py"))
THEIRS = {"sklearn", "joblib", "cupy", "cupyx", "cupy_backends"}
OF_SKLEARN, OF_CUPY, OF_COMPILER = (
    Path(module.__file__) for module in (scikit_learn, arrays, cupy_cache)
)
CUPYS = {"_c_contiguous", "_core", "_kernel_cache_backend", "_get_arch_for_options_for_nvrtc"}
OF_PYTHON = {"_fields", "_replace", "_asdict", "_getframe"}  # of named tuples and of `sys`
HERE = {alias: name for alias, name in NAMES.items() if name.since <= scikit_learn.RELEASE}
VERSIONS = f"scikit-learn {sklearn.__version__} and joblib {joblib.__version__}"


@pytest.fixture(autouse=True)
def nothing_remembered():
    """No check is answered by what another test has seen."""
    forget()
    yield
    forget()


@pytest.mark.parametrize("alias", HERE)
def test_a_name_that_is_gone(alias, monkeypatch):
    module, name, purpose = NAMES[alias][:3]
    assert getattr(scikit_learn, alias) is getattr(importlib.import_module(module), name)
    forget()
    monkeypatch.delattr(importlib.import_module(module), name)
    with pytest.raises(MissingNameError) as told:
        getattr(scikit_learn, alias)
    assert f"{module} has no {name}. cukernels needs it for {purpose}." in str(told.value)
    assert VERSIONS in str(told.value)


@pytest.mark.parametrize("alias", HERE)
def test_a_module_that_is_gone(alias, monkeypatch):
    module, name, purpose = NAMES[alias][:3]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingNameError, match=f"there is no module {module} with {name}.*{purpose}"
    ):
        getattr(scikit_learn, alias)


def test_what_scikit_learn_itself_lacks_is_another_error(monkeypatch):
    """A broken installation is not called a name that was dropped."""
    monkeypatch.delitem(sys.modules, "sklearn.model_selection._search")
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ModuleNotFoundError, match="scipy.stats"):
        _ = scikit_learn.BaseSearchCV


@pytest.mark.parametrize(
    ("alias", "attribute"), [(alias, a) for alias, name in HERE.items() for a in name.attributes]
)
def test_an_attribute_that_is_gone(alias, attribute, monkeypatch):
    found, purpose = getattr(scikit_learn, alias), NAMES[alias].purpose
    forget()
    take_out(monkeypatch, found, attribute)
    with pytest.raises(MissingNameError) as told:
        getattr(scikit_learn, alias)
    assert f"{NAMES[alias].name} has no {attribute} any more. cukernels" in str(told.value)
    assert purpose in str(told.value) and VERSIONS in str(told.value)


def test_a_name_that_is_in_no_table():
    with pytest.raises(AttributeError, match="has no attribute 'Interval_2'"):
        _ = scikit_learn.Interval_2


def test_the_error_comes_back_from_a_worker():
    with pytest.raises(MissingNameError) as told:
        scikit_learn.is_fit(print)
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


# a new Python, as after an upgrade: (what is taken out, what is imported then)
IMPORTS = {
    "LogisticRegression": ("sklearn.utils.validation", "_check_sample_weight"),
    "MLPClassifier": ("sklearn.base", "_fit_context"),
    "FilterBankTransformer": ("sklearn.utils._param_validation", "Interval"),
    "model_selection": ("sklearn.metrics._scorer", "_BaseScorer"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_an_import_after_an_upgrade(name):
    module, gone = IMPORTS[name]
    code = (
        f"import {module} as m, sklearn.model_selection, sklearn.neural_network, sklearn.cluster\n"
        f"del m.{gone}\nfrom estimators import {name}"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("estimators.scikit_learn.MissingNameError: ")
    assert f"{module} has no {gone}." in last and VERSIONS in last


def test_what_searches_need_is_not_needed_alone():
    code = (
        "import sklearn.metrics._scorer as m\ndel m._BaseScorer\n"
        "from estimators import LogisticRegression, MLPClassifier, Perceptron"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_releases_without_callbacks(monkeypatch):
    monkeypatch.setattr(scikit_learn, "RELEASE", (1, 8))
    assert scikit_learn.CallbackSupportMixin is scikit_learn.CallbackContext
    assert not scikit_learn.has_callbacks(LogisticRegression())
    if NAMES["CallbackContext"].since > scikit_learn.RELEASE:
        return
    monkeypatch.setattr(scikit_learn, "RELEASE", (1, 9))
    assert scikit_learn.CallbackSupportMixin is not scikit_learn.CallbackContext


# CuPy


class Gone:
    """An attribute that neither a class nor its instances have, whatever they inherit."""

    def __get__(self, instance, owner):
        raise AttributeError("gone")


def test_a_launch_says_what_cupy_lacks(cupy, monkeypatch):
    x = cupy.zeros(3, np.float32)
    cukernels.relu(x)
    monkeypatch.setattr(cupy.ndarray, "_c_contiguous", Gone())
    monkeypatch.setattr(cupy, "__version__", "99.1")
    with pytest.raises(
        ImportError, match=r"has no _c_contiguous. cukernels.*installed is CuPy 99.1"
    ):
        cukernels.relu(x)


def test_only_one_file_imports_cupy():
    importing = [file for file in FILES if "cupy" in {m.split(".")[0] for m in imported(file)}]
    assert importing == [OF_CUPY]


# What the packages' texts use


def tree_of(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def imported(file: Path) -> list[str]:
    """All that a file imports, as "sklearn.base._fit_context"; also by `import_module`."""
    found = []
    for node in tree_of(file):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        if isinstance(node, ast.ImportFrom) and not node.level:
            found += [f"{node.module}.{name.name}" for name in node.names]
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found += [a.value for a in node.args if isinstance(a, ast.Constant)]
    return found


def used(file: Path) -> set[str]:
    """Private names that a file reads or sets, asks for by a string, or gives as a keyword."""
    names: set[str | None] = set()
    for node in tree_of(file):
        match node:
            case ast.Attribute():
                names.add(node.attr)
            case ast.Constant(value=str()):
                names |= set(re.findall(r"\w+", node.value)) if node.value.isidentifier() else set()
            case ast.keyword():
                names.add(node.arg)
    return {name for name in names if name and re.fullmatch(r"_[A-Za-z]\w*", name)}


@cache
def own_names() -> set[str]:
    """Names of the packages' own functions, classes, modules, attributes and variables."""
    names = {file.stem for file in FILES}
    for node in (node for file in FILES for node in tree_of(file)):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Attribute(ctx=ast.Store()) if file_of_ours(node):
                names.add(node.attr)
    return names


def file_of_ours(node: ast.Attribute) -> bool:
    """Whether an attribute is set on an object of ours, as far as a text tells."""
    return ast.unparse(node.value) in {"self", "cls", "model", "estimator", "training.estimator"}


@cache
def their_names() -> set[str]:
    """Every private name in the texts of scikit-learn and joblib."""
    found: set[str] = set()
    for package in (sklearn, joblib):
        for file in Path(package.__file__).parent.rglob("*.py"):
            if "tests" not in file.parts:
                found |= set(re.findall(r"\b_[A-Za-z]\w*", file.read_text(errors="replace")))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_private_names_stand_in_one_file(file):
    private = {
        name
        for name in imported(file)
        if name.split(".")[0] in THEIRS and re.search(r"\._[a-z]", name, re.IGNORECASE)
    }
    private |= (used(file) & (their_names() | CUPYS)) - own_names() - OF_PYTHON
    assert file in (OF_SKLEARN, OF_CUPY, OF_COMPILER) or not private


def test_the_search_for_private_names_finds_them():
    """The two files that have them are what the others must not be."""
    assert used(OF_CUPY) | used(OF_COMPILER) >= CUPYS
    wanted = {attribute for n in HERE.values() for attribute in (n.name, *n.attributes)}
    assert {n for n in wanted if n.startswith("_")} <= used(OF_SKLEARN) & their_names()
    assert not own_names() & {"_safe_split", "_fit_and_score", "_effective_n_jobs", "_scorers"}


def test_hooks_of_scikit_learn_are_in_the_table():
    """What our classes override of scikit-learn's, or set for it to read, is checked too."""
    checked = {attribute for name in NAMES.values() for attribute in name.attributes}
    seen = set()
    for file in FILES:
        if file.parent.name == "estimators" or "estimators" in file.parts:
            module = importlib.import_module(".".join(("estimators", *_parts(file))))
            for cls in vars(module).values():
                if isinstance(cls, type) and cls.__module__ == module.__name__:
                    seen |= _hooks(cls)
    assert {"_validate_params", "_parameter_constraints", "_n_features_out"} <= seen <= checked


def _parts(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(Path(estimators.__file__).parent).with_suffix("").parts
    return tuple(part for part in parts if part != "__init__")


def _hooks(cls: type) -> set[str]:
    """Private names that a class of ours defines or sets, and that what it inherits asks for."""
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] in THEIRS]
    theirs = set().union(*map(scikit_learn._named_in, bases))
    own = set(vars(cls))
    for member in vars(cls).values():
        if hasattr(function := unwrap(member) if callable(member) else None, "__code__"):
            text = dis.get_instructions(function.__code__)
            own |= {i.argval for i in text if i.opname == "STORE_ATTR"}
    return {name for name in own & theirs & own_names() if re.match("_[A-Za-z]", name)}
