"""Fits of `Perceptron` by scikit-learn's compiled loop: one class against the rest, on the CPU.

For one sample after the other that loop is the fastest engine that there is here, and its results
are scikit-learn's by themselves. It is reached through scikit-learn's public class of the rule.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn import config_context
from sklearn.linear_model import SGDClassifier
from sklearn.utils import compute_class_weight

from cukernels.runtime import in_parallel, threads
from estimators.linear.perceptron_fit import OnlineFit
from estimators.shared.base import check_weights
from estimators.shared.fit_protocol import Watch
from estimators.shared.labels import NO_AVERAGE, check_members
from estimators.shared.samples import Samples

# Parameters that mean the same there.
_PARAMETERS = (
    "penalty", "alpha", "l1_ratio", "fit_intercept", "tol", "shuffle", "eta0", "random_state",
    "early_stopping", "validation_fraction", "n_iter_no_change", "learning_rate", "power_t",
)  # fmt: skip
_WORTH = 2**20  # values of X, times problems, that are worth a second thread of ours,
_WORTH_OF_JOBLIB = 2**24  # and one of joblib's, which takes milliseconds to begin


class _Epochs(int):
    """A number of epochs that nothing equals.

    scikit-learn compares with it to warn that a fit has reached its limit. `finish` gives that
    warning, in the order of the fits and with the caller's line.
    """

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@dataclass(eq=False)
class CompiledFit(OnlineFit):
    """A fit of `Perceptron` that is prepared for scikit-learn's loop; see `fit_protocol.Fit`.

    Those with equal keys learn from the same rows and may differ in everything else.

    Attributes
    ----------
    class_weight : dict, "balanced" or None
        By the places in `classes_`.
    sample_weight : ndarray of shape (n_rows,) or None
        As it was given.
    """

    class_weight: Any = None
    sample_weight: Any = None
    _is_done: bool = False

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
    ) -> CompiledFit:
        """A training from weights and intercepts; without a number of `epochs` an incremental one.

        `sample_weight` is of the rows. The weights are kept, not copied.
        """
        class_weight, classes = estimator.class_weight, estimator.classes_
        if isinstance(class_weight, dict):
            by_class = compute_class_weight(class_weight, classes=classes, y=classes[labels])
            class_weight = dict(enumerate(by_class.tolist()))
        if sample_weight is not None and not estimator.early_stopping:
            check_weights(sample_weight, labels)
        check_members(estimator, labels)
        return cls(
            estimator, samples, X, labels, rows, *start,
            epochs=1 if epochs is None else epochs, incremental=epochs is None,
            class_weight=class_weight, sample_weight=sample_weight,
        )  # fmt: skip

    @property
    def key(self) -> Hashable:
        """What trainings that run together have in common.

        Where they draw from NumPy's one generator they run alone, in their order.
        """
        alone = id(self) if self.estimator.random_state is None else None
        return (id(self.samples), id(self.rows), alone)

    @property
    def n_bytes(self) -> int:
        """Weights, and what a problem keeps of each sample: its label, weight and place."""
        n_rows = len(self.labels)
        return self.w.itemsize * 2 * (self.w.size + n_rows) + 16 * n_rows

    @property
    def has_begun(self) -> bool:
        """Whether it is done: the loop has nothing to give before."""
        return self._is_done

    @classmethod
    def run(cls, trainings: Sequence[CompiledFit], watch: Watch | None = None) -> None:
        """Run trainings of equal keys, each on a thread; one that fails does so alone.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, when the loops that run have returned.
        """
        first = trainings[0]
        X = first.X if first.rows is None else first.X[first.rows]
        size = X.nnz if sp.issparse(X) else X.size
        is_alone = len(trainings) == 1

        def fit(_: None, training: CompiledFit) -> None:
            # what was validated once needs no second look; the setting is one of the thread
            with config_context(assume_finite=True, skip_parameter_validation=True):
                try:
                    training._fit(X, size, verbose=is_alone)
                except ZeroDivisionError:  # of the average score on what it has held out
                    training.error = ValueError(NO_AVERAGE)
                except Exception as error:
                    training.error = error

        worth = size * sum(len(t.w) for t in trainings) >= _WORTH
        in_parallel(fit, trainings, worth=worth)

    def _fit(self, X: Any, size: int, *, verbose: bool) -> None:
        """Let scikit-learn run the fit."""
        estimator = self.estimator
        n_jobs, lines = estimator.n_jobs, estimator.verbose if verbose else 0
        if n_jobs is None and not lines and size * len(self.w) >= _WORTH_OF_JOBLIB:
            n_jobs = min(threads(), len(self.w))  # it draws the seeds first: the result is the same
        model = SGDClassifier(
            loss="perceptron", class_weight=self.class_weight, max_iter=_Epochs(self.epochs),
            n_jobs=n_jobs, verbose=lines,
            **{name: getattr(estimator, name) for name in _PARAMETERS},
        )  # fmt: skip
        if self.incremental:
            model.classes_, model.n_features_in_ = np.arange(len(estimator.classes_)), X.shape[1]
            model.coef_, model.intercept_, model.t_ = self.w, self.b, estimator.t_
            model.partial_fit(X, self.labels, sample_weight=self.sample_weight)
        else:
            model.fit(X, self.labels, self.w, self.b, self.sample_weight)
        self.w, self.b, self.n_iter = model.coef_, model.intercept_, model.n_iter_
        self._is_done = True
