"""What the linear classifiers share: validation, the run of a fit, and predictions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from cukernels.runtime import Array, Work, like, resolve_device
from estimators.costs.memory import MemoryEstimate
from estimators.linear.row_blocks import kept_forms
from estimators.linear.scores import linear_scores
from estimators.shared.base import FLOATS, Classifier, is_plainly_valid
from estimators.shared.device_arrays import (
    chosen,
    device_for,
    device_of,
    in_kind,
    on_host,
    received,
)
from estimators.shared.interrupts import has_to_raise
from estimators.shared.known_outputs import known_outputs
from estimators.shared.labels import count_outputs
from estimators.shared.rows import dense_rows_of
from estimators.shared.validation import validated, validated_shape
from estimators.shared.warnings import warn


class LinearClassifier(Classifier):
    """Predictions of a `coef_` of shape (1 or K, D) and an `intercept_` of shape (1 or K,).

    A fit sets them, or a user does, with `classes_`, as with scikit-learn's linear models.
    """

    coef_: Any  # ndarray, or a CSR matrix after `sparsify`
    intercept_: np.ndarray
    classes_: np.ndarray
    device: str
    max_iter: int
    _goes_by_blocks = False  # whether a fit takes large samples as they are; see `kept_forms`
    _takes_large_sparse = False  # whether indices of sparse X may have 64 bits

    def _fit_memory(
        self, X: Any, n_classes: int, device: str, models: int = 1, n_learned: int | None = None
    ) -> MemoryEstimate:
        """Return what a fit to X, or to `n_learned` rows of it, needs, or a stack of fits."""
        raise NotImplementedError

    def _fit_work(self, X: Any, n_classes: int, max_iter: int) -> Work:
        """Return what a fit to X has to do."""
        raise NotImplementedError

    def _check_classes(self) -> None:
        """Raise ValueError unless a fit takes as many classes as there are in `classes_`."""
        raise NotImplementedError

    def _check_X_y(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, np.ndarray]:
        """Validate samples and labels to learn from; X becomes a float array or a CSR matrix."""
        # the sum of X by which scikit-learn looks for NaN may overflow
        with np.errstate(over="ignore", invalid="ignore"):
            X, y = validated(self, X, y, reset=reset, **self._input_options(X))
        check_classification_targets(y)
        return X, y

    def _input_options(self, X: Any) -> dict[str, Any]:
        """Return what `validated` is told of samples to learn from."""
        options = {"accept_sparse": "csr", "accept_large_sparse": self._takes_large_sparse}
        forms = kept_forms(X) if self._goes_by_blocks else {"dtype": FLOATS, "order": "C"}
        return options | forms

    def _run(self, fit: Any) -> Self:
        """Run a prepared fit and set the fitted attributes; Ctrl-C keeps what is learned."""
        try:
            fit.run([fit])
        except KeyboardInterrupt:
            if not fit.has_begun or has_to_raise():
                raise
            warn("Training interrupted by user.")
        fit.finish()
        return self

    def estimate_memory(self, X: Any, y: Any = None) -> MemoryEstimate:
        """Estimate the memory of the device that `fit` will need. Nothing is allocated.

        A fit on a GPU that needs more than is free raises MemoryError before its first step. What
        `fit` refuses for its shape or type is refused here in the same words. Numbers are not
        looked at, so NaN in X is only found by `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples; only their shape and type count.
        y : array-like of shape (n_samples,), default=None
            Labels. Without them, the classes are those of the last fit, or else two.

        Returns
        -------
        memory : MemoryEstimate
            Bytes of `data`, `parameters` (with what the solver keeps) and a `step`, their `total`,
            and the `device`.
        """
        model = clone(self)
        model._validate_params()
        resolve_device(self.device)
        given = received(X)
        samples, y = validated_shape(model, given, on_host(y), **model._input_options(given))
        if y is not None:
            model.classes_ = np.unique(y)
            model._check_classes()
        n_classes = max(2, count_outputs(y, getattr(self, "classes_", ())))
        device = device_for(
            given, self.device, lambda: model._fit_work(samples, n_classes, self.max_iter)
        )
        return model._fit_memory(samples, n_classes, device)

    def _checked_X(self, X: Any) -> Any:
        """Return the X of a prediction, valid, with fit's columns; see `kept_forms`.

        An array on a GPU stays there.
        """
        check_is_fitted(self)
        if is_plainly_valid(self, X, FLOATS):
            return X
        options: Any = {"accept_sparse": "csr", "reset": False} | kept_forms(X)
        options["order"] = None  # products take any, a block at a time
        # scikit-learn looks for NaN in the sum of X, which may overflow without any
        with np.errstate(over="ignore", invalid="ignore"):
            return validated(self, X, **options)

    @in_kind
    def decision_function(self, X: Any) -> Array:
        """Return the signed distance of each sample to the hyperplane, times the norm of `coef_`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : array of shape (n_samples,) or (n_samples, n_classes)
            One score a class; with two classes one score, above 0 for `classes_[1]`.
        """
        known = known_outputs(self, X)
        if known is not None:
            known = like(known, X) if device_of(X) else known
            return known[:, 0] if known.shape[1] == 1 else known
        X, coef = self._checked_X(X), dense_rows_of(self.coef_)
        if X.shape[1] != coef.shape[1]:  # where `coef_` was set by hand, nobody has compared them
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{coef.shape[1]} features as input."
            )
        scores = linear_scores(X, coef, self.intercept_, self.device)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    @in_kind
    def predict(self, X: Any) -> Array:
        """Return the class of highest score for each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : array of shape (n_samples,)
            Labels out of `classes_`.
        """
        scores = self.decision_function(X)
        winners = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return chosen(self.classes_, winners)

    def densify(self) -> LinearClassifier:
        """Store `coef_` as an array, which is how `fit` leaves it, and return self."""
        check_is_fitted(self)
        if sp.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def sparsify(self) -> LinearClassifier:
        """Store `coef_` as a CSR matrix, small where an L1 penalty left zeros, and return self.

        Call `densify` before fitting on from it (`partial_fit`, `warm_start`).
        """
        check_is_fitted(self)
        self.coef_ = sp.csr_matrix(self.coef_)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
