"""The one door to a GPU: how kernels are compiled, checked and launched."""

from cukernels.gpu.precompile import precompile_once

__all__ = ["precompile_once"]
