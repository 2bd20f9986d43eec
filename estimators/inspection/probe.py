"""`Probe`: what the layers of a fitted network compute, what they see and what excites them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cukernels.runtime import current, resolve_device, to_device, to_host
from estimators.layers.fields import Field, Fields
from estimators.layers.layer import Layer, Mode, Parameters
from estimators.neural.fitted import NetworkModel
from estimators.training.network import Network

_AT_ONCE = 2**22  # values of the widest layer that are held at once: 16 MB of float32


class Probe:
    """The layers of a fitted network up to a layer, ready to run forward and backward.

    Parameters
    ----------
    model : MLPClassifier or ConvNetClassifier
        Fitted.
    layer : int
        Which of the layers with weights is the last to run; None: all layers run.

    Attributes
    ----------
    layers : list of Layer
        The layers that run.
    network : Network
        The whole network of the model.
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
        """Return the outputs of each layer for samples of shape (n_samples, ...)."""
        results = []
        with current(self.device):
            x = self._on_device(X)
            for layer, p in zip(self.layers, self.parameters, strict=True):
                x, _ = layer.forward(p, x, Mode())
                results.append(to_host(x[0]))
        return results

    def last_outputs(self, X: np.ndarray) -> np.ndarray:
        """Return the output of the last layer, computed in chunks of bounded size."""
        widest = max(int(np.prod(shape)) for shape in self.network.shapes)
        chunk = max(1, _AT_ONCE // widest)
        # without samples there is one chunk, which is empty and has the shape of the output
        starts = range(0, max(len(X), 1), chunk)
        return np.concatenate([self.outputs(X[i : i + chunk])[-1] for i in starts])

    def fields(self) -> Fields | None:
        """Return which rows and columns a place of the last layer sees; None if it sees all."""
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

        Each step moves an input along the gradient of the unit's score (the value before its
        activation), shrinks it towards `low`, and keeps it between `low` and `high` (Erhan, Bengio,
        Courville and Vincent, technical report 1341, Universite de Montreal, 2009).

        Parameters
        ----------
        start : ndarray of shape (n, ...)
            The inputs to begin with.
        units : ndarray of shape (n,)
            For each input the unit, or the filter at the middle place, that it is to excite.
        low, high : float
            The range of the inputs.
        steps : int
        rate : float
            How far a step moves the value that it moves most, as a fraction of ``high - low``.
        decay : float
            How much of its distance from `low` a step takes from each value, as a fraction.

        Returns
        -------
        x : ndarray of shape (n, ...)
        """
        # behind its activation a unit may have no gradient: a relu that is off, a saturated tanh
        last = replace(self.layers[-1], activation="identity")  # type: ignore[type-var]
        layers = [*self.layers[:-1], last]
        x = start.astype(self.dtype)
        with current(self.device):
            # backward passes write the gradients of the parameters here, which nobody reads
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
        """Return for each input the gradient of the score of the unit that it is to excite."""
        y, tape = self._on_device(x), []
        for layer, p in zip(layers, self.parameters, strict=True):
            y, backward = layer.forward(p, y, Mode())
            tape.append(backward)
        dy = np.zeros(y.shape, self.dtype)
        middle = tuple(n // 2 for n in y.shape[2:-1])
        dy[(0, np.arange(len(x)), *middle, units)] = 1
        slope = to_device(dy, self.device)
        for backward, g in zip(reversed(tape), reversed(gradients), strict=True):
            slope = backward(slope, g, "identity")
        return to_host(slope[0]).reshape(x.shape)

    def _on_device(self, X: np.ndarray) -> Any:
        x = np.ascontiguousarray(X, self.dtype).reshape(1, len(X), *self.network.shapes[0])
        return to_device(x, self.device)
