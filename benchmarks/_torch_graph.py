"""A training step of PyTorch as a CUDA graph: the fastest that its users can write by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_WARM_UP = 3  # steps before the capture, on a stream of their own, as PyTorch's manual wants them


def adam(network: nn.Module) -> torch.optim.Optimizer:
    """Adam whose counter is on the device, and whose update of all parameters is one kernel."""
    on_gpu = next(network.parameters()).is_cuda
    return torch.optim.Adam(network.parameters(), capturable=on_gpu, fused=on_gpu)


class GraphedStep:
    """A step that is captured when it is warm, and then replayed.

    Samples and labels come into arrays that stay where they are. The last batch of an epoch may be
    shorter: it has no graph. Nor has any on a CPU.

    Parameters
    ----------
    network : Module
    optimizer : Optimizer
        That of `adam`.
    inputs, labels : Tensor
        All samples and labels, on the device.
    batch : int
        Samples of a step.
    """

    def __init__(
        self, network: nn.Module, optimizer: Any, inputs: Any, labels: Any, batch: int
    ) -> None:
        self._network, self._optimizer = network, optimizer
        self._inputs, self._labels = inputs, labels
        self._x = torch.empty_like(inputs[:batch])
        self._y = torch.empty_like(labels[:batch])
        self._warm = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, picked: torch.Tensor) -> None:
        if len(picked) < len(self._x) or not self._x.is_cuda:
            self._compute(self._inputs[picked], self._labels[picked])
            return
        torch.index_select(self._inputs, 0, picked, out=self._x)
        torch.index_select(self._labels, 0, picked, out=self._y)
        if self._warm < _WARM_UP:
            self._warm += 1
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._compute(self._x, self._y)
            torch.cuda.current_stream().wait_stream(side)
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            self._optimizer.zero_grad(set_to_none=True)  # so the gradients belong to the graph
            with torch.cuda.graph(self._graph):
                self._compute(self._x, self._y)
        self._graph.replay()

    def _compute(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(self._network(x), y).backward()
        self._optimizer.step()
