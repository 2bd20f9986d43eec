"""Classifiers with scikit-learn's interface, trained by the kernels of `cukernels`."""

from estimators._image_layers import AvgPool2D, Conv2D, LocallyConnected2D, MaxPool2D
from estimators._layers import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
)
from estimators.convnet import ConvNetClassifier
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
