"""A perceptron that our own sweeps train: its data, and what all models of one stack share."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import compute_class_weight

from estimators.checkpoints.fits import described
from estimators.linear.perceptron_fit import PerceptronFit
from estimators.linear.perceptron_order import drawn, epoch_permutations
from estimators.linear.perceptron_state import PerceptronStage, initial_state
from estimators.linear.resume import read_stage
from estimators.shared.base import check_weights
from estimators.shared.labels import check_scoring_weights

_COPIES = 3  # of the weights: before and after an epoch, and the change of a step


@dataclass(eq=False)
class SweptModel(PerceptronFit):
    """A perceptron that our own sweeps train: the multinomial rule, and both rules on a GPU.

    A model has one problem for each class against the rest, or a single multinomial problem.
    Models of equal keys learn from the same rows in the same order, epoch by epoch. They may
    differ in the rate, in the strength and kind of an L2 penalty, in weights, tolerances and
    numbers of epochs.

    Attributes
    ----------
    w, b : ndarrays of shapes (K, n_features), (K,)
        Here they have a row a class for "multinomial", and else a row a problem.
    sample_weight : ndarray of shape (n_rows,)
        The weights of the samples, ones where the user gave none.
    update_weight : ndarray of shape (n_rows,) or (n_problems, n_rows), or None
        Factors of the updates, for samples and classes together; None where all are 1.
    held_out : integer ndarray
        Places among `rows` of the samples that early stopping scores on.
    seeds : integer ndarray of shape (1 or K,) or None
        What the orders of the samples follow from.
    permutations : integer ndarray of shape (1 or K, n_rows) or None
        How each epoch permutes the order of the last one, for all problems or for each.
    """

    sample_weight: np.ndarray = field(init=False)
    update_weight: np.ndarray | None = field(init=False)
    held_out: np.ndarray = field(init=False)
    seeds: np.ndarray | None = field(init=False)
    permutations: np.ndarray | None = field(init=False)

    @staticmethod
    def takes(rows: np.ndarray | None, sample_weight: Any) -> bool:
        """Whether no weighted row comes twice, as a row of shared samples has a single weight."""
        return rows is None or sample_weight is None or len(np.unique(rows)) == len(rows)

    def _prepare(self, sample_weight: Any) -> None:
        estimator, samples, labels = self.estimator, self.samples, self.labels
        X = self.X
        self.X = samples.once("in canonical form", lambda: _canonical(X))
        self.sample_weight = check_weights(sample_weight, labels, dtype=self.w.dtype)
        by_class = compute_class_weight(
            estimator.class_weight, classes=estimator.classes_, y=estimator.classes_[labels]
        )
        self.held_out, self.seeds = drawn(estimator, samples, self.rows, labels, len(by_class))
        if len(self.held_out):
            check_scoring_weights(self.sample_weight[self.held_out])
        if self.is_multinomial and len(self.w) == 1:
            # the only score that was given is that of class 1 less that of class 0
            self.w = np.concatenate([-self.w / 2, self.w / 2])
            self.b = np.concatenate([-self.b / 2, self.b / 2])
        self.update_weight = _update_weight(
            labels, self.sample_weight, by_class, self.is_multinomial
        )
        self.permutations = epoch_permutations(samples, len(labels), self.seeds)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a file.

        Raises
        ------
        ValueError
            If the file is of another fit, or damaged.
        """
        state = {name: a[0] for name, a in initial_state([self]).items()}
        problems = np.zeros(1 if self.is_multinomial else len(self.w), int)
        start = PerceptronStage(state, problems, problems, problems, self.seeds, self.held_out, 0)
        n_rows = len(self.labels)
        read = partial(PerceptronStage.read, start=start, n_rows=n_rows)
        description = described(self.estimator, self.data)
        self.resumed = stage = read_stage(path, description, read, self.epochs)
        self.held_out, self.seeds = stage.held_out, stage.seeds
        # what it has learned, if it is interrupted before the next epoch
        self.w, self.b, self.n_iter = stage.state["w"], stage.state["b"], stage.n_iter
        self.permutations = epoch_permutations(self.samples, n_rows, self.seeds)
        if len(self.held_out):
            check_scoring_weights(self.sample_weight[self.held_out])

    @property
    def data(self) -> dict[str, Any]:
        """What it learns from, as `described` takes it."""
        return {
            "X": self.X if self.rows is None else self.X[self.rows],
            "y": self.labels,
            "the classes": self.estimator.classes_,
            "sample_weight": self.sample_weight,
        }

    @property
    def is_multinomial(self) -> bool:
        """Whether the classes compete with each other."""
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
        """What the models of one stack have in common."""
        e = self.estimator
        samples = (id(self.samples), id(self.rows), id(self.labels), self.w.dtype)
        order = (id(self.permutations), e.early_stopping, self.held_out.tobytes())
        rule = (e.multi_class, len(self.w), e.fit_intercept, e.learning_rate)
        alone = None if self.resumed is None else id(self)  # others are in their first epoch
        return (self.device, samples, order, rule, self.penalty[1] > 0, self.incremental, alone)

    @property
    def n_bytes(self) -> int:
        """The memory of its weights, of the weights of its updates, and of rates that change."""
        n_values = _COPIES * (1 + (self.penalty[1] > 0)) * self.w.size
        if self.update_weight is not None:
            n_values += len(self.w) * self.X.shape[0]
        if self.estimator.learning_rate != "constant":
            n_values += 2 * len(self.w) * len(self.labels)  # rates are in double precision
        return self.w.itemsize * n_values

    @property
    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """The arrays that become `coef_` and `intercept_`, with one row for two classes."""
        return self.kept or scoring_weights(self.w, self.b, self.is_multinomial)


def scoring_weights(
    w: np.ndarray, b: np.ndarray, is_multinomial: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return `coef_` and `intercept_` of weights and intercepts, with one row for two classes."""
    if is_multinomial and len(w) == 2:
        w, b = w[1:] - w[:1], b[1:] - b[:1]
    # as in scikit-learn, a single intercept stays in double precision
    return w, b if len(b) == 1 else b.astype(w.dtype)


def _canonical(X: Any) -> Any:
    """Return X; add up the values of a sparse matrix that a row has in the same column."""
    if sp.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def _update_weight(
    labels: np.ndarray, weight: np.ndarray, by_class: np.ndarray, is_multinomial: bool
) -> np.ndarray | None:
    """Return the factors of the updates, (n_rows,) or a row a problem; None where all are 1.

    With one class against the rest, the weight of a class holds for its own samples in its own
    problem, and the rest weighs 1 there.
    """
    dtype = weight.dtype
    if not (by_class == 1).all():
        factor = by_class[labels]
        if not is_multinomial and len(by_class) > 2:
            factor = np.where(labels == np.arange(len(by_class))[:, None], factor, 1.0)
        weight = weight * factor
    return None if (weight == 1).all() else weight.astype(dtype)
