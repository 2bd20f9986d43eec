"""How a search went: the curves of its candidates over their epochs, and the best score so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from estimators.inspection.search_scores import is_number, mean_scores, varied_parameters
from estimators.inspection.tiles import legend
from estimators.layers.layer import Layer
from estimators.neural.summary import name_of

_FEW = 8  # candidates that have a colour and a line of the legend each
_LONGEST = 32  # letters of a value
_OUTLIER = 4  # times the usual

CURVES = {
    "loss": ("loss_curves_", "mean loss of the epoch, over the folds"),
    "validation": ("validation_curves_", "validation accuracy, over the folds"),
}
"""For each kind of curve the attribute of a search that has it, and what its axis says."""


CORNERS = {"loss": "upper right", "validation": "lower right"}


def curves_of(search: Any, kind: str) -> list[np.ndarray]:
    """Return the curve of each candidate, the mean over the folds; empty where it has none.

    A fit that has ended before the others of its candidate keeps its last value.

    Raises
    ------
    ValueError
        If the search has kept no curves of that kind.
    """
    attribute, _ = CURVES[kind]
    if not hasattr(search, attribute):
        raise ValueError(
            f"this {type(search).__name__} has no {attribute}: fit a search of "
            "estimators.model_selection with keep_curves=True"
        )
    curves = [_mean(folds) for folds in getattr(search, attribute)]
    if not any(map(len, curves)):
        needs = "early_stopping=True, and all need " if kind == "validation" else ""
        raise ValueError(
            f"no fit of this {type(search).__name__} has a curve of its {kind}: networks need "
            f"{needs}a solver that goes by steps"
        )
    return curves


def _mean(folds: Sequence[np.ndarray | None]) -> np.ndarray:
    there = [curve for curve in folds if curve is not None and len(curve)]
    n_epochs = max(map(len, there), default=0)
    longer = [np.pad(curve, (0, n_epochs - len(curve)), mode="edge") for curve in there]
    return np.mean(longer, axis=0) if there else np.zeros(0)


def labels_of(results: dict[str, Any]) -> list[str]:
    """Return what tells each candidate from the others, as "alpha=0.1, solver=adam"."""
    told: list[dict[str, Any]] = [
        {name.rpartition("__")[2]: candidate[name] for name in varied_parameters(results)
         if name in candidate}
        for candidate in results["params"]
    ]  # fmt: skip
    if "n_resources" in results:  # of a search by halving, which tries a candidate several times
        for one, n in zip(told, results["n_resources"], strict=True):
            one["resources"] = n
    return [", ".join(f"{name}={_value(value)}" for name, value in one.items()) for one in told]


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and value and all(isinstance(v, Layer) for v in value):
        value = f"[{', '.join(map(name_of, value))}]"
    text = f"{value:.4g}" if is_number(value) else " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\u2026"


def seconds_of(results: dict[str, Any], n_splits: int) -> np.ndarray:
    """Return how much time the fits and scores have taken up to the end of each candidate."""
    of_fit = np.asarray(results["mean_fit_time"]) + np.asarray(results["mean_score_time"])
    return np.cumsum(np.nan_to_num(of_fit) * n_splits)


def scores_of(results: dict[str, Any], metric: str) -> np.ndarray:
    """Return the mean score of each candidate, in the order in which they were tried."""
    return np.asarray(mean_scores(results, metric), float)


def draw_curves(
    ax: Any,
    curves: Sequence[np.ndarray],
    scores: np.ndarray,
    labels: Sequence[str],
    cmap: Any,
    corner: str,
    best: int | None,
) -> tuple[dict[int, Any], Any]:
    """Draw the curve of each candidate; return the lines, and the colour bar if there is one.

    Few candidates have a colour each. Many have the colour of their score, with the best on top in
    red; `corner` is where the legend is then. `best` is the one that is marked, or None for that of
    the highest score.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    drawn = [i for i, curve in enumerate(curves) if len(curve)]
    known = [i for i in drawn if np.isfinite(scores[i])]
    if best is None and known:
        best = max(known, key=lambda i: scores[i])
    order = sorted(known, key=lambda i: -scores[i]) + [i for i in drawn if i not in known]
    few = len(drawn) <= _FEW
    mapped = ScalarMappable(
        Normalize(min(scores[known], default=0.0), max(scores[known], default=1.0)), cmap
    )
    lines = {}
    for k, i in reversed(list(enumerate(order))):  # so that the best are drawn last
        colour = f"C{k}" if few else mapped.to_rgba(scores[i]) if i in known else "0.7"
        style: dict[str, Any] = {"color": colour, "linewidth": 1.0 if few else 0.8}
        name = labels[i]
        if i == best:
            style |= {"linewidth": 2.2} | ({} if few else {"color": "C3"})
            name = f"{name} (best)" if name else "best"
        epochs = np.arange(1, len(curves[i]) + 1)
        marker = "." if len(epochs) == 1 else ""
        (lines[i],) = ax.plot(epochs, curves[i], marker=marker, label=name, **style)
    named = order if few or best is None else [best]
    size = 8 if max(map(len, labels), default=0) < 30 else 6.5
    place = "best" if few else corner
    legend(ax, handles=[lines[i] for i in named], fontsize=size, loc=place)
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    bar = None
    if not few:
        bar = ax.figure.colorbar(mapped, ax=ax, label="mean score over the folds")
    return lines, bar


def usual_top(curves: Sequence[np.ndarray]) -> float | None:
    """Return how far up curves are shown if some of them would flatten all others, or None."""
    finite = [curve[np.isfinite(curve)] for curve in curves]
    highest = [curve.max() for curve in finite if len(curve)]
    usual = float(np.median(highest)) if highest else 0.0
    return 1.5 * usual if usual > 0 and max(highest) > _OUTLIER * usual else None


def draw_best(
    ax: Any, scores: np.ndarray, seconds: np.ndarray, marked: int | None
) -> tuple[Any, Any]:
    """Draw the best score so far over the time, and the score of each candidate as a point."""
    is_there = np.isfinite(scores)
    if marked is None and is_there.any():
        marked = int(np.nanargmax(np.where(is_there, scores, np.nan)))
    if marked is not None:
        ax.plot(seconds[marked], scores[marked], "*", color="C3", markersize=12, zorder=3)
    seconds, scores = seconds[is_there], scores[is_there]
    best = np.maximum.accumulate(scores)
    points = ax.plot(seconds, scores, ".", color="0.6", markersize=4, label="a candidate")[0]
    (line,) = ax.plot(seconds, best, drawstyle="steps-post", label="best so far")
    ax.set_xlim(left=0)
    ax.legend(fontsize=8)
    ax.set_xlabel("seconds of all fits and scores so far")
    return line, points
