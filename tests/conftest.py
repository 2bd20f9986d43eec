"""Fixtures that several files use."""

from __future__ import annotations

import os

import pytest

from emulator.compiler import has_compiler
from emulator.cupy_on_host import installed


@pytest.fixture
def emulated_cupy(request):
    """CuPy's stand-in, on a device of compute capability 9.0 or of the test's parameter."""
    if not has_compiler():
        reason = "needs g++, which compiles the kernels for the host"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (CI=true, so it may not be skipped)", pytrace=False)
        pytest.skip(reason)
    with installed(getattr(request, "param", "90")) as cupy:
        yield cupy
