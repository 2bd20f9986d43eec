"""Files that are replaced as a whole: whoever reads one finds the old or the new, never a part."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_END = ".part"  # of the name of an unfinished file


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a path in which ``~`` stands for the home of a user, as in a shell."""
    return Path(os.path.expanduser(path))


def check_target(path: Path) -> None:
    """Raise OSError where no file can be written, as its folder is not there, or it is one."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "A file cannot take the place of a folder", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder for a file", str(path.parent))


def create(path: Path) -> None:
    """Make an empty file; raise FileExistsError if there is one of this name."""
    if not path.exists():  # else this is the news
        check_target(path)
    open(path, "xb").close()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[Any]]:
    """Open a new file for bytes, which takes the place of `path` once it is complete.

    It is written beside `path` and brought to the disk, so that neither a kill nor a loss of power
    leaves a part of it. After an error there, `path` is as before.

    Parameters
    ----------
    path : path
        The file, where ``~`` stands for the home. Its folder has to be there.

    Raises
    ------
    OSError
        If the folder is not there, cannot be written to, or is full. It names `path`.
    """
    target = as_path(path)
    check_target(target)
    _remove_leftovers(target)
    new = target.with_name(f"{_begin_of(target)}{os.getpid()}{_END}")
    try:
        with open(new, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, target)
    except BaseException as error:
        with suppress(OSError):
            new.unlink()
        if isinstance(error, OSError) and error.filename == str(new):  # a name that nobody knows
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in the place of what is there, as `replacing` does."""
    with replacing(path) as file:
        file.write(text.encode())


def _begin_of(target: Path) -> str:
    """How the name begins of an unfinished file that a process of this machine writes."""
    return f".{target.name}.{socket.gethostname()}."


def _remove_leftovers(target: Path) -> None:
    """Remove what processes of this machine have left that were killed while they wrote."""
    begin = _begin_of(target)
    with suppress(OSError):
        for name in os.listdir(target.parent):
            pid = name[len(begin) : -len(_END)]
            is_part = name.startswith(begin) and name.endswith(_END) and pid.isdigit()
            if is_part and not _is_alive(int(pid)):
                target.with_name(name).unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's, or the system does not tell
        return True
    return True
