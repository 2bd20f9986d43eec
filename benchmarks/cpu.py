"""How fast the estimators are on a CPU, against scikit-learn, PyTorch and skorch.

    python benchmarks/cpu.py                     all races, about half an hour
    python benchmarks/cpu.py --only Perceptron   those whose name has this in it
    python benchmarks/cpu.py --growth            how time grows with rows, width and models

MNIST is read from the folder that CUKERNELS_DATA names. Results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import time

import _rounds
import numpy as np
import scipy.sparse as sp
from _rounds import Contestant, Race
from sklearn import linear_model, model_selection, neural_network
from sklearn.datasets import load_digits, make_classification
from sklearn.metrics import log_loss

import estimators
from estimators import model_selection as stacked
from estimators.datasets import load_mnist


@functools.cache
def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels from 0 to 1, float32, as rows."""
    return load_mnist(scale=True, return_X_y=True)


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def fitted_accuracy(model, X, y, X_test, y_test) -> float:
    return model.fit(X, y).score(X_test, y_test)


def on_mnist(*models, rows: int = 60_000) -> list[Contestant]:
    X, X_test, y, y_test = mnist()
    return [
        functools.partial(fitted_accuracy, model, X[:rows], y[:rows], X_test, y_test)
        for model in models
    ]


def perceptrons() -> list:
    """Ours and scikit-learn's, which have the same coefficients after five epochs."""
    settings = {"max_iter": 5, "tol": None, "random_state": 0}
    return [module.Perceptron(**settings) for module in (estimators, linear_model)]


def perceptron() -> dict[str, Contestant]:
    return dict(zip(("cukernels", "scikit-learn"), on_mnist(*perceptrons()), strict=True))


def perceptron_of(kind: str) -> dict[str, Contestant]:
    """Few features, or sparse rows as texts have them."""
    rng = np.random.default_rng(0)
    if kind == "few":
        X, y = make_classification(20_000, 20, n_informative=10, n_classes=2, random_state=0)
    else:
        X = sp.random_array((11_314, 50_000), density=0.003, format="csr", random_state=rng)
        y = (X @ rng.standard_normal(50_000) > 0).astype(int)
    return {
        name: functools.partial(fitted_accuracy, model, X, y, X, y)
        for name, model in zip(("cukernels", "scikit-learn"), perceptrons(), strict=True)
    }


def objective(model, X, y) -> float:
    """What LogisticRegression minimises: the sum of losses and the norms of the weights."""
    loss = log_loss(y, model.predict_proba(X).astype(float), normalize=False)
    squares = float(np.sum(np.square(model.coef_, dtype=float)))
    ratio = model.l1_ratio
    return loss + (1 - ratio) / 2 * squares + ratio * float(np.abs(model.coef_).sum())


def logistic_regression(X, y, **settings) -> dict[str, Contestant]:
    def contestant(module) -> Contestant:
        model = module.LogisticRegression(**settings)
        return lambda: objective(model.fit(X, y), X, y)

    return {"cukernels": contestant(estimators), "scikit-learn": contestant(linear_model)}


def logistic_mnist() -> dict[str, Contestant]:
    X, _, y, _ = mnist()
    return logistic_regression(X, y, max_iter=100)


def logistic_small() -> dict[str, Contestant]:
    X, y = make_classification(1000, 20, n_informative=10, random_state=0)
    return logistic_regression(X, y)


def logistic_l1(rows: int, columns: int) -> dict[str, Contestant]:
    """Five classes, of which the L1 norm is to choose the features."""
    X, y = make_classification(rows, columns, n_informative=10, n_classes=5, random_state=0)
    return logistic_regression(X, y, solver="saga", l1_ratio=1.0)


def logistic_raw_digits() -> dict[str, Contestant]:
    X, y = load_digits(return_X_y=True)
    return logistic_regression(X[:300], y[:300], solver="saga", l1_ratio=0.5)


def mlp(hidden: tuple[int, ...], batch: int, rows: int = 60_000) -> dict[str, Contestant]:
    import _peers

    X, X_test, y, y_test = mnist()
    X, y = X[:rows], y[:rows]
    settings = {"hidden_layer_sizes": hidden, "batch_size": batch, "max_iter": 1}
    models = [m.MLPClassifier(**settings, random_state=0) for m in (estimators, neural_network)]
    ours, theirs = on_mnist(*models, rows=rows)
    make = _peers.mlp((X.shape[1], *hidden, 10))
    torch = lambda: _peers.train(make, X, y, batch=batch, epochs=1)(X_test, y_test)  # noqa: E731
    return {"cukernels": ours, "scikit-learn": theirs, "PyTorch": torch}


def skorch_net(make, epochs: int, batch: int, **settings):
    """A skorch classifier with our defaults: Adam at 0.001, no validation split, no output."""
    import torch
    from skorch import NeuralNetClassifier

    return NeuralNetClassifier(
        make, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-3,
        max_epochs=epochs, batch_size=batch, train_split=None, iterator_train__shuffle=True,
        verbose=0, **settings,
    )  # fmt: skip


def mlp_digits() -> dict[str, Contestant]:
    import _peers

    X, y = digits()
    halves = X[::2], y[::2], X[1::2], y[1::2]
    settings = {"hidden_layer_sizes": (100,), "batch_size": 32, "max_iter": 20, "random_state": 0}
    ours, theirs = (m.MLPClassifier(**settings) for m in (estimators, neural_network))
    skorch = skorch_net(_peers.mlp((64, 100, 10)), 20, 32)
    return {
        name: functools.partial(fitted_accuracy, model, *halves)
        for name, model in (("cukernels", ours), ("scikit-learn", theirs), ("skorch", skorch))
    }


def convnet(rows: int = 60_000) -> dict[str, Contestant]:
    """Two 3 x 3 convolutions, 16 and 32 filters, each with ReLU and 2 x 2 pooling."""
    import _peers
    import torch

    X, X_test, y, y_test = mnist()
    X, y = X[:rows], y[:rows]
    images, test_images = X.reshape(-1, 1, 28, 28), X_test.reshape(-1, 1, 28, 28)
    make = _peers.convnet((16, 32), 28)
    model = estimators.ConvNetClassifier(
        conv_layer_sizes=(16, 32), hidden_layer_sizes=(), batch_size=128, max_iter=1,
        random_state=0,
    )  # fmt: skip
    (ours,) = on_mnist(model, rows=rows)

    def peer(layout) -> Contestant:
        return lambda: _peers.train(make, images, y, batch=128, epochs=1, layout=layout)(
            test_images, y_test
        )

    skorch = skorch_net(make, 1, 128)
    return {
        "cukernels": ours,
        "PyTorch, NCHW": peer(torch.contiguous_format),
        "PyTorch, channels last": peer(torch.channels_last),
        "skorch": functools.partial(fitted_accuracy, skorch, images, y, test_images, y_test),
    }


def predict(rows: int) -> dict[str, Contestant]:
    """Probabilities of a network with one hidden layer of 100."""
    X, _, y, _ = mnist()
    settings = {"max_iter": 1, "random_state": 0, "batch_size": 200}
    models = [m.MLPClassifier(**settings) for m in (estimators, neural_network)]
    for model in models:
        _rounds.turn(lambda model=model: model.fit(X[:10_000], y[:10_000]) and 0.0, 1)

    def contestant(model) -> Contestant:
        def work() -> float:
            return float(model.predict_proba(X[:rows])[:, 0].mean())

        return work

    return dict(zip(("cukernels", "scikit-learn"), map(contestant, models), strict=True))


def imports() -> dict[str, Contestant]:
    """A new Python that imports one class."""

    def contestant(module: str) -> Contestant:
        command = [sys.executable, "-c", f"from {module} import MLPClassifier"]
        return lambda: float(subprocess.run(command, check=True).returncode)

    return {
        "cukernels": contestant("estimators"),
        "scikit-learn": contestant("sklearn.neural_network"),
    }


RACES = [
    Race("Perceptron, MNIST, 5 epochs", perceptron, {"scikit-learn": 1}),
    Race("Perceptron, 20,000 x 20", lambda: perceptron_of("few"), {"scikit-learn": 0.5}, repeats=5),
    Race(
        "Perceptron, sparse, 11,314 x 50,000",
        lambda: perceptron_of("sparse"),
        {"scikit-learn": 0.5},
    ),
    Race("LogisticRegression, MNIST, lbfgs", logistic_mnist, {"scikit-learn": 3}, "objective"),
    Race("LogisticRegression, 1,000 x 20", logistic_small, {"scikit-learn": 1}, "objective", 20),
    *(
        Race(
            f"LogisticRegression, L1, 5 classes, {rows:,} x {columns}",
            functools.partial(logistic_l1, rows, columns),
            {"scikit-learn": 1 / 3},
            "objective",
            5,
        )
        for rows, columns in ((300, 30), (2000, 50))
    ),
    Race(
        "LogisticRegression, half L1, 300 raw digits",
        logistic_raw_digits,
        {"scikit-learn": 1 / 3},
        "objective",
        5,
    ),
    Race(
        "MLPClassifier (100,), batch 200, MNIST epoch",
        lambda: mlp((100,), 200),
        {"scikit-learn": 2, "PyTorch": 1.2},
    ),
    Race(
        "MLPClassifier (512, 512), batch 256, MNIST epoch",
        lambda: mlp((512, 512), 256),
        {"scikit-learn": 1.5, "PyTorch": 1},
    ),
    Race(
        "MLPClassifier (100,), batch 32, digits, 20 epochs",
        mlp_digits,
        {"scikit-learn": 1.5, "skorch": 5},
    ),
    Race(
        "ConvNetClassifier (16, 32), batch 128, MNIST epoch",
        convnet,
        {"PyTorch, NCHW": 1, "PyTorch, channels last": 1, "skorch": 1},
    ),
    Race("predict_proba, one row", lambda: predict(1), {"scikit-learn": 1}, "mean", 200),
    Race("predict_proba, 60,000 rows", lambda: predict(60_000), {"scikit-learn": 1.5}, "mean", 10),
    Race("import of MLPClassifier", imports, {}, "status"),
]


def growth() -> dict[str, dict[str, list[float]]]:
    """Seconds of an epoch as rows, width and the number of models grow."""
    table: dict[str, dict[str, list[float]]] = {}

    def add(axis: str, value: int, contestants: dict[str, Contestant]) -> None:
        row = table.setdefault(axis, {}).setdefault(str(value), [])
        for name, work in contestants.items():
            if name in ("cukernels", "scikit-learn"):
                row.append(statistics.median(_rounds.turn(work, 1)[0] for _ in range(3)))
        print(f"  {axis} {value}: " + ", ".join(f"{seconds:.3g} s" for seconds in row), flush=True)

    for rows in (1_000, 4_000, 15_000, 60_000):
        add("rows", rows, mlp((100,), 200, rows))
    for width in (32, 128, 512, 2048):
        add("width", width, mlp((width,), 200, 10_000))
    for models in (1, 2, 8, 32, 128):
        add("models", models, stack(models))
    return table


def stack(models: int) -> dict[str, Contestant]:
    """Candidates of one grid search on digits: a stack of models, or one after the other."""
    X, y = digits()
    candidates = {"alpha": list(np.logspace(-5, -1, models))}
    halves = [(np.arange(0, len(X), 2), np.arange(1, len(X), 2))]
    settings = {"hidden_layer_sizes": (100,), "batch_size": 32, "max_iter": 5, "random_state": 0}

    def contestant(search, module) -> Contestant:
        model = module.MLPClassifier(**settings)
        grid = search(model, candidates, cv=halves, refit=False)
        return lambda: float(grid.fit(X, y).cv_results_["mean_test_score"].max())

    return {
        "cukernels": contestant(stacked.GridSearchCV, estimators),
        "scikit-learn": contestant(model_selection.GridSearchCV, neural_network),
    }


def growth_markdown(table: dict[str, dict[str, list[float]]]) -> str:
    """One row a size: an epoch on MNIST, or a search over models on digits."""
    lines = ["| what grows | to | ours, s | scikit-learn, s | times as fast |"]
    lines.append("|---|---:|---:|---:|---:|")
    for axis, sizes in table.items():
        for size, (ours, theirs) in sizes.items():
            ratio = f"{theirs / ours:.2f}"
            lines.append(f"| {axis} | {size} | {ours:.3g} | {theirs:.3g} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="races whose name has this in it")
    parser.add_argument("--rounds", type=int, default=_rounds.ROUNDS)
    parser.add_argument("--growth", action="store_true", help="how time grows, and no races")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--memory-of", nargs=2, metavar=("RACE", "NAME"), help=argparse.SUPPRESS)
    parser.add_argument("--no-cores", action="store_true", help="leave out one core against all")
    parser.add_argument("--turns-of", type=int, metavar="RACE", help=argparse.SUPPRESS)
    parser.add_argument("--one-core", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turns_of is not None:
        return _rounds.take_turns(RACES[arguments.turns_of], arguments.one_core)
    if arguments.memory_of:
        place, name = arguments.memory_of
        return _rounds.print_added_megabytes(RACES[int(place)], name)
    if arguments.growth:
        table = growth()
        return _rounds.save("cpu-growth", [], growth_markdown(table), rounds=3, seconds=table)
    results = []
    for place, race in enumerate(RACES):
        if arguments.only not in race.work:
            continue
        start = time.perf_counter()
        result = _rounds.run(race, arguments.rounds)
        if not arguments.no_memory and race.prepare is not imports:
            result.megabytes = {
                name: _rounds.peak_megabytes(__file__, place, name) for name in result.seconds
            }
        if not arguments.no_cores and race.prepare is not imports:
            result.cores = _rounds.on_one_core_and_all(race, __file__, place, arguments.rounds)
        results.append(result)
        print(_rounds.markdown([result]).split("\n", 2)[2], flush=True)
        print(_rounds.cores_markdown([result]).split("\n")[-1], flush=True)
        print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    if not arguments.only:
        cores = f"One core against all of them:\n\n{_rounds.cores_markdown(results)}"
        _rounds.save("cpu", results, cores, rounds=arguments.rounds, by_processor=True)


if __name__ == "__main__":
    main()
