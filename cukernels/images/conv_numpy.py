"""The NumPy bodies of convolution: products with matrices of windows, a chunk of images at a time.

A bias is the weight of an input that is always 1, so that it takes part in the same products. At
stride 1 the gradient in the images is a convolution itself, of the gradient in the output with the
filters turned round (Dumoulin and Visin, arXiv:1603.07285, section 4).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from cukernels.activations.activations import fused_activation
from cukernels.images.conv import grid_of
from cukernels.images.patches import Patches
from cukernels.images.windows import (
    Axis,
    Grid,
    Padding,
    Pair,
    check_places,
    padded_shape,
    taps,
    unpad,
)
from cukernels.runtime.stacks import broadcast_stack, sum_to, users
from cukernels.runtime.workers import in_parallel, scratch
from cukernels.runtime.workspace import empty

# A chunk of images, by their place in the stack of x, and the models that look at them.
Task = tuple[tuple[int, ...], list[tuple[int, ...]], slice]

_LEAST_VALUES = 512  # of a product, below which NumPy keeps other threads waiting


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
) -> np.ndarray:
    axes = grid_of(x, w, bias, stride, padding, dilation)
    stack = broadcast_stack((x, 4), (w, 4))
    filters = _filters(w, bias, stack)
    y = empty((*stack, x.shape[-4], axes[0].places, axes[1].places, w.shape[-4]), x.dtype)
    patches = partial(Patches, axes, x.shape, x.dtype, ones=bias is not None)
    function = fused_activation(activation).forward
    zeros = np.zeros(y.shape[-3:] if activation == "relu" else 0, y.dtype).reshape(-1)

    def respond(seen: Patches, task: Task) -> None:
        place, models, images = task
        for part, rows, matrix in seen.pieces(x[place][images]):
            for m in models:
                z = y[m][images][part, rows]
                flat = z.reshape(len(matrix), -1)  # a view
                np.matmul(matrix, filters[m].T, out=flat)
                if activation == "relu":  # in place, and 3 x as fast as with a scalar 0
                    lines = z.reshape(len(z), -1)
                    np.maximum(lines, zeros[: lines.shape[1]], out=lines)
                elif activation != "identity":
                    flat[...] = function(flat)

    seen = patches()
    worth = seen.are_worth_threads(x.shape[-4])
    in_parallel(respond, _tasks(x, stack, seen), patches, worth=worth)
    return y


def conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    y: np.ndarray,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    activation: str = "identity",
    needs: tuple[str, ...] = ("x", "w", "bias"),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    axes = grid_of(x, w, bias, stride, padding, dilation)
    check_places(dy, axes)
    stack = broadcast_stack((x, 4), (w, 4))
    filters = _filters(w, bias, stack)
    wants_filters = "w" in needs or "bias" in needs
    dfilters = np.zeros_like(filters)
    dx = empty(x.shape, x.dtype) if "x" in needs else None
    turned = _turned_axes(axes)
    turned_filters = _turned_filters(w, stack)

    def tools() -> tuple[Patches, Patches | None]:
        seen = Patches(axes, x.shape, x.dtype, ones=bias is not None)
        if turned is None or dx is None:
            return seen, None
        return seen, Patches(turned, dy.shape, dy.dtype, ones=False)

    def give_back(state: tuple[Patches, Patches | None], task: Task) -> list[np.ndarray]:
        """Gradients of some images: dx in place, and the part in the filters of each model."""
        place, models, images = task
        seen, slopes = state
        parts = []
        for number, m in enumerate(models):
            dz = _slope(activation, dy[m][images], y[m][images])
            if wants_filters:
                parts.append(_filter_gradient(dz, x[place][images], seen))
            if dx is None:
                continue
            back = dx[place][images]
            out = scratch("gradient of another model", back.shape, dx.dtype) if number else back
            if slopes is None:
                _scatter(dz, filters[m], axes, out)
            else:
                for part, rows, matrix in slopes.pieces(dz):
                    flat = out[part, rows].reshape(len(matrix), -1)
                    np.matmul(matrix, turned_filters[m].T, out=flat)
            if number:
                back += out
        return parts

    seen = tools()[0]
    tasks, worth = _tasks(x, stack, seen), seen.are_worth_threads(x.shape[-4])
    returned = in_parallel(give_back, tasks, tools, worth=worth)
    for (_, models, _), parts in zip(tasks, returned, strict=True):
        for m, part in zip(models, parts, strict=False):
            dfilters[m] += part
    return dx, *(_split(dfilters, w, bias, needs) if wants_filters else (None, None))


def _tasks(x: np.ndarray, stack: tuple[int, ...], seen: Patches) -> list[Task]:
    return [
        (place, models, images)
        for place, models in users(x.shape[:-4], stack)
        for images in seen.chunks(x.shape[-4])
    ]


def _slope(activation: str, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient before the activation, in memory that the next call reuses."""
    if activation == "identity":
        return dy
    if activation != "relu":
        return fused_activation(activation).backward(dy, y)
    above = np.greater(y, 0, out=scratch("above zero", y.shape, bool))
    return np.multiply(dy, above, out=scratch("slope", dy.shape, dy.dtype))


def _filter_gradient(dz: np.ndarray, images: np.ndarray, seen: Patches) -> np.ndarray:
    """What some images add to the gradient of the filters of one model, (K, R * S * C [+ 1])."""
    k = dz.shape[-1]
    total = np.zeros((k, seen.depth), dz.dtype)
    for part, rows, matrix in seen.pieces(images):
        slopes = dz[part, rows]
        # NumPy lets other threads run while it makes large results only: make several small ones
        lines = slopes.shape[0] * slopes.shape[1]
        least = -(-_LEAST_VALUES // total.size)
        several = next((n for n in range(min(least, lines), lines) if lines % n == 0), lines)
        slopes = slopes.reshape(several, -1, k)
        products = slopes.swapaxes(-1, -2) @ matrix.reshape(several, -1, seen.depth)
        total += products[0] if several == 1 else products.sum(axis=0)
    return total


def _turned_axes(axes: Grid) -> Grid | None:
    """How the filters slide over the gradient to give that of the images; None if they cannot."""
    margins = [(axis.taps - 1) * axis.dilation for axis in axes]
    if any(
        axis.stride > 1 or max(axis.before, axis.after) > margin
        for axis, margin in zip(axes, margins, strict=True)
    ):
        return None
    rows, columns = (
        Axis(
            size=axis.places,
            taps=axis.taps,
            stride=1,
            dilation=axis.dilation,
            before=margin - axis.before,
            after=margin - axis.after,
            places=axis.size,
        )
        for axis, margin in zip(axes, margins, strict=True)
    )
    return rows, columns


def _turned_filters(w: np.ndarray, stack: tuple[int, ...]) -> np.ndarray:
    """The filters turned by 180 degrees, (*stack, C, R * S * K), one channel of x a row."""
    turned = np.moveaxis(w[..., ::-1, ::-1, :], -4, -1)  # ..., R, S, C, K
    turned = np.moveaxis(turned, -2, -4)
    matrix = turned.reshape(*turned.shape[:-3], -1)
    return np.broadcast_to(matrix, stack + matrix.shape[-2:])


def _scatter(dz: np.ndarray, filters: np.ndarray, axes: Grid, out: np.ndarray) -> None:
    """Write what places give back to the pixels that they saw, tap by tap."""
    k, channels = dz.shape[-1], out.shape[-1]
    padded = scratch("gradient of padded images", padded_shape(out.shape, axes), dz.dtype)
    padded[...] = 0
    matrix = dz.reshape(-1, k)
    back = scratch("gradient of a tap", (len(matrix), channels), dz.dtype)
    for i, (_, _, pixels) in enumerate(taps(axes)):
        np.matmul(matrix, filters[:, i * channels : (i + 1) * channels], out=back)
        padded[pixels] += back.reshape(*dz.shape[:-1], channels)
    out[...] = unpad(padded, axes)


def _filters(w: np.ndarray, bias: np.ndarray | None, stack: tuple[int, ...]) -> np.ndarray:
    """One filter a row, (*stack, K, R * S * C), and the bias, if any, as one more column."""
    matrix = w.reshape(*w.shape[:-3], int(np.prod(w.shape[-3:])))
    parts = [np.broadcast_to(matrix, stack + matrix.shape[-2:])]
    if bias is not None:
        parts.append(np.broadcast_to(bias, stack + bias.shape[-1:])[..., None])
    return np.concatenate(parts, axis=-1)


def _split(
    dfilters: np.ndarray, w: np.ndarray, bias: np.ndarray | None, needs: tuple[str, ...]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Gradients of `w` and `bias` from that of `_filters`."""
    dw = dbias = None
    if "w" in needs:
        dw = dfilters[..., : dfilters.shape[-1] - (bias is not None)]
        dw = sum_to(dw.reshape(*dw.shape[:-1], *w.shape[-3:]), w.shape)
    if "bias" in needs and bias is not None:
        dbias = sum_to(dfilters[..., -1], bias.shape)
    return dw, dbias
