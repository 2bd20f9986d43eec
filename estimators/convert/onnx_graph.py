"""`Graph`, which collects the nodes and constants of an ONNX model."""

from __future__ import annotations

from typing import Any

import numpy as np

from cukernels.activations import ACTIVATIONS, Formula, Node

OPSET = 18  # of 2022; onnxruntime 1.14 and later know it
_IR_VERSION = 8  # of the file format; that of the same release of onnx

_IN_FLOAT32 = {"Erf"}  # operators that onnxruntime has for float32 alone


class Graph:
    """An ONNX graph to which nodes are added.

    Parameters
    ----------
    onnx : module
        The imported package onnx.
    dtype : numpy dtype
        The dtype of the input, the floating-point constants and all arithmetic.
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

    def activation(self, name: str, x: str) -> str:
        """Apply an activation of `cukernels` along the last axis."""
        return _add_formula(self, ACTIVATIONS[name].onnx, x)

    def append(self, model: Any, x: str) -> str:
        """Add the nodes of a model with one input and one output, applied to x.

        Returns the name of the output, in the dtype of the graph.
        """
        # two models may use the same names inside
        model = self.onnx.compose.add_prefix(model, f"part_{len(self.nodes)}_")
        (given,), (made,) = model.graph.input, model.graph.output
        self.add("Identity", x, output=given.name)
        self.nodes += model.graph.node
        self.constants += model.graph.initializer
        # operators of other domains keep theirs: skl2onnx uses those of "ai.onnx.ml"
        for opset in model.opset_import:
            known = self.opsets.get(opset.domain, 0)
            self.opsets[opset.domain] = max(known, opset.version)
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
        if made.type.tensor_type.elem_type == kind:
            return made.name
        return self.add("Cast", made.name, to=kind)

    def model(self, n_features: int, outputs: dict[str, tuple[Any, list[Any]]], about: str) -> Any:
        """Return the model, checked, with the input "X" and outputs of given types and shapes."""
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


def _add_formula(graph: Graph, formula: Formula, x: str) -> str:
    """Add a formula of x, which is "x", a number, or an operator on formulas."""
    if formula == "x":
        return x
    if not isinstance(formula, Node):
        return graph.constant(formula)
    inputs = [_add_formula(graph, inner, x) for inner in formula.inputs]
    narrow = formula.operator in _IN_FLOAT32 and graph.dtype != np.float32
    if narrow:
        inputs = [graph.add("Cast", name, to=graph.onnx.TensorProto.FLOAT) for name in inputs]
    y = graph.add(formula.operator, *inputs, **formula.attributes)
    if narrow:
        y = graph.add("Cast", y, to=graph.onnx.helper.np_dtype_to_tensor_dtype(graph.dtype))
    return y
