"""Every kernel compiles for every GPU, and its machine code is what it is meant to be.

NVRTC compiles for any architecture on a machine without a GPU; the assembler's report and the
disassembly tell what no run on the host can.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import cukernels
from _devices import OPT_IN, UNASKED
from _requirements import require
from cukernels.gpu.kernel import KERNELS, OPTIONS, Kernel
from cukernels.gpu.source import source
from cukernels.images.windows_cuda import PIXEL, PLACE
from cukernels.matmul.gemm_plan import Tile
from cukernels.runtime.registry import OPS

nvrtc = require("cupy", "kernels").cuda.nvrtc

FOLDER = Path(cukernels.__file__).parent
for _op in OPS.values():
    _op.cuda  # noqa: B018 (it imports the file with the body, whose kernels are then in KERNELS)
FILES = sorted({kernel.file for kernel in KERNELS})
ARCHITECTURES = ("75", "80", "86", "89", "90", "90a", "100", "120")
REGISTER_LIMIT = 255
DISASSEMBLED = ("80", "90", "120")

# What the main loops must be made of, from compute capability 8.0 on.
TENSOR_CORES = r"HMMA\.1688\.F32\.(TF32|BF16)"
WIDE_COPIES = r"LDGSTS\.E\.BYPASS\.(LTC128B\.)?128"


# What products keep in static shared memory for each row of a tile.
ROW_BYTES = {
    "conv2d": PLACE,
    "conv2d_input_gradient": PLACE + PIXEL,
    "local2d": PLACE,
    "local2d_input_gradient": PLACE,
}


def tile_of(expression: str) -> tuple[Tile, str]:
    """The tile and the dtype of a product."""
    sizes = re.search(r"Tiling<([\d, ]+)>", expression)
    assert sizes
    dtype = "double" if "double" in expression else "float"
    return Tile(*map(int, sizes[1].split(", "))), dtype


class Resources(NamedTuple):
    """What the assembler reports of one kernel."""

    registers: int
    stack: int
    spills: int
    shared: int


class Compiled(NamedTuple):
    """The instances of a file for one architecture, by expression, and their machine code."""

    names: dict[str, str]
    resources: dict[str, Resources]
    cubin: bytes


def instances(file: str, architecture: str) -> list[str]:
    number = int(architecture.rstrip("a"))
    return [
        instance.expression
        for kernel in KERNELS
        if kernel.file == file and kernel.since <= number
        for instance in kernel.instances.values()
    ]


@functools.cache
def compiled(file: str, architecture: str) -> Compiled:
    return compiled_some(file, architecture, instances(file, architecture))


def compiled_some(file: str, architecture: str, expressions: list[str]) -> Compiled:
    program = nvrtc.createProgram(source(file), file, (), ())
    for expression in expressions:
        nvrtc.addNameExpression(program, expression)
    options = (*OPTIONS, "-ftz=true", f"-arch=sm_{architecture}", "--ptxas-options=-v")
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program), pytrace=False)
    names = {e: nvrtc.getLoweredName(program, e) for e in expressions}
    report = parse(nvrtc.getProgramLog(program))
    return Compiled(names, {e: report[name] for e, name in names.items()}, nvrtc.getCUBIN(program))


def parse(log: str) -> dict[str, Resources]:
    """Read the assembler's report: resources by mangled name."""
    found = {}
    for part in log.split("Compiling entry function ")[1:]:
        name = part.split("'")[1]

        def number(pattern: str, part: str = part) -> int:
            match = re.search(pattern, part)
            return int(match[1]) if match else 0

        found[name] = Resources(
            number(r"Used (\d+) registers"),
            number(r"(\d+) bytes stack frame"),
            number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
            number(r"(\d+) bytes smem"),
        )
    return found


def disassembled(file: str, architecture: str, folder: Path) -> dict[str, str]:
    """The machine code of a file's kernels, by expression."""
    tool = Path(sysconfig.get_path("purelib"), "nvidia", "cu13", "bin", "nvdisasm")
    path = str(tool) if tool.exists() else shutil.which("nvdisasm")
    if path is None:
        reason = "needs nvdisasm: pip install -e '.[kernels]'"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (CI=true, so it may not be skipped)", pytrace=False)
        pytest.skip(reason)
    code = compiled(file, architecture)
    cubin = folder / "kernels.cubin"
    cubin.write_bytes(code.cubin + b"\0")  # CuPy takes the last byte for the end of a text
    text = subprocess.run([path, "-c", str(cubin)], capture_output=True, check=True, text=True)
    parts = re.split(r"^\.text\.(\S+):$", text.stdout, flags=re.MULTILINE)
    by_name = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {expression: by_name[name] for expression, name in code.names.items()}


def test_every_kernel_is_declared_once():
    """A `__global__` that no `Kernel` names is dead; its declaration is one that can be read."""
    pattern = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\(.*?\)\s*)?(\w+)\(", re.S)
    written = {
        (file.name, name)
        for file in FOLDER.rglob("*.cu*")
        for name in pattern.findall(file.read_text())
    }
    named = [(kernel.file, kernel.name) for kernel in KERNELS]
    compiled_once = [(k.file, i.expression) for k in KERNELS for i in k.instances.values()]
    assert len(set(compiled_once)) == len(compiled_once)
    assert written
    in_files = {w for w in written if w[0].endswith(".cu")}
    in_headers = {name for file, name in written if file.endswith(".cuh")}
    assert {file.name for file in FOLDER.rglob("*.cu")} - set(FILES) == set(), "no Kernel names it"
    assert in_files - set(named) == set(), "no Kernel names it, or nothing imports its op"
    assert in_headers - {name for _, name in named} == set()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_arguments_are_cast_to_the_declared_types(kernel: Kernel):
    for instance in kernel.instances.values():
        assert len(instance.parameters) == len(kernel.declaration[1])
    assert kernel.instances, "a kernel without instances"


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_threads_are_bounded(kernel: Kernel):
    """Without __launch_bounds__ the compiler may use more registers than a block of ours can."""
    match = re.search(rf"__global__\s+void\s+(\w+)[^;{{]*?\b{kernel.name}\(", source(kernel.file))
    assert match and match[1] == "__launch_bounds__"


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids="sm_{}".format)
@pytest.mark.parametrize("file", FILES)
def test_compiles(file, architecture, tmp_path):
    """For every architecture: no spills, no local memory, no more than the hardware has.

    From 8.0 on, main loops are made of tensor-core products, and of copies of 16 bytes that pass
    by the registers.
    """
    code = compiled(file, architecture)
    assert code.resources
    for expression, used in code.resources.items():
        assert used.registers <= REGISTER_LIMIT, expression
        assert used.stack == used.spills == 0, f"{expression}: {used}"
        assert used.shared <= UNASKED * 1024, expression
        if "Tiling" not in expression:
            continue
        tile, dtype = tile_of(expression)
        assert used.shared == tile.static_shared(ROW_BYTES.get(expression.partition("<")[0], 0))
        limit = OPT_IN[architecture.rstrip("a")] * 1024
        assert used.shared + tile.shared(dtype) <= limit, expression
    on_tensor_cores = {
        instance.expression
        for kernel in KERNELS
        if kernel.file == file and kernel.since >= 80
        for instance in kernel.instances.values()
    }
    if not on_tensor_cores or architecture not in DISASSEMBLED:
        return
    for expression, text in disassembled(file, architecture, tmp_path).items():
        if expression in on_tensor_cores:
            assert re.search(TENSOR_CORES, text), f"{expression} does without tensor cores"
            assert re.search(WIDE_COPIES, text), f"{expression} does without 16-byte copies"
            assert "LDL" not in text and "STL" not in text, f"{expression}: local memory"


@pytest.mark.parametrize("cupy", ["90"], indirect=True, ids="sm_{}".format)
@pytest.mark.parametrize("file", FILES)
def test_static_bytes_are_what_the_assembler_counts(file, cupy):
    """By these bytes launches are planned, and a driver refuses some."""
    by_kernel = [list(kernel.instances.values()) for kernel in KERNELS if kernel.file == file]
    some = sorted({of[i].expression for of in by_kernel for i in (0, -1)})
    module = cupy.RawModule(code=source(file), options=OPTIONS, name_expressions=tuple(some))
    counted = {e: module.get_function(e).shared_size_bytes for e in some}
    assert counted == {e: u.shared for e, u in compiled_some(file, "90", some).resources.items()}


def test_casts_and_refusals(cupy):
    """Arrays are checked against the declaration, numbers are cast to it."""
    kernel = next(k for k in KERNELS if k.name == "sgd")
    sgd, empty = kernel["float"], cupy.empty
    good = [empty(4, dtype) if is_array else 1 for dtype, is_array in sgd.parameters]

    def packed(first, *others):
        return sgd.packed((first, *(others or good[1:])))

    for (dtype, is_array), value, given in zip(sgd.parameters, packed(*good), good, strict=True):
        assert value is given if is_array else type(value) is dtype.type and value == given
    assert packed(None)[0] is None  # which CuPy takes for a null pointer
    with pytest.raises(TypeError, match="sgd<float>: .* must be a contiguous float32"):
        packed(empty(4))
    with pytest.raises(TypeError, match="not contiguous"):
        packed(empty(8, np.float32)[::2])
    with pytest.raises(TypeError, match="takes 12 arguments, got 1"):
        sgd.packed(tuple(good[:1]))
    with pytest.raises(OverflowError):
        packed(*good[:6], 2**63, *good[7:])


def test_arguments_keep_their_order(cupy):
    """Numbers between arrays stay there."""
    kernel = next(k for k in KERNELS if k.name == "conv2d_filter_gradient")
    instance = next(iter(kernel.instances.values()))
    given = tuple(
        cupy.empty(1, dtype) if is_array else place
        for place, (dtype, is_array) in enumerate(instance.parameters)
    )
    assert [is_array for _, is_array in instance.parameters[:7]] == [
        False,
        *[True] * 4,
        False,
        False,
    ]
    assert all(a is b or a == b for a, b in zip(instance.packed(given), given, strict=True))


def test_numbers_are_cast_once(cupy):
    """A second launch with the same sizes makes no new objects, and 0.0 is never -0.0."""
    activation = next(k for k in KERNELS if k.name == "activation")["float", "LeakyRelu"]
    x = cupy.empty(3, np.float32)
    first, second = (activation.packed((x, x, 3, 0.01)) for _ in range(2))
    assert all(a is b for a, b in zip(first, second, strict=True))
    for zero in (-0.0, 0.0):
        assert not np.signbit(activation.packed((x, x, 3, zero))[3])


def test_what_a_launch_reads_of_an_array_is_there():
    """CuPy's own name for contiguity, which costs a tenth of `flags`."""
    cupy = require("cupy", "kernels")
    host = np.zeros(8)
    memory = cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, device_id=0)
    x = cupy.ndarray(8, memptr=cupy.cuda.MemoryPointer(memory, 0))
    assert x._c_contiguous is True and x[::2]._c_contiguous is False
    assert x.dtype is np.dtype(float) and x.data.device_id == 0


def test_refuses_arrays_of_another_device(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs a second GPU")
    relu = next(k for k in KERNELS if k.name == "activation")["float", "Relu"]
    with cupy.cuda.Device(1):
        x = cupy.zeros(3, np.float32)
    with pytest.raises(TypeError, match=r"x is on cuda:1, and the current device is cuda:0"):
        relu((1, 1, 1), 256, x, x, 3, 0.0)
