"""The products of NumPy's convolutions: matrices of windows times filters, on all threads.

A bias is treated as the weight of an input that is always 1, so it needs no operations of its own.
At stride 1 the gradient in the images is itself a convolution: that of the gradient in the output
with the filters turned by 180 degrees (Dumoulin and Visin, arXiv:1603.07285, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from cukernels.activations.fused import reversible_activation
from cukernels.images.inputs import check_sets, through
from cukernels.images.patches import Patches
from cukernels.images.windows import Axis, Grid, padded_shape, places_of, taps, unpad
from cukernels.runtime.recording import recorded
from cukernels.runtime.stacks import broadcast_stack, sum_to, users
from cukernels.runtime.workers import in_parallel, scratch
from cukernels.runtime.workspace import empty

Index = tuple[int, ...]  # of a model in a stack
Product = Callable[[np.ndarray], object]  # writes a product into a matrix
# An index into the stack of x, the models that see these images, and a chunk of the images.
Task = tuple[Index, list[Index], slice]

_LEAST_VALUES = 512  # of a result; for smaller ones NumPy does not release the interpreter's lock


def for_each_product(
    then: Callable[[Index, slice, slice, Product], None],
    axes: Grid, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, x_of: np.ndarray | None,
    rows_together: int = 1,
) -> None:  # fmt: skip
    """Walk the products of windows and filters, on all threads, a chunk of images at a time.

    Parameters
    ----------
    then : callable
        Is given the index of a model, which images, which rows of places, and a function that
        writes the responses there into a matrix with a row for each place.
    axes, x, w, bias, x_of
        The places of the windows, and arguments of `conv2d`.
    rows_together : int, default=1
        Rows of places stay together in groups of so many.
    """
    stack = stack_of(x, w, x_of)
    filters = _filters(w, bias, stack)
    patches = partial(Patches, axes, x.shape, x.dtype, bias is not None, rows_together)

    def respond(seen: Patches, task: Task) -> None:
        index, models, images = task
        for chunk, rows, matrix in seen.matrices(x[index][images]):
            at = slice(images.start + chunk.start, images.start + chunk.stop)
            for m in models:
                then(m, at, rows, partial(np.matmul, matrix, filters[m].T))

    seen = patches()
    tasks, worth = _tasks(x, stack, seen, x_of), seen.are_worth_threads(x.shape[-4])
    in_parallel(respond, tasks, patches, worth=worth)


def gradients(
    slope: Callable[[Index, slice], np.ndarray],
    axes: Grid, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, x_activation: str,
    x_of: np.ndarray | None, needs: tuple[str, ...],
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """Return the gradients of `conv2d`, on all threads, a chunk of images at a time.

    Parameters
    ----------
    slope : callable
        Returns the gradient in the responses of a model, by its index, to some images.
    axes, x, w, bias, x_activation, x_of, needs
        The places of the windows, and arguments of `conv2d_backward`.
    """
    reversible_activation(x_activation)
    stack = stack_of(x, w, x_of)
    filters = _filters(w, bias, stack)
    wants_filters = "w" in needs or "bias" in needs
    dfilters = np.zeros_like(filters)
    dx = empty(x.shape, x.dtype) if "x" in needs else None
    turned = _turned_axes(axes)
    turned_filters = _turned_filters(w, stack)
    responses = (*x.shape[:-3], *places_of(axes), w.shape[-4])

    def tools() -> tuple[Patches, Patches | None]:
        """What a thread needs: windows of the images, and of the gradient if it is convolved."""
        seen = Patches(axes, x.shape, x.dtype, bias is not None)
        if turned is None or dx is None:
            return seen, None
        # all images of a task at once, though their windows are several times as large
        return seen, Patches(turned, responses, x.dtype, ones=False, times=4)

    def propagate(state: tuple[Patches, Patches | None], task: Task) -> list[np.ndarray]:
        """Write dx of a chunk of images; return their terms of each model's filter gradient."""
        index, models, images = task
        seen, slopes = state
        terms = []
        for number, m in enumerate(models):
            dz = slope(m, images)
            if wants_filters:
                terms.append(_filter_gradient(dz, x[index][images], seen))
            if dx is None:
                continue
            # The first model writes to dx, and the others add to it: they share the images.
            total = dx[index][images]
            out = scratch("gradient of another model", total.shape, dx.dtype) if number else total
            if slopes is None:
                _scatter(dz, filters[m], axes, out)
            else:
                for chunk, rows, matrix in slopes.matrices(dz):
                    flat = out[chunk, rows].reshape(len(matrix), x.shape[-1])
                    np.matmul(matrix, turned_filters[m].T, out=flat)
            if number:
                total += out
        return terms

    seen = tools()[0]
    tasks, worth = _tasks(x, stack, seen, x_of), seen.are_worth_threads(x.shape[-4])
    returned = in_parallel(propagate, tasks, tools, worth=worth)
    for (_, models, _), terms in zip(tasks, returned, strict=True):  # in the order of the chunks
        for m, term in zip(models, terms, strict=False):
            dfilters[m] += term
    if dx is not None:
        if x_of is not None:
            dx[np.bincount(x_of, minlength=len(x)) == 0] = 0  # images that no model takes
        dx = through(x_activation, dx, x)
    return dx, *(_split(dfilters, w, bias, needs) if wants_filters else (None, None))


def stack_of(x: np.ndarray, w: np.ndarray, x_of: np.ndarray | None) -> tuple[int, ...]:
    """The leading axes of the result, which the models fill."""
    if x_of is None:
        return broadcast_stack((x, 4), (w, 4))
    check_sets(x, x_of, w.shape[:-4])
    return x_of.shape


def _tasks(
    x: np.ndarray, stack: tuple[int, ...], seen: Patches, x_of: np.ndarray | None
) -> list[Task]:
    """The chunks of all images, each with the models that see it."""
    if x_of is None:
        sharing = list(users(x.shape[:-4], stack))
    else:
        takers = ((int(g), np.flatnonzero(x_of == g)) for g in np.unique(x_of))
        sharing = [((g,), [(int(m),) for m in models]) for g, models in takers]
    return [
        (index, models, images)
        for index, models in sharing
        for images in seen.image_chunks(x.shape[-4])
    ]


def _filter_gradient(dz: np.ndarray, images: np.ndarray, seen: Patches) -> np.ndarray:
    """The terms of some images in the filter gradient of a model, (K, R * S * C [+ 1])."""
    k = dz.shape[-1]
    total = recorded(np.empty((k, seen.depth), dz.dtype))
    total[...] = 0
    if not total.size:
        return total
    for chunk, rows, matrix in seen.matrices(images):
        slopes = dz[chunk, rows]
        # NumPy releases the interpreter's lock only for large results. So the sum over the places
        # is split into several products, whose results are then large enough together.
        lines = slopes.shape[0] * slopes.shape[1]
        least = -(-_LEAST_VALUES // total.size)
        several = next((n for n in range(min(least, lines), lines) if lines % n == 0), lines)
        slopes = slopes.reshape(several, -1, k)
        products = slopes.swapaxes(-1, -2) @ matrix.reshape(several, -1, seen.depth)
        total += products[0] if several == 1 else products.sum(axis=0)
    return total


def _turned_axes(axes: Grid) -> Grid | None:
    """The grid for a convolution of the output's gradient that gives that of the images.

    It is None if there is no such grid, as the stride is not 1 or the padding is too wide.
    """
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
    """The filters turned by 180 degrees, (*stack, C, R * S * K): a row for each channel of x."""
    turned = np.moveaxis(w[..., ::-1, ::-1, :], -4, -1)  # ..., R, S, C, K
    turned = np.moveaxis(turned, -2, -4)
    matrix = turned.reshape(*turned.shape[:-3], math.prod(turned.shape[-3:]))
    return np.broadcast_to(matrix, stack + matrix.shape[-2:])


def _scatter(dz: np.ndarray, filters: np.ndarray, axes: Grid, out: np.ndarray) -> None:
    """Add the gradient of each place to the pixels that its window sees, tap by tap."""
    k, channels = dz.shape[-1], out.shape[-1]
    padded = scratch("gradient of padded images", padded_shape(out.shape, axes), dz.dtype)
    padded[...] = 0
    matrix = dz.reshape(math.prod(dz.shape[:-1]), k)
    of_tap = scratch("gradient of a tap", (len(matrix), channels), dz.dtype)
    for i, (_, _, pixels) in enumerate(taps(axes)):
        np.matmul(matrix, filters[:, i * channels : (i + 1) * channels], out=of_tap)
        padded[pixels] += of_tap.reshape(*dz.shape[:-1], channels)
    out[...] = unpad(padded, axes)


def _filters(w: np.ndarray, bias: np.ndarray | None, stack: tuple[int, ...]) -> np.ndarray:
    """The filters as rows, (*stack, K, R * S * C), with the bias, if any, as one more column."""
    matrix = w.reshape(*w.shape[:-3], math.prod(w.shape[-3:]))
    columns = [np.broadcast_to(matrix, stack + matrix.shape[-2:])]
    if bias is not None:
        columns.append(np.broadcast_to(bias, stack + bias.shape[-1:])[..., None])
    return np.concatenate(columns, axis=-1)


def _split(
    dfilters: np.ndarray, w: np.ndarray, bias: np.ndarray | None, needs: tuple[str, ...]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Split the gradient of `_filters` into those of `w` and `bias`."""
    dw = dbias = None
    if "w" in needs:
        dw = dfilters[..., : dfilters.shape[-1] - (bias is not None)]
        dw = sum_to(dw.reshape(*dw.shape[:-1], *w.shape[-3:]), w.shape)
    if "bias" in needs and bias is not None:
        dbias = sum_to(dfilters[..., -1], bias.shape)
    return dw, dbias
