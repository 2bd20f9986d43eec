"""Every kind of layer there is, found in the files that define them."""

from __future__ import annotations

import inspect

from estimators.layers import dense, image, norm, pooling
from estimators.layers.layer import Layer

_FILES = (image, pooling, dense, norm)

LAYERS: dict[str, type[Layer]] = {
    name: getattr(file, name) for file in _FILES for name in file.__all__
}
"""Those that are public in `estimators`, by name."""

KINDS: list[type[Layer]] = [
    thing
    for file in _FILES
    for thing in vars(file).values()
    if isinstance(thing, type) and issubclass(thing, Layer)
    if thing.__module__ == file.__name__ and not inspect.isabstract(thing)
]
"""All of them."""

ATTRIBUTES = sorted({kind.attribute for kind in KINDS} - {""})
"""The fitted attributes that hold parameters of layers, beside `coefs_` and `intercepts_`."""
