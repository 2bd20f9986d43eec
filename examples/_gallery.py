"""What the numbered examples share: their options, the digits, and where pictures go.

Every example takes `--quick`, for a run of a second or two with small settings, and `--out FOLDER`,
for another folder than `gallery/`. The digits are MNIST's where the environment variable
CUKERNELS_DATA names their folder, and scikit-learn's 8 x 8 ones elsewhere; which, they say.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from estimators.datasets import DATA_VARIABLE, load_digits_split, load_mnist

mpl.use("Agg")  # pictures go into files
mpl.rcParams.update({"font.size": 9, "axes.titlesize": 10, "figure.titlesize": 12})
# The number of epochs is chosen in the examples, so that reaching it is no surprise.
warnings.simplefilter("ignore", ConvergenceWarning)

_parser = argparse.ArgumentParser(description="Draws the picture of an example.")
_parser.add_argument("--quick", action="store_true", help="small settings, for a trial")
_parser.add_argument(
    "--out", type=Path, default=Path(__file__).parent / "gallery", help="folder of the picture"
)
_parser.add_argument(
    "--unsaved", action="store_true", help="write no picture, as when the manual takes it"
)
OPTIONS = _parser.parse_args()


def pick(usual, quick):
    """The usual setting, or with --quick the small one."""
    return quick if OPTIONS.quick else usual


def load(n_train, n_test):
    """Rows of pixels in [0, 1] and labels of some digits: X_train, X_test, y_train, y_test.

    Where there is no MNIST, they are scikit-learn's, and it says so on stderr. They are drawn at
    random, since those that stand next to each other in MNIST are often of one
    hand, and always the same.
    """
    if os.environ.get(DATA_VARIABLE):
        X_train, X_test, y_train, y_test = load_mnist(scale=True, return_X_y=True)
    else:
        print(
            f"these are scikit-learn's digits of 8 x 8 pixels: for MNIST, let the environment "
            f"variable {DATA_VARIABLE} name the folder of its four files",
            file=sys.stderr,
        )
        X_train, X_test, y_train, y_test = load_digits_split(scale=True, return_X_y=True)
    n_train, n_test = pick(n_train, min(n_train, 400)), pick(n_test, min(n_test, 200))
    rng = np.random.default_rng(0)
    train, test = rng.permutation(len(X_train))[:n_train], rng.permutation(len(X_test))[:n_test]
    return X_train[train], X_test[test], y_train[train], y_test[test]


def save(figure):
    """Write the picture of an example, named as its file is."""
    if OPTIONS.unsaved:
        return
    OPTIONS.out.mkdir(parents=True, exist_ok=True)
    path = OPTIONS.out / f"{Path(sys.argv[0]).stem}.png"
    figure.savefig(path, dpi=90, metadata={"Software": None}, pil_kwargs={"optimize": True})
    print(f"wrote {path}", file=sys.stderr)
