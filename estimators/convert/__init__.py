"""Fitted models for elsewhere: ONNX files, scikit-learn's own classes, and skops files."""

from estimators.convert.onnx_model import to_onnx
from estimators.convert.scikit_learn import from_sklearn, to_sklearn

__all__ = ["SKOPS_TRUSTED", "from_sklearn", "to_onnx", "to_sklearn"]

SKOPS_TRUSTED = [
    "estimators.layers.image.AvgPool2D",
    "estimators.layers.image.Conv2D",
    "estimators.layers.image.LocallyConnected2D",
    "estimators.layers.image.MaxPool2D",
    "estimators.layers.dense.Activation",
    "estimators.layers.dense.BatchNorm",
    "estimators.layers.dense.Dense",
    "estimators.layers.dense.Dropout",
    "estimators.layers.dense.Scores",
    "estimators.neural.network.Network",
    "estimators.neural.network.Slot",
    "estimators.neural.trainee.Progress",
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
