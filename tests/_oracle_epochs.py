"""What happens around the steps of an epoch, against PyTorch, SciPy and plain sums."""

from __future__ import annotations

import math

import numpy as np
import scipy.ndimage
from sklearn.metrics import accuracy_score

from test_oracles import RTOL, torch


def close(got, expected, dtype) -> None:
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=RTOL[dtype])


def add_loss(parts, body, rng, dtype) -> None:
    """The sum over batches of loss and penalty, each as PyTorch's norm has it."""
    models, p = (int(n) for n in rng.integers(1, 40, 2))
    decayed, batches = int(rng.integers(p + 1)), 4
    l2 = rng.random(models)
    total, expected = np.zeros((models, int(rng.integers(2, 6)) if parts else 1)), 0.0
    for _ in range(batches):
        params, loss = (rng.standard_normal(s).astype(dtype) for s in ((models, p), models))
        size = rng.integers(1, 200, models).astype(float)
        body(total, loss, params, l2=l2, size=size, n_decayed=decayed)
        norms = torch.linalg.vector_norm(torch.from_numpy(params[:, :decayed]).double(), dim=1)
        expected = expected + size * (loss + l2 / 2 * norms.numpy() ** 2)
    close(total.sum(axis=1), expected, dtype)


def lose_overflowed(library, body, rng, dtype) -> None:
    """Infinity for models with a number that PyTorch, or Python, calls not finite; others stay."""
    models, p, chunks = (int(n) for n in rng.integers(1, 40, 3))
    params = rng.standard_normal((models, p)).astype(dtype)
    strange = rng.random((models, p)) < 1 / p
    params[strange] = rng.choice([np.nan, np.inf, -np.inf], strange.sum())
    before = rng.standard_normal((models, chunks))
    total = before.copy()
    body(total, params)
    if library == "torch":
        finite = torch.isfinite(torch.from_numpy(params)).all(dim=1).numpy()
    else:
        finite = np.array([all(map(math.isfinite, row)) for row in params.tolist()])
    np.testing.assert_array_equal(np.isfinite(total.sum(axis=1)), finite)
    stays = np.isfinite(total)
    np.testing.assert_array_equal(total[stays], before[stays])
    assert stays[finite].all() and (~stays).sum() <= strange.sum()


def running_mean(library, body, rng, dtype) -> None:
    """As PyTorch's batch normalisation moves its running mean, or its `lerp`."""
    models, channels = (int(n) for n in rng.integers(1, 9, 2))
    wide = rng.standard_normal((models, channels + 3)).astype(dtype)
    mean = wide[:, 2:-1]  # as the means of a stack lie among its other parameters
    expected = [torch.from_numpy(row.astype(float)) for row in mean]
    share = float(rng.uniform(0.01, 1))
    for _ in range(5):
        x = rng.standard_normal((models, 6, channels)).astype(dtype)
        body(mean, x.mean(axis=1), share=share)
        for own, batch in zip(expected, torch.from_numpy(x.astype(float)), strict=True):
            if library == "batch_norm":
                torch.nn.functional.batch_norm(
                    batch, own, torch.ones(channels).double(), training=True, momentum=share
                )
            else:
                own.lerp_(batch.mean(dim=0), share)
    close(mean, np.stack([own.numpy() for own in expected]), dtype)


def shift_and_flip(library, body, rng, dtype) -> None:
    """SciPy's shift and NumPy's flip, or PyTorch's padding and flip, image by image."""
    n, h, w, c = (int(k) for k in rng.integers(1, 7, 4))
    x = rng.standard_normal((n, h, w, c)).astype(dtype)
    far = 8
    shifts, flips = rng.integers(-far, far + 1, (n, 2)), rng.integers(2, size=(n, 2))
    before = x.copy()
    got = body(x, np.concatenate([shifts, flips], axis=1))
    np.testing.assert_array_equal(x, before)
    for image, (down, right), flip, result in zip(x, shifts, flips, got, strict=True):
        axes = [axis for axis in (0, 1) if flip[axis]]
        if library == "scipy":
            expected = scipy.ndimage.shift(image, (down, right, 0), order=0, cval=0)
            expected = np.flip(expected, axes)
        else:
            padded = torch.nn.functional.pad(torch.from_numpy(image), (0, 0, far, far, far, far))
            moved = padded[far - down : far - down + h, far - right : far - right + w]
            expected = torch.flip(moved, axes).numpy()
        np.testing.assert_array_equal(result, expected)


def take_step(library, body, rng, dtype) -> None:
    """The samples and targets that PyTorch's DataLoader, or its `index_select`, would give."""
    steps, groups, models, size, n = 3, 2, 5, 4, 11
    x = rng.standard_normal((n, 3, 2)).astype(dtype)
    y = rng.integers(9, size=n)
    rows, of = rng.integers(n, size=(steps, groups, size)), rng.integers(groups, size=models)
    settings = rng.random((steps, 4, models))
    step, batch = np.array([1]), np.zeros((groups, size, 3, 2), dtype)
    targets, own = np.zeros((models, size), int), np.zeros((4, models))
    for now in (1, 2, 0, 1):  # after the last step comes the first
        assert step[0] == now
        body(
            step, rows, x, y, batch, targets, of=of, settings=settings, own_settings=own
        )  # fmt: skip
        samples, labels = torch.from_numpy(x), torch.from_numpy(y)
        if library == "loader":
            data = torch.utils.data.TensorDataset(samples, labels)
            sampler = torch.utils.data.BatchSampler(rows[now].ravel().tolist(), size, False)
            loaded = list(torch.utils.data.DataLoader(data, batch_sampler=sampler))
            expected = torch.stack([b for b, _ in loaded]), torch.stack([t for _, t in loaded])
        else:
            flat = torch.from_numpy(rows[now].ravel())
            expected = samples.index_select(0, flat), labels.index_select(0, flat)
        np.testing.assert_array_equal(batch, expected[0].numpy().reshape(batch.shape))
        np.testing.assert_array_equal(targets, expected[1].numpy().reshape(groups, size)[of])
        np.testing.assert_array_equal(own, settings[now])


def right_rows(library, body, rng, dtype) -> None:
    """The rows that scikit-learn's `accuracy_score` counts, or PyTorch's `argmax`."""
    models, n, k = (int(m) for m in rng.integers(1, 30, 3))
    p = rng.random((models, n, k)).astype(dtype)
    labels = rng.integers(2, size=(models, n, k))
    classes = rng.integers(-1, max(k, 2), size=(models, n))
    of_classes, of_labels = body(p, classes), body(p, labels)
    for m in range(models):
        predicted = torch.from_numpy(p[m]).argmax(dim=1).numpy() if k > 1 else p[m, :, 0] > 0.5
        if library == "torch":
            np.testing.assert_array_equal(of_classes[m], predicted == classes[m])
            exact = torch.eq(torch.from_numpy(p[m] > 0.5), torch.from_numpy(labels[m] > 0)).all(1)
            np.testing.assert_array_equal(of_labels[m], exact.numpy())
        else:
            right = accuracy_score(classes[m], predicted.astype(int), normalize=False)
            assert of_classes[m].sum() == right
            exact = accuracy_score(labels[m], (p[m] > 0.5).astype(int), normalize=False)
            assert of_labels[m].sum() == exact
    p[0, 0, 0] = np.nan
    assert body(p, classes)[0, 0] == 2
