"""Run a program as Python would, and leave no trace of who started it.

The program is `__main__`: its `__name__`, `__file__`, `sys.argv` and `sys.path` are those that
``python script.py`` gives it, its exit status is that of the process, and tracebacks begin with its
own lines.
"""

from __future__ import annotations

import importlib
import io
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

_OWN_FILES = {
    __file__,
    os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py"),
    str(runpy.__file__),
    "<frozen runpy>",
}


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
        _run(compile(sys.stdin.read(), "<stdin>", "exec", dont_inherit=True), {})
        return
    if os.path.isdir(path) or path.endswith((".zip", ".pyz", ".pyc")):
        _drop_first_folder()  # `runpy` puts the folder there, or the archive
        runpy.run_path(path, run_name="__main__")
        return
    path = os.path.abspath(path)
    try:
        with io.open_code(path) as file:
            text = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: can't open file {path!r}: {reason}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None
    if _drop_first_folder():
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    _run(
        compile(text, path, "exec", dont_inherit=True),
        {"__file__": path, "__loader__": SourceFileLoader("__main__", path), "__cached__": None},
    )


def run_module(name: str, arguments: list[str]) -> None:
    """Run a module or a package, as ``python -m name`` does; the current folder is searched too.

    Raises
    ------
    SystemExit
        If there is no such module, with the status (1) of Python.
    """
    _begin_tracebacks_at_the_program()
    sys.argv[:] = [name, *arguments]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ImportError as error:
        # that of `runpy` itself, and none of the program's
        if _first_of_the_program(error.__traceback__) is not None:
            raise
        print(f"{sys.executable}: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


def run_command(text: str, arguments: list[str]) -> None:
    """Run a program that is given as text, as ``python -c text`` does."""
    _begin_tracebacks_at_the_program()
    sys.argv[:] = ["-c", *arguments]
    _run(compile(text, "<string>", "exec", dont_inherit=True), {})


def _run(code: CodeType, names: dict[str, Any]) -> None:
    """Run code as the module `__main__`, which it stays: threads may outlive the last line."""
    main = ModuleType("__main__")
    main.__dict__.update({"__builtins__": importlib.import_module("builtins")} | names)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _drop_first_folder() -> bool:
    """Take the current folder off the path, where ``python -m`` has put it, and say if it has."""
    if sys.flags.safe_path:
        return False
    del sys.path[0]
    return True


def _begin_tracebacks_at_the_program() -> None:
    """Leave our frames, which are the outermost, out of the traceback of an error."""
    before = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        trace = _first_of_the_program(trace)
        before(kind, error.with_traceback(trace), trace)

    sys.excepthook = show


def _first_of_the_program(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename in _OWN_FILES:
        trace = trace.tb_next
    return trace
