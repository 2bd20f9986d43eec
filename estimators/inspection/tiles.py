"""Tiles: many small pictures side by side in one axes, and the colours that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DIVERGING = "RdBu_r"  # red is positive, blue is negative, white is zero
INK = "gray_r"  # larger values are darker, as ink on paper

_GAP = 0.12  # between tiles, in widths of a tile
_LABEL = 0.24  # room above a tile for its label, in widths of a tile
_INCHES = 1.0  # width of a tile in a new figure
_POINTS = 72.0  # points per inch, in which matplotlib measures fonts


def pyplot(caller: str) -> Any:
    """Return `matplotlib.pyplot`.

    Raises
    ------
    ImportError
        If matplotlib is missing. The message names `caller`, and says what to install.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib, which is not installed. Install it with "
            "`pip install 'cukernels[plot]'`."
        ) from error
    return plt


def axes(caller: str, ax: Any, size: tuple[float, float] | None = None) -> Any:
    """Return the axes to draw into: `ax`, or those of a new figure of a size in inches."""
    plt = pyplot(caller)
    if ax is None:
        _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def columns_of(n: int, columns: int | None, most: int = 8) -> int:
    """Return the columns of a grid of `n` tiles: as many as asked for, or at most `most`."""
    if columns is not None:
        return max(1, min(columns, n))
    if n <= 5:
        return max(n, 1)
    rows = max(2, -(-n // most), int(np.sqrt(n / 2)))
    return -(-n // rows)


def figure_size(n: int, columns: int, ratio: float, labelled: bool) -> tuple[float, float]:
    """Return the size in inches of a figure for `n` tiles whose height / width is `ratio`."""
    rows = -(-n // columns)
    width = columns * (1 + _GAP)
    height = rows * (ratio + _GAP + _LABEL * labelled)
    scale = min(_INCHES, 12 / max(width, height))
    return max(width * scale, 2.0), max(height * scale, 1.0) + 0.25


def draw_tiles(
    ax: Any,
    tiles: Sequence[np.ndarray],
    columns: int,
    *,
    labels: Sequence[str] | None = None,
    styles: Sequence[dict[str, Any]] | dict[str, Any],
) -> tuple[list[Any], list[Any]]:
    """Draw pictures of one size into an axes, row by row, and return what was drawn.

    Parameters
    ----------
    ax : matplotlib Axes
    tiles : sequence of ndarray of shape (height, width) or (height, width, 3)
    columns : int
        How many tiles stand side by side.
    labels : sequence of str, default=None
        What to write above each tile.
    styles : dict, or sequence of dict
        Arguments of `imshow`: one dict for all tiles, or one for each tile.

    Returns
    -------
    images, texts : lists of AxesImage and of Text
    """
    if isinstance(styles, dict):
        styles = [styles] * len(tiles)
    images, texts = [], []
    corners = places(ax, tiles, columns, labels)
    for (left, top), tile, style in zip(corners, tiles, styles, strict=True):
        extent = (left, left + 1, top + ratio_of(tiles), top)
        images.append(ax.imshow(tile, extent=extent, interpolation="nearest", **style))
        frame(ax, extent)
    if labels is not None:
        texts = write_labels(ax, tiles, columns, labels)
    finish(ax, tiles, columns, labels)
    return images, texts


def ratio_of(tiles: Sequence[np.ndarray]) -> float:
    """Return the height of a tile over its width; all tiles have the same."""
    return tiles[0].shape[0] / tiles[0].shape[1]


def _step(tiles: Sequence[np.ndarray], labels: Sequence[str] | None) -> float:
    """Return the distance from a row of tiles to the next, in widths of a tile."""
    return ratio_of(tiles) + _GAP + (_LABEL if labels is not None else 0.0)


def places(
    ax: Any, tiles: Sequence[np.ndarray], columns: int, labels: Sequence[str] | None
) -> list[tuple[float, float]]:
    """Return the left and top of each tile in widths of a tile; y increases downwards."""
    step = _step(tiles, labels)
    return [(k % columns * (1 + _GAP), k // columns * step) for k in range(len(tiles))]


def write_labels(
    ax: Any, tiles: Sequence[np.ndarray], columns: int, labels: Sequence[str]
) -> list[Any]:
    """Write a label above each tile, in a font small enough not to reach the next tile."""
    box, rows = ax.get_window_extent(), -(-len(tiles) // columns)
    pixels = min(box.width / (columns * (1 + _GAP)), box.height / (rows * _step(tiles, labels)))
    points = pixels / ax.figure.dpi * _POINTS  # the width of a tile
    longest = max((len(str(label)) for label in labels), default=1)
    size = float(np.clip(min(0.18 * points, 1.6 * points / max(longest, 1)), 4, 10))
    return [
        ax.text(
            left + 0.5,
            top - 0.04,
            str(label),
            ha="center",
            va="bottom",
            fontsize=size,
            parse_math=False,
        )  # fmt: skip
        for (left, top), label in zip(places(ax, tiles, columns, labels), labels, strict=True)
    ]


def legend(ax: Any, **options: Any) -> Any:
    """Draw a legend that shows names as they are: a "$" in one begins no formula."""
    drawn = ax.legend(**options)
    for text in drawn.get_texts():
        text.set_parse_math(False)
    return drawn


def frame(ax: Any, extent: tuple[float, float, float, float]) -> None:
    """Draw a thin line around a tile."""
    left, right, bottom, top = extent
    ax.plot(
        [left, right, right, left, left],
        [top, top, bottom, bottom, top],
        color="0.75",
        linewidth=0.6,
        solid_joinstyle="miter",
    )


def finish(
    ax: Any, tiles: Sequence[np.ndarray], columns: int, labels: Sequence[str] | None
) -> None:
    """Fit the limits of the axes to the grid of tiles, and remove its lines and ticks."""
    step = _step(tiles, labels)
    rows = -(-len(tiles) // columns)
    top = -_GAP / 2 - (_LABEL if labels is not None else 0.0)
    ax.set_xlim(-_GAP / 2, columns * (1 + _GAP) - _GAP / 2)
    ax.set_ylim(top + rows * step, top)
    ax.set_aspect("equal")
    ax.set_axis_off()


def around_zero(values: np.ndarray) -> dict[str, float]:
    """Return limits for a colour map that are equally far from zero on both sides."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    return {"vmin": -largest, "vmax": largest}


def weight_tiles(
    weights: np.ndarray, scale: str, cmap: Any
) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Return weights of shape (K, height, width, 1 or 3) as tiles, and the style of each.

    Weights of one channel take a diverging colour map. Those of three channels are colours in which
    zero is a middle grey.
    """
    if scale not in ("all", "each"):
        raise ValueError(f"scale must be 'all' or 'each', got {scale!r}")
    limits = [around_zero(weights if scale == "all" else one) for one in weights]
    if weights.shape[-1] == 3:
        rgb = [0.5 + w / (2 * s["vmax"]) for w, s in zip(weights, limits, strict=True)]
        return rgb, [{} for _ in rgb]
    return [w[:, :, 0] for w in weights], [{"cmap": cmap, **s} for s in limits]


def picture(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Return an image (height, width, channels) as `imshow` takes it, and its style."""
    image = np.asarray(image)
    if image.shape[-1] == 3:
        # pixels are whole numbers to 255, or fractions of 1
        largest = 255 if image.dtype == np.uint8 or image.max(initial=0) > 1 else 1
        return np.clip(image / largest, 0, 1), {}
    return image.mean(axis=-1), {"cmap": INK}
