"""Run a program as Python would, and leave no trace of who started it.

The program is `__main__`: its `__name__`, `__file__`, `sys.argv` and `sys.path` are those that
``python script.py`` gives it, its exit status is that of the process, and tracebacks begin with its
own lines.
"""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import runpy
import sys
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any

_OWN_FILES = {
    __file__,
    os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py"),
    str(runpy.__file__),
    "<frozen runpy>",
}
_own_frames: list[FrameType] = []  # those beneath the program, while it runs


def run_script(path: str, arguments: list[str]) -> None:
    """Run a file, a folder or an archive with a `__main__.py`, or with "-" the standard input.

    Parameters
    ----------
    path : str
        What to run.
    arguments : list of str
        What the program finds in ``sys.argv[1:]``.

    Raises
    ------
    SystemExit
        If the file cannot be read, with the words and the status (2) of Python.
    """
    _begin_tracebacks_at_the_program()
    sys.argv[:] = [path, *arguments]
    if path == "-":
        _begin_path_with("")
        _run(compile(sys.stdin.read(), "<stdin>", "exec", dont_inherit=True), {})
        return
    is_found_in = pkgutil.get_importer(path) is not None  # a folder or an archive, by any name
    path = os.path.abspath(path)
    if is_found_in:
        _begin_path_with(None)
        sys.path.insert(0, path)  # with -P too, as what runs is found there
        _run_by_name("__main__", alter_argv=False)
        return
    is_compiled = path.endswith(".pyc")
    loader: Any = (SourcelessFileLoader if is_compiled else SourceFileLoader)("__main__", path)
    try:
        with io.open_code(path) as file:
            text = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: can't open file {path!r}: {reason}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    _begin_path_with(os.path.dirname(os.path.realpath(path)))
    code = loader.get_code("__main__") if is_compiled else None
    _run(
        code or compile(text, path, "exec", dont_inherit=True),
        {"__file__": path, "__loader__": loader, "__cached__": None},
    )


def run_module(name: str, arguments: list[str]) -> None:
    """Run a module or a package, as ``python -m name`` does; the current folder is searched too.

    Raises
    ------
    SystemExit
        If there is no such module, with the words and the status (1) of Python.
    """
    _begin_tracebacks_at_the_program()
    sys.argv[:] = ["-m", *arguments]  # until the file of the module is known
    _begin_path_with(os.getcwd())
    _run_by_name(name, alter_argv=True)


def run_command(text: str, arguments: list[str]) -> None:
    """Run a program that is given as text, as ``python -c text`` does."""
    _begin_tracebacks_at_the_program()
    sys.argv[:] = ["-c", *arguments]
    _begin_path_with("")
    _run(compile(text, "<string>", "exec", dont_inherit=True), {})


def _run(code: CodeType, names: dict[str, Any]) -> None:
    """Run code as the module `__main__`."""
    main = _new_main()
    main.__dict__.update(names)
    exec(code, main.__dict__)


def _new_main() -> ModuleType:
    """Return a module that is `__main__` from now on: threads may outlive its last line."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__["__builtins__"] = importlib.import_module("builtins")
    return main


def _run_by_name(name: str, *, alter_argv: bool) -> None:
    """Find a module as ``python -m`` does, and run it as `__main__`.

    This is what the interpreter itself calls for ``-m`` and for folders. The public functions of
    `runpy` take `__main__` away after the last line.
    """
    _new_main()
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]


def _begin_path_with(folder: str | None) -> None:
    """Put what Python searches first in the place of the folder that was searched for ourselves."""
    if not sys.flags.safe_path:
        sys.path[:1] = [] if folder is None else [folder]


def _begin_tracebacks_at_the_program() -> None:
    """Leave our frames, which are the outermost, out of the traceback of an error."""
    before = sys.excepthook
    frame: FrameType | None = sys._getframe()
    while frame is not None:  # who called us: `runpy`, or the file of a console script
        _own_frames.append(frame)
        frame = frame.f_back

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        trace = _first_of_the_program(trace)
        before(kind, error.with_traceback(trace), trace)

    sys.excepthook = show


def _first_of_the_program(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and (
        trace.tb_frame in _own_frames or trace.tb_frame.f_code.co_filename in _OWN_FILES
    ):
        trace = trace.tb_next
    return trace
