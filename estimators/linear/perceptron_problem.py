"""What the perceptron's own sweeps learn: all that models of one stack have in common, or not."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.utils import compute_class_weight

from cukernels.runtime import resolve_device
from estimators.linear.perceptron_fit import OnlineFit
from estimators.linear.perceptron_order import epoch_permutations, held_out_places
from estimators.shared.base import check_weights
from estimators.shared.labels import check_scoring_weights
from estimators.shared.samples import Samples

_COPIES = 3  # of the weights: before and after an epoch, and what a step makes


@dataclass(eq=False)
class SweptProblem(OnlineFit):
    """What our own sweeps learn: the multinomial rule, and all that runs on a GPU.

    Trainings of equal keys learn from the same rows in the same order, epoch by epoch; they may
    differ in the rate, the strength and kind of an L2 penalty, weights, tolerances and numbers of
    epochs. This holds for dense and sparse samples and for both rules.

    Attributes
    ----------
    sample_weight : ndarray of shape (n_rows,)
    update_weight : ndarray of shape (n_rows,) or (n_problems, n_rows), or None
        Factors of the updates, classes included; None where all are 1.
    held_out : integer ndarray
        Places among `rows` of the samples that early stopping scores on.
    permutations : integer ndarray of shape (1 or K, n_rows) or None
        What each epoch does to the order of the last, for all problems or for each.
    w, b : ndarrays of shapes (K, n_features), (K,)
        A row a class for "multinomial", else a problem.
    device : str
        Where it runs.
    """

    sample_weight: np.ndarray
    update_weight: np.ndarray | None
    held_out: np.ndarray
    permutations: np.ndarray | None
    device: str

    @staticmethod
    def takes(rows: np.ndarray | None, sample_weight: Any) -> bool:
        """Unless a row comes twice: it would weigh the same both times."""
        return rows is None or sample_weight is None or len(np.unique(rows)) == len(rows)

    @classmethod
    def of(
        cls,
        estimator: Any,
        samples: Samples,
        X: Any,
        labels: np.ndarray,
        sample_weight: Any,
        start: tuple[np.ndarray, np.ndarray],
        rows: np.ndarray | None = None,
        epochs: int | None = None,
    ) -> Self:
        """A training from weights and intercepts; without a number of `epochs` an incremental one.

        `sample_weight` is of the rows, as the user gave it. The weights are kept, not copied.
        """
        w, b = start
        X = samples.once("in canonical form", lambda: _canonical(X))
        is_multinomial = estimator.multi_class == "multinomial"
        weight = check_weights(sample_weight, labels, dtype=w.dtype)
        by_class = compute_class_weight(
            estimator.class_weight, classes=estimator.classes_, y=estimator.classes_[labels]
        )
        held_out = held_out_places(estimator, samples, rows, labels)
        if len(held_out):
            check_scoring_weights(weight[held_out])
        if is_multinomial and len(w) == 1:  # the score of class 1 less that of class 0
            w, b = np.concatenate([-w / 2, w / 2]), np.concatenate([-b / 2, b / 2])
        return cls(
            estimator=estimator,
            samples=samples,
            X=X,
            labels=labels,
            rows=rows,
            sample_weight=weight,
            update_weight=_update_weight(labels, weight, by_class, is_multinomial),
            held_out=held_out,
            permutations=epoch_permutations(estimator, samples, len(labels), len(by_class)),
            w=w,
            b=b,
            epochs=1 if epochs is None else epochs,
            device=resolve_device(estimator.device),
            incremental=epochs is None,
        )

    @property
    def is_multinomial(self) -> bool:
        """Whether its classes compete."""
        return self.estimator.multi_class == "multinomial"

    @property
    def penalty(self) -> tuple[float, float]:
        """Strength of the penalty, and the share of L1 in it."""
        e = self.estimator
        if e.penalty is None or e.alpha == 0:
            return 0.0, 0.0
        return e.alpha, {"l2": 0.0, "l1": 1.0, "elasticnet": e.l1_ratio}[e.penalty]

    @property
    def key(self) -> Hashable:
        """What models of one stack have in common."""
        e = self.estimator
        samples = (id(self.samples), id(self.rows), id(self.labels), self.w.dtype)
        order = (id(self.permutations), e.early_stopping, self.held_out.tobytes())
        rule = (e.multi_class, len(self.w), e.fit_intercept, e.learning_rate)
        return (self.device, samples, order, rule, self.penalty[1] > 0, self.incremental)

    @property
    def n_bytes(self) -> int:
        """Weights, the weights of its updates, and rates that change."""
        n_values = _COPIES * (1 + (self.penalty[1] > 0)) * self.w.size
        if self.update_weight is not None:
            n_values += len(self.w) * self.X.shape[0]
        if self.estimator.learning_rate != "constant":
            n_values += 2 * len(self.w) * len(self.labels)  # in double
        return self.w.itemsize * n_values

    @property
    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """What becomes `coef_` and `intercept_`: one row for two classes."""
        w, b = self.w, self.b
        if self.is_multinomial and len(w) == 2:
            w, b = w[1:] - w[:1], b[1:] - b[:1]
        # the only one stays in double precision, as it does in scikit-learn
        return w, b if len(b) == 1 else b.astype(w.dtype)


def _canonical(X: Any) -> Any:
    """A sparse matrix whose rows have no column twice."""
    if sp.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def _update_weight(
    labels: np.ndarray, weight: np.ndarray, by_class: np.ndarray, is_multinomial: bool
) -> np.ndarray | None:
    """Factors of the updates, (n_rows,) or a row a problem; None where all are 1."""
    dtype = weight.dtype
    if not (by_class == 1).all():
        factor = by_class[labels]
        if not is_multinomial and len(by_class) > 2:
            factor = np.where(labels == np.arange(len(by_class))[:, None], factor, 1.0)
        weight = weight * factor
    return None if (weight == 1).all() else weight.astype(dtype)
