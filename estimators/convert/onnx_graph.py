"""Writing ONNX graphs: nodes and constants, and what each layer of a network becomes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cukernels.activations import ACTIVATIONS, Formula, Node
from cukernels.images import Axis, grid
from estimators.layers.dense import Activation, BatchNorm, Dense, Dropout, Layer, Parameters, Shape
from estimators.layers.image import AvgPool2D, Conv2D, LocallyConnected2D, MaxPool2D

OPSET = 18  # of 2022; onnxruntime 1.14 and later know it
_IR_VERSION = 8

_IN_FLOAT32 = {"Erf"}  # onnxruntime has these operators for no other dtype


class Graph:
    """A graph in the making.

    Parameters
    ----------
    onnx : module
    dtype : numpy dtype
        Of all its arithmetic.
    """

    def __init__(self, onnx: Any, dtype: np.dtype) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.opsets = {"": OPSET}

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: Any) -> str:
        """Add a constant and return its name; floats take the dtype of the graph."""
        value = np.asarray(value)
        name = f"constant_{len(self.constants)}"
        if value.dtype.kind in "OU":
            strings = [str(v).encode() for v in value.ravel()]
            kind = self.onnx.TensorProto.STRING
            tensor = self.onnx.helper.make_tensor(name, kind, value.shape, strings)
        else:
            array = np.ascontiguousarray(value, self.dtype if value.dtype.kind == "f" else None)
            tensor = self.onnx.numpy_helper.from_array(array.reshape(value.shape), name)
        self.constants.append(tensor)
        return name

    def append(self, model: Any, x: str) -> str:
        """Apply a model of one input and one output to x; returns the name of what it makes."""
        model = self.onnx.compose.add_prefix(model, f"part_{len(self.nodes)}_")
        (given,), (made,) = model.graph.input, model.graph.output
        self.add("Identity", x, output=given.name)
        self.nodes += model.graph.node
        self.constants += model.graph.initializer
        for opset in model.opset_import:
            known = self.opsets.get(opset.domain, 0)
            self.opsets[opset.domain] = max(known, opset.version)
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
        if made.type.tensor_type.elem_type == kind:
            return made.name
        return self.add("Cast", made.name, to=kind)

    def model(self, n_features: int, outputs: dict[str, tuple[Any, list[Any]]], about: str) -> Any:
        """Return the checked model, with input "X" and outputs of given types and shapes."""
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        given = helper.make_tensor_value_info("X", kind, [None, n_features])
        made = [helper.make_tensor_value_info(name, *what) for name, what in outputs.items()]
        graph = helper.make_graph(self.nodes, "cukernels", [given], made, self.constants)
        opsets = [helper.make_opsetid(*opset) for opset in self.opsets.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="cukernels"
        )
        model.doc_string = about
        self.onnx.checker.check_model(model, full_check=True)
        return model


def add_activation(graph: Graph, name: str, x: str) -> str:
    """Apply an activation of `cukernels` along the last axis."""
    return _add_formula(graph, ACTIVATIONS[name].onnx, x)


def _add_formula(graph: Graph, formula: Formula, x: str) -> str:
    if formula == "x":
        return x
    if not isinstance(formula, Node):
        return graph.constant(formula)
    inputs = [_add_formula(graph, part, x) for part in formula.inputs]
    narrow = formula.operator in _IN_FLOAT32 and graph.dtype != np.float32
    if narrow:
        inputs = [graph.add("Cast", part, to=graph.onnx.TensorProto.FLOAT) for part in inputs]
    y = graph.add(formula.operator, *inputs, **formula.attributes)
    if narrow:
        y = graph.add("Cast", y, to=graph.onnx.helper.np_dtype_to_tensor_dtype(graph.dtype))
    return y


def add_layer(graph: Graph, layer: Layer, p: Parameters, x: str, shape: Shape) -> str:
    """Apply a layer to samples of a shape; images stay NHWC from layer to layer.

    Raises
    ------
    NotImplementedError
        If the layer is of a kind that is not known here.
    """
    if isinstance(layer, LocallyConnected2D):
        z = _local(graph, layer, p, x, shape)
    elif isinstance(layer, Conv2D):
        z = _convolution(graph, layer, p, x, shape)
    elif isinstance(layer, Dense):
        if len(shape) > 1:
            x = graph.add("Reshape", x, graph.constant(np.array([-1, np.prod(shape)])))
        z = graph.add("Add", graph.add("MatMul", x, graph.constant(p["w"])), _vector(graph, p))
    elif isinstance(layer, MaxPool2D):
        return _pooling(graph, layer, x, shape)
    elif isinstance(layer, BatchNorm):
        scale = p["gamma"] / np.sqrt(p["variance"] + layer.epsilon)
        shift = p["beta"] - p["mean"] * scale
        return graph.add("Add", graph.add("Mul", x, graph.constant(scale)), graph.constant(shift))
    elif isinstance(layer, Activation):
        return add_activation(graph, layer.name, x)
    elif isinstance(layer, Dropout):
        return x
    else:
        raise NotImplementedError(f"{layer} cannot be written as ONNX")
    return add_activation(graph, layer.activation, z)


def _vector(graph: Graph, p: Parameters) -> str:
    return graph.constant(p["bias"])


def _convolution(graph: Graph, layer: Conv2D, p: Parameters, x: str, shape: Shape) -> str:
    axes = grid(shape[:2], layer.kernel_size, **layer.geometry)
    if graph.dtype != np.float32:  # onnxruntime has no other convolutions
        filters = graph.constant(p["w"].reshape(len(p["w"]), -1).T)
        product = graph.add("MatMul", _windows(graph, x, axes), filters)
        return graph.add("Add", product, _vector(graph, p))
    filters = graph.constant(p["w"].transpose(0, 3, 1, 2))  # KRSC to KCRS
    images = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    maps = graph.add(
        "Conv", images, filters, _vector(graph, p),
        strides=[axis.stride for axis in axes], dilations=[axis.dilation for axis in axes],
        pads=_pads(axes),
    )  # fmt: skip
    return graph.add("Transpose", maps, perm=[0, 2, 3, 1])


def _pooling(graph: Graph, layer: MaxPool2D, x: str, shape: Shape) -> str:
    stride = layer.pool_size if layer.stride is None else layer.stride
    axes = grid(shape[:2], layer.pool_size, stride=stride, padding=layer.padding, name="pool_size")
    average = isinstance(layer, AvgPool2D)
    if average and graph.dtype != np.float32:  # nor other averages
        taps = _taps(graph, x, axes)
        return graph.add("Mul", graph.add("Sum", *taps), graph.constant(1 / len(taps)))
    more: dict[str, Any] = {"count_include_pad": 1} if average else {}
    images = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    pooled = graph.add(
        "AveragePool" if average else "MaxPool", images,
        kernel_shape=[axis.taps for axis in axes], strides=[axis.stride for axis in axes],
        pads=_pads(axes), **more,
    )  # fmt: skip
    return graph.add("Transpose", pooled, perm=[0, 2, 3, 1])


def _local(graph: Graph, layer: LocallyConnected2D, p: Parameters, x: str, shape: Shape) -> str:
    """A product with own weights at each place."""
    axes = grid(shape[:2], layer.kernel_size, **layer.geometry)
    places, k = p["w"].shape[:2], p["w"].shape[2]
    weights = graph.constant(p["w"].reshape(*places, k, -1))
    z = graph.add("Einsum", _windows(graph, x, axes), weights, equation="npqd,pqkd->npqk")
    return graph.add("Add", z, _vector(graph, p))


def _windows(graph: Graph, x: str, axes: tuple[Axis, Axis]) -> str:
    """The window under each place as a row, tap after tap."""
    return graph.add("Concat", *_taps(graph, x, axes), axis=3)


def _taps(graph: Graph, x: str, axes: tuple[Axis, Axis]) -> list[str]:
    """For each tap of a window the images of what all places see there."""
    rows, columns = axes
    pads = np.array([0, rows.before, columns.before, 0, 0, rows.after, columns.after, 0])
    padded = graph.add("Pad", x, graph.constant(pads))
    seen = []
    for r in range(rows.taps):
        for s in range(columns.taps):
            taps = rows.tap(r), columns.tap(s)
            seen.append(
                graph.add(
                    "Slice", padded,
                    graph.constant(np.array([tap.start for tap in taps])),
                    graph.constant(np.array([tap.stop for tap in taps])),
                    graph.constant(np.array([1, 2])),
                    graph.constant(np.array([tap.step for tap in taps])),
                )
            )  # fmt: skip
    return seen


def _pads(axes: tuple[Axis, Axis]) -> list[int]:
    return [axis.before for axis in axes] + [axis.after for axis in axes]
