"""Python imports this at its start where `softgpu.environment()` is set: CuPy gets its devices."""

import runpy
import sys
from importlib.machinery import PathFinder
from pathlib import Path

here = Path(__file__).resolve().parent
others = [folder for folder in sys.path if Path(folder).resolve() != here]
sys.path.append(str(here.parent.parent))

import softgpu  # noqa: E402

softgpu.install()
# There may be one that this file hides.
hidden = PathFinder.find_spec("sitecustomize", others)
if hidden is not None and hidden.origin is not None:
    runpy.run_path(hidden.origin)
