"""The classes and functions that take scikit-learn's places, and where those are.

They are made once, of what scikit-learn has when this module is first imported. A pickle names them
by this module, so it can be loaded in any process that has this package, patched or not.
"""

from __future__ import annotations

import importlib
from typing import Any

from estimators import model_selection
from estimators.logistic import LogisticRegression as _LogisticRegression
from estimators.mlp import MLPClassifier as _MLPClassifier
from estimators.patching.stand_in import function_stand_in, search_stand_in, stand_in
from estimators.perceptron import Perceptron as _Perceptron
from estimators.scikit_learn import RELEASE

PLACES: dict[str, str] = {
    "LogisticRegression": "sklearn.linear_model",
    "MLPClassifier": "sklearn.neural_network",
    "Perceptron": "sklearn.linear_model",
    **dict.fromkeys(model_selection.__all__, "sklearn.model_selection"),
}
"""The public modules of scikit-learn in which a name is replaced.

Its private modules, by which its own code and its pickles find its classes, stay as they are.
"""


def _theirs(name: str) -> Any:
    return getattr(importlib.import_module(PLACES[name]), name)


# What scikit-learn deprecates from 1.8 on, older releases take without a word.
_SINCE_1_8 = "'(penalty|n_jobs|l1_ratio=None)'|Inconsistent values: penalty"

LogisticRegression = stand_in(
    _LogisticRegression,
    _theirs("LogisticRegression"),
    __name__,
    unheard="" if RELEASE >= (1, 8) else _SINCE_1_8,
)
# scikit-learn's network computes in the dtype of X
MLPClassifier = stand_in(_MLPClassifier, _theirs("MLPClassifier"), __name__, dtype="auto")
Perceptron = stand_in(_Perceptron, _theirs("Perceptron"), __name__)

for _name in model_selection.__all__:
    _own, _other = getattr(model_selection, _name), _theirs(_name)
    _made = search_stand_in if isinstance(_own, type) else function_stand_in
    globals()[_name] = _made(_own, _other, __name__)
