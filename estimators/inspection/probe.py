"""Looking into a fitted network: what its layers make of an input, see and are excited by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cukernels.runtime import current, resolve_device, to_device, to_host
from estimators.layers.layer import Field, Fields, Layer, Mode, Parameters
from estimators.neural.fitted import NetworkModel
from estimators.neural.network import Network

_AT_ONCE = 2**22  # values of the widest layer: 16 MB of float32


class Probe:
    """The layers of a fitted network up to a layer, ready to run forward and backward.

    Parameters
    ----------
    model : MLPClassifier or ConvNetClassifier
        Fitted.
    layer : int
        Which of the layers with weights is the last; None: all layers.

    Attributes
    ----------
    layers : list of Layer
    network : Network
        All the layers of the model.
    """

    def __init__(self, model: NetworkModel, layer: int | None = None) -> None:
        self.network: Network = model._network
        last = len(self.network.layers) - 1 if layer is None else self.network.weighted[layer]
        self.layers: list[Layer] = self.network.layers[: last + 1]
        self.device = resolve_device(model.device)
        self.dtype = model.coefs_[0].dtype
        with current(self.device):
            self.parameters = [
                {name: to_device(np.asarray(a)[None], self.device) for name, a in p.items()}
                for p in model._parameters(self.network)[: last + 1]
            ]

    def outputs(self, X: np.ndarray) -> list[np.ndarray]:
        """The outputs of each layer for samples of shape (n_samples, ...)."""
        results = []
        with current(self.device):
            x = self._on_device(X)
            for layer, p in zip(self.layers, self.parameters, strict=True):
                x, _ = layer.forward(p, x, Mode())
                results.append(to_host(x[0]))
        return results

    def last_outputs(self, X: np.ndarray) -> np.ndarray:
        """The output of the last layer, a bounded number of samples at a time."""
        widest = max(int(np.prod(shape)) for shape in self.network.shapes)
        chunk = max(1, _AT_ONCE // widest)
        parts = [self.outputs(X[i : i + chunk])[-1] for i in range(0, max(len(X), 1), chunk)]
        return np.concatenate(parts)

    def fields(self) -> Fields | None:
        """What one place of the last layer sees of the rows and the columns; None: all of them."""
        seen: Fields | None = Field(1, 1, 0), Field(1, 1, 0)
        for layer, shape in zip(self.layers, self.network.shapes, strict=False):
            seen = None if seen is None else layer.sees(seen, shape)
        return seen

    def ascend(
        self,
        start: np.ndarray,
        units: np.ndarray,
        *,
        low: float,
        high: float,
        steps: int,
        rate: float,
        decay: float,
    ) -> np.ndarray:
        """Change inputs so that each excites one unit of the last layer more and more.

        Every step moves an input along the gradient of the unit's score, before its activation,
        shrinks it towards `low` and keeps it within `low` and `high` (Erhan, Bengio, Courville and
        Vincent, technical report 1341, Universite de Montreal, 2009).

        Parameters
        ----------
        start : ndarray of shape (n, ...)
            Where to begin.
        units : ndarray of shape (n,)
            The unit, or the filter at the middle place, that each input is to excite.
        low, high : float
            The range of the inputs.
        steps : int
        rate, decay : float
            How far a step goes in its largest component, in ranges; and how much of what is above
            `low` it takes away.

        Returns
        -------
        x : ndarray of shape (n, ...)
        """
        last = replace(self.layers[-1], activation="identity")  # type: ignore[type-var]
        layers = [*self.layers[:-1], last]
        x = start.astype(self.dtype)
        with current(self.device):
            gradients = [
                {n: to_device(np.zeros(a.shape, self.dtype), self.device) for n, a in p.items()}
                for p in self.parameters
            ]
            for _ in range(steps):
                step = self._slope(layers, x, units, gradients)
                largest = np.abs(step).max(axis=tuple(range(1, x.ndim)), keepdims=True)
                x = low + (1 - decay) * (x - low)
                x += rate * (high - low) * step / np.where(largest == 0, 1, largest)
                x = np.clip(x, low, high).astype(self.dtype)
        return x

    def _slope(
        self, layers: list[Layer], x: np.ndarray, units: np.ndarray, gradients: list[Parameters]
    ) -> np.ndarray:
        """The gradient, in each input, of the unit that it is to excite."""
        y, tape = self._on_device(x), []
        for layer, p in zip(layers, self.parameters, strict=True):
            y, backward = layer.forward(p, y, Mode())
            tape.append(backward)
        dy = np.zeros(y.shape, self.dtype)
        middle = tuple(n // 2 for n in y.shape[2:-1])
        dy[(0, np.arange(len(x)), *middle, units)] = 1
        slope = to_device(dy, self.device)
        for backward, g in zip(reversed(tape), reversed(gradients), strict=True):
            slope = backward(slope, g, True)
        return to_host(slope[0]).reshape(x.shape)

    def _on_device(self, X: np.ndarray) -> Any:
        x = np.ascontiguousarray(X, self.dtype).reshape(1, len(X), *self.network.shapes[0])
        return to_device(x, self.device)
