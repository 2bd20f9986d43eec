"""Fitted models for elsewhere: ONNX files, scikit-learn's own classes, and skops files."""

from estimators import _MODULES, model_selection
from estimators.convert.onnx_model import to_onnx
from estimators.convert.scikit_learn import from_sklearn, to_sklearn
from estimators.layers.all import KINDS
from estimators.neural.member import TrainingState
from estimators.neural.network import Network, Slot

__all__ = ["SKOPS_TRUSTED", "from_sklearn", "to_onnx", "to_sklearn"]

_SEARCHES = [
    found
    for found in (getattr(model_selection, name) for name in model_selection.__all__)
    if isinstance(found, type)
]
_INSIDE = [Network, Slot, TrainingState]  # what fitted networks consist of

SKOPS_TRUSTED = sorted(
    [f"estimators.{module}.{name}" for name, module in _MODULES.items()]
    + [f"{cls.__module__}.{cls.__name__}" for cls in KINDS + _SEARCHES + _INSIDE]
)
"""Names of the classes of this package, as ``skops.io.load(file, trusted=SKOPS_TRUSTED)`` wants."""
