"""The predictions of a stack of networks, computed a bounded number of samples at a time."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import (
    Array,
    in_parallel,
    is_undivided,
    namespace,
    on_one_blas_thread,
    shares,
    to_device,
)
from estimators.layers.layer import Mode, Parameters
from estimators.shared.parts import in_parts
from estimators.shared.rows import placed_rows
from estimators.training.network import Network
from estimators.training.objective import Objective

_VALUES_AT_ONCE = 2**22  # of the widest layer: 16 MB of float32


@dataclass(frozen=True)
class Predictor:
    """M models with fitted parameters.

    Attributes
    ----------
    network : Network
        The layers that the models share.
    objective : Objective
        What makes probabilities of their scores.
    parameters : list of dict
        The parameters of each layer, with a leading axis of length M.
    device : str
        Where the parameters are.
    takes : dtype, default=float32
        What samples are converted to, a bounded number of them at a time.
    """

    network: Network
    objective: Objective
    parameters: list[Parameters]
    device: str
    takes: Any = np.float32

    def probabilities(self, X: Any, dtype: np.dtype) -> np.ndarray:
        """Return the probabilities of the outputs, (M, n_samples, n_outputs), on the host.

        The arguments are those of `on_device`.
        """
        return in_parts(lambda rows: self.on_device(rows, dtype), X, self.device, axis=1)

    def on_device(self, X: Any, dtype: np.dtype) -> Array:
        """Return the probabilities of the outputs, (M, n_samples, n_outputs), where they are made.

        Parameters
        ----------
        X : ndarray, CSR matrix, or array on the device, of shape (n_samples, n_features)
            Samples.
        dtype : dtype
            Scores have the precision of the network. Probabilities are computed from them in this
            one, if it is wider.
        """
        # One BLAS thread gives the same bits on any number of cores. Small products use one anyway.
        if is_undivided(X.shape[0] * self.network.operations // 2):
            return self._probabilities(X, dtype)
        return self._probabilities_alone(X, dtype)

    def _probabilities(self, X: Any, dtype: np.dtype) -> Array:
        def of_rows(_: None, rows: slice) -> Array:
            z, _backward = self.network.forward(self.parameters, self._placed(X[rows]), Mode())
            z = z.astype(np.result_type(z.dtype, dtype), copy=False)
            return self.objective.probabilities(z)

        widest = max(prod(shape) for shape in self.network.shapes)
        slices = shares(X.shape[0], max(1, _VALUES_AT_ONCE // widest)) or [slice(0, 0)]
        if self.device == "cpu":
            found = in_parallel(of_rows, slices)
            return found[0] if len(found) == 1 else np.concatenate(found, axis=1)
        first = of_rows(None, slices[0])
        if len(slices) == 1:
            return first
        whole = namespace(first).empty((len(first), X.shape[0], *first.shape[2:]), first.dtype)
        whole[:, slices[0]] = first
        for rows in slices[1:]:
            whole[:, rows] = of_rows(None, rows)
        return whole

    _probabilities_alone = on_one_blas_thread(_probabilities)

    def _placed(self, X: Any) -> Any:
        """Bring some samples to the device, in the shape that the network takes."""
        if sp.issparse(X):
            return placed_rows(X, X.dtype, self.device)
        if isinstance(X, np.ndarray):
            X = np.ascontiguousarray(X, self.takes if X.dtype.kind == "f" else None)
        placed = to_device(X.reshape(len(X), *self.network.shapes[0])[None], self.device)
        return placed.astype(self.takes, order="C", copy=False)
