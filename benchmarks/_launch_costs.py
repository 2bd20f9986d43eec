"""A model of one launch on an H100: its products, its bytes, and how long it should take.

Amounts come from the arguments with which the kernel was really launched. Times come from the
constants below, none of which was measured here: so what comes out is an expectation.
"""

from __future__ import annotations

import re
from math import ceil, prod
from typing import Any, NamedTuple

# Rates of an H100 SXM5 as its data sheet has them, and what others have measured.
MULTIPROCESSORS = 132
CLOCK = 1.83e9  # at which 132 multiprocessors have the data sheet's 989 TFLOP/s of BF16
MEMORY = 0.9 * 3.35e12  # bytes a second: HBM3 by the data sheet, of which copies reach nine tenths
L2 = 4.4e12  # bytes a second: reads of 5.5e12 are reported, writes take more
L2_BYTES = 40e6  # of its 50 MB, what stays there from one kernel to the next
# Multiplications in a cycle of a multiprocessor. TF32 by mma.sync, whose rate is that of an A100
# (its 156 TFLOP/s); published microbenchmarks reach 62 % of Hopper's wgmma by it. Float32 takes
# three terms. Fma is the data sheet's 67 TFLOP/s.
RATES = {"Tf32<3>": 512 / 3, "Tf32<1>": 512.0, "Bf16": 1024.0, "Fma": 128.0}
NODE = 1.5e-6  # seconds from a kernel of a graph to the next, that depends on it, if both are empty
LAUNCH = 4e-6  # the same of launches that are not in a graph: the driver's part on the host
TRIP = 480 / CLOCK  # a read that L2 does not answer: published latencies; those of L2 are 270
LAST_BLOCK = 3 * TRIP  # a fence, an atomic addition and the read of all partial sums
STEP_OF_K = 19 / CLOCK  # a column of a tile's main loop, if nothing hides its latency: 600 per 32
COPY = 50e9  # bytes a second from pinned memory by PCIe 5, which has 64e9
GATHER = 20e9  # bytes a second that a few threads of the host gather from memory
PAGEABLE = 10e9  # the same from memory of NumPy, through the driver's buffers


class Cost(NamedTuple):
    """What a launch does, and the seconds it should take, by itself and without the gap."""

    kernel: str
    blocks: int
    operations: float
    bytes: float
    latency: float
    arithmetic: float


class Product(NamedTuple):
    """Matrices of (m, k) and (k, n), for each of some models."""

    m: int
    n: int
    k: int
    models: int
    math: str


def cost(instance: Any, grid: tuple[int, ...], arguments: tuple[Any, ...]) -> Cost:
    """The cost of one launch of a kernel.

    Parameters
    ----------
    instance : Instance
        The kernel.
    grid : tuple of int
    arguments : tuple
        As they were given to the instance.
    """
    named = {
        name: value
        for value, (_, name) in zip(arguments, instance.kernel.declaration[1], strict=True)
    }
    kernel, blocks = instance.kernel.name, prod(grid)
    products = list(_products(instance, grid, named))
    operations = sum(2.0 * p.m * p.n * p.k * p.models for p in products)
    latency = 2 * TRIP + (LAST_BLOCK if named.get("arrived") is not None else 0)
    arithmetic = _seconds(instance.expression, blocks, products) if products else 0.0
    moved = _bytes(kernel, products, named)
    return Cost(instance.expression, blocks, operations, moved, latency, arithmetic)


def seconds_of_each(costs: list[Cost], *, gap: float = NODE) -> list[float]:
    """What launches take that follow each other, as each needs what the one before has made."""
    # half of what is moved was made by one kernel and is read by another
    rate = L2 if sum(c.bytes for c in costs) / 2 < L2_BYTES else MEMORY
    return [gap + c.latency + max(c.arithmetic, c.bytes / rate) for c in costs]


def _products(instance: Any, grid: tuple[int, ...], named: dict[str, Any]):
    """Yield the products that a launch computes."""
    kernel, get = instance.kernel.name, named.__getitem__
    if kernel not in PRODUCTS:
        return
    tile = _tile(instance.expression)
    math = re.findall(r"Tf32<\d>|Fma|Bf16", instance.expression) or ["Fma"]
    if kernel in ("matmul", "matmul_fma"):
        m, n, k = map(get, ("m", "n", "k"))
        models = max(grid[0] // (ceil(m / tile[0]) * ceil(n / tile[1])), 1)
        yield Product(m, n, k, models, math[0])
    elif kernel == "matmul_gradients":
        rows, inputs, outputs = map(get, ("rows", "inputs", "outputs"))
        models = max(get("tiles_b") // (ceil(inputs / tile[0]) * ceil(outputs / tile[1])), 1)
        if get("da") is not None:
            yield Product(rows, inputs, outputs, models, math[0])
        yield Product(inputs, outputs, rows, models, math[-1])
    else:
        places = get("images") * get("row_places") * get("column_places")
        pixels = get("images") * get("height") * get("width")
        taps, filters, channels = (
            get("row_taps") * get("column_taps"), get("filters"), get("channels"),
        )  # fmt: skip
        m, n, k = {
            "conv2d": (places, filters, taps * channels),
            "conv2d_input_gradient": (pixels, channels, taps * filters),
            "conv2d_filter_gradient": (filters, taps * channels, places),
        }[kernel]
        yield Product(m, n, k, grid[2], math[0])


PRODUCTS = ("matmul", "matmul_fma", "matmul_gradients", "conv2d", "conv2d_input_gradient",
            "conv2d_filter_gradient")  # fmt: skip


def _tile(expression: str) -> list[int]:
    """The numbers of `Tiling`: m, n and k of a block, m and n of a warp, stages, blocks."""
    found = re.search(r"Tiling<([\d, ]+)>", expression)
    return [int(x) for x in found[1].split(",")] if found else [32, 32, 32, 16, 16, 4, 4]


def _seconds(expression: str, blocks: int, products: list[Product]) -> float:
    """The main loops of the multiprocessor that has the most blocks.

    A small tile of a warp loads more numbers for each multiplication: hence the factor.
    """
    m, n, k, warp_m, warp_n, _, at_once = _tile(expression)
    steps = work = 0.0
    for p in products:
        of_product = ceil(p.m / m) * ceil(p.n / n) * ceil(p.k / k) * p.models
        steps += of_product
        work += of_product * m * n * k / RATES[p.math] * (1 + 8 / warp_m + 8 / warp_n) / CLOCK
    own = ceil(blocks / MULTIPROCESSORS)
    rounds = ceil(own / max(at_once, 1))
    return max(own * work / blocks, rounds * steps / blocks * k * STEP_OF_K)


def _bytes(kernel: str, products: list[Product], named: dict[str, Any]) -> float:
    """Bytes that a launch reads and writes, each number once.

    Products of several models are given the first one's arrays and a distance; others all.
    """
    if products:
        p, item = products[-1], 4
        shared = kernel in ("matmul", "matmul_gradients") and named["a_model"] == 0
        shared |= kernel.startswith("conv2d") and named["x_model"] == 0
        if kernel in ("matmul", "matmul_fma"):
            own, common = p.k * p.n + p.m * p.n, p.m * p.k
        elif kernel == "matmul_gradients":
            rows, inputs, outputs = p.k, p.m, p.n
            own, common = rows * outputs + inputs * outputs, rows * inputs
            if named["da"] is not None:  # which needs the weights, and the slope at the inputs
                own += inputs * outputs + rows * inputs
        else:
            pixels = named["images"] * named["height"] * named["width"] * named["channels"]
            places = named["images"] * named["row_places"] * named["column_places"]
            weights = named["filters"] * named["row_taps"] * named["column_taps"]
            own, common = places * named["filters"] + weights * named["channels"], pixels
        parts = named.get("parts")
        moved = item * (own * p.models + common * (1 if shared else p.models))
        return float(moved + (2 * parts.nbytes if parts is not None else 0))
    arrays = {name: x.nbytes for name, x in named.items() if getattr(x, "ndim", 0)}
    if kernel == "take_step":  # it reads as much of the tables as it writes
        return 2.0 * sum(arrays.get(name, 0) for name in ("batch", "targets", "own_settings"))
    arrays.pop("arrived", None)
    again = {"adam": ("params", "first_moment", "second_moment")}.get(kernel, ())
    return float(sum(arrays.values()) + sum(arrays[name] for name in again))
