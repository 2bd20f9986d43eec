"""The steps of a pipeline before its classifier, written as ONNX by the package skl2onnx."""

from __future__ import annotations

import warnings
from copy import copy
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer

from estimators.convert.onnx_graph import OPSET, Graph


def add_steps(graph: Graph, steps: list[tuple[str, Any]], x: str) -> str:
    """Add fitted transformers, applied to x one after the other; return the name of their output.

    Raises
    ------
    ImportError
        If there are steps and the package skl2onnx is missing.
    NotImplementedError
        If a step cannot be written as ONNX; the message names it.
    """
    for name, step in steps:
        x = graph.append(_written(graph, name, step), x)
    return x


def _written(graph: Graph, name: str, step: Any) -> Any:
    """Return a step as an ONNX model of one input and one output."""
    try:
        import skl2onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as error:
        raise ImportError(
            f"to_onnx writes the steps before the classifier, the first of which is {name!r}, by "
            "the package skl2onnx, which is not installed. Install it with "
            "`pip install 'cukernels[onnx]'`."
        ) from error
    kind = FloatTensorType if graph.dtype == np.float32 else DoubleTensorType
    given = [("X", kind([None, getattr(step, "n_features_in_", None)]))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses older names of scikit-learn and onnx
            model = skl2onnx.to_onnx(_by_number(step), initial_types=given, target_opset=OPSET)
        graph.onnx.checker.check_model(model, full_check=True)
        if len(model.graph.output) != 1:
            raise ValueError(f"it makes {len(model.graph.output)} arrays")
    except Exception as error:  # skl2onnx has no error of its own for this
        raise NotImplementedError(
            f"the step {name!r} of the pipeline, a {type(step).__module__}.{type(step).__name__}, "
            f"cannot be written as ONNX by skl2onnx in {graph.dtype}: {error}"
        ) from error
    return model


def _by_number(step: Any) -> Any:
    """Return a step with its columns as numbers.

    The columns of the ONNX model have no names, and skl2onnx takes no masks for columns.
    """
    if not isinstance(step, ColumnTransformer):
        return step
    names: dict[Any, int] = {
        name: i for i, name in enumerate(getattr(step, "feature_names_in_", ()))
    }
    places = np.arange(step.n_features_in_)
    step = copy(step)
    step.transformers_ = [
        (name, part, places[_numbers(columns, names)].tolist())
        for name, part, columns in step.transformers_
    ]
    return step


def _numbers(columns: Any, names: dict[Any, int]) -> Any:
    """Return the columns that a ColumnTransformer was given, with numbers in place of names."""
    if isinstance(columns, slice):
        first, last = names.get(columns.start, columns.start), columns.stop
        if isinstance(last, str):
            last = names[last] + 1  # a range of names includes the last, one of numbers does not
        return slice(first, last, columns.step)
    if isinstance(columns, str | int | np.integer):  # one column, as an array of one axis
        return names.get(columns, columns)
    return [names.get(column, column) for column in columns] if len(columns) else slice(0)
