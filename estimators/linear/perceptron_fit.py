"""What the prepared fits of `Perceptron` have in common, whichever engine runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from estimators.linear.fit import LinearFit
from estimators.shared.fit_protocol import raise_error_of
from estimators.shared.samples import Samples
from estimators.shared.warnings import warn


@dataclass(eq=False)
class PerceptronFit(LinearFit, ABC):
    """A fit of `Perceptron` that is prepared and not yet run; see `fit_protocol.Fit`.

    Attributes
    ----------
    w, b : ndarrays of shapes (K, n_features), (K,)
        Weights and intercepts: those to start from, and after the run those that are learned.
    epochs : int
        The largest number of epochs.
    incremental : bool
        Whether this is a `partial_fit`.
    device : str
        Where it runs.
    n_iter : int
        Epochs done.
    tells_of_epochs : bool
        Whether the engine tells of each epoch, so that there can be callbacks and files.
    """

    w: np.ndarray
    b: np.ndarray
    epochs: int
    _: KW_ONLY
    incremental: bool = False
    device: str = "cpu"
    n_iter: int = 0
    tells_of_epochs: ClassVar[bool] = True

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
        device: str = "cpu",
    ) -> Self:
        """Prepare a fit, which is a `partial_fit` where no number of `epochs` is given.

        Parameters
        ----------
        estimator, samples, X, labels, rows
            As the attributes.
        sample_weight : array-like of shape (n_rows,) or None
            Weights of the rows, as the user gave them.
        start : (ndarray, ndarray)
            The weights and intercepts to start from. They are kept, not copied.
        epochs : int or None, default=None
            The largest number of epochs.
        device : str, default="cpu"
            Where it runs.
        """
        incremental = epochs is None
        n_epochs = 1 if epochs is None else epochs
        fit = cls(
            estimator, samples, X, labels, rows, *start, epochs=n_epochs,
            incremental=incremental, device=device,
        )  # fmt: skip
        fit._prepare(sample_weight)
        return fit

    @abstractmethod
    def _prepare(self, sample_weight: Any) -> None:
        """Validate the weights of samples and classes, and set what the engine needs besides."""

    @staticmethod
    def takes(rows: np.ndarray | None, sample_weight: Any) -> bool:
        """Whether it can learn from these rows of shared samples, with these weights."""
        return True

    @property
    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """The arrays that become `coef_` and `intercept_`."""
        return self.w, self.b

    @property
    def has_begun(self) -> bool:
        """Whether an interrupt has left something to finish with."""
        return True

    def finish(self) -> None:
        """Set the fitted attributes of the estimator, with the warnings and errors of its fit."""
        raise_error_of(self)
        estimator = self.estimator
        vars(estimator).update(
            attributes_of(estimator, len(self.labels), self.learned, self.n_iter)
        )
        is_at_limit = self.n_iter == self.epochs and not self.incremental
        if estimator.tol is not None and is_at_limit:
            warn(
                "Maximum number of iteration reached before convergence. Consider increasing "
                "max_iter to improve the fit.",
                ConvergenceWarning,
            )


def attributes_of(
    estimator: Any, n_rows: int, learned: tuple[np.ndarray, np.ndarray], n_iter: int
) -> dict[str, Any]:
    """Return the fitted attributes after some epochs over so many rows.

    Parameters
    ----------
    estimator : Perceptron
        The estimator, whose `t_` is that before the first of these epochs.
    n_rows : int
        How many samples it learns from.
    learned : (ndarray, ndarray)
        Its weights and intercepts.
    n_iter : int
        Epochs done.
    """
    coef, intercept = learned
    t = estimator.t_ + n_iter * n_rows
    return {"coef_": coef, "intercept_": intercept, "n_iter_": n_iter, "t_": t}
