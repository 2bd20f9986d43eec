"""The ops of linear models, against PyTorch, SciPy, scikit-learn and plain formulas.

Where there is no library, gradients come from steps along the imaginary axis: with a step as small
as `TINY`, which nothing cancels, the imaginary part of ``f(x + i h) / h`` is exact to rounding.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.special
from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
from sklearn.linear_model import LinearRegression
from sklearn.linear_model._linear_loss import LinearModelLoss

from test_oracles import RTOL, torch

TINY = 1e-30
F = torch.nn.functional


def close(got, expected, dtype) -> None:
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=20 * RTOL[dtype])


def leaf(a):
    return torch.tensor(a, dtype=torch.float64, requires_grad=True)


def complex_slopes(function, x) -> np.ndarray:
    """The gradient of a function of a vector."""
    return np.array([function(x + 1j * TINY * e).imag / TINY for e in np.eye(len(x))])


def l2_penalty(way, body, rng, dtype) -> None:
    models, p = int(rng.integers(1, 4)), int(rng.integers(1, 60))
    decayed = int(rng.integers(p + 1))
    params, before = (rng.standard_normal((models, p)).astype(dtype) for _ in range(2))
    loss, l2 = rng.standard_normal(models).astype(dtype), rng.random(models).astype(dtype)
    gradient = before.copy()
    value = body(loss, gradient, params, l2, n_decayed=decayed)
    for m in range(models):
        strength = float(l2[m])
        if way == "torch":
            w = leaf(params[m])
            penalty = strength / 2 * torch.linalg.vector_norm(w[:decayed]) ** 2
            penalty.backward()
            expected, slope = penalty.item(), w.grad.numpy()
        else:
            w = params[m].astype(float)
            expected = strength / 2 * math.fsum(v * v for v in w[:decayed].tolist())
            slope = complex_slopes(lambda w, s=strength: s / 2 * (w[:decayed] ** 2).sum(), w)
        close(value[m], loss[m] + expected, dtype)
        close(gradient[m], before[m] + slope, dtype)


def shapes(rng) -> tuple[int, int, int, int]:
    """Samples, models, outputs (one, or at least three) and features."""
    return (
        int(rng.integers(1, 30)), int(rng.integers(1, 4)), int(rng.choice([1, 3, 5])),
        int(rng.integers(1, 9)),
    )  # fmt: skip


def linear_weights(library, body, rng, dtype) -> None:
    """What the factors predict, against a layer of PyTorch or a regression of scikit-learn."""
    n, models, k, d = shapes(rng)
    has_bias, transpose = bool(rng.integers(2)), bool(rng.integers(2))
    scaling = float(rng.uniform(0.5, 2))
    params = rng.standard_normal((models, k * (d + has_bias)))
    params = params.astype(rng.choice([dtype, "float64"]))  # which may be that of the samples
    coef = np.full((d, models, k) if transpose else (models, k, d), np.nan, dtype)
    bias = np.full((models, k), np.nan, dtype) if has_bias else None
    body(params, coef, bias, intercept_scaling=scaling, transpose=transpose)
    x = rng.standard_normal((n, d))
    scores = np.einsum("nd,dmk->mnk" if transpose else "nd,mkd->mnk", x, coef.astype(float))
    scores += 0 if bias is None else bias[:, None, :]
    for m, row in enumerate(params.astype(float)):
        if library == "torch":
            layer = torch.nn.Linear(d, k, bias=has_bias, dtype=torch.float64)
            torch.nn.utils.vector_to_parameters(torch.from_numpy(row), layer.parameters())
            if has_bias:
                layer.bias.data *= scaling
            expected = layer(torch.from_numpy(x)).detach().numpy()
        else:  # an intercept is the weight of one more feature, as LIBLINEAR has it
            model, wide = LinearRegression(), x
            model.coef_, model.intercept_ = row[: k * d].reshape(k, d), 0.0
            if has_bias:
                model.coef_ = np.column_stack([model.coef_, row[k * d :]])
                wide = np.column_stack([x, np.full(n, scaling)])
            expected = model.predict(wide).reshape(n, k)
        close(scores[m].astype(dtype), expected, dtype)
    assert coef.dtype == dtype


def linear_gradient(library, body, rng, dtype) -> None:
    """PyTorch's gradient of a loss that is linear in the factors, or scikit-learn's of a problem.

    There the penalty of an intercept is that of the weight of a constant feature.
    """
    n, models, k, d = shapes(rng)
    has_bias = bool(rng.integers(2))
    penalize = has_bias and bool(rng.integers(2))
    scaling = float(rng.uniform(0.5, 2)) if penalize else 1.0
    params = rng.standard_normal((models, k * (d + has_bias))).astype(dtype)
    l2 = rng.random(models).astype(dtype)
    dcoef, loss = rng.standard_normal((d, models, k)), rng.standard_normal(models)
    dbias = rng.standard_normal((models, k)) if has_bias else None
    expected = np.empty(models), np.empty(params.shape)
    if library == "torch":
        scaling = float(rng.uniform(0.5, 2))
        dcoef, loss = dcoef.astype(dtype), loss.astype(dtype)
        dbias = None if dbias is None else dbias.astype(dtype)
    for m, row in enumerate(params.astype(float)):
        if library == "torch":
            w = leaf(row)
            step = w - w.detach()  # none, but it has a gradient: the loss is known at this point
            total = float(loss[m]) + (step[: k * d].view(k, d).mT * torch.tensor(dcoef[:, m])).sum()
            if has_bias:
                total = total + scaling * step[k * d :] @ torch.tensor(dbias[m]).double()
            held = w if penalize else w[: k * d]
            total = total + float(l2[m]) / 2 * torch.linalg.vector_norm(held) ** 2
            total.backward()
            expected[0][m], expected[1][m] = total.item(), w.grad.numpy()
            continue
        weights, x = row[: k * d].reshape(k, d), rng.standard_normal((n, d))
        if has_bias:
            weights = np.column_stack([weights, row[k * d :]])
        if penalize:
            x = np.column_stack([x, np.full(n, scaling)])
        kind = HalfBinomialLoss() if k == 1 else HalfMultinomialLoss(n_classes=k)
        objective = LinearModelLoss(kind, fit_intercept=has_bias and not penalize)
        weights = np.asfortranarray(weights) if k > 1 else weights.ravel()
        y = rng.integers(max(k, 2), size=n).astype(float)
        loss[m], slope = objective.loss_gradient(weights, x, y)
        slope = slope.reshape(k, -1)
        dcoef[:, m] = slope[:, :d].T
        if has_bias:
            dbias[m] = slope[:, d] / scaling
        expected[0][m], slope = objective.loss_gradient(weights, x, y, l2_reg_strength=float(l2[m]))
        slope = slope.reshape(k, -1)
        expected[1][m] = np.concatenate([slope[:, :d].ravel(), slope[:, d:].ravel()])
    value, gradient = np.full(models, np.nan, dtype), np.full(params.shape, np.nan, dtype)
    body(
        dcoef.astype(dtype), loss.astype(dtype), params, l2, value, gradient,
        None if dbias is None else dbias.astype(dtype),
        intercept_scaling=scaling, penalize_intercept=penalize,
    )  # fmt: skip
    close(value, expected[0], dtype)
    close(gradient, expected[1], dtype)


def scores(rng, dtype) -> tuple[np.ndarray, dict, np.ndarray]:
    """Scores (N, M, K), the optional arguments, and the share of each sample, (M, N)."""
    n, models, k, _ = shapes(rng)
    z = 3 * rng.standard_normal((n, models, k)).astype(dtype)
    bias = rng.standard_normal((models, k)).astype(dtype) if rng.integers(2) else None
    shared = int(rng.choice([1, models]))
    share = (rng.random((shared, n)) / n).astype(dtype) if rng.integers(2) else None
    own = np.broadcast_to(1 / n if share is None else share.astype(float), (models, n))
    return z, {"bias": bias, "share": share}, own


def check_means(got, expected, dtype) -> None:
    """Compare a value, its gradients, and the one in the bias if there is one."""
    for g, e in zip(got, expected, strict=True):
        assert (g is None) == (e is None)
        if g is not None:
            close(g, e, dtype)


def sample_losses(z, y, loss) -> np.ndarray:
    """The loss of each sample from scores (N, K) that may be complex."""
    k = z.shape[1]
    both = np.column_stack([np.zeros_like(z), z]) if k == 1 else z  # a logistic is a softmax of two
    sizes = np.exp(both - both.real.max(axis=1, keepdims=True))
    right = np.arange(both.shape[1]) == y[:, None]
    p = sizes / sizes.sum(axis=1, keepdims=True)
    if loss == "log_loss":
        return -np.log(p[right])
    error = (p - right)[:, -k:]
    return (error**2).sum(axis=1) / 2


def linear_loss(way, body, rng, dtype) -> None:
    z, options, own = scores(rng, dtype)
    n, models, k = z.shape
    y = rng.integers(max(k, 2), size=n)
    loss = str(rng.choice(["log_loss", "squared_error"]))
    bias = options["bias"]
    if way == "torch":
        scores_, shift = leaf(z), None if bias is None else leaf(bias)
        moved = scores_ if bias is None else scores_ + shift
        target = torch.tensor(y)[:, None].expand(n, models)
        hot = target[..., None].double() if k == 1 else F.one_hot(target, k).double()
        if loss == "squared_error":
            p = torch.sigmoid(moved) if k == 1 else torch.softmax(moved, -1)
            each = F.mse_loss(p, hot, reduction="none").sum(-1) / 2
        elif k == 1:
            each = F.binary_cross_entropy_with_logits(moved, hot, reduction="none")[..., 0]
        else:
            each = F.cross_entropy(moved.flatten(0, 1), target.flatten(), reduction="none")
            each = each.view(n, models)
        value = (torch.tensor(own).T * each).sum(0)
        value.sum().backward()
        dbias = None if bias is None else shift.grad.numpy()
        expected = value.detach().numpy(), scores_.grad.numpy(), dbias
    else:
        moved = z.astype(float) + (0 if bias is None else bias.astype(float))
        value, dz = np.empty(models), np.empty(z.shape)
        for m, of_model in enumerate(moved.transpose(1, 0, 2)):
            value[m] = math.fsum(own[m] * sample_losses(of_model, y, loss))
            for j, e in enumerate(np.eye(k)):
                dz[:, m, j] = sample_losses(of_model + 1j * TINY * e, y, loss).imag / TINY * own[m]
        dbias = None if bias is None else np.array(
            [
                complex_slopes(
                    lambda b, m=m: own[m] @ sample_losses(z[:, m].astype(float) + b, y, loss), row
                )
                for m, row in enumerate(bias.astype(float))
            ]
        )  # fmt: skip
        expected = value, dz, dbias
    check_means(body(z, y, **options, loss=loss), expected, dtype)


def linear_curvature(way, body, rng, dtype) -> None:
    """PyTorch's product of a Hessian and a vector, or an imaginary step of SciPy's probabilities.

    The Hessian of a cross-entropy does not depend on the label.
    """
    z, options, own = scores(rng, dtype)
    n, models, k = z.shape
    at = rng.standard_normal(z.shape)
    p = (scipy.special.expit(at) if k == 1 else scipy.special.softmax(at, axis=2)).astype(dtype)
    bias = options["bias"]
    along = z.astype(float) + (0 if bias is None else bias.astype(float))
    if way == "torch":

        def total(place):
            if k == 1:
                return F.softplus(place).sum()
            return torch.logsumexp(place, -1).sum()

        product = torch.autograd.functional.hvp(total, torch.tensor(at), torch.tensor(along))[1]
        product = product.numpy()
    else:
        sizes = np.exp(at + 1j * TINY * along)
        product = (sizes / (sizes.sum(axis=2, keepdims=True) + (k == 1))).imag / TINY
    value = np.einsum("nmk,nmk,mn->m", along, product, own) / 2
    dz = np.einsum("nmk,mn->nmk", product, own)
    dbias = None if bias is None else np.einsum("nmk,mn->mk", product, own)
    check_means(body(z, p, **options), (value, dz, dbias), dtype)


def scatter_rows(way, body, rng, dtype) -> None:
    n = int(rng.integers(1, 20))
    picks, own = int(rng.integers(n + 1)), tuple(rng.integers(1, 5, int(rng.integers(3))))
    kind = str(rng.choice([dtype, "uint8", "int64"]))
    x, y = ((9 * rng.random((rows, *own))).astype(kind) for rows in (n, picks))
    rows = rng.permutation(n)[:picks].astype(rng.choice(["int32", "int64"]))
    if way == "torch":
        expected = torch.tensor(x).index_copy(0, torch.tensor(rows).long(), torch.tensor(y)).numpy()
    else:
        new = dict(zip(rows.tolist(), y, strict=True))
        expected = np.stack([new.get(i, old) for i, old in enumerate(x.copy())])
    body(x, y, rows)
    assert x.dtype == kind
    np.testing.assert_array_equal(x, expected)
