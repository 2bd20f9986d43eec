"""Fitted models as ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from estimators.convert.onnx_graph import Graph
from estimators.convert.onnx_steps import add_steps
from estimators.logistic import LogisticRegression
from estimators.neural.fitted import NetworkModel
from estimators.perceptron import Perceptron
from estimators.shared.pipelines import n_features_given, steps_and_model
from estimators.shared.rows import dense_rows_of


def to_onnx(estimator: Any, *, dtype: str = "float32") -> Any:
    """Write a fitted classifier as an ONNX model, which runs without Python.

    The model has the input "X" of shape (n_samples, n_features), images as rows of pixels, and two
    outputs: "label" of shape (n_samples,), and "probabilities" of shape (n_samples, n_classes). A
    Perceptron has "scores" instead, as its `decision_function`, of shape (n_samples,) for two
    classes. Of several labels a sample "label" has shape (n_samples, n_labels). Labels are strings,
    booleans, int64 or floats of `dtype`.

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression, MLPClassifier or ConvNetClassifier
        Fitted. Of a search its best estimator is written, and of a pipeline that ends in one of
        the four the whole: the steps before it by the package skl2onnx, which knows the
        transformers of scikit-learn.
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
        If the package onnx is missing, or there are steps before the classifier and skl2onnx is.
    TypeError
        If the estimator is none of the four, or its labels are neither numbers nor strings.
    ValueError
        If a label is a number that the model cannot hold, such as one above 2**63.
    NotImplementedError
        If a step before the classifier cannot be written; the message names it.

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
    steps, model = steps_and_model(estimator)
    check_is_fitted(model)
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    if not isinstance(model, NetworkModel | Perceptron | LogisticRegression):
        raise TypeError(
            "to_onnx takes a Perceptron, LogisticRegression, MLPClassifier or ConvNetClassifier of "
            f"this package, got {type(model).__module__}.{type(model).__name__}"
        )
    graph = Graph(onnx, np.dtype(dtype))
    labels = _labels(model.classes_, graph.dtype)
    x = add_steps(graph, steps, "X")
    if isinstance(model, NetworkModel):
        scores = _network_scores(graph, model, x)
        output = model.out_activation_
        multilabel = model._label_binarizer.y_type_ == "multilabel-indicator"
    else:
        coef = dense_rows_of(model.coef_)
        product = graph.add("MatMul", x, graph.constant(coef.T.astype(dtype)))
        bias = np.broadcast_to(model.intercept_, len(coef)).astype(dtype)
        scores = graph.add("Add", product, graph.constant(bias))
        output = "softmax" if len(coef) > 1 else "logistic"
        multilabel = False
    outputs = _add_labels(graph, labels, scores, multilabel)
    if isinstance(model, Perceptron):
        _add_scores(graph, scores, outputs, len(model.classes_))
    else:
        _add_probabilities(graph, scores, output, outputs, model, multilabel)
    about = " ".join(str(estimator).split())
    return graph.model(n_features_given(steps, model), outputs, about)


def _network_scores(graph: Graph, model: Any, x: str) -> str:
    network = model._network
    if len(network.shapes[0]) > 1:
        x = graph.add("Reshape", x, graph.constant(np.array([-1, *network.shapes[0]])))
    for layer, p, shape in zip(
        network.layers, model._parameters(network), network.shapes, strict=False
    ):
        x = layer.write_onnx(graph, p, x, shape)
    return x


def _labels(classes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Classes in a type that ONNX has for labels: strings, booleans, int64 or a graph's floats."""
    classes = np.asarray(classes)
    if classes.dtype.kind == "U" or all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    if classes.dtype.kind not in "biuf":
        raise TypeError(
            "to_onnx writes labels that are numbers or strings, and these are of dtype "
            f"{classes.dtype}: {classes[:3]}... Fit on strings, such as y.astype(str)."
        )
    kind = {"b": np.dtype(bool), "f": dtype}.get(classes.dtype.kind, np.dtype(np.int64))
    with np.errstate(over="ignore"):  # of a float64 that float32 does not hold
        written = classes.astype(kind)
    lost = [k for k, label in enumerate(classes) if label.item() != written[k].item()]
    if lost:
        raise ValueError(
            f"the label {classes[lost[0]]!r} would be {written[lost[0]]!r} as {kind}, the type of "
            "labels in the model. Fit on strings, such as y.astype(str), or on smaller numbers."
        )
    return written


def _add_labels(
    graph: Graph, classes: np.ndarray, scores: str, multilabel: bool
) -> dict[str, tuple[Any, list[Any]]]:
    """The output "label": the class of highest score, or those whose score is above 0."""
    helper, kinds = graph.onnx.helper, graph.onnx.TensorProto
    if multilabel or len(classes) == 2:
        above = graph.add("Greater", scores, graph.constant(np.array(0.0)))
        label = "label" if multilabel else ""
        index = graph.add("Cast", above, to=kinds.INT64, output=label)
        if multilabel:
            return {"label": (kinds.INT64, [None, len(classes)])}
        index = graph.add("Reshape", index, graph.constant(np.array([-1])))
    else:
        index = graph.add("ArgMax", scores, axis=1, keepdims=0)
    strings = classes.dtype.kind == "O"
    kind = kinds.STRING if strings else helper.np_dtype_to_tensor_dtype(classes.dtype)
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
    if output == "softmax" or n_classes == 1:  # of a single class it is 1
        graph.add("Softmax", scores, axis=-1, output="probabilities")
    elif multilabel and model.n_outputs_ > 1:
        graph.add("Sigmoid", scores, output="probabilities")
    else:
        p = graph.add("Sigmoid", scores)
        rest = graph.add("Sigmoid", graph.add("Neg", scores))
        graph.add("Concat", rest, p, axis=1, output="probabilities")
        n_classes = 2
    outputs["probabilities"] = (kind, [None, n_classes])
