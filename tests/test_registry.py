"""The registry's rules, and how the type of an array decides where an op runs."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import cukernels
from _op_cases import all_calls
from cukernels.runtime.arrays import resolve_device, to_device, to_host
from cukernels.runtime.cases import cast
from cukernels.runtime.op import op
from cukernels.runtime.registry import OPS


@pytest.fixture
def registry():
    """A registry to write into, without trace in the real one."""
    before = dict(OPS)
    yield OPS
    OPS.clear()
    OPS.update(before)


def test_every_op_is_public():
    for name, entry in OPS.items():
        function = getattr(cukernels, name)
        assert name in cukernels.__all__
        assert function.__wrapped__ is entry.reference


def test_every_file_of_ops_is_imported():
    """An op in a file that nothing imports is in no registry, so that no other test misses it."""
    package = Path(cukernels.__file__).parent
    defining = {
        ".".join(("cukernels", *path.relative_to(package).with_suffix("").parts))
        for path in package.rglob("*.py")
        if re.search(r"^@op\(", path.read_text(), re.MULTILINE)
    }
    imported = {entry.reference.__module__ for entry in OPS.values()}
    assert defining - imported == set(), "cukernels/__init__.py does not import it"
    assert imported == defining


def first_call(entry) -> dict:
    """Arguments that an op takes, in float32, as many arrays among them as there can be."""
    calls = [call.values[1] for call in all_calls() if call.values[0] is entry]

    def arrays(arguments: dict) -> int:
        return sum(isinstance(value, np.ndarray) for value in arguments.values())

    return cast(max(calls, key=arrays), np.float32)


@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("entry", OPS.values(), ids=OPS)
def test_a_dtype_that_no_kernel_has_is_refused(entry, where, request):
    """Of every argument, by words that name op, argument and dtype; nothing is written before."""
    place = request.getfixturevalue("cupy").asarray if where == "cuda" else np.copy
    given = first_call(entry)
    checked = 0
    for name, kind in entry.kinds.items():
        value = given.get(name)
        shape = value.shape if isinstance(value, np.ndarray) else (1,)
        for dtype in ("float16", "int32", "complex64", "float64", "bool"):
            if np.dtype(dtype).char in kind.chars:
                continue
            wrong = given | {name: np.ones(shape, dtype)}
            placed = {n: place(v) if isinstance(v, np.ndarray) else v for n, v in wrong.items()}
            with pytest.raises(TypeError, match=rf"^{entry.name}: {name} must be .*, got {dtype}$"):
                getattr(cukernels, entry.name)(**placed)
            checked += 1
    assert checked >= 4 or entry.name == "gather_rows"


def test_every_argument_that_is_an_array_has_a_kind():
    for entry in OPS.values():
        for call in all_calls():
            if call.values[0] is entry:
                for name, value in call.values[1].items():
                    if isinstance(value, np.ndarray):
                        assert value.dtype.char in entry.kinds[name].chars


def test_numbers_are_of_any_type():
    """NumPy's scalars are numbers, not arrays."""
    assert cukernels.leaky_relu(np.ones(2), negative_slope=np.int64(1)).tolist() == [1, 1]


def test_a_dtype_is_refused_by_place_and_by_name():
    half, single = np.ones((2, 2), np.float16), np.ones((2, 2), np.float32)
    for arguments, named in (((single, half), {}), ((single,), {"b": half})):
        with pytest.raises(TypeError, match="^matmul: b must be a float32 or float64 array, got"):
            cukernels.matmul(*arguments, **named)


def test_an_array_of_neither_kind_is_refused():
    for x in ([1.0, 2.0], (1.0,), None, "x"):
        with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got"):
            cukernels.relu(x)


KINDS = ("numpy", "cuda")
FILES = {
    "defined.py": """
        from cukernels.runtime.op import op

        @op(no_backward="none")
        def double(x):
            '''Twice x.'''
            return x + x

        @op(no_backward="none")
        def triple(x):
            '''Three times x.'''
            return x + x + x
        """,
    "defined_numpy.py": """
        def double(x):
            return 2 * x + 1
        """,
    "defined_cuda.py": """
        def double(x):
            raise AssertionError("a NumPy array went to the GPU")
        """,
}


def test_bodies_are_found_by_name(registry, tmp_path, monkeypatch):
    """Beside the file of the definition, by the op's name, and not before they are needed."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    defined = importlib.import_module("defined")
    assert not {"defined_numpy", "defined_cuda"} & set(sys.modules)
    x = np.ones(3)
    assert (defined.double(x) == 3).all()
    assert (defined.double(x=x) == 3).all()
    assert (defined.triple(x) == 3).all()
    assert "defined_cuda" not in sys.modules
    assert registry["double"].cuda is importlib.import_module("defined_cuda").double
    assert registry["triple"].numpy is registry["triple"].cuda is None


def test_every_body_is_that_of_an_op():
    """A body whose name is no op's would never run, and nobody would notice."""
    package = Path(cukernels.__file__).parent
    text = {path: path.read_text() for path in package.rglob("*.py")}
    files = [path for path in text if path.stem.endswith(("_numpy", "_cuda"))]
    definitions = {op.reference.__module__ for op in OPS.values()}
    seen = set()
    for path in files:
        name = ".".join(("cukernels", *path.relative_to(package).with_suffix("").parts))
        definition = name.rpartition("_")[0]
        if definition not in definitions:  # a part of the bodies in another file
            continue
        module = importlib.import_module(name)
        for public, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == name and public[0] != "_":
                if public in OPS:
                    assert OPS[public].reference.__module__ == definition
                    seen.add((public, path.stem.rpartition("_")[2]))
                else:  # a helper, which another file imports
                    others = "".join(own for other, own in text.items() if other != path)
                    assert re.search(rf"\b{public}\b", others), f"{name}.{public}"
    has = {
        (op.name, kind) for op in OPS.values() for kind in ("numpy", "cuda") if getattr(op, kind)
    }
    assert seen == has
    assert len(seen) > 70


def test_a_body_takes_what_its_op_takes():
    for entry in OPS.values():
        for body in (entry.numpy, entry.cuda):
            if body is not None:
                call = inspect.signature(entry.reference)
                taken = inspect.signature(body).parameters.values()
                if not any(p.kind is p.VAR_KEYWORD for p in taken):
                    assert set(call.parameters) <= {p.name for p in taken}, body


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (lambda dy, x: None, "is defined before its forward"),
        (lambda dy, x, other: None, r"not \['other'\]"),
        (lambda x, dy: None, "the first argument is `dy`"),
    ],
)
def test_a_backward_that_breaks_the_contract_is_refused(registry, define, message):
    if "before" not in message:

        @op()
        def thing(x):
            """Some thing."""
            return x

    define.__name__ = "thing_backward"
    with pytest.raises(TypeError, match=message):
        op(gradients=("x",))(define)


def test_a_backward_says_what_it_returns_gradients_of(registry):
    @op()
    def thing(x):
        """Some thing."""
        return x

    def thing_backward(dy, x):
        return dy

    with pytest.raises(TypeError, match="does not say what it returns the gradients of"):
        op()(thing_backward)


def test_devices():
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    x = np.ones(3)
    assert to_device(x, "cpu") is x
    assert to_host(x) is x
    for name in ("gpu", "cuda:", "cuda:-1", "cuda:one", "CUDA", ""):
        with pytest.raises(ValueError, match="Unknown device .* expected 'auto', 'cpu', 'cuda'"):
            resolve_device(name)
