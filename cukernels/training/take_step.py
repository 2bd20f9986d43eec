"""The minibatch of the next step, out of the tables of an epoch.

All that changes from step to step lies in tables on the device, with a row for each step, and the
number of the step lies there too. So a step is the same launches with the same arguments every
time, and can be replayed as a CUDA graph: its first kernel brings the row of the step to fixed
places, and moves on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.dtypes import ANY, INTEGER
from cukernels.runtime.op import op


def _steps(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    x = rng.standard_normal((9, 4))
    labels = rng.integers(3, size=9)
    targets = rng.standard_normal((9, 3))
    images = rng.integers(256, size=(9, 3, 2, 5)).astype(np.uint8)
    for samples, y, groups, of in (
        (x, labels, 1, None),
        (x, targets, 3, None),
        (images, labels, 2, [1, 0, 0, 1]),
        (images.reshape(9, -1)[:, :3].copy(), targets[:, :1].copy(), 1, [0, 0]),
        (rng.standard_normal((1, 1)), np.zeros(1, int), 1, None),
        (rng.standard_normal((2, 0)), np.zeros(2, int), 1, None),
    ):
        steps, size = 3, 5
        models = groups if of is None else len(of)
        yield {
            "step": np.array([2 if len(samples) > 1 else 0]),
            "rows": rng.integers(len(samples), size=(steps, groups, size)),
            "x": samples,
            "y": y,
            "batch": np.zeros((groups, size, *samples.shape[1:])),
            "targets": np.zeros((models, size, *y.shape[1:]), y.dtype),
            "of": None if of is None else np.array(of),
            "places": None
            if of is None
            else rng.integers(len(samples), size=(steps, groups, size)),
            **_tables(rng, steps, models, size, bare=of is None),
        }


def _tables(
    rng: np.random.Generator, steps: int, models: int, size: int, *, bare: bool
) -> dict[str, Any]:
    """Tables and the places for a row of each; `bare`: only the one that every step needs."""
    tables = {"settings": rng.random((steps, 4, models))}
    if not bare:
        tables["weight"] = rng.random((steps, models, size))
        tables["changes"] = rng.integers(9, size=(steps, models, size, 4)).astype(np.int32)
    return tables | {f"own_{name}": np.zeros_like(table[0]) for name, table in tables.items()}


@op(
    samples=_steps,
    outputs=(),
    mutates=("step", "batch", "targets", "own_settings", "own_weight", "own_changes"),
    kinds={
        "step": INTEGER, "rows": INTEGER, "x": ANY, "y": ANY, "batch": ANY, "targets": ANY,
        "of": INTEGER, "places": INTEGER, "changes": INTEGER, "own_changes": INTEGER,
    },
    no_backward="it picks samples, which are data",
)  # fmt: skip
def take_step(
    step: Array,
    rows: Array,
    x: Array,
    y: Array,
    batch: Array,
    targets: Array,
    *,
    of: Array | None = None,
    places: Array | None = None,
    settings: Array | None = None,
    own_settings: Array | None = None,
    weight: Array | None = None,
    own_weight: Array | None = None,
    changes: Array | None = None,
    own_changes: Array | None = None,
) -> None:
    """Bring samples, targets and settings of a step to fixed places, and count the step.

    Parameters
    ----------
    step : integer array of shape (1,)
        The number of the step, from 0 to S - 1. It grows by 1, and after the last one is 0 again.
    rows : integer array of shape (S, G, B)
        The rows that each step takes: one batch for each of G groups of models.
    x : array of shape (R, *sample)
        All samples, or those of a few steps: see `places`.
    y : array of shape (N, *target)
        Their targets.
    batch : array of shape (G, B, *sample)
        Set to the samples of the step, in the dtype of this array.
    targets : array of shape (M, B, *target)
        Set to the targets of the samples of each model; of the dtype of `y`.
    of : integer array of shape (M,), default=None
        The group of each model; None where each model is a group of its own.
    places : integer array of shape (S, G, B), default=None
        Where the samples of `rows` lie in `x`. None: ``x[rows]`` are these samples.
    settings : array of shape (S, V, M), default=None
        A table of anything else that differs from step to step.
    own_settings : array of shape (V, M), default=None
        Set to the row of the step, and of the dtype of the table; so are the next two.
    weight : array of shape (S, M, B), default=None
        A table of the weights of samples.
    own_weight : array of shape (M, B), default=None
        See above.
    changes : integer array of shape (S, M, B, 4), default=None
        A table of changes of images, as `shift_and_flip` takes them.
    own_changes : integer array of shape (M, B, 4), default=None
        See above.

    Raises
    ------
    ValueError
        If shapes do not fit, or on the CPU if a row, a group or the step is out of range. On a GPU
        the sample and the target then have all bits set: NaN, or -1.
    """
    check_shapes(rows, x, y, batch, targets, of)
    if namespace(x) is np:
        check_integers("take_step", "step", step, len(rows), "steps")
        check_integers("take_step", "rows", rows, len(y), "rows of y")
        of_x = rows if places is None else places
        check_integers("take_step", "rows or places", of_x, len(x), "rows of x")
        if of is not None:
            check_integers("take_step", "of", of, rows.shape[1], "groups")
    now = int(step[0])
    picked = rows[now]
    batch[...] = x[picked if places is None else places[now]]
    targets[...] = y[picked if of is None else picked[of]]
    tables = ((settings, own_settings), (weight, own_weight), (changes, own_changes))
    for table, place in tables:
        if table is not None and place is not None:
            place[...] = table[now]
    step[0] = (now + 1) % len(rows)


def check_shapes(
    rows: Array, x: Array, y: Array, batch: Array, targets: Array, of: Array | None
) -> None:
    """Raise ValueError if models have no group, or samples or targets do not fit their places."""
    if of is None and rows.shape[1] != len(targets):
        raise ValueError(
            f"take_step: rows for {rows.shape[1]} groups and targets for {len(targets)} models "
            "need `of`, the group of each model"
        )
    for name, table, place in (("batch", x, batch), ("targets", y, targets)):
        if place.shape[2:] != table.shape[1:]:
            raise ValueError(
                f"take_step: {name} has places of shape {place.shape[2:]} for {table.shape[1:]}"
            )
