"""Fitted models as ONNX: `to_onnx`, and the outputs of each kind of model."""

from __future__ import annotations

from collections.abc import Callable
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

Outputs = dict[str, tuple[Any, list[Any]]]  # type and shape of each output, by its name


def to_onnx(estimator: Any, *, dtype: str = "float32") -> Any:
    """Write a fitted classifier as an ONNX model, which runs without Python.

    The model has the input "X" of shape (n_samples, n_features), in which images are rows of
    pixels, and two outputs: "label" of shape (n_samples,), and "probabilities" of shape (n_samples,
    n_classes). Instead of probabilities a Perceptron has "scores", which are its
    `decision_function`, of shape (n_samples,) for two classes. If samples have several labels each,
    "label" has the shape (n_samples, n_labels). Labels are strings, booleans, int64 or floats of
    `dtype`.

    Parameters
    ----------
    estimator : Perceptron, LogisticRegression, MLPClassifier or ConvNetClassifier
        Fitted. A search stands for its best estimator. A pipeline that ends in one of the four is
        written as a whole: the package skl2onnx, which knows the transformers of scikit-learn,
        writes the steps before the classifier.
    dtype : {"float32", "float64"}, default="float32"
        The dtype of the input and of the arithmetic. As onnxruntime has convolutions, averages and
        the error function in float32 alone, a model in float64 sums over windows instead, and
        computes the error function of "gelu" in float32.

    Returns
    -------
    model : onnx.ModelProto
        It can be saved by ``onnx.save(model, "digits.onnx")``, and makes a session of onnxruntime
        from ``model.SerializeToString()``. Its operators are those of opset 18.

    Raises
    ------
    ImportError
        If the package onnx is missing, or skl2onnx where there are steps before the classifier.
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
    add_outputs = next((add for kind, add in _OUTPUTS.items() if isinstance(model, kind)), None)
    if add_outputs is None:
        raise TypeError(
            "to_onnx takes a Perceptron, LogisticRegression, MLPClassifier or ConvNetClassifier of "
            f"this package, got {type(model).__module__}.{type(model).__name__}"
        )
    graph = Graph(onnx, np.dtype(dtype))
    labels = _labels(model.classes_, graph.dtype)
    outputs = add_outputs(graph, model, add_steps(graph, steps, "X"), labels)
    about = " ".join(str(estimator).split())
    return graph.model(n_features_given(steps, model), outputs, about)


def _network_outputs(graph: Graph, model: Any, x: str, labels: np.ndarray) -> Outputs:
    scores = _network_scores(graph, model, x)
    multilabel = model._label_binarizer.y_type_ == "multilabel-indicator"
    outputs = _add_labels(graph, labels, scores, multilabel)
    if model.out_activation_ == "softmax":
        return outputs | _add_softmax(graph, scores, len(labels))
    if multilabel and model.n_outputs_ > 1:
        probabilities = graph.add("Sigmoid", scores, output="probabilities")
        return outputs | {probabilities: (_kind(graph), [None, len(labels)])}
    return outputs | _add_logistic(graph, scores, len(labels))


def _logistic_outputs(graph: Graph, model: Any, x: str, labels: np.ndarray) -> Outputs:
    scores, n_problems = _linear_scores(graph, model, x)
    outputs = _add_labels(graph, labels, scores, multilabel=False)
    add_probabilities = _add_softmax if n_problems > 1 else _add_logistic
    return outputs | add_probabilities(graph, scores, len(labels))


def _perceptron_outputs(graph: Graph, model: Any, x: str, labels: np.ndarray) -> Outputs:
    scores, _ = _linear_scores(graph, model, x)
    outputs = _add_labels(graph, labels, scores, multilabel=False)
    if len(labels) == 2:
        graph.add("Reshape", scores, graph.constant(np.array([-1])), output="scores")
        return outputs | {"scores": (_kind(graph), [None])}
    graph.add("Identity", scores, output="scores")
    return outputs | {"scores": (_kind(graph), [None, len(labels)])}


# How each kind of model writes its outputs, which `to_onnx` looks up.
_OUTPUTS: dict[type, Callable[[Graph, Any, str, np.ndarray], Outputs]] = {
    NetworkModel: _network_outputs,
    LogisticRegression: _logistic_outputs,
    Perceptron: _perceptron_outputs,
}


def _linear_scores(graph: Graph, model: Any, x: str) -> tuple[str, int]:
    """Add the scores of a linear model; return their name, and how many a sample has."""
    coef = dense_rows_of(model.coef_)
    product = graph.add("MatMul", x, graph.constant(coef.T.astype(graph.dtype)))
    bias = np.broadcast_to(model.intercept_, len(coef)).astype(graph.dtype)
    return graph.add("Add", product, graph.constant(bias)), len(coef)


def _network_scores(graph: Graph, model: Any, x: str) -> str:
    """Add the layers of a network, each by its own `write_onnx`; return the name of the scores."""
    network = model._network
    if len(network.shapes[0]) > 1:
        x = graph.add("Reshape", x, graph.constant(np.array([-1, *network.shapes[0]])))
    for layer, p, shape in zip(
        network.layers, model._parameters(network), network.shapes, strict=False
    ):
        x = layer.write_onnx(graph, p, x, shape)
    return x


def _labels(classes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return classes in a type that ONNX has for labels: strings, booleans, int64 or `dtype`."""
    classes = np.asarray(classes)
    if classes.dtype.kind == "U" or all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    if classes.dtype.kind not in "biuf":
        raise TypeError(
            "to_onnx writes labels that are numbers or strings, and these are of dtype "
            f"{classes.dtype}: {classes[:3]}... Fit on strings, such as y.astype(str)."
        )
    kind = {"b": np.dtype(bool), "f": dtype}.get(classes.dtype.kind, np.dtype(np.int64))
    with np.errstate(over="ignore"):  # what float32 does not hold is refused below, in words
        written = classes.astype(kind)
    lost = [k for k, label in enumerate(classes) if label.item() != written[k].item()]
    if lost:
        raise ValueError(
            f"the label {classes[lost[0]]!r} would be {written[lost[0]]!r} as {kind}, the type of "
            "labels in the model. Fit on strings, such as y.astype(str), or on smaller numbers."
        )
    return written


def _add_labels(graph: Graph, classes: np.ndarray, scores: str, multilabel: bool) -> Outputs:
    """Add the output "label": the class of highest score, or all those with scores above 0."""
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


def _add_softmax(graph: Graph, scores: str, n_classes: int) -> Outputs:
    graph.add("Softmax", scores, axis=-1, output="probabilities")
    return {"probabilities": (_kind(graph), [None, n_classes])}


def _add_logistic(graph: Graph, scores: str, n_classes: int) -> Outputs:
    """Add the probabilities of two classes, which share a score; a single class has 1."""
    if n_classes == 1:
        return _add_softmax(graph, scores, n_classes)
    p = graph.add("Sigmoid", scores)
    rest = graph.add("Sigmoid", graph.add("Neg", scores))  # 1 - p would cancel
    graph.add("Concat", rest, p, axis=1, output="probabilities")
    return {"probabilities": (_kind(graph), [None, 2])}


def _kind(graph: Graph) -> Any:
    """Return the dtype of a graph as ONNX calls it."""
    return graph.onnx.helper.np_dtype_to_tensor_dtype(graph.dtype)
