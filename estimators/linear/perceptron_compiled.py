"""Fits of `Perceptron` by scikit-learn's compiled loop: one class against the rest, on the CPU.

That loop is the fastest engine here for one sample after the other, and its results are
scikit-learn's own. It is reached through `SGDClassifier`, scikit-learn's public class of this rule.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn import config_context
from sklearn.linear_model import SGDClassifier
from sklearn.utils import compute_class_weight

from cukernels.runtime import in_parallel, threads
from estimators.costs.memory import MemoryEstimate
from estimators.linear.perceptron_fit import PerceptronFit
from estimators.shared.base import check_weights
from estimators.shared.fit_protocol import Watch
from estimators.shared.labels import NO_AVERAGE, check_members
from estimators.shared.samples import n_bytes_of

# Parameters that mean the same in SGDClassifier.
_PARAMETERS = (
    "penalty", "alpha", "l1_ratio", "fit_intercept", "tol", "shuffle", "eta0", "random_state",
    "early_stopping", "validation_fraction", "n_iter_no_change", "learning_rate", "power_t",
)  # fmt: skip
# A second thread of ours pays from so many values of X times problems on, and one of joblib's,
# which takes milliseconds to begin, from more.
_WORTH = 2**20
_WORTH_OF_JOBLIB = 2**24


class _Epochs(int):
    """A number of epochs that nothing equals.

    scikit-learn compares the epochs done with it, to warn of a fit that has reached its limit. So
    it never warns, and `finish` does, in the order of the fits and at the caller's line.
    """

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@dataclass(eq=False)
class CompiledFit(PerceptronFit):
    """A fit of `Perceptron` that is prepared for scikit-learn's loop; see `fit_protocol.Fit`.

    Fits of equal keys learn from the same rows and may differ in everything else.

    Attributes
    ----------
    class_weight : dict, "balanced" or None
        Weights of the classes. The keys of a dict are places in `classes_`.
    sample_weight : array-like of shape (n_rows,) or None
        The weights of the rows, as the user gave them.
    """

    class_weight: Any = None
    sample_weight: Any = None
    _is_done: bool = False
    tells_of_epochs: ClassVar[bool] = False

    def _prepare(self, sample_weight: Any) -> None:
        estimator, labels = self.estimator, self.labels
        self.class_weight, self.sample_weight = estimator.class_weight, sample_weight
        if isinstance(self.class_weight, dict):
            classes = estimator.classes_
            by_class = compute_class_weight(self.class_weight, classes=classes, y=classes[labels])
            self.class_weight = dict(enumerate(by_class.tolist()))
        if sample_weight is not None and not estimator.early_stopping:
            check_weights(sample_weight, labels)
        check_members(estimator, labels)

    @property
    def key(self) -> Hashable:
        """What fits that run together have in common.

        A fit that draws from NumPy's global generator runs alone, so that the draws come in the
        order of the fits.
        """
        alone = id(self) if self.estimator.random_state is None else None
        return (id(self.samples), id(self.rows), alone)

    @property
    def n_bytes(self) -> int:
        """The memory of its weights, and of the label, weight and place of each sample."""
        n_rows = len(self.labels)
        return self.w.itemsize * 2 * (self.w.size + n_rows) + 16 * n_rows

    @property
    def has_begun(self) -> bool:
        """Whether it is done: the loop gives nothing before its end."""
        return self._is_done

    @classmethod
    def memory_of(cls, fits: Sequence[CompiledFit]) -> MemoryEstimate:
        """Return what fits need that run together, with the copy of the rows of their fold."""
        estimate, first = super().memory_of(fits), fits[0]
        if first.rows is None:
            return estimate
        copy = n_bytes_of(first.X) * len(first.rows) // max(first.X.shape[0], 1)
        return replace(estimate, data=estimate.data + copy)

    @classmethod
    def run(cls, fits: Sequence[CompiledFit], watch: Watch | None = None) -> None:
        """Run fits of equal keys, each on a thread; one that fails does so alone.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, when the loops that run have returned.
        """
        first = fits[0]
        X = first.X if first.rows is None else first.X[first.rows]
        size = X.nnz if sp.issparse(X) else X.size
        is_alone = len(fits) == 1

        def run_one(_: None, fit: CompiledFit) -> None:
            # X and the parameters are validated already; the setting holds for this thread
            with config_context(assume_finite=True, skip_parameter_validation=True):
                try:
                    fit._run_alone(X, size, verbose=is_alone)
                except ZeroDivisionError:  # in the average score of the samples held out
                    fit.error = ValueError(NO_AVERAGE)
                except Exception as error:
                    fit.error = error

        worth = size * sum(len(fit.w) for fit in fits) >= _WORTH
        in_parallel(run_one, fits, worth=worth)

    def _run_alone(self, X: Any, size: int, *, verbose: bool) -> None:
        """Let scikit-learn run this fit on its rows `X`, which hold `size` values."""
        estimator = self.estimator
        n_jobs, lines = estimator.n_jobs, estimator.verbose if verbose else 0
        if n_jobs is None and not lines and size * len(self.w) >= _WORTH_OF_JOBLIB:
            # the seeds are drawn before the threads begin, so that the result is the same
            n_jobs = min(threads(), len(self.w))
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
