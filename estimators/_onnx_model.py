"""Fitted models as ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators._base import dense_rows_of
from estimators._images import final_estimator
from estimators._network_model import NetworkModel
from estimators._onnx_graph import Graph, add_layer
from estimators.logistic import LogisticRegression
from estimators.perceptron import Perceptron


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
        Of the input and the arithmetic. In float64 convolutions and averages are written as sums
        over windows, and the error function of "gelu" stays in float32: onnxruntime has them in
        float32 alone.

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
    coef = None
    if isinstance(model, NetworkModel):
        scores = _network_scores(graph, model)
        output = model.out_activation_
        multilabel = model._label_binarizer.y_type_ == "multilabel-indicator"
    elif isinstance(model, Perceptron | LogisticRegression):
        coef = dense_rows_of(model.coef_)
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
    n_features = coef.shape[1] if coef is not None else model.n_features_in_
    return graph.model(n_features, outputs, " ".join(str(model).split()))


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
    classes = np.asarray(model.classes_)
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
