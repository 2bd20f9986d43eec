"""Classifiers with scikit-learn's interface, trained by the kernels of `cukernels`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estimators.convnet import ConvNetClassifier
    from estimators.layers.dense import (
        Activation,
        BatchNorm,
        Dense,
        Dropout,
    )
    from estimators.layers.image import AvgPool2D, Conv2D, LocallyConnected2D, MaxPool2D
    from estimators.logistic import LogisticRegression
    from estimators.mlp import MLPClassifier
    from estimators.neighbors import NearestNeighborClassifier
    from estimators.perceptron import Perceptron
    from estimators.vision import FilterBankTransformer, VisualWordsTransformer

__all__ = [
    "Activation",
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "ConvNetClassifier",
    "Dense",
    "Dropout",
    "FilterBankTransformer",
    "LocallyConnected2D",
    "LogisticRegression",
    "MLPClassifier",
    "MaxPool2D",
    "NearestNeighborClassifier",
    "Perceptron",
    "VisualWordsTransformer",
]

_MODULES = {
    **dict.fromkeys(("Activation", "BatchNorm", "Dense", "Dropout"), "layers.dense"),
    **dict.fromkeys(("AvgPool2D", "Conv2D", "LocallyConnected2D", "MaxPool2D"), "layers.image"),
    **dict.fromkeys(("FilterBankTransformer", "VisualWordsTransformer"), "vision"),
    "ConvNetClassifier": "convnet",
    "LogisticRegression": "logistic",
    "MLPClassifier": "mlp",
    "NearestNeighborClassifier": "neighbors",
    "Perceptron": "perceptron",
}


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for (PEP 562): a script pays for what it uses."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
