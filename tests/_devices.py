"""What the CUDA C++ Programming Guide says of devices, by compute capability.

The tables here are NVIDIA's ("Technical Specifications per Compute Capability"), so that tests have
them from somewhere else than the code that they test.
"""

from __future__ import annotations

# KB of shared memory that a block can have: without being asked, and at most.
UNASKED = 48
OPT_IN = {
    "75": 64, "80": 163, "86": 99, "87": 163, "89": 99, "90": 227, "100": 227, "103": 227,
    "120": 99, "121": 99,
}  # fmt: skip
