"""What runs on a GPU needs the driver, CuPy and NVRTC: none of NVIDIA's libraries of kernels.

CuPy loads cuBLAS for a product, cuSOLVER for `linalg`, cuRAND for `random`, cuSPARSE for a sparse
matrix. `test_gpu_hardware.py` looks at what a process has loaded that ran everything on a device.
Here the source itself is read, whether a test runs it or not.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from _requirements import require

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("cukernels/**/*.py"), *ROOT.glob("estimators/**/*.py")])
ON_ANY_DEVICE = [path for path in FILES if not path.stem.endswith("_numpy")]
assert len(FILES) > len(ON_ANY_DEVICE) > 100
VENDOR = re.compile(
    r"cublas|cudnn|curand|cusparse|cusolver|cufft|cutensor|nccl|cupyx\.scipy\.(sparse|linalg)", re.I
)
LIBRARIES = r"lib(cublas|cudnn|curand|cusparse|cufft|cusolver|cutensor|nccl)"

# Functions for which CuPy would load a library.
FORBIDDEN = {
    "matmul", "dot", "vdot", "inner", "outer", "einsum", "tensordot", "kron", "convolve",
    "correlate", "cov", "corrcoef", "linalg", "random", "fft",
}  # fmt: skip

# They multiply small arrays of the host, or matrices of SciPy.
ON_THE_HOST = {
    "estimators/optimize/curvature.py",
    "estimators/linear/lasso.py",
    "estimators/linear/newton.py",
    "estimators/linear/proximal.py",
    "estimators/linear/row_blocks.py",
}


def place(path: Path) -> str:
    """Where a file lies, from its package on."""
    return str(path.relative_to(ROOT))


def code(path: Path) -> ast.Module:
    """The syntax tree of a file, without its docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            first.value.value = ""
    return tree


def decorators(function: ast.FunctionDef) -> set[str]:
    """Names of the decorators of a function."""
    called = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
    return {d.id for d in called if isinstance(d, ast.Name)}


def on_any_device(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree but for those of ops' definitions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and "op" in decorators(child):
            continue
        yield child
        yield from on_any_device(child)


def is_array_module(node: ast.expr) -> bool:
    """Whether an expression may be CuPy: `xp`, `cupy`, `namespace(x)` or `special(x)`."""
    if isinstance(node, ast.Name):
        return node.id in ("xp", "cupy", "cp", "cupyx")
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("namespace", "special")
    )


def products_by_cupy(tree: ast.AST) -> list[str]:
    """What a tree asks an array module for, and CuPy would need a library for."""
    return [
        ast.unparse(node)
        for node in on_any_device(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in FORBIDDEN
        and is_array_module(node.value)
    ]


def operators(tree: ast.AST) -> list[str]:
    """Products by `@` or by a method of an array, whatever module it is of."""
    found = []
    for node in on_any_device(tree):
        is_operator = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(
            node.op, ast.MatMult
        )
        is_method = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "dot"
            and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "np")
        )
        if is_operator or is_method:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", FILES, ids=place)
def test_code_names_no_library(path):
    for node in ast.walk(code(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        assert not list(filter(VENDOR.search, names)), f"line {node.lineno}"


@pytest.mark.parametrize("path", ON_ANY_DEVICE, ids=place)
def test_no_product_is_left_to_cupy(path):
    assert products_by_cupy(code(path)) == []


@pytest.mark.parametrize("path", ON_ANY_DEVICE, ids=place)
def test_the_operator_is_for_arrays_of_the_host(path):
    """Whoever launches kernels knows no `@`; an estimator's file with one works on the host."""
    tree = code(path)
    launches = any(
        isinstance(node, ast.ImportFrom) and node.module == "cukernels.gpu.kernel"
        for node in ast.walk(tree)
    )
    if launches or path.is_relative_to(ROOT / "estimators") and place(path) not in ON_THE_HOST:
        assert operators(tree) == []


def test_every_exemption_is_needed():
    """A file that moved or changed is looked at again, and not excused by an old name."""
    by_place = {place(path): code(path) for path in FILES}
    assert all(operators(by_place[name]) for name in ON_THE_HOST)


PLANTED = """
def f(x, y):
    {}
"""


@pytest.mark.parametrize(
    "line",
    ["namespace(x).einsum('ij,jk', x, y)", "xp.linalg.norm(x)", "xp.random.rand(3)", "cupy.dot"],
)
def test_finds_a_product_by_cupy(line):
    assert products_by_cupy(ast.parse(PLANTED.format(line)))
    assert not products_by_cupy(ast.parse("@op(samples=s)" + PLANTED.format(line)))


@pytest.mark.parametrize("line", ["x @ y", "x @= y", "x.dot(y)"])
def test_finds_an_operator(line):
    assert operators(ast.parse(PLANTED.format(line)))


IMPORTED = """
import re
import cupy, cukernels, estimators
from cupy.cuda import nvrtc
from cukernels.gpu.kernel import OPTIONS
from cukernels.gpu.source import source
program = nvrtc.createProgram(source("running_mean.cu"), "running_mean.cu", (), ())
nvrtc.addNameExpression(program, "running_mean<float>")
nvrtc.compileProgram(program, (*OPTIONS, "-arch=sm_90"))
print(*set(re.findall(r"lib\\w+", open("/proc/self/maps").read())))
"""


def test_to_import_and_to_compile_loads_none():
    """CuPy's libraries wait until they are asked for; NVRTC shows that what is loaded is seen."""
    require("cupy", "kernels")
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = run.stdout.split()
    assert "libnvrtc" in loaded
    assert not [name for name in loaded if re.match(LIBRARIES, name)]
