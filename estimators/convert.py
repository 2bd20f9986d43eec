"""Fitted models for elsewhere: ONNX files, scikit-learn's own classes, and skops files."""

from estimators._onnx_model import to_onnx
from estimators._sklearn_models import from_sklearn, to_sklearn

__all__ = ["SKOPS_TRUSTED", "from_sklearn", "to_onnx", "to_sklearn"]

SKOPS_TRUSTED = [
    "estimators._image_layers.AvgPool2D",
    "estimators._image_layers.Conv2D",
    "estimators._image_layers.LocallyConnected2D",
    "estimators._image_layers.MaxPool2D",
    "estimators._layers.Activation",
    "estimators._layers.BatchNorm",
    "estimators._layers.Dense",
    "estimators._layers.Dropout",
    "estimators._layers.Scores",
    "estimators._network.Network",
    "estimators._network.Slot",
    "estimators._trainee.Progress",
    "estimators.convnet.ConvNetClassifier",
    "estimators.logistic.LogisticRegression",
    "estimators.mlp.MLPClassifier",
    "estimators.model_selection.GridSearchCV",
    "estimators.model_selection.HalvingGridSearchCV",
    "estimators.model_selection.HalvingRandomSearchCV",
    "estimators.model_selection.RandomizedSearchCV",
    "estimators.neighbors.NearestNeighborClassifier",
    "estimators.perceptron.Perceptron",
    "estimators.vision.FilterBankTransformer",
    "estimators.vision.VisualWordsTransformer",
]
"""Names of the classes of this package, as ``skops.io.load(file, trusted=SKOPS_TRUSTED)`` wants."""
