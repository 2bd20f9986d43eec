"""The elastic-net penalty of an online rule, applied sample by sample.

The L2 part shrinks all weights a little at every sample. The L1 part is cumulative (Tsuruoka,
Tsujii and Ananiadou, ACL 2009): a weight owes the sum of the L1 penalties of all samples so far.
Whenever a sample has its feature, the weight moves towards 0 by what it still owes, and stops at 0.
"""

from __future__ import annotations

from cukernels.runtime.arrays import Array, namespace


class Penalty:
    """The penalty of a stack of weight vectors, and its state from sample to sample.

    As a truth value it is False if there is neither a penalty nor a state to keep.

    Parameters
    ----------
    w : array of shape (..., K, D)
        Weights.
    alpha, l1_ratio : arrays that broadcast to (..., K), or floats
        Strength of the penalty, and the share of L1 in it.
    due : array of shape (..., K), default=None
        The sum of the L1 penalties so far, which every weight owes.
    paid : array of shape (..., K, D), default=None
        The sum of the changes that L1 has made to each weight.
    norms : array of shape (..., K, 2), default=None
        Squared L2 norm and L1 norm of each weight vector after its last update.
    """

    def __init__(
        self,
        w: Array,
        alpha: Array | float,
        l1_ratio: Array | float,
        due: Array | None = None,
        paid: Array | None = None,
        norms: Array | None = None,
    ) -> None:
        xp = namespace(w)
        alpha, l1_ratio = xp.asarray(alpha, w.dtype), xp.asarray(l1_ratio, w.dtype)
        self.alpha, self.l1_ratio = alpha, l1_ratio
        self.l1 = (alpha * l1_ratio)[..., None]
        self.l2 = (alpha * (1 - l1_ratio))[..., None]
        self.has_l1 = due is not None or bool((self.l1 != 0).any())
        self._is_on = self.has_l1 or norms is not None or bool((self.l2 != 0).any())
        if self.has_l1:
            self.due = xp.zeros(w.shape[:-1], w.dtype) if due is None else due
            self.paid = xp.zeros_like(w) if paid is None else paid
        if self._is_on:
            self.norms = measure(w) if norms is None else norms

    def __bool__(self) -> bool:
        return self._is_on

    def value(self) -> Array:
        """Return the penalty of each weight vector, (..., K, 1), as scikit-learn counts it.

        The norms are those after the last update: changes by L1 since then are not counted.
        """
        return self.l1 * self.norms[..., 1:] + self.l2 / 2 * self.norms[..., :1]

    def kept(self, eta: Array) -> Array:
        """Return the share of the weights that the L2 part of a step at rate `eta` leaves."""
        return namespace(eta).maximum(1 - self.l2 * eta, 0)

    def shrink(self, w: Array, eta: Array) -> None:
        """Apply the L2 part of a step, at rates `eta` of shape (..., K or 1, 1)."""
        kept = self.kept(eta)
        w *= kept
        self.norms *= namespace(w).concatenate((kept * kept, kept), axis=-1)

    def measure(self, w: Array, updated: Array) -> None:
        """Recompute the norms where `updated`, of shape (..., K), is true."""
        self.norms[updated] = measure(w[updated])

    def truncate(self, w: Array, columns: Array | slice, eta: Array) -> None:
        """Apply the L1 part of a step to the weights of some columns."""
        if not self.has_l1:
            return
        xp = namespace(w)
        # Undo what L1 has done so far, and truncate by all that is due: the sign may not change.
        self.due += (self.l1 * eta)[..., 0]
        before, paid = w[..., columns], self.paid[..., columns]
        sign = xp.sign(before)
        after = sign * xp.maximum(sign * (before - paid) - self.due[..., None], 0)
        self.paid[..., columns] = paid + (after - before)
        w[..., columns] = after


def measure(w: Array) -> Array:
    """Return the squared L2 norm and the L1 norm over the last axis, side by side."""
    xp = namespace(w)
    return xp.stack(((w * w).sum(axis=-1), xp.abs(w).sum(axis=-1)), axis=-1)
