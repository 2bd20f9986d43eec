"""Fitted models for use elsewhere: as ONNX, as scikit-learn's own classes, in files of skops."""

from estimators import _MODULES, model_selection
from estimators.convert.onnx_model import to_onnx
from estimators.convert.scikit_learn import from_sklearn, to_sklearn
from estimators.layers.all import KINDS
from estimators.training.member import TrainingState
from estimators.training.network import Network, Slot, Unit

__all__ = ["SKOPS_TRUSTED", "from_sklearn", "to_onnx", "to_sklearn"]

_SEARCHES = [
    found
    for found in (getattr(model_selection, name) for name in model_selection.__all__)
    if isinstance(found, type)
]
# those of a patched program, which this does not import: they are made when first asked for
_STAND_INS = ["LogisticRegression", "MLPClassifier", "Perceptron", *(s.__name__ for s in _SEARCHES)]
_INSIDE = [Network, Slot, Unit, TrainingState]  # the classes of what a fitted network holds

SKOPS_TRUSTED = sorted(
    [f"estimators.{module}.{name}" for name, module in _MODULES.items()]
    + [f"estimators.patching.classes.{name}" for name in _STAND_INS]
    + [f"{cls.__module__}.{cls.__name__}" for cls in KINDS + _SEARCHES + _INSIDE]
)
"""The names of this package's classes, for ``skops.io.load(file, trusted=SKOPS_TRUSTED)``."""
