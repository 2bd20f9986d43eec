"""How fast whole searches are, trained as one stack of models, against scikit-learn's n_jobs=2.

    python benchmarks/search.py                  all races, and how time grows with the stack
    python benchmarks/search.py --only pipeline  races whose name has this in it
    python benchmarks/search.py --quick          small settings, one round: does it run?

Both sides search the same grid over the same folds of scikit-learn's digits, and refit the best:
ours in one process with threads, and then with n_jobs=2 as well; scikit-learn's always with it.
Networks train for a fixed number of epochs, on both sides in float32; linear models are fitted in
float64. Processes are started before the clock is. Results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import _rounds
import numpy as np
from _rounds import Contestant, Race
from sklearn import linear_model, model_selection, neural_network
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import estimators
from estimators import model_selection as stacked

OURS, THEIRS = "cukernels", "scikit-learn, n_jobs=2"
ONE, TWO = {}, {"n_jobs": 2}  # processes that ours run in; scikit-learn's always has two
ALONE = "one after the other"
QUICK = "--quick" in sys.argv  # the process that measures memory is told as well

RATES = list(np.logspace(-3.5, -1.5, 4))
GROWTH = (1, 4, 16, 64, 256)


def digits(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pixels in [0, 1], and labels."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(dtype), y


def pick(usual: Any, quick: Any) -> Any:
    return quick if QUICK else usual


def search(model: Any, grid: dict[str, list], data: tuple, cv: Any, **options: Any) -> Contestant:
    """Search a grid; returns the best score."""
    module = options.pop("module", stacked)
    found = module.GridSearchCV(model, grid, cv=cv, **options)
    return lambda: float(found.fit(*data).best_score_)


def race(
    make: Callable[[ModuleType], Any],
    theirs: ModuleType,
    grid: dict[str, list],
    data: tuple,
    processes: dict[str, int],
) -> dict[str, Contestant]:
    """The same search over our estimators, and over scikit-learn's in two processes."""
    cv = pick(5, 2)
    return {
        OURS: search(make(estimators), grid, data, cv, **processes),
        THEIRS: search(make(theirs), grid, data, cv, n_jobs=2, module=model_selection),
    }


def mlp(module: ModuleType, hidden: int) -> Any:
    """A network that nothing stops before its last epoch."""
    return module.MLPClassifier(
        (hidden,), max_iter=pick(50, 3), tol=0, n_iter_no_change=10_000, random_state=0
    )


def mlps(processes: dict[str, int], hidden: int) -> dict[str, Contestant]:
    grid = {"learning_rate_init": RATES, "alpha": [1e-5, 1e-3, 1e-1]}
    make = lambda module: mlp(module, hidden)  # noqa: E731
    return race(make, neural_network, grid, digits("float32"), processes)


def pipelines(processes: dict[str, int]) -> dict[str, Contestant]:
    grid = {"learning_rate_init": RATES, "alpha": list(np.logspace(-5, 0, 6))}
    grid = {f"mlpclassifier__{name}": values for name, values in grid.items()}
    make = lambda module: make_pipeline(StandardScaler(), mlp(module, 64))  # noqa: E731
    return race(make, neural_network, grid, digits("float32"), processes)


def logistic_regressions(processes: dict[str, int]) -> dict[str, Contestant]:
    grid = {"C": list(np.logspace(-3, 2, 20))}
    make = lambda module: module.LogisticRegression(max_iter=1000)  # noqa: E731
    return race(make, linear_model, grid, digits("float64"), processes)


def perceptrons(processes: dict[str, int]) -> dict[str, Contestant]:
    grid = {"alpha": list(np.logspace(-7, -4, 10)), "eta0": [0.1, 1.0]}

    def make(module: ModuleType) -> Any:
        return module.Perceptron(penalty="l2", max_iter=pick(20, 2), tol=None, random_state=0)

    return race(make, linear_model, grid, digits("float64"), processes)


def convnets() -> dict[str, Contestant]:
    model = estimators.ConvNetClassifier(
        (8, 16), hidden_layer_sizes=(32,), batch_size=32, max_iter=pick(8, 1), tol=0,
        n_iter_no_change=10_000, random_state=0,
    )  # fmt: skip
    grid = {"learning_rate_init": [1e-3, 1e-2], "alpha": [1e-4, 1e-2]}
    data, cv = digits("float32"), pick(3, 2)
    return {
        OURS: search(model, grid, data, cv),
        ALONE: search(model, grid, data, cv, fused=False),
    }


AGAINST_SCIKIT_LEARN = {
    "MLPClassifier (64,), 12 x 5, 50 epochs": partial(mlps, hidden=64),
    "MLPClassifier (100,), 12 x 5, 50 epochs": partial(mlps, hidden=100),
    "pipeline, scaler and MLP (64,), 24 x 5, 50 epochs": pipelines,
    "LogisticRegression, 20 C x 5": logistic_regressions,
    "Perceptron, 20 x 5, 20 epochs": perceptrons,
}
RACES = [
    Race(f"{work}, {where}", partial(prepare, processes), {THEIRS: 3}, "score")
    for work, prepare in AGAINST_SCIKIT_LEARN.items()
    for where, processes in (("one process", ONE), ("n_jobs=2", TWO))
]
RACES.append(
    Race("ConvNetClassifier (8, 16), 4 x 3, 8 epochs", convnets, {ALONE: 1.5}, "score"),
)


def growth() -> dict[str, list[float]]:
    """Seconds of a search over so many candidates on one split: as a stack, and one by one."""
    data = digits("float32")
    split = [(np.arange(0, len(data[0]), 2), np.arange(1, len(data[0]), 2))]
    table = {}
    for models in pick(GROWTH, GROWTH[:2]):
        grid = {"alpha": list(np.logspace(-5, 0, models))}
        seconds: list[list[float]] = [[], []]
        model = mlp(estimators, 64).set_params(max_iter=pick(20, 2))
        contestants = [
            search(model, grid, data, split, refit=False, fused=fused) for fused in (True, False)
        ]
        for _ in range(pick(3, 1)):
            for own, work in zip(seconds, contestants, strict=True):
                own.append(_rounds.turn(work, 1)[0])
        table[str(models)] = [statistics.median(own) for own in seconds]
        print(f"  {models} models: {table[str(models)]}", flush=True)
    return table


def growth_markdown(table: dict[str, list[float]]) -> str:
    """One row a number of models."""
    lines = [
        "| models in the stack | s | ms a model | one after the other, s | times as fast |",
        "|---:|---:|---:|---:|---:|",
    ]
    for models, (stack, alone) in table.items():
        each = 1000 * stack / int(models)
        lines.append(f"| {models} | {stack:.3g} | {each:.3g} | {alone:.3g} | {alone / stack:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="races whose name has this in it")
    parser.add_argument("--rounds", type=int, default=1 if QUICK else _rounds.ROUNDS)
    parser.add_argument("--quick", action="store_true", help="small settings, nothing is saved")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--memory-of", nargs=2, metavar=("RACE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        place, name = arguments.memory_of
        return _rounds.print_added_megabytes(RACES[int(place)], name)
    results = []
    for place, each in enumerate(RACES):
        if arguments.only not in each.work:
            continue
        start = time.perf_counter()
        result = _rounds.run(each, arguments.rounds)
        if not (QUICK or arguments.no_memory):
            result.megabytes = {
                name: _rounds.peak_megabytes(__file__, place, name) for name in result.seconds
            }
        results.append(result)
        print(_rounds.markdown([result]).split("\n", 2)[2], flush=True)
        print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    if arguments.only:
        return None
    table = growth()
    print(growth_markdown(table))
    if not QUICK:
        own = f"Searches over one parameter on one split:\n\n{growth_markdown(table)}"
        _rounds.save(
            "search", results, own, rounds=arguments.rounds, by_processor=True, growth=table
        )
    return None


if __name__ == "__main__":
    main()
