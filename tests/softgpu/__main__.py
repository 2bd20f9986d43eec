"""Run a script on devices in software: python -m softgpu SCRIPT ARGUMENTS..., or -m MODULE."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import softgpu


def main() -> None:
    """Install, and become the script."""
    arguments = sys.argv[1:]
    if not arguments or arguments == ["-m"]:
        sys.exit(__doc__)
    softgpu.install()
    os.environ |= softgpu.environment()  # for the processes that it starts
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


main()
