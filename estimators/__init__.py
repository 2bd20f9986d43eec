"""Classifiers with scikit-learn's interface, trained by the kernels of `cukernels`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estimators.convnet import ConvNetClassifier as ConvNetClassifier
    from estimators.layers.dense import *  # noqa: F403
    from estimators.layers.image import *  # noqa: F403
    from estimators.layers.norm import *  # noqa: F403
    from estimators.layers.pooling import *  # noqa: F403
    from estimators.logistic import LogisticRegression as LogisticRegression
    from estimators.mlp import MLPClassifier as MLPClassifier
    from estimators.neighbors import NearestNeighborClassifier as NearestNeighborClassifier
    from estimators.patching.patch import patch_sklearn as patch_sklearn
    from estimators.patching.patch import sklearn_is_patched as sklearn_is_patched
    from estimators.patching.patch import unpatch_sklearn as unpatch_sklearn
    from estimators.perceptron import Perceptron as Perceptron
    from estimators.vision.filter_bank import FilterBankTransformer as FilterBankTransformer
    from estimators.vision.visual_words import VisualWordsTransformer as VisualWordsTransformer

_MODULES = {
    "ConvNetClassifier": "convnet",
    "FilterBankTransformer": "vision.filter_bank",
    "LogisticRegression": "logistic",
    "MLPClassifier": "mlp",
    "NearestNeighborClassifier": "neighbors",
    "Perceptron": "perceptron",
    "VisualWordsTransformer": "vision.visual_words",
    "patch_sklearn": "patching.patch",
    "sklearn_is_patched": "patching.patch",
    "unpatch_sklearn": "patching.patch",
}


def _public_layers() -> dict[str, Any]:
    """The layers by name; their files say which are public."""
    return importlib.import_module("estimators.layers.all").LAYERS


if not TYPE_CHECKING:  # a type checker would take any name for one that is here

    def __getattr__(name: str) -> Any:
        """Import a class when it is first asked for (PEP 562): a script pays for what it uses."""
        if name in _MODULES:
            return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        if name == "__all__":
            return sorted([*_MODULES, *_public_layers()])
        if name.startswith("_") or name not in _public_layers():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _public_layers()[name]


def load_ipython_extension(shell: Any) -> None:
    """Patch scikit-learn in IPython and notebooks, by ``%load_ext estimators``."""
    importlib.import_module(f"{__name__}.patching.patch").patch_sklearn()


def unload_ipython_extension(shell: Any) -> None:
    """Take that back, by ``%unload_ext estimators``."""
    importlib.import_module(f"{__name__}.patching.patch").unpatch_sklearn()


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_public_layers()})
