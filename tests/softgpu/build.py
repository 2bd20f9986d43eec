"""Compile the library: once for a state of the sources, a compiler and a kind of processor."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "src"  # driver/ calls ptx/ and engine/, and ptx/ fills what engine/ runs
BUILD = FOLDER / "build"
COMPILER = "g++"
# No contraction of a * b + c, since PTX says where it is. Without errno loops over fma vectorise.
FLAGS = (
    "-std=c++20", "-O2", "-ftree-vectorize", "-march=native", "-ffp-contract=off",
    "-fno-strict-aliasing", "-fno-math-errno", "-fPIC", "-Wall", "-Wextra",
)  # fmt: skip
LINK_FLAGS = ("-shared", "-Wl,-soname,libcuda.so.1", "-Wl,-z,defs", "-pthread", "-ldl")


def built_library() -> Path:
    """Return the path of libcuda.so.1, which is compiled if it is not there."""
    sources, headers = (sorted(SOURCES.rglob(pattern)) for pattern in ("*.cpp", "*.hpp"))
    common = _common_key([h.read_bytes() for h in headers])
    keys = {source: _digest(common, source.read_bytes()) for source in sources}
    key = _digest(" ".join(LINK_FLAGS).encode(), *(k.encode() for k in sorted(keys.values())))
    path = BUILD / key / "libcuda.so.1"
    if not path.exists():
        with _alone():
            if not path.exists():
                _build(keys, path)
    return path


def _common_key(headers: list[bytes]) -> bytes:
    """Everything but a source that its object depends on; for -march=native, the processor."""
    cpu = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if "flags" in x), "")
    return _digest(_compiler_version(), " ".join(FLAGS).encode(), cpu.encode(), *headers).encode()


@functools.cache
def _compiler_version() -> bytes:
    return subprocess.run([COMPILER, "--version"], check=True, capture_output=True).stdout


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let processes that start together build one after another: the second has nothing to do."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(keys: dict[Path, str], path: Path) -> None:
    objects = BUILD / "objects"
    objects.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:

        def compiled(source: Path) -> Path:
            done = objects / f"{source.stem}-{keys[source]}.o"
            if not done.exists():
                partial = Path(folder, done.name)
                _run(*FLAGS, "-I", SOURCES, "-c", source, "-o", partial)
                partial.replace(done)
            return done

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            files = list(pool.map(compiled, keys))
        linked = Path(folder, path.name)
        _run("-o", linked, *files, *LINK_FLAGS)
        path.parent.mkdir(exist_ok=True)
        linked.replace(path)


def _run(*arguments: str | Path) -> None:
    done = subprocess.run([COMPILER, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{COMPILER} failed on the software GPU:\n{done.stderr}")
