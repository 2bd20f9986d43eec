"""Train the four estimators on handwritten digits and print one table.

    python examples/demo.py                 scikit-learn's 1,797 digits, some seconds
    python examples/demo.py --data FOLDER   MNIST from its four idx files, some minutes

The environment variable CUKERNELS_DATA names the folder as well. Progress goes to stderr, the
table (or, with --json, what a program would read) to stdout.
"""

import argparse
import contextlib
import json
import os
import sys
import time
import warnings

from sklearn.exceptions import ConvergenceWarning

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.datasets import load_digits_split, load_mnist

ON_DIGITS = [
    Perceptron(max_iter=50),
    LogisticRegression(max_iter=200, tol=1e-3),
    MLPClassifier(hidden_layer_sizes=(128,), batch_size=32, max_iter=50, random_state=0),
    ConvNetClassifier(batch_size=32, max_iter=20, random_state=0),
]
ON_MNIST = [
    Perceptron(learning_rate="invscaling", max_iter=10, tol=None),
    LogisticRegression(max_iter=200, tol=1e-3),
    MLPClassifier(
        hidden_layer_sizes=(256,),
        batch_size=128,
        learning_rate="cosine",
        max_iter=15,
        random_state=0,
        verbose=1,
    ),
    ConvNetClassifier(
        conv_layer_sizes=(32, 64),
        hidden_layer_sizes=(128,),
        batch_size=128,
        learning_rate="cosine",
        max_iter=5,
        random_state=0,
        verbose=1,
    ),
]


def n_parameters(model):
    """Count the numbers that a fitted model has learned."""
    if hasattr(model, "coef_"):
        return model.coef_.size + model.intercept_.size
    return sum(array.size for array in [*model.coefs_, *model.intercepts_])


def trial(model, X_train, X_test, y_train, y_test):
    """Fit and score one model; return its row of the table."""
    name = type(model).__name__
    print(f"training {name} on {len(X_train):,} digits ...", file=sys.stderr, flush=True)
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # verbose=1 prints a line an epoch
        model.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    return {
        "estimator": name,
        "train_seconds": round(seconds, 2),
        "test_accuracy": round(float(model.score(X_test, y_test)), 4),
        "parameters": n_parameters(model),
        "settings": " ".join(str(model).split()),
    }


def table(rows):
    """Lay the rows out as a Markdown table."""
    yield f"| {'estimator':18} | train seconds | test accuracy | parameters |"
    yield f"|{'-' * 20}|--------------:|--------------:|-----------:|"
    for row in rows:
        yield (
            f"| {row['estimator']:18} | {row['train_seconds']:13.2f} "
            f"| {row['test_accuracy']:13.4f} | {row['parameters']:10,} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", metavar="DIR", default=os.environ.get("CUKERNELS_DATA"), help="folder of MNIST"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()

    if options.data:
        title, models = "MNIST", ON_MNIST
        digits = load_mnist(options.data, scale=True, return_X_y=True)
    else:
        title, models = "scikit-learn's digits", ON_DIGITS
        print("on scikit-learn's digits; --data FOLDER takes those of MNIST", file=sys.stderr)
        digits = load_digits_split(scale=True, return_X_y=True)

    # The number of epochs is chosen here, so that reaching it is no surprise.
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [trial(model, *digits) for model in models]

    X_train, X_test = digits[:2]
    if options.json:
        print(json.dumps({"data": title, "n_train": len(X_train), "rows": rows}, indent=2))
    else:
        print(f"\n{title}: {len(X_train):,} to train on, {len(X_test):,} to test\n")
        print(*table(rows), sep="\n")


if __name__ == "__main__":
    main()
