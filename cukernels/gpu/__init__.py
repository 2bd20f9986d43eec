"""The one door to a GPU: whether it is worth it, how kernels are compiled, checked and launched."""

from cukernels.gpu.auto import GPU, chosen_device, may_have_gpu
from cukernels.gpu.precompile import precompile_once

__all__ = ["GPU", "chosen_device", "may_have_gpu", "precompile_once"]
