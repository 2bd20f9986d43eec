"""Fitted models for elsewhere: ONNX files, scikit-learn's own classes, and skops files."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import sklearn.linear_model
import sklearn.neural_network
from sklearn.utils.validation import check_is_fitted

from estimators._given_weights import set_weights
from estimators._images import final_estimator
from estimators._network_model import NetworkModel
from estimators._onnx_graph import Graph, add_layer
from estimators.logistic import LogisticRegression
from estimators.mlp import MLPClassifier
from estimators.perceptron import Perceptron

__all__ = ["SKOPS_TRUSTED", "from_sklearn", "to_onnx", "to_sklearn"]

_THEIRS: dict[type, type] = {
    Perceptron: sklearn.linear_model.Perceptron,
    LogisticRegression: sklearn.linear_model.LogisticRegression,
    MLPClassifier: sklearn.neural_network.MLPClassifier,
}
_OURS = {theirs: ours for ours, theirs in _THEIRS.items()}
_LINEAR = ("coef_", "intercept_", "classes_", "n_features_in_", "n_iter_")
_NETWORK = (
    "coefs_", "intercepts_", "classes_", "n_features_in_", "n_iter_", "n_layers_", "n_outputs_",
    "out_activation_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
    "best_validation_score_", "_label_binarizer",
)  # fmt: skip

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
    "estimators.neighbors.NearestNeighborClassifier",
    "estimators.perceptron.Perceptron",
    "estimators.vision.FilterBankTransformer",
    "estimators.vision.VisualWordsTransformer",
]
"""Names of the classes of this package, as ``skops.io.load(file, trusted=SKOPS_TRUSTED)`` wants."""


# ONNX ---------------------------------------------------------------------------------------------


def to_onnx(estimator: Any, *, dtype: str = "float32") -> Any:
    """Write a fitted classifier as an ONNX model, which runs without Python.

    The model has the input "X" of shape (n_samples, n_features), images as rows of pixels, and two
    outputs: "label" of shape (n_samples,), and "probabilities" of shape (n_samples, n_classes). A
    Perceptron has "scores" instead, as its `decision_function`, of shape (n_samples,) for two
    classes. Of several labels a sample "label" has shape (n_samples, n_labels).

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression, MLPClassifier or ConvNetClassifier
        Fitted. Of a search its best estimator is written.
    dtype : {"float32", "float64"}, default="float32"
        Of the input and the arithmetic. Not every runtime has convolutions in float64.

    Returns
    -------
    model : onnx.ModelProto
        For ``onnx.save(model, "digits.onnx")``, or a session of onnxruntime from
        ``model.SerializeToString()``. It has operators of opset 18.

    Raises
    ------
    ImportError
        If the package onnx is missing.
    TypeError
        If the estimator is none of the four.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from estimators import LogisticRegression
    >>> from estimators.convert import to_onnx
    >>> model = to_onnx(LogisticRegression(max_iter=200).fit(*load_iris(return_X_y=True)))
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "to_onnx needs the package onnx, which is not installed. Install it with "
            "`pip install 'cukernels[onnx]'`."
        ) from error
    model = final_estimator(estimator)
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    graph = Graph(onnx, np.dtype(dtype))
    if isinstance(model, NetworkModel):
        scores = _network_scores(graph, model)
        output = model.out_activation_
        multilabel = model._label_binarizer.y_type_ == "multilabel-indicator"
    elif isinstance(model, Perceptron | LogisticRegression):
        coef = model.coef_.toarray() if sp.issparse(model.coef_) else model.coef_
        product = graph.add("MatMul", "X", graph.constant(coef.T.astype(dtype)))
        bias = np.broadcast_to(model.intercept_, len(coef)).astype(dtype)
        scores = graph.add("Add", product, graph.constant(bias))
        output = "softmax" if len(coef) > 1 else "logistic"
        multilabel = False
    else:
        raise TypeError(
            "to_onnx takes a Perceptron, LogisticRegression, MLPClassifier or ConvNetClassifier of "
            f"this package, got {type(model).__module__}.{type(model).__name__}"
        )
    outputs = _add_labels(graph, model, scores, multilabel)
    if isinstance(model, Perceptron):
        _add_scores(graph, scores, outputs, len(model.classes_))
    else:
        _add_probabilities(graph, scores, output, outputs, model, multilabel)
    return graph.model(model.n_features_in_, outputs, " ".join(str(model).split()))


def _network_scores(graph: Graph, model: Any) -> str:
    network, x = model._network, "X"
    if len(network.shapes[0]) > 1:
        x = graph.add("Reshape", x, graph.constant(np.array([-1, *network.shapes[0]])))
    for layer, p, shape in zip(
        network.layers, model._parameters(network), network.shapes, strict=False
    ):
        x = add_layer(graph, layer, p, x, shape)
    return x


def _add_labels(
    graph: Graph, model: Any, scores: str, multilabel: bool
) -> dict[str, tuple[Any, list[Any]]]:
    """The output "label": the class of highest score, or those whose score is above 0."""
    helper, kinds = graph.onnx.helper, graph.onnx.TensorProto
    n_classes = len(model.classes_)
    if multilabel or n_classes == 2:
        above = graph.add("Greater", scores, graph.constant(np.array(0.0)))
        label = "label" if multilabel else ""
        index = graph.add("Cast", above, to=kinds.INT64, output=label)
        if multilabel:
            return {"label": (kinds.INT64, [None, n_classes])}
        index = graph.add("Reshape", index, graph.constant(np.array([-1])))
    else:
        index = graph.add("ArgMax", scores, axis=1, keepdims=0)
    classes = model.classes_
    if classes.dtype.kind in "OU":
        kind = kinds.STRING
    else:
        classes = classes.astype(np.int64) if classes.dtype.kind in "iu" else classes
        kind = helper.np_dtype_to_tensor_dtype(
            graph.dtype if classes.dtype.kind == "f" else classes.dtype
        )
    graph.add("Gather", graph.constant(classes), index, output="label")
    return {"label": (kind, [None])}


def _add_scores(graph: Graph, scores: str, outputs: dict, n_classes: int) -> None:
    kind = graph.onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
    if n_classes == 2:
        graph.add("Reshape", scores, graph.constant(np.array([-1])), output="scores")
    else:
        graph.add("Identity", scores, output="scores")
    outputs["scores"] = (kind, [None] if n_classes == 2 else [None, n_classes])


def _add_probabilities(
    graph: Graph, scores: str, output: str, outputs: dict, model: Any, multilabel: bool
) -> None:
    kind = graph.onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
    n_classes = len(model.classes_)
    if output == "softmax":
        graph.add("Softmax", scores, axis=-1, output="probabilities")
    elif multilabel and model.n_outputs_ > 1:
        graph.add("Sigmoid", scores, output="probabilities")
    else:
        p = graph.add("Sigmoid", scores)
        rest = graph.add("Sigmoid", graph.add("Neg", scores))
        graph.add("Concat", rest, p, axis=1, output="probabilities")
        n_classes = 2
    outputs["probabilities"] = (kind, [None, n_classes])


# scikit-learn -------------------------------------------------------------------------------------


def to_sklearn(estimator: Any) -> Any:
    """Return scikit-learn's estimator of the same name with the same parameters and weights.

    It predicts the same and needs this package no longer. Parameters that scikit-learn does not
    have are left out where they only concern training (`class_weight` and `dropout` of networks,
    `device`, ...).

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression or MLPClassifier
        Fitted.

    Returns
    -------
    estimator : object of sklearn.linear_model or sklearn.neural_network

    Raises
    ------
    TypeError
        If the estimator is none of the three.
    ValueError
        If scikit-learn's class cannot predict the same: an MLPClassifier with batch normalisation,
        with an activation that scikit-learn does not have, or with several.
    """
    if type(estimator) not in _THEIRS:
        raise TypeError(
            "to_sklearn takes a Perceptron, LogisticRegression or MLPClassifier of this package, "
            f"got {type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    target = _THEIRS[type(estimator)]
    params = estimator.get_params(deep=False)
    if isinstance(estimator, MLPClassifier):
        params |= _their_network_params(estimator, params)
    if isinstance(estimator, LogisticRegression):
        params |= _their_penalty(params)
    theirs = target(**{name: params[name] for name in target().get_params() if name in params})
    _copy_attributes(
        estimator, theirs, _LINEAR + ("t_",) if hasattr(estimator, "coef_") else _NETWORK
    )
    if isinstance(estimator, MLPClassifier):
        theirs._random_state = np.random.RandomState()
        theirs._no_improvement_count = 0
    return theirs


def from_sklearn(estimator: Any, **params: Any) -> Any:
    """Return the estimator of this package for a fitted one of scikit-learn.

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression or MLPClassifier of scikit-learn
        Fitted.
    **params
        Parameters that scikit-learn's class does not have, such as `device`, or other values for
        those that it has. An MLPClassifier takes the precision of its weights, unless `dtype` says
        otherwise.

    Returns
    -------
    estimator : Perceptron, LogisticRegression or MLPClassifier
        It predicts the same. `partial_fit`, and `fit` with ``warm_start=True``, go on from the
        weights.

    Raises
    ------
    TypeError
        If the estimator is none of the three.
    """
    if type(estimator) not in _OURS:
        raise TypeError(
            "from_sklearn takes scikit-learn's Perceptron, LogisticRegression or MLPClassifier, "
            f"got {type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    target = _OURS[type(estimator)]
    theirs = estimator.get_params(deep=False)
    known = {name: theirs[name] for name in target().get_params() if name in theirs}
    if isinstance(estimator, sklearn.linear_model.LogisticRegression):
        known |= _our_penalty(known)
    if not isinstance(estimator, sklearn.neural_network.MLPClassifier):
        ours = target(**known | params)
        _copy_attributes(estimator, ours, (*_LINEAR, "t_"))
        return ours
    ours = target(**{"dtype": str(estimator.coefs_[0].dtype)} | known | params)
    binarizer = estimator._label_binarizer
    set_weights(
        ours,
        estimator.coefs_,
        estimator.intercepts_,
        np.asarray(estimator.classes_),
        multilabel=binarizer.y_type_ == "multilabel-indicator",
    )
    kept = [name for name in _NETWORK if name not in ("coefs_", "intercepts_", "_label_binarizer")]
    _copy_attributes(estimator, ours, kept)
    return ours


def _copy_attributes(source: Any, target: Any, names: Any) -> None:
    for name in (*names, "feature_names_in_"):
        if hasattr(source, name):
            value = getattr(source, name)
            copied = value.copy() if isinstance(value, np.ndarray | list) else value
            if isinstance(copied, list):
                copied = [a.copy() if isinstance(a, np.ndarray) else a for a in copied]
            setattr(target, name, copied)


def _their_network_params(model: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of scikit-learn's network, or an error where it has no such network."""
    activation = params["activation"]
    names = {activation} if isinstance(activation, str) else set(activation)
    if model.batch_norm:
        raise ValueError("scikit-learn's MLPClassifier has no batch normalisation")
    if len(names) > 1 or not names <= {"identity", "logistic", "tanh", "relu"}:
        raise ValueError(
            "scikit-learn's MLPClassifier has one activation for all layers, out of 'identity', "
            f"'logistic', 'tanh' and 'relu', not {activation!r}"
        )
    learning_rate = params["learning_rate"]
    return {
        "activation": names.pop() if names else "relu",
        "learning_rate": learning_rate
        if learning_rate in ("constant", "invscaling", "adaptive")
        else "constant",
    }


def _knows_deprecated_penalty() -> bool:
    """Whether this is scikit-learn 1.8 or later, where `l1_ratio` alone says the penalty."""
    return sklearn.linear_model.LogisticRegression().penalty == "deprecated"


def _their_penalty(params: dict[str, Any]) -> dict[str, Any]:
    """The penalty as this release of scikit-learn wants to be told."""
    if params["penalty"] != "deprecated" or _knows_deprecated_penalty():
        return {}
    ratio = params["l1_ratio"]
    if params["C"] == np.inf:
        return {"penalty": None, "C": 1.0, "l1_ratio": None}
    if ratio in (0, None):
        return {"penalty": "l2", "l1_ratio": None}
    if ratio == 1:
        return {"penalty": "l1", "l1_ratio": None}
    return {"penalty": "elasticnet"}


def _our_penalty(params: dict[str, Any]) -> dict[str, Any]:
    """The penalty by `l1_ratio` and C alone, which no release of scikit-learn warns of."""
    penalty, ratio = params.get("penalty", "deprecated"), params.get("l1_ratio")
    if penalty == "deprecated":
        return {}
    if penalty is None:
        return {"penalty": "deprecated", "C": np.inf, "l1_ratio": 0.0}
    ratios = {"l2": 0.0, "l1": 1.0, "elasticnet": ratio}
    return {"penalty": "deprecated", "l1_ratio": ratios[penalty]}
