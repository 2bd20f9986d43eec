"""scikit-learn's own code keeps its own classes, whenever it is imported.

`sklearn.ensemble` takes LogisticRegression from `sklearn.linear_model`, as a user does. Imported
before a patch it has scikit-learn's class; imported after it, it would have ours, and then the same
program would do different things by the order of its imports. So a module of scikit-learn that is
imported while something is replaced is given back what was there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

replaced: dict[int, tuple[Any, Any]] = {}  # by the identity of what is there: it and the original


def keep() -> None:
    """See to modules of scikit-learn that are imported from now on, if anything is replaced."""
    while _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    if replaced:
        sys.meta_path.insert(0, _finder)


class _Finder(MetaPathFinder):
    """Finds modules of scikit-learn as the other finders do, with a loader that sees to them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("sklearn."):
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            if find is not None and (spec := find(fullname, path, target)) is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(Loader):
    """Loads a module by its own loader, and then puts scikit-learn's objects into it."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.own
        if module.__spec__ is not None:
            module.__spec__.loader = self.own
        self.own.exec_module(module)
        for name, value in list(vars(module).items()):
            there, original = replaced.get(id(value), (None, None))
            if there is value:
                setattr(module, name, original)


_finder = _Finder()
