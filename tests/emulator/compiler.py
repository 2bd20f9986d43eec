"""Compile a kernel for the host and launch it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
BUILD = FOLDER / "build"

# -fsanitize=thread makes every load and store call a check, which runtime.cpp provides: nothing
# is linked with ThreadSanitizer. GCC must not merge the statics of different libraries.
FLAGS = [
    *("-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique"),
    *("-fno-strict-aliasing", "-ffp-contract=off", "-Wno-attributes", "-Wno-unknown-pragmas"),
    *("-fsanitize=thread", "-fsanitize=bounds,signed-integer-overflow,shift"),
]


class KernelError(AssertionError):
    """A kernel did what no kernel may do; the message says what, and where."""


class _Dim(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in "xyz"]


class _Argument(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("begin", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("granule", ctypes.c_int),
    ]


def has_compiler() -> bool:
    return shutil.which("g++") is not None


def _build(key: str, suffix: str, *commands: list[str], source: str = "") -> Path:
    """Run commands in which OUT is the file to make and SOURCE a file with some text, once."""
    digest = hashlib.sha256(repr((key, commands)).encode()).hexdigest()[:24]
    made = BUILD / f"{digest}{suffix}"
    if made.exists():
        return made
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        out, text = Path(folder, "out" + suffix), Path(folder, "kernel.cpp")
        text.write_text(source)
        names = {"OUT": str(out), "SOURCE": str(text), "OBJECT": str(Path(folder, "kernel.o"))}
        for command in commands:
            run = subprocess.run(
                [names.get(word, word) for word in command], capture_output=True, text=True
            )
            if run.returncode:
                raise KernelError(f"g++ does not compile it:\n{run.stderr[:6000]}")
        os.replace(out, made)  # another process may have made the same
    return made


@functools.cache
def _runtime() -> ctypes.CDLL:
    text = (FOLDER / "runtime.cpp").read_text()
    flags = ["-std=c++17", "-O2", "-g1", "-fPIC", "-shared", "-Wall", "-Werror"]
    made = _build(text, ".so", ["g++", *flags, "-o", "OUT", str(FOLDER / "runtime.cpp")])
    library = ctypes.CDLL(str(made), mode=ctypes.RTLD_GLOBAL)
    library.emulator_launch.restype = ctypes.c_char_p
    return library


@functools.cache
def _header() -> Path:
    """`device.h`, compiled beforehand: it is most of the text of a small kernel."""
    text = (FOLDER / "device.h").read_text()
    compile_ = ["g++", *FLAGS, "-x", "c++-header", str(FOLDER / "device.h"), "-o", "OUT"]
    made = _build(text, ".h.gch", compile_)
    header = made.with_suffix("")  # g++ takes X.gch for an #include of X
    if not header.exists():
        header.write_text(text)
    return header


BOUNDED = re.compile(
    r"template\s*<([^<>]*)>\s*__global__\s+void\s+"
    r"__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)\s*(\w+)\s*\("
)
DYNAMIC_ALIGNMENT = 128  # of `dynamic_shared` in prelude.cuh; what is static is filled up to it


class HostKernel:
    """One instance of a kernel, compiled for the host.

    Attributes
    ----------
    most_threads : int
        Of a block, from the kernel's __launch_bounds__.
    static_shared : int
        Bytes of its own variables in shared memory, as the assembler for GPUs counts them.
    """

    def __init__(self, code: str, expression: str) -> None:
        self.expression = expression
        entry = '\n#define EXPORTED extern "C" __attribute__((visibility("default")))\n'
        entry += (
            f"EXPORTED void entry(void** arguments) {{ Entry<&{expression}>::run(arguments); }}"
        )
        for templates, bounds, name in BOUNDED.findall(code):
            if name == expression.partition("<")[0]:
                entry += f"\ntemplate <{templates}> constexpr int bounds_of[] = {{{bounds}}};"
                bound = expression.replace(name, "bounds_of", 1)
                entry += f"\nEXPORTED int most_threads() {{ return {bound}[0]; }}\n"
                break
        else:
            entry += "\nEXPORTED int most_threads() { return 1024; }\n"
        self.path = self._compile(code + entry, _header())
        _runtime()
        self._library = ctypes.CDLL(str(self.path))
        self.most_threads = self._library.most_threads()

    @functools.cached_property
    def static_shared(self) -> int:
        symbols = subprocess.run(["nm", "-S", self.path], capture_output=True, text=True).stdout
        own = re.findall(r"^\w+ (\w+) [bBdDVu] (_ZZ\w+)$", symbols, flags=re.MULTILINE)
        size = sum(int(size, 16) for size, name in own if "15__syncthreads_or" not in name)
        alignment = DYNAMIC_ALIGNMENT if "emulator14dynamic_shared" in symbols else 1
        return -(-size // alignment) * alignment

    @staticmethod
    def _compile(text: str, header: Path) -> Path:
        return _build(
            header.read_text() + text,
            ".so",
            ["g++", *FLAGS, "-include", str(header), "-c", "SOURCE", "-o", "OBJECT"],
            ["g++", "-shared", "-o", "OUT", "OBJECT"],
            source=text,
        )

    def launch(
        self,
        grid: tuple[int, int, int],
        threads: int,
        values: list[bytes],
        buffers: list[tuple[str, int, int, int]],
        shared: int,
    ) -> None:
        """Run it.

        Parameters
        ----------
        grid, threads, shared
            Blocks along each axis, threads of a block, bytes of dynamic shared memory.
        values : list of bytes
            The arguments as they lie in memory.
        buffers : list of (name, address, bytes, granule)
            The memory that it may use; a granule is as much as one thread writes at a time.

        Raises
        ------
        KernelError
            If it does something that is wrong.
        """
        stored = [ctypes.create_string_buffer(value, max(len(value), 1)) for value in values]
        pointers = (ctypes.c_void_p * max(len(stored), 1))(*map(ctypes.addressof, stored))
        regions = (_Argument * max(len(buffers), 1))(
            *(_Argument(name.encode(), *rest) for name, *rest in buffers)
        )
        entry = ctypes.cast(self._library.entry, ctypes.c_void_p)
        wrong = _runtime().emulator_launch(
            entry,
            pointers,
            ctypes.byref(_Dim(*grid)),
            ctypes.c_uint(threads),
            ctypes.c_size_t(shared),
            regions,
            len(buffers),
        )
        if wrong:
            raise KernelError(f"{self.expression}: {self._located(wrong.decode())}")

    def _located(self, report: str) -> str:
        """Replace the address at the end of a report by the line of the source."""
        match = re.search(r" @([0-9a-f]+)$", report)
        if not match:
            return report
        address = hex(int(match[1], 16) - 1)  # the call, not what comes after it
        command = ["addr2line", "-ie", str(self.path), address]
        lines = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")
        places = [line.split(" (")[0].rpartition("/")[2] for line in lines if line]
        places = [place for place in places if not place.startswith("device")]
        return report[: match.start()] + f" ({' in '.join(places)})"
