"""The architecture, read from the source: imports run one way, and files and folders stay small.

A room is a folder of one of the packages. A floor is a list of rooms that do not know each other;
each knows the floors below it. What another package may import from `cukernels` are the faces.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from statistics import median

import pytest

import cukernels

ROOT = Path(__file__).parents[1]
PACKAGES = ("cukernels", "estimators")

# From the top to the bottom. A name that ends in a dot stands for the files of that folder.
FLOORS = (
    ("estimators.__main__",),
    ("estimators.convert.", "estimators.datasets.", "estimators.inspection."),
    ("estimators",),
    ("estimators.patching.",),
    (
        "estimators.callbacks.",
        "estimators.convnet",
        "estimators.logistic",
        "estimators.mlp",
        "estimators.model_selection",
        "estimators.neighbors",
        "estimators.perceptron",
        "estimators.vision.",
    ),
    ("estimators.search.", "estimators.neural.", "estimators.linear."),
    ("estimators.training.",),
    ("estimators.costs.",),
    ("estimators.layers.", "estimators.optimize."),
    ("estimators.checkpoints.",),
    ("estimators.shared.",),
    ("estimators.scikit_learn",),
    ("cukernels", "cukernels.__main__"),
    ("cukernels.pooling.",),
    (
        "cukernels.images.",
        "cukernels.linear.",
        "cukernels.normalization.",
        "cukernels.perceptron.",
        "cukernels.quasi_newton.",
    ),
    ("cukernels.matmul.", "cukernels.optimizers.", "cukernels.sparse."),
    ("cukernels.training.",),
    ("cukernels.activations.",),
    ("cukernels.gpu.", "cukernels.graphs."),
    ("cukernels.runtime.",),
)
# Faces that use another: an estimator is a configuration of another, a block uses a search.
SIDEWAYS = {
    ("estimators.convnet", "estimators.mlp"),
    ("estimators.vision.visual_words", "estimators.neighbors"),
    ("cukernels.__main__", "cukernels"),
}
# Where `cukernels` may be entered from the other package.
FACES = {"cukernels"} | {
    f"cukernels.{room}"
    for room in (
        *("activations", "gpu", "graphs", "images", "matmul", "pooling", "quasi_newton", "runtime"),
        *("sparse", "training"),
    )
}
MOST_LINES, MEDIAN_LINES, MOST_FILES = 350, 150, 25
MOST_LINES_OF_TESTS = 400


def files() -> dict[str, Path]:
    """Every module of the packages, by its dotted name."""
    found = {}
    for path in sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = files()


def imports(text: str, modules: Mapping[str, Path] = FILES) -> Iterator[str]:
    """The modules of the packages that a text imports, wherever in it it does."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            assert not node.level, "a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                is_op = node.module == "cukernels" and alias.name in cukernels.__all__
                yield submodule if submodule in modules and not is_op else node.module


IMPORTS = {name: set(imports(path.read_text())) - {name} for name, path in FILES.items()}


def room(module: str) -> str:
    """The entry of `FLOORS` that a module belongs to."""
    for rooms in FLOORS:
        for entry in rooms:
            if f"{module}." == entry or (entry[-1] == "." and module.startswith(entry)):
                return entry
    return module


def upwards(arrows: Mapping[str, set[str]]) -> list[str]:
    """The imports that do not lead to a floor below, nor stay in their room."""
    height = {entry: -number for number, rooms in enumerate(FLOORS) for entry in rooms}
    return [
        f"{module} -> {other}"
        for module, others in arrows.items()
        for other in others
        if room(module) != room(other)
        and (module, other) not in SIDEWAYS
        and height[room(other)] >= height[room(module)]
    ]


def test_every_module_has_its_place():
    assert {entry for rooms in FLOORS for entry in rooms} == {room(name) for name in FILES}


def test_imports_run_one_way():
    assert upwards(IMPORTS) == []


def test_there_is_no_circle():
    """Also none behind `TYPE_CHECKING`, and none in a function."""
    list(graphlib.TopologicalSorter(IMPORTS).static_order())


def test_the_other_package_enters_by_the_faces():
    entered = {
        (module, other)
        for module, others in IMPORTS.items()
        for other in others
        if module.startswith("estimators") and other.startswith("cukernels")
    }
    assert {(m, o) for m, o in entered if o not in FACES} == set()
    assert not any("estimators" in other for m in IMPORTS for other in IMPORTS[m] if m[0] == "c")


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("cukernels.gpu.kernel", "from cukernels.matmul import sums"),
        ("cukernels.training.losses", "def f():\n    from cukernels.optimizers import sgd"),
        ("estimators.linear.loss", "from estimators.neural.fit import NeuralFit"),
        ("estimators.shared.labels", "if TYPE_CHECKING:\n    import estimators.layers.dense"),
        ("estimators.mlp", "import estimators.convnet"),
    ],
)
def test_finds_an_arrow_that_leads_up(module, text):
    assert len(upwards({module: set(imports(text))})) == 1


def test_files_are_short_and_folders_small():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in FILES.values()}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}
    assert median(lengths.values()) < MEDIAN_LINES
    for folder in {path.parent for path in FILES.values()}:
        assert len([p for p in folder.iterdir() if p.is_file()]) <= MOST_FILES, folder


def test_tests_are_short():
    lengths = {p.name: len(p.read_text().splitlines()) for p in (ROOT / "tests").rglob("*.py")}
    assert len(lengths) > 100
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_TESTS} == {}


def test_the_oldest_releases_leave_out_what_they_do_not_install():
    """`make test-oldest` has no CuPy, PyTorch or Sphinx, and goes by the names of the files."""
    left_out = re.findall(r"--ignore-glob='(.+?)'", (ROOT / "Makefile").read_text())
    needs = re.compile(r'require\((?:"(?:cupy|torch)"|.+, "docs")')
    found = [p for p in (ROOT / "tests").rglob("test_*.py") if needs.search(p.read_text())]
    on_a_gpu = 'pytestmark = pytest.mark.usefixtures("softgpu")'  # which has the marker gpu
    named = [p for p in found if any(fnmatch(p.name, glob) for glob in left_out)]
    assert left_out and named
    assert [p.name for p in found if p not in named and on_a_gpu not in p.read_text()] == []


def test_files_of_tests_have_names_of_their_own():
    """pytest imports a file of tests by its name alone: of two with one name, one would fail."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert [name for name in names if names.count(name) > 1] == []


def test_sources_of_kernels_have_names_of_their_own():
    """An include names a file and no folder: of two files with one name, one would be hidden."""
    names = [path.name for path in (ROOT / "cukernels").rglob("*.cu*")]
    assert len(names) > 20
    assert len(set(names)) == len(names)
