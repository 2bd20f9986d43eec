"""The ops of L-BFGS, against the recursion of two loops, and SciPy's inverse Hessian."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import LbfgsInvHessProduct

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
from test_oracles import RTOL, torch


def close(got, expected, dtype) -> None:
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=20 * RTOL[dtype])


def by_two_loops(pairs, gamma, g) -> np.ndarray:
    """The inverse Hessian of pairs, oldest first, times g: Nocedal and Wright, algorithm 7.4."""
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    r = gamma * q
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r += s * (alpha - y @ r / (s @ y))
    return r


def by_scipy(pairs, gamma, g) -> np.ndarray:
    """The same by SciPy, which starts at the identity: so it gets vectors of another unit."""
    if not pairs:
        return gamma * g
    s, y = np.array(pairs).transpose(1, 0, 2)
    return gamma * (LbfgsInvHessProduct(s / np.sqrt(gamma), y * np.sqrt(gamma)) @ g)


INVERSES = {"two loops": by_two_loops, "scipy": by_scipy}


def coefficients(sy, yy, sg, yg, gamma) -> tuple[np.ndarray, np.ndarray]:
    """What multiplies s and y in the inverse Hessian times g (Byrd, Nocedal, Schnabel, eq. 3.1)."""
    upper = np.triu(sy)
    u = np.linalg.solve(upper, sg)
    middle = np.diag(np.diag(sy)) + gamma * yy
    return np.linalg.solve(upper.T, middle @ u - gamma * yg), -gamma * u


def sizeable(rng, *shape) -> np.ndarray:
    """Random numbers that are not small, so that no pair is."""
    return rng.choice([-1, 1], shape) * rng.uniform(0.5, 1.5, shape)


class Descent:
    """A model in double precision, which remembers the last pairs and in which slots they are."""

    def __init__(self, rng, x, gradient, direction, m):
        self.rng, self.m = rng, m
        self.x, self.g, self.d = (a.astype(float) for a in (x, gradient, direction))
        self.curved = rng.uniform(1, 2, len(x))  # the Hessian, a diagonal one
        self.pairs, self.made = [], 0

    def move(self, plan, dtype) -> tuple[np.ndarray, np.ndarray]:
        """Go on: with a new pair, or to another place without one. Return point and gradient."""
        step, unit = self.rng.uniform(0.5, 1.5, 2)
        new_pair = self.rng.random() < 0.6
        if new_pair:
            reached, slope = self.x + step * self.d, self.g + step * self.curved * self.d
        else:
            reached, slope = self.rng.standard_normal(len(self.x)), sizeable(self.rng, len(self.x))
        reached, slope = (a.astype(dtype) for a in (reached, slope))
        if new_pair:
            s, y = unit * step * self.d, unit * (slope - self.g)
            self.pairs = [*self.pairs, (s, y)][-self.m :]
            plan[[SLOT, S_FACTOR, Y_FACTOR]] = self.made % self.m, unit * step, unit
            self.made += 1
        self.x, self.g = reached.astype(float), slope.astype(float)
        return reached, slope

    def turn(self, plan, inverse) -> None:
        """Take minus the inverse Hessian times the gradient, and say so in the plan."""
        gamma = self.rng.uniform(0.5, 1.5)
        self.d = -inverse(self.pairs, gamma, self.g)
        plan[[TURNS, G_FACTOR]] = 1, -gamma
        if self.pairs:
            s, y = np.array(self.pairs).transpose(1, 0, 2)
            slots = np.arange(self.made - len(s), self.made) % self.m
            own = coefficients(s @ y.T, y @ y.T, s @ self.g, y @ self.g, gamma)
            for first, c in zip((0, self.m), own, strict=True):
                plan[COEFFICIENTS + first + slots] = -c


def lbfgs_step(way, body, rng, dtype) -> None:
    """Several steps of a stack, some models of which rest, against the recursion of each alone."""
    models, m = (int(n) for n in rng.integers(1, 5, 2))
    p = int(rng.choice([1, 7, 300]))
    x, gradient, direction = (sizeable(rng, models, p).astype(dtype) for _ in range(3))
    pairs = np.full((models, 2 * m, p), np.nan, dtype)
    each = [Descent(rng, *own, m) for own in zip(x, gradient, direction, strict=True)]
    for _ in range(8):
        active = rng.permutation(models)[: int(rng.integers(1, models + 1))]
        plan = np.zeros((len(active), COEFFICIENTS + 2 * m))
        plan[:, MODEL], plan[:, [SOURCE, SLOT]] = active, -1
        reached, slope = (np.full((len(active), p), np.nan, dtype) for _ in range(2))
        places, expected = rng.permutation(len(active)), []
        for own, model, place in zip(plan, active, places, strict=True):
            descent = each[model]
            if rng.random() < 0.8:
                own[SOURCE] = place
                reached[place], slope[place] = descent.move(own, dtype)
            own[COUNT] = len(descent.pairs)
            if rng.random() < 0.8:
                descent.turn(own, INVERSES[way])
            own[STEP] = rng.uniform(0.5, 1.5)
            expected.append(descent.x + own[STEP] * descent.d)
        point = body(x, gradient, direction, pairs, reached, slope, plan)
        close(point, expected, dtype)
        for got, name in ((x, "x"), (gradient, "g"), (direction, "d")):
            close(got, [getattr(descent, name) for descent in each], dtype)


def lbfgs_products(way, body, rng, dtype) -> None:
    """The products of every vector with every other: they make the direction of the recursion."""
    models, m = (int(n) for n in rng.integers(1, 5, 2))
    p = int(rng.choice([7, 300]))
    s = sizeable(rng, models, m, p)
    pairs = np.concatenate([s, s * rng.uniform(1, 2, (models, 1, p))], axis=1).astype(dtype)
    gradient, direction, goal = (sizeable(rng, models, p).astype(dtype) for _ in range(3))
    active = rng.permutation(models)[: int(rng.integers(1, models + 1))]
    plan = np.zeros((len(active), COEFFICIENTS + 2 * m))
    plan[:, MODEL], plan[:, COUNT] = active, rng.integers(m + 1, size=len(active))
    stale = np.arange(m) >= plan[:, COUNT, None]

    def record(slope) -> np.ndarray:
        value = rng.standard_normal(len(active)).astype(dtype)
        got = body(value, slope, gradient, direction, pairs, plan)
        assert got.dtype == plan.dtype
        assert not got[:, PRODUCTS:][np.tile(stale, 4)].any()
        g, change = slope.astype(float), (slope - gradient[active]).astype(float)
        first = [value, abs(g).max(axis=1)]
        terms = [(g, direction[active]), (g, g), (change, g), (change, change)]
        if way == "scipy":
            sums = [[math.fsum(row) for row in a * b.astype(float)] for a, b in terms]
        else:
            sums = [torch.linalg.vecdot(*map(torch.tensor, (a, b.astype(float)))) for a, b in terms]
        expected = np.array([first[0], sums[0], first[1], *sums[1:]]).T
        close(got[:, :PRODUCTS].astype(dtype), expected, dtype)
        return got[:, PRODUCTS:].reshape(len(active), 4, m)

    at_goal = record(goal[active])
    with_changes = [record(gradient[active] + pairs[active, m + j]) for j in range(m)]
    for row, model in enumerate(active):
        k, gamma = int(plan[row, COUNT]), rng.uniform(0.5, 1.5)
        own, g = pairs[model].astype(float), goal[model].astype(float)
        sy, yy = (
            np.array([r[row, i, :k] for r in with_changes[:k]]).reshape(k, k).T for i in (2, 3)
        )
        on_s, on_y = coefficients(sy, yy, *at_goal[row, :2, :k], gamma)
        got = gamma * g + on_s @ own[:k] + on_y @ own[m : m + k]
        known = list(zip(own[:k], own[m : m + k], strict=True))
        close(got.astype(dtype), INVERSES[way](known, gamma, g), dtype)
