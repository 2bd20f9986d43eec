"""What `gpu.py` measures: each kernel on the shapes of its users, and PyTorch's way to do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

import cukernels

Inputs = Callable[[torch.Generator, str], list[torch.Tensor]]


@dataclass
class Work:
    """A kernel and a shape.

    Attributes
    ----------
    family, shape : str
        What it is called in the table.
    inputs : callable
        Makes random inputs.
    ours, theirs, exact : callable
        The work on CuPy arrays; in PyTorch, or None; and in float64, or None.
    amount : float
        Operations or bytes of a call.
    unit : str
        "TFLOP/s" or "GB/s".
    result : callable
        Picks what to compare from what a call returns.
    """

    family: str
    shape: str
    inputs: Inputs
    ours: Callable[..., Any]
    theirs: Callable[..., Any] | None
    exact: Callable[..., torch.Tensor] | None
    amount: float
    unit: str = "TFLOP/s"
    result: Callable[[Any], Any] = lambda y: y

    @property
    def scale(self) -> float:
        """From an amount in 10^6 a second, as microseconds give it, to the unit."""
        return 1 if self.unit == "TFLOP/s" else 1e3


def uniform(*shapes: tuple[int, ...]) -> Inputs:
    """Arrays of numbers from -1 to 1."""

    def make(generator: torch.Generator, device: str) -> list[torch.Tensor]:
        return [torch.rand(s, generator=generator, device=device) * 2 - 1 for s in shapes]

    return make


def product(m: int, n: int, k: int, precision: str = "float32") -> Work:
    def ours(a: Any, b: Any) -> Any:
        with cukernels.precision(precision):
            return cukernels.matmul(a, b)

    def theirs(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
        try:
            return a @ b
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False

    family = "matmul" if precision == "float32" else f"matmul, {precision}"
    inputs = uniform((m, k), (k, n))
    shape = f"{m} x {n} x {k}"
    return Work(family, shape, inputs, ours, theirs, lambda a, b: a @ b, 2.0 * m * n * k)


def dense(batch: int, d: int, units: int) -> Iterator[Work]:
    """A layer of an MLP: product, bias, ReLU; and its backward."""
    inputs = uniform((batch, d), (d, units), (units,))
    shape, amount = f"{batch} x {d} -> {units}", 2.0 * batch * d * units

    def ours(x: Any, w: Any, bias: Any) -> Any:
        return cukernels.matmul(x, w, bias, activation="relu")

    def theirs(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.addmm(bias, x, w))

    yield Work("dense + relu", shape, inputs, ours, theirs, theirs, amount)

    def ours_back(x: Any, w: Any, bias: Any, dy: Any, y: Any) -> Any:
        return cukernels.matmul_backward(dy, x, w, bias, y, activation="relu")

    def theirs_back(x: Any, w: Any, bias: Any, dy: Any, y: Any) -> Any:
        dz = dy * (y > 0)
        return dz @ w.T, x.T @ dz, dz.sum(0)

    yield Work(
        "dense + relu, backward", shape,
        uniform((batch, d), (d, units), (units,), (batch, units), (batch, units)),
        ours_back, theirs_back, lambda *a: theirs_back(*a)[1], 2 * amount,
        result=lambda gradients: gradients[1],
    )  # fmt: skip


def convolution(n: int, side: int, channels: int, filters: int, taps: int) -> Iterator[Work]:
    """Stride 1, as many places as pixels; ours NHWC, theirs channels-last, which cuDNN prefers."""
    x, w = (n, side, side, channels), (filters, taps, taps, channels)
    shape = f"{n} x {side} x {side} x {channels}, {filters} of {taps} x {taps}"
    amount = 2.0 * n * side * side * filters * taps * taps * channels
    pad = taps // 2

    def nchw(a: torch.Tensor) -> torch.Tensor:
        return a.permute(0, 3, 1, 2)  # a view, in the channels-last format

    def ours(x: Any, w: Any, dy: Any) -> Any:
        return cukernels.conv2d(x, w, padding=pad)

    def theirs(x: Any, w: Any, dy: Any) -> torch.Tensor:
        return functional.conv2d(nchw(x), nchw(w), padding=pad).permute(0, 2, 3, 1)

    inputs = uniform(x, w, (n, side, side, filters))
    yield Work("conv2d", shape, inputs, ours, theirs, theirs, amount)

    def gradient(i: int) -> tuple[Callable[..., Any], Callable[..., torch.Tensor]]:
        name, mask = "xw"[i], [i == 0, i == 1, False]

        def ours(x: Any, w: Any, dy: Any) -> Any:
            return cukernels.conv2d_backward(dy, x, w, None, dy, padding=pad, needs=(name,))[i]

        def theirs(x: Any, w: Any, dy: Any) -> torch.Tensor:
            return torch.ops.aten.convolution_backward(
                nchw(dy), nchw(x), nchw(w), None, [1, 1], [pad, pad], [1, 1], False, [0, 0], 1,
                mask,
            )[i].permute(0, 2, 3, 1)  # fmt: skip

        return ours, theirs

    for i, name in enumerate(("conv2d, input gradient", "conv2d, filter gradient")):
        if i == 0 and channels == 1:
            continue  # the first layer asks for none
        ours_, theirs_ = gradient(i)
        yield Work(name, shape, inputs, ours_, theirs_, theirs_, amount)


def memory_bound(n: int) -> Iterator[Work]:
    """Kernels that move bytes: n numbers, or rows and images of as many."""
    one, two = uniform((n,)), uniform((n,), (n,))
    shape = f"{n:,}"

    def work(family: str, inputs: Inputs, ours: Any, theirs: Any, numbers: float, **more: Any):
        exact = more.pop("exact", theirs)
        return Work(family, more.pop("shape", shape), inputs, ours, theirs, exact, 4.0 * numbers,
                    "GB/s", **more)  # fmt: skip

    yield work("relu", one, cukernels.relu, torch.relu, 2 * n)
    yield work("gelu", one, cukernels.gelu, functional.gelu, 2 * n)
    yield work("tanh, backward", two, cukernels.tanh_backward, lambda d, y: d * (1 - y * y), 3 * n)
    side, channels = 28, 32
    images = max(n // (side * side * channels), 1)
    pixels = images * side * side * channels
    pooled = uniform((images, side, side, channels))
    yield work(
        "max_pool2d", pooled, cukernels.max_pool2d,
        lambda x: functional.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1),
        1.25 * pixels, shape=f"{images} x {side} x {side} x {channels}",
    )  # fmt: skip
    for k in (10, 1000):
        rows = max(n // k, 1)
        yield work(
            "softmax", uniform((rows, k)), cukernels.softmax, lambda x: torch.softmax(x, -1),
            2 * rows * k, shape=f"{rows} x {k}",
        )  # fmt: skip

        def labelled(g: torch.Generator, device: str, rows: int = rows, k: int = k) -> list:
            z = torch.rand((rows, k), generator=g, device=device)
            return [z, torch.randint(k, (rows,), generator=g, device=device)]

        def loss_and_gradient(z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
            logs = torch.log_softmax(z, -1)
            gradient = (logs.exp() - functional.one_hot(y, z.shape[-1])) / len(z)
            return functional.nll_loss(logs, y), gradient

        yield work(
            "softmax_cross_entropy", labelled, cukernels.softmax_cross_entropy, loss_and_gradient,
            2 * rows * k, shape=f"{rows} x {k}", exact=lambda z, y: loss_and_gradient(z, y)[1],
            result=lambda both: both[1],
        )  # fmt: skip


def adam_step(n: int) -> Work:
    """One step over n parameters; theirs is PyTorch's fused one."""
    parameter: dict[int, Any] = {}

    def ours(w: Any, g: Any, first: Any, second: Any, step: Any, rate: Any) -> Any:
        cukernels.adam(
            w, g, first, second, step=step, learning_rate=rate, beta_1=rate, beta_2=rate,
            epsilon=rate, l2=rate, n_decayed=0,
        )  # fmt: skip

    def theirs(w: Any, g: Any, *rest: Any) -> Any:
        held = parameter.get(id(w))
        if held is None:
            own = torch.nn.Parameter(w)
            fused = w.is_cuda
            held = parameter[id(w)] = (own, torch.optim.Adam([own], fused=fused, foreach=False))
        held[0].grad = g
        held[1].step()

    def inputs(generator: torch.Generator, device: str) -> list[torch.Tensor]:
        arrays = [torch.rand((1, n), generator=generator, device=device) for _ in range(4)]
        half = torch.full((1,), 0.5, dtype=torch.float64, device=device)
        return [*arrays, torch.ones(1, dtype=torch.int64, device=device), half]

    return Work("adam", f"{n:,}", inputs, ours, theirs, None, 28.0 * n, "GB/s")


def copy(n: int) -> Work:
    """The limit of everything that moves bytes."""
    return Work(
        "copy", f"{n:,}", uniform((n,)), lambda x: x.copy(), torch.clone, None, 8.0 * n, "GB/s"
    )


def cublas(n: int) -> Work:
    """The limit of float32 products: cuBLAS's own, which both columns show."""

    def ours(a: Any, b: Any) -> Any:
        return torch.from_dlpack(a) @ torch.from_dlpack(b) if torch.cuda.is_available() else a

    return Work("cuBLAS", f"{n}^3", uniform((n, n), (n, n)), ours, torch.matmul, None, 2.0 * n**3)


def everything(quick: bool, dry: bool) -> Iterator[Work]:
    """All rows of the table."""
    if dry:
        sizes, batches, images, vectors = (40,), (12,), (2,), (5000,)
    elif quick:
        sizes, batches, images, vectors = (1024, 4096), (256,), (256,), (2**26,)
    else:
        sizes, batches = (512, 1024, 2048, 4096, 8192), (128, 256, 1024, 4096)
        images, vectors = (128, 1024), (2**20, 2**26)
    for n in vectors[-1:]:
        yield copy(n)
    yield cublas(sizes[-1])
    for n in sizes:
        for precision in ("float32", "tf32", "bf16"):
            yield product(n, n, n, precision)
    for batch in batches:
        for d, units in ((784, 100), (100, 10), (512, 512), (1024, 1024)):
            if dry:
                d, units = min(d, 20), min(units, 12)
            yield from dense(batch, d, units)
    for n in images:
        for side, channels, filters, taps in (
            (28, 1, 32, 3), (14, 32, 64, 3), (28, 16, 32, 5), (32, 3, 32, 3), (32, 64, 64, 3),
            (16, 128, 128, 3), (8, 256, 256, 3),
        ):  # fmt: skip
            if dry:
                side, channels, filters = 6, min(channels, 4), 5
            yield from convolution(n, side, channels, filters, taps)
    for n in vectors:
        yield from memory_bound(n)
        yield adam_step(n)
