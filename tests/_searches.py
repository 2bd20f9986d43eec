"""What the tests of searches share: a quick network, and equality with scikit-learn's results."""

import numpy as np
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

from estimators import MLPClassifier

QUIET = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:The least populated class"),
]
SEARCHES = ["GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"]
FUNCTIONS = [
    "cross_validate",
    "cross_val_score",
    "cross_val_predict",
    "learning_curve",
    "validation_curve",
]


def mlp(**parameters):
    return MLPClassifier(
        **{"hidden_layer_sizes": (12,), "max_iter": 6, "random_state": 0, **parameters}
    )


def assert_same_results(one, other):
    """Equal in every column, but for the times."""
    assert list(one) == list(other)
    for name, values in one.items():
        if name.endswith("_time"):
            assert (np.asarray(values) >= 0).all()
        elif name == "params":
            assert values == other[name]
        else:
            np.testing.assert_array_equal(values, other[name], err_msg=name)
