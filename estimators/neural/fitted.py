"""A network with fitted weights: its layers, its predictions and its summary."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from cukernels.runtime import Array, current, like, namespace, to_device
from estimators.costs.work import network_prediction_work
from estimators.layers.layer import Layer, Parameters, Shape
from estimators.neural.diagram import LayersInDiagram
from estimators.neural.predictor import Predictor
from estimators.neural.summary import NetworkSummary, summary_of_fit
from estimators.shared.base import FLOATS, Classifier, float_dtype, is_plainly_valid
from estimators.shared.device_arrays import chosen, device_for, device_holding, device_of, in_kind
from estimators.shared.known_outputs import known_outputs
from estimators.shared.validation import fits_float32, is_large, validated
from estimators.training.initial_weights import draw_as_scikit_learn
from estimators.training.member import TrainingState
from estimators.training.network import Network
from estimators.training.objective import Objective


class NetworkModel(LayersInDiagram, Classifier):
    """A network classifier without its fit: all that needs no samples to learn from."""

    loss: str
    dtype: str
    classes_: np.ndarray
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    batch_norms_: list[Parameters]
    n_outputs_: int
    out_activation_: str
    _label_binarizer: Any
    _network: Network  # as fitted; setting parameters afterwards does not change predictions
    _state: TrainingState  # what `partial_fit` goes on from

    # What a subclass defines -----------------------------------------------------------------

    _draw = staticmethod(draw_as_scikit_learn)  # the first weights

    def _build_layers(self, shape: Shape, n_outputs: int) -> list[Layer]:
        """Return the layers for samples of a shape; the last makes the scores of the outputs."""
        raise NotImplementedError

    def _sample_shape(self, n_features: int) -> Shape:
        """Return the shape in which the first layer takes a sample."""
        return (n_features,)

    def _augmentation(self) -> Any:
        """Return what changes a batch of images at random while training, or None."""
        return None

    def _build_network(
        self, n_features: int, n_outputs: int, shape: Shape | None = None
    ) -> Network:
        shape = shape or self._sample_shape(n_features)
        return Network(self._build_layers(shape, n_outputs), shape)

    def summary(
        self,
        input_shape: Any = None,
        n_classes: int | None = None,
        *,
        n_samples: int | None = None,
        show: bool = True,
    ) -> NetworkSummary | None:
        """Print the layers with their sizes, and what a fit needs. Nothing is allocated.

        The columns are the shape of the output for one sample, the multiplications of the products
        on the way forward, the bytes of the output, and the number of parameters.

        Parameters
        ----------
        input_shape : int or tuple of int, default=None
            Number of features, or shape of an image; only needed before a fit.
        n_classes : int, default=None
            Number of classes; only needed before a fit.
        n_samples : int, default=None
            The samples of a fit whose memory is to be told below the table. `estimate_memory` knows
            more, as it is given the samples themselves.
        show : bool, default=True
            Whether to print the table (in a notebook, to show it). If False, it is returned.

        Returns
        -------
        summary : NetworkSummary or None
            With ``show=False`` an object with `input_shape`, `layers`, the sums `parameters`,
            `multiplications` and `activations`, and `memory`: that of the fit, or without
            `n_samples` of parameters (with what the solver keeps beside them) and of a step.
            Printed it is the table, and in a notebook it is shown as one.

        Raises
        ------
        TypeError
            If a number is no int.
        ValueError
            If the estimator is not fitted and one of the first two is missing, or if a number is
            below 1.
        """
        if n_samples is not None:
            _check_count("n_samples", n_samples)
        summary = summary_of_fit(self, self._network_shown(input_shape, n_classes), n_samples)
        if not show:
            return summary
        summary.show()
        return None

    def _network_shown(self, input_shape: Any, n_classes: int | None) -> Network:
        """Return the network as fitted, or for samples of a shape."""
        if hasattr(self, "coefs_"):
            return self._network if hasattr(self, "_network") else self._network_of_weights()
        if input_shape is None or n_classes is None:
            raise ValueError(
                f"this {type(self).__name__} is not fitted yet: give summary the shape of a sample "
                "and the number of classes, as in summary((28, 28), n_classes=10)"
            )
        shape = tuple(input_shape) if np.iterable(input_shape) else (input_shape,)
        for name, number in (("n_classes", n_classes), *(("input_shape", n) for n in shape)):
            _check_count(name, number)
        return self._described(shape, 1 if n_classes == 2 else n_classes)

    def _unlike_shapes(self) -> tuple[Shape, Shape]:
        """Return two shapes of samples that have in common what is known before a fit."""
        return (97,), (61,)

    def _described(self, shape: Shape, n_outputs: int) -> Network:
        """Return the network for samples of a shape, before any data are seen."""
        return self._build_network(int(np.prod(shape)), n_outputs)

    @property
    def _dtypes(self) -> Any:
        return FLOATS if self.dtype == "auto" else np.dtype(self.dtype)

    @property
    def _own_dtype(self) -> np.dtype:
        """The dtype of a network whose samples are no floats: with "auto" that is float64."""
        return np.dtype("float64" if self.dtype == "auto" else self.dtype)

    def _network_dtype(self, X: Any) -> np.dtype:
        """The dtype of weights and of batches; images of bytes stay bytes up to their batch."""
        return X.dtype if X.dtype.kind == "f" and self.dtype == "auto" else self._own_dtype

    # Fitted parameters -----------------------------------------------------------------------

    def _parameters(self, network: Network) -> list[Parameters]:
        """Return the fitted parameters of each layer, from the public attributes."""
        n_weighted = len(network.weighted)
        if n_weighted != len(self.coefs_):
            raise ValueError(
                f"the parameters describe {n_weighted} layers of weights, but {len(self.coefs_)} "
                "were fitted: fit anew, with warm_start=False"
            )
        return network.parameters_of(self)

    def _network_of_weights(self) -> Network:
        """Return the network of weights that a user has set instead of fitting them."""
        return self._build_network(np.shape(self.coefs_[0])[0], np.shape(self.coefs_[-1])[1])

    # Prediction ------------------------------------------------------------------------------

    @in_kind
    def predict(self, X: Any) -> Array:
        """Return the most probable class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels out of `classes_`, or 0-1 indicators.
        """
        return self._labels(self._predicted(X))

    @in_kind
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class for each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            The columns are in the order of `classes_`, and rows sum to 1. If samples have several
            labels each, each label has a probability of its own instead. As in scikit-learn, the
            dtype is that of X, or that of the network if it is wider.
        """
        p = self._predicted(X)
        if p.shape[1] > 1:
            return p
        classes = getattr(self, "classes_", ())  # weights set by hand may come without
        xp = namespace(p)
        return xp.ones_like(p) if len(classes) == 1 else xp.hstack([1 - p, p])

    @in_kind
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`."""
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):  # the logarithm of a probability of 0 is -inf
            return namespace(p).log(p, out=p)

    def _predicted(self, X: Any) -> Array:
        """Return the probabilities of the outputs, (n_samples, n_outputs), on the GPU if X is."""
        check_is_fitted(self)
        known = known_outputs(self, X)
        if known is not None:
            return like(known, X) if device_of(X) else known
        dtype = float_dtype(X)
        is_given = not hasattr(self, "_network")
        network = self._network_of_weights() if is_given else self._network
        rows = self._as_rows(X, shape=network.shapes[0])
        X = rows if self._are_whole_numbers(rows) else self._checked_rows(rows)
        # weights that a user has set may have any dtype
        own = self._network_dtype(X) if is_given else None
        holding = device_holding(X, self.device)
        device = self._device_of_prediction(network, X)
        with current(device):
            parameters = [
                {name: to_device(np.asarray(a, own)[None], device) for name, a in p.items()}
                for p in self._parameters(network)
            ]
            objective = Objective(self.loss, self.out_activation_)
            takes = self._network_dtype(X)
            predictor = Predictor(network, objective, parameters, device, takes)
            return (predictor.on_device if holding else predictor.probabilities)(X, dtype)[0]

    def _are_whole_numbers(self, X: Any) -> bool:
        """Whether X is valid as it is, and so may be converted piece by piece while predicting.

        Images of bytes then take their own memory once, and not four times more as floats.
        """
        return (
            (isinstance(X, np.ndarray) or device_of(X) is not None)
            and X.dtype.kind in "biu"
            and X.ndim == 2
            and len(X) > 0
            and X.shape[1] == getattr(self, "n_features_in_", None)
            and not hasattr(self, "feature_names_in_")
        )

    def _device_of_prediction(self, network: Network, X: Any) -> str:
        """Return where the outputs for validated samples are computed."""
        dtype = self._network_dtype(X)
        return device_for(X, self.device, lambda: network_prediction_work(network, X, dtype))

    def _checked_rows(self, X: Any) -> Any:
        """Validate X at prediction time.

        Many numbers of double precision stay so, and become those of the network some at a time.
        """
        dtypes, rows = self._dtypes, X
        order: Any = None if is_large(X) else "C"
        if order is None and dtypes == np.float32:
            kept = validated(self, X, dtype=FLOATS, reset=False)
            if fits_float32(kept):
                return kept
        with np.errstate(over="ignore"):  # what float32 does not hold is refused in words
            if type(X) is np.ndarray and X.dtype.kind in "fiu" and not isinstance(dtypes, tuple):
                rows = X.astype(dtypes, order="C", copy=False)
            if is_plainly_valid(self, rows, dtypes):
                return rows
        sparse = sp.issparse(X) and self.__sklearn_tags__().input_tags.sparse
        with np.errstate(over="ignore"):
            return validated(
                self,
                X,
                accept_sparse="csr" if sparse else False,
                dtype=dtypes,
                order=order,
                reset=False,
            )

    def _labels(self, p: Array) -> Array:
        """Return the classes that the binarizer would choose, on the device of `p`."""
        if not isinstance(p, np.ndarray):
            binarizer = self._label_binarizer
            if binarizer.y_type_ == "multilabel-indicator":
                return (p > 0.5).astype(int)
            if len(binarizer.classes_) == 1:
                return chosen(binarizer.classes_, namespace(p).zeros(len(p), int))
            winners = (p[:, 0] > 0.5).astype(int) if p.shape[1] == 1 else p.argmax(axis=1)
            return chosen(binarizer.classes_, winners)
        return self._label_binarizer.inverse_transform(p[:, 0] if p.shape[1] == 1 else p)


def _check_count(name: str, number: Any) -> None:
    """Raise TypeError or ValueError where a parameter has a number that counts nothing."""
    if not isinstance(number, Integral):
        raise TypeError(f"{name} must be an int, got {number!r}")
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number!r}")
