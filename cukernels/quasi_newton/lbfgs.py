"""The vectors of L-BFGS: one op moves them, and one computes all that the host wants to know.

The inverse Hessian is used in its compact form (Byrd, Nocedal and Schnabel, Mathematical
Programming 63, 1994, eq. 3.1). So a direction is one linear combination of the gradient and of the
remembered pairs (s, y), and the host finds its coefficients from inner products alone. The host
keeps small matrices and line searches, the device keeps all vectors, and between them go a plan and
a record of a few numbers a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cukernels.quasi_newton.columns import (
    COEFFICIENTS,
    COUNT,
    G_FACTOR,
    MODEL,
    PRODUCTS,
    S_FACTOR,
    SLOT,
    SOURCE,
    STEP,
    TURNS,
    Y_FACTOR,
)
from cukernels.runtime.arrays import Array, namespace
from cukernels.runtime.contract import check_integers
from cukernels.runtime.op import op

_NO_SLOPE = "it moves the vectors of a minimiser"


def _vectors(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield vectors, and plans that are all different; both ops take them."""
    r = rng.standard_normal
    shapes = ((1, 1, 1), (1, 1, 2), (3, 37, 3), (4, 300, 1), (2, 2500, 2), (2, 0, 2), (1, 1030, 4))
    for models, p, m in shapes:
        plan = np.zeros((models, COEFFICIENTS + 2 * m))
        plan[:, MODEL] = rng.permutation(models)
        plan[:, SOURCE] = np.where(np.arange(models) % 3 == 1, -1, rng.permutation(models))
        moves = plan[:, SOURCE] >= 0
        plan[:, COUNT] = rng.integers(m + 1, size=models)
        plan[:, SLOT] = np.where(moves, plan[:, COUNT] - 1, -1)
        plan[:, S_FACTOR:TURNS] = rng.random((models, 2))
        plan[:, TURNS] = np.arange(models) % 4 != 3
        plan[:, G_FACTOR:] = r((models, 2 + 2 * m))
        yield {
            "x": r((models, p)),
            "gradient": r((models, p)),
            "direction": r((models, p)),
            "pairs": r((models, 2 * m, p)),
            "plan": plan,
        }


def _moves(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _vectors(rng):
        case["reached"], case["slope"] = (rng.standard_normal(case["x"].shape) for _ in range(2))
        yield case
        if len(case["plan"]) > 2:  # the second and the third model go on alone
            yield case | {"plan": case["plan"][1:].copy()}


def _points(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for case in _vectors(rng):
        x = case.pop("x")
        yield {"value": rng.standard_normal(len(x)), "slope": x} | case


@op(
    samples=_moves,
    outputs=("point",),
    mutates=("x", "gradient", "direction", "pairs"),
    no_backward=_NO_SLOPE,
)
def lbfgs_step(
    x: Array,
    gradient: Array,
    direction: Array,
    pairs: Array,
    reached: Array,
    slope: Array,
    plan: Array,
) -> Array:
    """Move models to points that they have reached, choose directions, and take the next steps.

    Parameters
    ----------
    x, gradient, direction : arrays of shape (M, P), float32 or float64
        The vectors of each model; updated.
    pairs : array of shape (M, T, P)
        The remembered steps of each model, then as many changes of its gradient; updated.
    reached, slope : arrays of shape (B, P)
        Points, and the gradients there.
    plan : array of shape (A, C)
        What each of A models, all different, is to do; see columns.py. C is T + 9.

    Returns
    -------
    point : array of shape (A, P)
        The next point of each of these models.

    Raises
    ------
    ValueError
        If T is odd or the plan has another width. If, on the CPU, a number in it is out of range or
        a model comes twice; on a GPU such a model is left alone, and its point is NaN.
    """
    check_plan("lbfgs_step", pairs, plan)
    check_models("lbfgs_step", plan, len(x), len(reached), pairs.shape[1] // 2)
    m = pairs.shape[1] // 2
    point = namespace(x).empty((len(plan), x.shape[1]), x.dtype)
    for row, own in enumerate(plan):
        model, source, slot, count = (int(own[i]) for i in (MODEL, SOURCE, SLOT, COUNT))
        if source >= 0:
            if slot >= 0:
                pairs[model, slot] = own[S_FACTOR] * direction[model]
                pairs[model, m + slot] = own[Y_FACTOR] * (slope[source] - gradient[model])
            x[model], gradient[model] = reached[source], slope[source]
        if own[TURNS]:
            coefficients = own[COEFFICIENTS:]
            direction[model] = own[G_FACTOR] * gradient[model]
            for j in range(count):
                direction[model] += coefficients[j] * pairs[model, j]
                direction[model] += coefficients[m + j] * pairs[model, m + j]
        point[row] = x[model] + own[STEP] * direction[model]
    return point


@op(samples=_points, outputs=("record",), no_backward=_NO_SLOPE)
def lbfgs_products(
    value: Array, slope: Array, gradient: Array, direction: Array, pairs: Array, plan: Array
) -> Array:
    """Return all that L-BFGS asks of points: one record a model, which the host reads at once.

    With g the gradient at the new point and y its change, the columns are the value, g'd along the
    direction d, the element of g that is largest in size, g'g, y'g and y'y. Then come the products
    of all pairs with g, and of all pairs with y; those of pairs that are not there are 0.

    Parameters
    ----------
    value : array of shape (A,)
        The values of A models at their points, as `lbfgs_step` returned these.
    slope : array of shape (A, P)
        The gradients there.
    gradient, direction : arrays of shape (M, P)
        The gradient where each model stands, and its direction.
    pairs : array of shape (M, T, P)
        The remembered pairs.
    plan : array of shape (A, C)
        The plan of the step.

    Returns
    -------
    record : array of shape (A, 6 + 2 T)
        In the dtype of the plan.

    Raises
    ------
    ValueError
        If T is odd or the plan has another width. If, on the CPU, a number in it is out of range or
        a model comes twice; on a GPU the record of a model that is out of range is NaN.
    """
    check_plan("lbfgs_products", pairs, plan)
    check_models("lbfgs_products", plan, len(gradient), len(plan), pairs.shape[1] // 2)
    xp, m = namespace(value), pairs.shape[1] // 2
    record = xp.zeros((len(plan), PRODUCTS + 4 * m), plan.dtype)
    for row, own in enumerate(plan):
        model, count = int(own[MODEL]), int(own[COUNT])
        g = slope[row]
        y = g - gradient[model]
        record[row, :PRODUCTS] = xp.stack(
            (value[row], g @ direction[model], abs(g).max(initial=0), g @ g, y @ g, y @ y)
        )
        for first in (0, m):
            used = pairs[model, first : first + count]
            record[row, PRODUCTS + first : PRODUCTS + first + count] = used @ g
            record[row, PRODUCTS + 2 * m + first : PRODUCTS + 2 * m + first + count] = used @ y
    return record


def check_plan(op: str, pairs: Array, plan: Array) -> None:
    """Raise ValueError unless a plan has the columns for as many s as y."""
    t, width = pairs.shape[1], plan.shape[1]
    if t % 2 or width != COEFFICIENTS + t:
        raise ValueError(
            f"{op}: {t} vectors of pairs, which must be even, need a plan of {COEFFICIENTS + t} "
            f"columns, got {width}"
        )


def check_models(op: str, plan: Array, models: int, points: int, m: int) -> None:
    """Raise ValueError if a plan on the host has a place that is not there, or a model twice."""
    if namespace(plan) is np:
        if not np.isfinite(plan[:, : COUNT + 1]).all():
            raise ValueError(f"{op}: plan has places that are not finite")
        places = plan[:, : COUNT + 1].astype(np.int64)
        check_integers(op, "plan", places[:, MODEL], models, "models")
        if len(np.unique(places[:, MODEL])) < len(plan):
            raise ValueError(f"{op}: plan has a model twice")
        check_integers(op, "plan", places[:, SOURCE] + 1, points + 1, "points")
        check_integers(op, "plan", places[:, SLOT] + 1, m + 1, "slots of pairs")
        check_integers(op, "plan", places[:, COUNT], m + 1, "numbers of pairs")
