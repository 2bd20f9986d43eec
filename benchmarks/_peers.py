"""The same trainings in PyTorch, as its users write them: one loop, Adam, cross-entropy."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from _torch_graph import GraphedStep, adam
from torch import nn


def mlp(sizes: tuple[int, ...]) -> Callable[[], nn.Module]:
    """Layers of these sizes, from the input to the scores, with ReLU between them."""

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return make


def convnet(filters: tuple[int, ...], size: int, n_classes: int = 10) -> Callable[[], nn.Module]:
    """3 x 3 convolutions with ReLU, each before a 2 x 2 pooling, then scores."""

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((1, *filters)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        side = size // 2 ** len(filters)
        scores = nn.Linear(filters[-1] * side * side, n_classes)
        return nn.Sequential(*layers, nn.Flatten(), scores)

    return make


def train(
    make: Callable[[], nn.Module],
    x: np.ndarray,
    y: np.ndarray,
    *,
    batch: int,
    epochs: int,
    layout: torch.memory_format = torch.contiguous_format,
    device: str = "cpu",
    graph: bool = False,
) -> Callable[[np.ndarray, np.ndarray], float]:
    """Train a network; returns a function that gives its accuracy on other data.

    Parameters
    ----------
    make : callable
        Makes the network.
    x : array of shape (N, D) or (N, C, H, W)
        Samples.
    y : array of shape (N,)
        Labels.
    batch, epochs : int
        Samples a step, passes over the data.
    layout : torch.memory_format
        Of images and filters.
    device : str, default="cpu"
        Where to train.
    graph : bool, default=False
        Whether a step is a CUDA graph. Otherwise it is eager.
    """
    torch.manual_seed(0)
    network = make().to(device=device, memory_format=layout)
    optimizer = adam(network) if graph else torch.optim.Adam(network.parameters())
    inputs, labels = tensor(x, layout).to(device), torch.from_numpy(y).to(device)

    def eager(picked: torch.Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[picked]), labels[picked]).backward()
        optimizer.step()

    step = GraphedStep(network, optimizer, inputs, labels, batch) if graph else eager
    for _ in range(epochs):
        for picked in torch.randperm(len(x)).to(device).split(batch):
            step(picked)

    def accuracy(x_test: np.ndarray, y_test: np.ndarray) -> float:
        with torch.no_grad():
            guessed = network(tensor(x_test, layout).to(device)).argmax(1).cpu().numpy()
        return float(np.mean(guessed == y_test))

    return accuracy


def tensor(x: np.ndarray, layout: torch.memory_format) -> torch.Tensor:
    """Share an array with PyTorch, images in the layout asked for."""
    made = torch.from_numpy(np.ascontiguousarray(x))
    return made.contiguous(memory_format=layout) if x.ndim == 4 else made
