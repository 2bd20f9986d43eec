"""Whole trainings and predictions on a GPU: what `gpu.py` times of ours and of our peers."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from math import ceil
from typing import Any

import _networks
import _peers
import torch
from _digits import ROWS, Digits
from _networks import Network
from _turns import Contestant, Work
from sklearn import linear_model

import estimators

OURS = "cukernels"
AIM = 0.99  # accuracy on MNIST's test digits


def wait() -> None:
    """Let what was asked of the device end."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def fitting(make: Callable[[int], Any], data: Digits) -> Contestant:
    """One of scikit-learn's kind: `make` returns an estimator for a number of epochs."""

    def work(epochs: int) -> Callable[[], float]:
        model = make(epochs).fit(data.X, data.y)
        return lambda: float(model.score(data.X_test, data.y_test))

    return work


def pytorch(
    network: Network, data: Digits, device: str, *, graph: bool, tf32: bool = False
) -> Contestant:
    """PyTorch's training from arrays of the host, all samples on the device."""
    make, X = network.theirs(data.X.shape[1]), network.shaped(data.X)

    def work(epochs: int) -> Callable[[], float]:
        cudnn = torch.backends.cudnn
        before = cudnn.allow_tf32, cudnn.deterministic
        cudnn.allow_tf32, cudnn.deterministic = tf32, False
        try:
            accuracy = _peers.train(
                make, X, data.y, batch=network.batch, epochs=epochs, device=device, graph=graph
            )
            wait()
        finally:
            cudnn.allow_tf32, cudnn.deterministic = before
        return lambda: accuracy(network.shaped(data.X_test), data.y_test)

    return work


def skorch(network: Network, data: Digits, device: str) -> Contestant:
    """skorch's classifier with our defaults: Adam at 0.001, no validation split, no output."""
    from skorch import NeuralNetClassifier

    make, X = network.theirs(data.X.shape[1]), network.shaped(data.X)

    def work(epochs: int) -> Callable[[], float]:
        net = NeuralNetClassifier(
            make, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-3,
            max_epochs=epochs, batch_size=network.batch, train_split=None,
            iterator_train__shuffle=True, verbose=0, device=device,
        ).fit(X, data.y)  # fmt: skip
        wait()
        return lambda: float(net.score(network.shaped(data.X_test), data.y_test))

    return work


def contestants(network: Network, data: Digits, device: str) -> dict[str, Contestant]:
    """All that train a network."""
    found = {
        OURS: fitting(network.ours, data),
        "PyTorch, eager": pytorch(network, data, device, graph=False),
        "PyTorch, graph": pytorch(network, data, device, graph=True),
    }
    if network.kind == "ConvNet":  # PyTorch's own default, which is less exact than float32
        found["PyTorch, graph, TF32"] = pytorch(network, data, device, graph=True, tf32=True)
    if importlib.util.find_spec("skorch"):
        found["skorch"] = skorch(network, data, device)
    return found


def networks(data: Digits, device: str, dry: bool) -> Iterator[Work]:
    """A step of each network, from fits of two lengths."""
    for network in _networks.NETWORKS:
        own = network.small() if dry else network
        prepare = functools.partial(contestants, own, data, device)
        steps = ceil(len(data.X) / own.batch)
        # so many that a copy of the data, which is in both turns, does not blur the difference
        epochs = (1, 2) if dry else (1, 9) if network.kind == "MLP" else (1, 5)
        yield Work("network", network.name, data.name, prepare, "us a step", epochs[1], epochs[0],
                   steps)  # fmt: skip


def accuracy(data: Digits, device: str, dry: bool) -> Iterator[Work]:
    """Seconds from arrays of the host until 99 % of the test digits are right."""
    network = Network("ConvNet", (32, 64), 128)
    own = network.small() if dry else network
    aim, most = (0.0, 1) if dry else (AIM, 10)

    def until(contestant: Contestant) -> Contestant:
        """The shortest training that is good enough; to find it is no part of the time."""
        for epochs in range(1, most + 1):
            outcome = contestant(epochs)
            if outcome is not None and outcome() >= aim:
                return lambda _: contestant(epochs)
        raise ValueError(f"{most} epochs are not enough for {aim:.0%}")

    def prepare() -> dict[str, Contestant]:
        found = {}
        for name, contestant in contestants(own, data, device).items():
            try:
                found[name] = until(contestant)
            except ValueError as failure:
                found[name] = functools.partial(_raise, failure)
        return found

    if data.name == "MNIST" or dry:
        yield Work("accuracy", f"{network.name}, to {AIM:.0%}", data.name, prepare, "s")


def _raise(failure: Exception, _: int) -> None:
    raise failure


def stacks(data: Digits, device: str, dry: bool) -> Iterator[Work]:
    """A step of several models that train at once, and what each of them takes of it."""
    network = _networks.OF_STACK
    own = network.small() if dry else network
    rows = min(_networks.STACK_ROWS, len(data.X))
    part = data._replace(X=data.X[:rows], y=data.y[:rows])
    epochs = (1, 2) if dry else (1, 9)

    def prepare(models: int) -> dict[str, Contestant]:
        def ours(epochs: int) -> None:
            _networks.stack(own, models, epochs, rows).fit(part.X, part.y)

        found: dict[str, Contestant] = {OURS: ours}
        if models == 1:
            found["PyTorch, graph"] = pytorch(own, part, device, graph=True)
        return found

    for models in _networks.STACKS:
        few = min(models, 3) if dry else models
        yield Work(
            "stack", f"{models} x {network.name}", f"{rows:,} of {data.name}",
            functools.partial(prepare, few), "us a step and model", epochs[1], epochs[0],
            few * ceil(rows / own.batch),
        )  # fmt: skip


def predictions(data: Digits, device: str, dry: bool) -> Iterator[Work]:
    """One row and all of them, from arrays of the host and of the device.

    Calls for the host's arrays wait for their answer; those for the device's follow each other.
    """
    import cupy

    def prepare(network: Network, rows: int, on_device: bool) -> dict[str, Contestant]:
        X = data.X[:rows]
        model = network.ours(1).fit(data.X[:2000], data.y[:2000])
        ours_in = cupy.asarray(X) if on_device else X
        peer = network.theirs(X.shape[1])().to(device).eval()
        theirs_in = torch.from_numpy(network.shaped(X))
        theirs_in = theirs_in.to(device) if on_device else theirs_in

        def ours(calls: int) -> None:
            for _ in range(calls):
                model.predict(ours_in)
            if not dry:
                cupy.cuda.runtime.deviceSynchronize()

        def theirs(calls: int) -> None:
            with torch.no_grad():
                for _ in range(calls):
                    labels = peer(theirs_in.to(device)).argmax(1)
                    if not on_device:
                        labels.cpu().numpy()
            wait()

        return {OURS: ours, "PyTorch, eager": theirs}

    for network in (_networks.NETWORKS[0], _networks.NETWORKS[2]):
        own = network.small() if dry else network
        for rows, calls in ((1, 200), (ROWS if dry else len(data.X), 10)):
            for on_device in (False, True):
                count = f"{rows:,} row{'s' * (rows > 1)}"
                name = f"{network.name.partition(', batch')[0]}, {count}, "
                yield Work(
                    "prediction", name + ("on the device" if on_device else "on the host"),
                    data.name, functools.partial(prepare, own, rows, on_device), "us a call",
                    2 if dry else calls,
                )  # fmt: skip


def streaming(data: Digits, device: str, dry: bool) -> Iterator[Work]:
    """A step whose samples come from the host, against one whose samples are on the device."""

    def prepare(network: Network) -> dict[str, Contestant]:
        resident = fitting(network.ours, data)

        def streamed(epochs: int) -> Callable[[], float] | None:
            with _networks.samples_on_the_host():
                return resident(epochs)

        return {"resident": resident, "streamed": streamed}

    for network in _networks.STREAMED:
        own = network.small() if dry else network
        epochs = (1, 2) if dry else (1, 5)
        yield Work(
            "streaming", network.name, data.name, functools.partial(prepare, own), "us a step",
            epochs[1], epochs[0], ceil(len(data.X) / own.batch),
        )  # fmt: skip


def linear(data: Digits, device: str, dry: bool) -> Iterator[Work]:
    """Fits of linear models, against scikit-learn on all cores."""
    logistic = {"max_iter": 3 if dry else 100}
    online = {"max_iter": 2 if dry else 5, "tol": None, "random_state": 0}
    for name, amount, settings, parallel in (
        # scikit-learn's is on all cores by its BLAS
        ("LogisticRegression", "100 iterations", logistic, {}),
        ("Perceptron", "5 epochs", online, {"n_jobs": -1}),
    ):
        makers = {
            OURS: functools.partial(getattr(estimators, name), **settings, device="cuda"),
            f"{OURS}, CPU": functools.partial(getattr(estimators, name), **settings, device="cpu"),
            "scikit-learn": functools.partial(getattr(linear_model, name), **settings, **parallel),
        }

        def prepare(makers: dict[str, Any] = makers) -> dict[str, Contestant]:
            return {who: fitting(lambda _, make=make: make(), data) for who, make in makers.items()}

        yield Work("linear", f"{name}, {amount}", data.name, prepare, "s")


PARTS = (networks, accuracy, stacks, predictions, streaming, linear)  # what matters most first


def works(data: Digits, device: str, dry: bool) -> Iterator[Work]:
    """All of them."""
    for part in PARTS:
        yield from part(data, device, dry)
