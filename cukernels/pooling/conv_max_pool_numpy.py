"""The NumPy bodies of a convolution with pooling: responses stay in the cache of a core."""

from __future__ import annotations

import functools
import math

import numpy as np

from cukernels.activations.fused import reversible_activation
from cukernels.images.conv_numpy import activate, slope_of
from cukernels.images.conv_products import Index, Product, for_each_product, gradients, stack_of
from cukernels.images.windows import Grid, Padding, Pair, as_items, check_places, places_of, strided
from cukernels.pooling.conv_max_pool import grids, non_decreasing
from cukernels.runtime.workers import scratch
from cukernels.runtime.workspace import empty


def conv2d_max_pool(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    pool_size: Pair = 2,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    reversible_activation(x_activation)
    non_decreasing(activation)
    filters, axes = grids(x, w, bias, stride, padding, dilation, pool_size)
    n_filters, height = w.shape[-4], axes[0].taps
    shape = (*stack_of(x, w, x_of), x.shape[-4], *places_of(axes), n_filters)
    y, places = empty(shape, x.dtype), empty(shape, np.dtype(np.uint8))
    if not y.size:
        return y, places

    def respond(m: Index, images: slice, rows: slice, product: Product) -> None:
        """Compute the responses of a model to some images, and the largest of them."""
        n, windows = rows.stop - rows.start, slice(rows.start // height, rows.stop // height)
        if windows.start == windows.stop:  # rows that fill no window
            return
        z = scratch(
            "responses", (images.stop - images.start, n, filters[1].places, n_filters), x.dtype
        )
        product(z.reshape(math.prod(z.shape[:-1]), n_filters))
        pooled = y[m][images, windows]
        own = axes[0]._replace(places=windows.stop - windows.start), axes[1]
        _largest(z, own, pooled, places[m][images, windows])
        activate(activation, pooled)

    for_each_product(respond, filters, x, w, bias, x_of, rows_together=height)
    return y, places


def conv2d_max_pool_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    places: np.ndarray,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    pool_size: Pair = 2,
    activation: str = "identity",
    x_activation: str = "identity",
    x_of: np.ndarray | None = None,
    needs: tuple[str, ...] = ("x", "w", "bias"),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    non_decreasing(activation)
    filters, axes = grids(x, w, bias, stride, padding, dilation, pool_size)
    check_places(dy, axes)

    def slope(m: Index, images: slice) -> np.ndarray:
        """The gradient in the responses, which is that of the window at its largest one."""
        of_window = slope_of(activation, dy[m][images], y[m][images])
        shape = (len(of_window), *places_of(filters), w.shape[-4])
        dz = scratch("gradient of responses", shape, x.dtype)
        if dz.size:
            _give_back(of_window, places[m][images], axes, dz)
        return dz

    return gradients(slope, filters, x, w, bias, x_activation, x_of, needs)


def _largest(z: np.ndarray, axes: Grid, y: np.ndarray, places: np.ndarray) -> None:
    """Write the largest response of each window, and the first place at which it is."""
    n_taps = axes[0].taps * axes[1].taps
    seen = scratch("seen", (n_taps, *y.shape), y.dtype)
    taken = _by_taps(z, axes)
    as_items(seen.reshape(taken.shape))[...] = as_items(taken)
    np.maximum.reduce(seen, axis=0, out=y)
    if n_taps == 1:
        places[...] = 0
        return
    # How many responses before it are smaller: 1 + the count from there on, or 0, from the last on.
    smaller = scratch("smaller", (n_taps - 1, *y.shape), bool)
    np.not_equal(seen[:-1], y, out=smaller)
    counts = smaller.view(np.uint8)
    places[...] = counts[-1]
    for tap in range(n_taps - 3, -1, -1):
        places += 1
        places *= counts[tap]


def _give_back(slope: np.ndarray, places: np.ndarray, axes: Grid, dz: np.ndarray) -> None:
    """Write the gradient of each window to the place of its largest response, and 0 elsewhere."""
    numbers = _numbers(axes[0].taps * axes[1].taps)
    wins = scratch("wins", (len(numbers), *places.shape), bool)
    gradient = scratch("gradient", wins.shape, slope.dtype)
    np.equal(places, numbers, out=wins)
    np.copyto(gradient, wins)  # NumPy multiplies by floats faster than by booleans
    np.multiply(slope, gradient, out=gradient)
    given = _by_taps(dz, axes)
    if given.size < dz.size:  # some lie in no window
        dz[...] = 0
    as_items(given)[...] = as_items(gradient.reshape(given.shape))


def _by_taps(z: np.ndarray, axes: Grid) -> np.ndarray:
    """View contiguous responses (N, P, Q, K) by what each tap of the windows sees of them.

    One operation on all taps keeps threads from meeting, which they do between two.
    """
    rows, columns = axes
    n, p, q, k = z.strides
    shape = (rows.taps, columns.taps, len(z), rows.places, columns.places, z.shape[-1])
    return strided(z, shape, (p, q, n, p * rows.taps, q * columns.taps, k))


@functools.cache
def _numbers(n_taps: int) -> np.ndarray:
    """The numbers of taps, to compare with (N, P, Q, K)."""
    return np.arange(n_taps, dtype=np.uint8).reshape(-1, 1, 1, 1, 1)
