"""What sphinx-gallery calls when it runs the examples; it takes such things by their names."""

from __future__ import annotations

import sys
from typing import Any


def arguments(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """The examples' command line: the manual takes their pictures itself."""
    return ["--unsaved"]


def forget(gallery_conf: dict[str, Any], fname: str) -> None:
    """Each example sets matplotlib up by importing `_gallery`, so the next one imports it anew."""
    sys.modules.pop("_gallery", None)
