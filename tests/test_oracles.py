"""Every op against PyTorch, which nobody here wrote: values, and gradients by its autograd.

`ORACLES` says of each op how to draw arguments in float64, and how PyTorch computes it from tensors
of the same names. The ops that update their arguments are in `test_oracles_training.py`.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import _oracle_arguments as draw
from _oracle_arguments import both
from _requirements import require
from cukernels import OPS
from cukernels.activations.activations import ACTIVATIONS as TABLE

torch = require("torch", "oracle")
F = torch.nn.functional

RTOL = {"float64": 1e-10, "float32": 1e-5}
# An activation is PyTorch's function of that name, but for these.
OF_ANOTHER_NAME = {
    "identity": lambda x: x,
    "logistic": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, threshold=700),  # by default it is linear above 20
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
}
ACTIVATIONS = {name: lambda x, name=name: getattr(F, name)(x) for name in TABLE} | OF_ANOTHER_NAME


def each_model(function, *operands):
    """Apply a function of one model's arrays to a stack; operands come with their own axes."""
    shapes = [a.shape[: a.ndim - own] for a, own in operands if a is not None]
    stack = torch.broadcast_shapes(*shapes)
    spread = [
        [None] * stack.numel()
        if a is None
        else a.expand(*stack, *a.shape[a.ndim - own :]).reshape(-1, *a.shape[a.ndim - own :])
        for a, own in operands
    ]
    results = [function(*one) for one in zip(*spread, strict=True)]
    if isinstance(results[0], tuple):
        return tuple(torch.stack(r).unflatten(0, stack or (1,)) for r in zip(*results, strict=True))
    y = torch.stack(results)
    return y.reshape(*stack, *y.shape[1:])


def matmul(a, b, bias, transpose_a, transpose_b, activation):
    y = (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)
    return ACTIVATIONS[activation](y if bias is None else y + bias[..., None, :])


def without_same(x, taps, stride, padding, dilation=1, value=0.0):
    """Pad NCHW images as TensorFlow's manual words "same"; return them and what is left to pad."""
    if padding != "same":
        return x, 0 if padding == "valid" else padding
    margins = []
    for axis in (1, 0):
        step, extent = both(stride)[axis], (both(taps)[axis] - 1) * both(dilation)[axis] + 1
        missing = max(extent - (x.shape[2 + axis] % step or step), 0)
        margins += [missing // 2, missing - missing // 2]
    return F.pad(x, margins, value=value), 0


def conv2d(x, w, bias, stride, padding, dilation, activation):
    def one(x, w, bias):
        x, w, left = x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), padding
        if both(stride) != (1, 1):  # PyTorch has "same", but only without strides
            x, left = without_same(x, w.shape[2:], stride, padding, dilation)
        return F.conv2d(x, w, bias, stride, left, dilation).permute(0, 2, 3, 1)

    return ACTIVATIONS[activation](each_model(one, (x, 4), (w, 4), (bias, 1)))


def conv2d_max_pool(x, w, bias, stride, padding, dilation, pool_size, activation):
    z = conv2d(x, w, bias, stride, padding, dilation, "identity")
    nchw = z.reshape(-1, *z.shape[-3:]).permute(0, 3, 1, 2)
    y, index = F.max_pool2d(nchw, pool_size, return_indices=True)
    row, column = index // z.shape[-2], index % z.shape[-2]  # windows begin at multiples
    places = row % pool_size[0] * pool_size[1] + column % pool_size[1]
    y, places = (
        a.permute(0, 2, 3, 1).reshape(*z.shape[:-3], *y.shape[2:], -1) for a in (y, places)
    )
    return ACTIVATIONS[activation](y), places.to(torch.uint8)


def local2d(x, w, bias, stride, padding, dilation, activation):
    def one(x, w, bias):
        p, q, _, r, s, c = w.shape
        x, left = without_same(x.permute(0, 3, 1, 2), (r, s), stride, padding, dilation)
        seen = F.unfold(x, (r, s), dilation, left, stride).reshape(-1, c, r, s, p, q)
        y = torch.einsum("ncrspq,pqkrsc->npqk", seen, w)
        return y if bias is None else y + bias

    return ACTIVATIONS[activation](each_model(one, (x, 4), (w, 6), (bias, 3)))


def pool(function, x, pool_size, stride, padding, value):
    nchw = x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2)
    stride = pool_size if stride is None else stride
    nchw, left = without_same(nchw, pool_size, stride, padding, value=value)
    y = function(nchw, pool_size, stride, left).permute(0, 2, 3, 1)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def mean_loss(losses, sample_weight):
    """Mean over the samples of losses (..., N)."""
    if sample_weight is None:
        return losses.mean(-1)
    return (sample_weight * losses).sum(-1) / sample_weight.sum(-1)


def cross_entropy(z, y, sample_weight):
    losses = F.cross_entropy(z.flatten(0, -2), y.flatten(), reduction="none").reshape(y.shape)
    return mean_loss(losses, sample_weight)


def logistic_loss(z, y, sample_weight):
    losses = F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1)
    return mean_loss(losses, sample_weight)


def squared_loss(p, y, sample_weight):
    return mean_loss(F.mse_loss(p, y, reduction="none").sum(-1) / 2, sample_weight)


def perceptron_loss(z, y, sample_weight):
    return mean_loss(z.max(-1).values - z.gather(-1, y[..., None])[..., 0], sample_weight)


def batch_norm(x, gamma, beta, sample_weight, epsilon):
    def one(x, gamma, beta, weight):
        whole = weight is None
        sample = x if whole else x.repeat_interleave(weight.long(), 0)  # a weight is a count
        variance, mean = torch.var_mean(sample.flatten(0, -2), 0, correction=0)
        if whole:
            y = F.batch_norm(x.movedim(-1, 1), None, None, gamma, beta, True, eps=epsilon)
            return y.movedim(1, -1), mean, variance
        return (x - mean) / torch.sqrt(variance + epsilon) * gamma + beta, mean, variance

    stack = gamma.ndim - 1
    results = each_model(one, (x, x.ndim - stack), (gamma, 1), (beta, 1), (sample_weight, 1))
    return results if stack else tuple(result[0] for result in results)


def batch_norm_inference(x, gamma, beta, mean, variance, epsilon):
    def one(x, gamma, beta, mean, variance):
        y = F.batch_norm(x.movedim(-1, 1), mean, variance, gamma, beta, eps=epsilon)
        return y.movedim(1, -1)

    channels = ((gamma, 1), (beta, 1), (mean, 1), (variance, 1))
    return each_model(one, (x, x.ndim - gamma.ndim + 1), *channels)


def layer_norm(x, gamma, beta, epsilon):
    def one(x, gamma, beta):
        return F.layer_norm(x, gamma.shape, gamma, beta, epsilon)

    return each_model(one, (x, x.ndim - gamma.ndim + 1), (gamma, 1), (beta, 1))


def csr_matmul(data, indices, indptr, b, bias, activation):
    models = len(b) if b.ndim == 3 else 1
    rows, d = len(indptr) - 1, b.shape[-2]
    row = torch.repeat_interleave(torch.arange(rows), indptr.diff())
    # one matrix of all models: each has its rows, and columns of its own
    stored = slice(int(indptr[0]), int(indptr[-1]))
    column = indices[stored] + d * (row // (rows // models))
    place = torch.stack([row, column])
    a = torch.sparse_coo_tensor(place, data[stored], (rows, d * models), check_invariants=True)
    y = torch.sparse.mm(a, b.reshape(-1, b.shape[-1])).reshape(*b.shape[:-2], -1, b.shape[-1])
    return ACTIVATIONS[activation](y if bias is None else y + bias[..., None, :])


def gather_rows(x, rows):
    return torch.index_select(x, 0, rows.flatten()).reshape(*rows.shape, *x.shape[1:])


def dropout(x, rate, seed, step):
    """Words of NumPy's generator, drawn 32 bits at a time."""
    keep = torch.empty(x.shape, dtype=torch.bool)
    for m in np.ndindex(rate.shape):
        stream = np.random.Philox(key=seed[m].item(), counter=step[m].item() << 64)
        words = np.random.Generator(stream).integers(2**32, size=x[m].shape, dtype=np.uint32)
        keep[m] = torch.from_numpy(words / 2**32) >= rate[m]
    rate = rate.reshape(*rate.shape, *[1] * (x.ndim - rate.ndim))
    return torch.where(keep, x / (1 - rate), 0), keep


ORACLES = {name: (draw.values, lambda x, f=f: f(x)) for name, f in ACTIVATIONS.items()} | {
    "leaky_relu": (
        lambda rng: draw.values(rng) | {"negative_slope": float(rng.random())},
        lambda x, negative_slope: F.leaky_relu(x, negative_slope),
    ),
    "elu": (
        lambda rng: draw.values(rng) | {"alpha": float(rng.uniform(0.5, 2))},
        lambda x, alpha: F.elu(x, alpha),
    ),
    "matmul": (draw.factors, matmul),
    "conv2d": (draw.convolution, conv2d),
    "conv2d_max_pool": (lambda rng: draw.convolution(rng, pooled=True), conv2d_max_pool),
    "local2d": (lambda rng: draw.convolution(rng, local=True), local2d),
    "max_pool2d": (draw.pooled, lambda **images: pool(F.max_pool2d, **images, value=-np.inf)),
    "avg_pool2d": (draw.pooled, lambda **images: pool(F.avg_pool2d, **images, value=0.0)),
    "softmax_cross_entropy": (draw.scores, cross_entropy),
    "logistic_loss": (lambda rng: draw.scores(rng, labels=False), logistic_loss),
    "squared_loss": (lambda rng: draw.scores(rng, "p", labels=False), squared_loss),
    "perceptron_loss": (draw.scores, perceptron_loss),
    "batch_norm": (draw.weighted_batches, batch_norm),
    "batch_norm_inference": (draw.inferences, batch_norm_inference),
    "layer_norm": (draw.normal_rows, layer_norm),
    "csr_matmul": (draw.sparse_factors, csr_matmul),
    "gather_rows": (draw.picks, gather_rows),
    "dropout": (draw.masked, dropout),
}


def is_float(value) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def as_tensor(value):
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(value.astype(np.float64 if is_float(value) else value.dtype))


def as_tuple(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def differentiate(op, arguments: dict, rng, dtype) -> tuple[tuple, np.ndarray, tuple]:
    """PyTorch's outputs in float64, a random dy, and the gradients of sum(dy * y)."""
    tensors = {name: as_tensor(value) for name, value in arguments.items()}
    names = op.gradients or op.backward.gradients
    given = [name for name in names if tensors[name] is not None]
    for name in given:
        tensors[name].requires_grad_()
    outputs = as_tuple(ORACLES[op.name][1](**tensors))
    shape = tuple(outputs[0].shape)
    dy = np.ones(shape) if op.gradients else np.asarray(rng.standard_normal(shape)).astype(dtype)
    slopes = torch.autograd.grad(outputs[0], [tensors[n] for n in given], as_tensor(dy))
    gradients = dict(zip(given, (s.numpy() for s in slopes), strict=True))
    return tuple(y.detach().numpy() for y in outputs), dy, tuple(map(gradients.get, names))


def assert_close(got, expected: tuple, dtype: str) -> None:
    got = as_tuple(got)
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        if e is None:
            assert g is None
            continue
        assert g.dtype == (dtype if is_float(e) else e.dtype)
        assert g.shape == e.shape
        noise = 64 * np.finfo(dtype).eps * np.sqrt(np.mean(np.square(e))) if e.size else 0
        np.testing.assert_allclose(g, e, rtol=RTOL[dtype], atol=noise)


def bodies(op) -> list:
    return [body for body in (op.reference, op.numpy) if body]


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("name", ORACLES)
def test_oracle(name, dtype, seed):
    op = OPS[name]
    rng = np.random.default_rng([seed, *name.encode()])
    arguments = {k: v.astype(dtype) if is_float(v) else v for k, v in ORACLES[name][0](rng).items()}
    outputs, dy, gradients = differentiate(op, arguments, rng, dtype)
    for body in bodies(op):
        assert_close(body(**arguments), outputs + gradients if op.gradients else outputs, dtype)
    if not op.backward:
        return
    # The backward gets PyTorch's outputs, so that it is wrong by its own fault alone.
    results = [y.astype(dtype) if is_float(y) else y for y in outputs]
    defaults = {p.name: p.default for p in inspect.signature(op.reference).parameters.values()}
    known = defaults | arguments | {"dy": dy} | dict(zip(op.outputs, results, strict=True))
    bound = {name: known[name] for name in op.backward.parameters if name in known}
    for body in bodies(op.backward):
        assert_close(body(**bound), gradients, dtype)
