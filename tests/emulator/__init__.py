"""A GPU that is not there: CUDA kernels on the host, behind the part of CuPy that we use.

`compiler` makes a shared library of one kernel with g++, `device.h` and `runtime.cpp` run it as
fibers and check every access, and `cupy_on_host` is the module that stands in for `cupy`.
"""
