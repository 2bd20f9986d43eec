"""Plans of matrix products: they fit every device, fill it, and never change a bit of a result."""

from __future__ import annotations

import threading

import pytest

import cukernels
from _devices import OPT_IN
from cukernels.images.windows_cuda import PIXEL, PLACE
from cukernels.matmul import gemm_plan, product
from cukernels.matmul.gemm_plan import (
    FMA_TILES,
    LARGEST,
    TENSOR_TILES,
    Target,
    Tile,
    plan,
    sum_length,
)
from cukernels.runtime.precision import PRECISIONS, current_precision

KB = 1024
REGISTERS = 64 * KB  # of a multiprocessor
MODERN, TURING = Target(90, 132), Target(75, 40)
SHAPES = [
    (256, 512, 512), (512, 512, 256), (784, 10, 60000), (60000, 10, 784), (4096, 4096, 4096),
    (1, 1, 1), (1, 10, 784), (33, 65, 129), (256, 784, 16), (0, 10, 5), (10, 5, 0),
    (200000, 64, 576), (64, 576, 200000), (3, 7, 100000),
]  # fmt: skip
MOST_ROW_BYTES = PLACE + PIXEL  # that a kernel keeps for each row of its tile


def plans(models: int = 1):
    for architecture, multiprocessors in ((75, 40), (80, 108), (86, 84), (90, 132), (120, 170)):
        for precision in PRECISIONS:
            target = Target(architecture, multiprocessors, precision)
            for dtype in ("float", "double"):
                for largest in (True, False):
                    for shape in SHAPES:
                        yield target, shape, plan(*shape, models, dtype, target, largest)


def blocks(shape, p, models: int = 1) -> int:
    m, n, _ = shape
    return -(-m // p.tile_m) * -(-n // p.tile_n) * p.splits * models


@pytest.mark.parametrize("architecture", [int(name) for name in OPT_IN])
def test_every_tile_fits_every_device_that_runs_it(architecture):
    """Shared memory, and the registers of the blocks that a multiprocessor is to hold."""
    tiles = [(tile, "float") for tile in (LARGEST, *TENSOR_TILES) if architecture >= 80]
    tiles += [(tile, dtype) for dtype, some in FMA_TILES.items() for tile in some]
    for tile, dtype in tiles:
        whole = tile.shared(dtype) + tile.static_shared(MOST_ROW_BYTES)
        assert whole <= OPT_IN[str(architecture)] * KB
        registers = REGISTERS // (tile.blocks * tile.threads)
        assert registers >= 120, f"{tile} leaves {registers} registers to a thread"


def test_static_bytes_count():
    """On 100 KB two blocks of 48 KB are at once only where little is static, else in turn."""
    target = Target(86, 84)

    def cycles(row_bytes: int) -> float:
        tile = next(tile for tile in TENSOR_TILES if tile.m == 64 and tile.n == 32)
        return gemm_plan._cycles(tile, 1, 64, 32, 64, 168, "float", "Tf32<3>", target, row_bytes)

    assert cycles(0) < cycles(PLACE)


def test_every_plan_has_an_instance():
    for target, shape, p in plans():
        for a_k in (True, False):
            for dtype in ("float", "double"):
                launch = product._configuration(*shape, 1, dtype, target, a_k, False)
                assert launch.blocks * launch.splits == blocks(shape, launch_plan(launch))
        assert p.k_of_sum % 32 == 0 and p.splits in (1, max(-(-shape[2] // p.k_of_sum), 1))


def launch_plan(launch):
    """The sizes of a launch's tile, from its template arguments."""
    expression = next(a for a in launch.instance.arguments if a.startswith("Tiling"))
    sizes = Tile(*map(int, expression.removeprefix("Tiling<").removesuffix(">").split(", ")))
    return gemm_plan.Plan("", "", sizes.m, sizes.n, 0, 0, launch.k_of_sum, launch.splits)


@pytest.mark.parametrize("shape", [(256, 512, 512), (512, 512, 256), (784, 512, 256)], ids=str)
def test_a_layer_of_a_small_network_fills_a_large_device(shape):
    p = plan(*shape, 1, "float", MODERN)
    assert 0.75 * MODERN.multiprocessors <= blocks(shape, p)


def test_a_long_sum_for_a_small_result_is_split():
    """60,000 rows, 784 features, 10 classes: the gradient of a logistic regression."""
    for target in (MODERN, TURING):
        p = plan(784, 10, 60000, 1, "float", target)
        assert p.splits > 1 and blocks((784, 10, 60000), p) >= target.multiprocessors


def test_many_models_get_larger_tiles_and_no_split():
    one, many = (plan(256, 512, 512, models, "float", MODERN, True) for models in (1, 60))
    assert many.tile_m * many.tile_n > one.tile_m * one.tile_n
    assert plan(784, 10, 60000, 1000, "float", MODERN).splits == 1


def test_bits_do_not_depend_on_the_number_of_models():
    """Arithmetic and length of sums do not; tile and split may, and change no bit."""
    for (_, shape, one), (_, _, many) in zip(plans(1), plans(60), strict=True):
        assert (one.math, one.k_of_sum) == (many.math, many.k_of_sum), shape


def test_sums_are_few_and_short():
    for k in (1, 256, 257, 8192, 8193, 60000, 10**6):
        length = sum_length(k)
        assert length >= 256 and -(-k // length) <= 32
        assert length == 256 or -(-k // length) > 16


def test_arithmetic():
    assert plan(64, 64, 33, 1, "float", MODERN).math == "Tf32<3>"
    assert plan(64, 64, 32, 1, "float", MODERN).math == "Fma"  # exact enough for short sums
    assert plan(64, 64, 64, 1, "float", TURING).math == "Fma"
    assert plan(64, 64, 64, 1, "float", TURING._replace(precision="tf32")).math == "Fma"
    assert plan(64, 64, 64, 1, "float", MODERN._replace(precision="tf32")).math == "Tf32<1>"
    assert plan(64, 64, 64, 1, "float", MODERN._replace(precision="bf16")).math == "Bf16"
    assert plan(64, 64, 64, 1, "double", MODERN._replace(precision="bf16")).math == "Fma"


def test_too_many_tiles():
    with pytest.raises(ValueError, match="too many for a call"):
        product._configuration(2**20, 2**20, 64, 2**12, "float", MODERN, True, True)


def test_precision_sets_and_restores():
    assert current_precision() == "float32"
    with cukernels.precision("tf32"):
        assert current_precision() == "tf32"
        with cukernels.precision("bf16"):
            assert current_precision() == "bf16"
        assert current_precision() == "tf32"
    assert current_precision() == "float32"


def test_precision_is_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), cukernels.precision("tf32"):
        raise ZeroDivisionError
    assert current_precision() == "float32"


def test_precision_as_a_call_lasts():
    with cukernels.precision("float32"):  # what the test sets ends with it
        cukernels.precision("tf32")
        assert current_precision() == "tf32"
    assert current_precision() == "float32"


def test_precision_of_another_thread():
    seen = []
    with cukernels.precision("tf32"):
        thread = threading.Thread(target=lambda: seen.append(current_precision()))
        thread.start()
        thread.join()
    assert seen == ["float32"]


def test_unknown_precision():
    with pytest.raises(ValueError, match=r"Unknown precision 'float16': expected one of \('float"):
        cukernels.precision("float16")
    assert current_precision() == "float32"
