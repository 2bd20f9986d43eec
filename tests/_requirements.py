"""Optional packages in tests: a stranger skips what is missing, continuous integration fails."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest
import sklearn

RELEASE = tuple(int(part) for part in sklearn.__version__.split(".")[:2])  # of scikit-learn


def require(module_name: str, extra: str) -> ModuleType:
    """Import and return a module that only some installations have.

    Where it is missing, the calling test (or, from module level, every test of the file) is
    skipped with a reason. With CI=true in the environment it fails instead: a check that silently
    stops running is worse than none.

    Parameters
    ----------
    module_name : str
        What to import, such as `"torch"`.
    extra : str
        The extra of this distribution that installs it, such as `"oracle"`.
    """
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise  # it is there, but something that it needs is not
        reason = f"needs {module_name}: pip install -e '.[{extra}]'"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (CI=true, so it may not be skipped)", pytrace=False)
        pytest.skip(reason, allow_module_level=True)
