"""Classifiers with scikit-learn's interface, trained by the kernels of `cukernels`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `X as X` tells type checkers that X is public here
    from estimators.convnet import ConvNetClassifier as ConvNetClassifier
    from estimators.layers.dense import Activation as Activation
    from estimators.layers.dense import BatchNorm as BatchNorm
    from estimators.layers.dense import Dense as Dense
    from estimators.layers.dense import Dropout as Dropout
    from estimators.layers.image import AvgPool2D as AvgPool2D
    from estimators.layers.image import Conv2D as Conv2D
    from estimators.layers.image import LocallyConnected2D as LocallyConnected2D
    from estimators.layers.image import MaxPool2D as MaxPool2D
    from estimators.logistic import LogisticRegression as LogisticRegression
    from estimators.mlp import MLPClassifier as MLPClassifier
    from estimators.neighbors import NearestNeighborClassifier as NearestNeighborClassifier
    from estimators.perceptron import Perceptron as Perceptron
    from estimators.vision import FilterBankTransformer as FilterBankTransformer
    from estimators.vision import VisualWordsTransformer as VisualWordsTransformer

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

__all__ = sorted(_MODULES)


if not TYPE_CHECKING:  # a type checker would take any name for one that is here

    def __getattr__(name: str) -> Any:
        """Import a class when it is first asked for (PEP 562): a script pays for what it uses."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
