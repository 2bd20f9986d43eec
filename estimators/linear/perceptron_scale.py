"""The factor that scikit-learn's loop keeps apart from its weights, as early stopping sees them.

Its loop multiplies one number at each sample by the share of the weights that an L2 penalty leaves,
instead of all weights. Only when that number gets small does it go into the weights, and at the end
of the fit. Early stopping scores the weights without it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCK = 1024  # steps that are multiplied at once


def scale_after(scale: float, kept: np.ndarray) -> float:
    """Return the factor after some steps, to the bit.

    Parameters
    ----------
    scale : float
        The factor before them.
    kept : array of shape (n_steps,), float32 or float64
        The share of the weights that each step leaves. The products are in its dtype.
    """
    least = kept.dtype.type(1e-6 if kept.dtype == np.float32 else 1e-9)
    product = kept.dtype.type(scale)
    for begin in range(0, len(kept), _BLOCK):
        left = kept[begin : begin + _BLOCK]
        while len(left):
            products = np.multiply.accumulate(np.concatenate(([product], left)))[1:]
            small = np.flatnonzero(products < least)
            if not len(small):
                product = products[-1]
                break
            product, left = kept.dtype.type(1), left[small[0] + 1 :]
    return float(product)


def scales_after(
    scales: np.ndarray, penalties: Sequence[tuple[float, float]], rates: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Return the factors of several models after an epoch.

    Parameters
    ----------
    scales : array of shape (M,)
        The factors before it.
    penalties : sequence of (float, float)
        The strength of each penalty, and the share of L1 in it.
    rates : array of shape (M, n_steps)
        The rates of the steps.
    dtype : dtype
        That of the weights.
    """
    alpha, l1_ratio = np.array(penalties).T[:, :, None]
    kept = np.maximum(1 - (1 - l1_ratio) * rates * alpha, 0).astype(dtype)
    return np.array([scale_after(*each) for each in zip(scales, kept, strict=True)])
