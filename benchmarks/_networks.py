"""The networks of the benchmarks on a GPU: ours, and the peers' of the same layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from estimators import ConvNetClassifier, MLPClassifier
from estimators.model_selection import GridSearchCV
from estimators.neural import fit as neural_fit

# Nothing stops a training before its time.
ENDLESS = {"tol": 0, "n_iter_no_change": 10**6}


class Network(NamedTuple):
    """A classifier and the samples of its step.

    Attributes
    ----------
    kind : {"MLP", "ConvNet"}
        Dense layers, or 3 x 3 convolutions, each with a 2 x 2 pooling.
    sizes : tuple of int
        Units, or filters, of each hidden layer.
    batch : int
        Samples of a step.
    """

    kind: str
    sizes: tuple[int, ...]
    batch: int

    @property
    def name(self) -> str:
        """As in the tables."""
        return f"{self.kind}({', '.join(map(str, self.sizes))}), batch {self.batch}"

    def small(self) -> Network:
        """As many layers that a GPU in software trains in no time."""
        return self._replace(sizes=tuple(3 + i for i in range(len(self.sizes))), batch=32)

    def ours(self, epochs: int, **options: Any) -> Any:
        """Our estimator, untrained."""
        settings = {"batch_size": self.batch, "max_iter": epochs, "random_state": 0}
        settings |= {"device": "cuda", **ENDLESS, **options}
        if self.kind == "MLP":
            return MLPClassifier(self.sizes, **settings)
        return ConvNetClassifier(self.sizes, **{"hidden_layer_sizes": ()} | settings)

    def theirs(self, pixels: int) -> Callable[[], Any]:
        """What makes the network in PyTorch, for samples of so many pixels."""
        import _peers

        if self.kind == "MLP":
            return _peers.mlp((pixels, *self.sizes, 10))
        return _peers.convnet(self.sizes, round(pixels**0.5))

    def shaped(self, X: np.ndarray) -> np.ndarray:
        """Samples in the shape that PyTorch's network takes."""
        side = round(X.shape[1] ** 0.5)
        return X if self.kind == "MLP" else X.reshape(-1, 1, side, side)


NETWORKS = (
    Network("MLP", (100,), 200),
    Network("MLP", (512, 512), 256),
    Network("ConvNet", (16, 32), 128),
    Network("ConvNet", (32, 64, 128), 128),
)
OF_STACK = Network("MLP", (64,), 200)
STACKS = (1, 64, 320)
STACK_ROWS = 12_000
STREAMED = (NETWORKS[0], NETWORKS[2])


def stack(network: Network, models: int, epochs: int, rows: int) -> GridSearchCV:
    """A search whose candidates, of different learning rates, train as one stack."""
    grid = {"learning_rate_init": list(np.logspace(-4, -2, models))}
    folds = [(np.arange(rows), np.arange(20))]  # few to score, as the training is what counts
    return GridSearchCV(network.ours(epochs), grid, cv=folds, refit=False)


@contextmanager
def samples_on_the_host() -> Iterator[None]:
    """As if the device had no room for them."""
    before = neural_fit.check_stack_memory

    def stay(fits: Sequence[Any]) -> None:
        for fit in fits:
            fit.streamed = True

    neural_fit.check_stack_memory = stay
    try:
        yield
    finally:
        neural_fit.check_stack_memory = before
