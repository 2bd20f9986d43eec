"""A network with fitted weights: what its layers are, what it predicts, what it looks like."""

from __future__ import annotations

from math import prod
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted, validate_data

from cukernels.runtime import (
    Array,
    current,
    in_parallel,
    is_undivided,
    namespace,
    on_one_blas_thread,
    resolve_device,
    shares,
    to_device,
    to_host,
)
from estimators.layers.layer import Layer, Mode, Parameters, Shape
from estimators.neural.initial_weights import draw_as_scikit_learn
from estimators.neural.network import Network
from estimators.neural.objective import Objective
from estimators.neural.summary import summary_table
from estimators.shared.base import FLOATS, Classifier, float_dtype, is_plainly_valid
from estimators.shared.known_outputs import known_outputs
from estimators.shared.rows import SparseRows

_PREDICTED_AT_ONCE = 2**22  # values of the widest layer: 16 MB of float32


class NetworkModel(Classifier):
    """The part of a network classifier that needs no training data."""

    loss: str
    dtype: str
    classes_: np.ndarray
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    batch_norms_: list[Parameters]
    n_outputs_: int
    out_activation_: str
    _label_binarizer: Any
    _network: Network  # as fitted: parameters set since then do not change predictions

    # What a subclass defines -----------------------------------------------------------------

    _draw = staticmethod(draw_as_scikit_learn)  # the first weights

    def _build_layers(self, shape: Shape, n_outputs: int) -> list[Layer]:
        """The layers for samples of a shape, up to the scores of `n_outputs` outputs."""
        raise NotImplementedError

    def _sample_shape(self, n_features: int) -> Shape:
        """Shape of one sample for the first layer."""
        return (n_features,)

    def _augmentation(self) -> Any:
        """What changes a batch of images while training, or None."""
        return None

    def _build_network(
        self, n_features: int, n_outputs: int, shape: Shape | None = None
    ) -> Network:
        shape = shape or self._sample_shape(n_features)
        return Network(self._build_layers(shape, n_outputs), shape)

    def summary(self, input_shape: Any = None, n_classes: int | None = None) -> None:
        """Print the layers with their output shapes and parameter counts; allocates nothing.

        Parameters
        ----------
        input_shape : int or tuple of int, default=None
            Before fit: number of features, or shape of an image.
        n_classes : int, default=None
            Before fit: number of classes.

        Raises
        ------
        ValueError
            If the estimator is not fitted and one of the two is missing.
        """
        if hasattr(self, "coefs_"):
            network = self._network
        elif input_shape is None or n_classes is None:
            raise ValueError(
                f"this {type(self).__name__} is not fitted yet: give summary the shape of a sample "
                "and the number of classes, as in summary((28, 28), n_classes=10)"
            )
        else:
            shape = (input_shape,) if isinstance(input_shape, Integral) else tuple(input_shape)
            network = self._described(shape, 1 if n_classes == 2 else n_classes)
        print(summary_table(network))  # noqa: T201

    def _described(self, shape: Shape, n_outputs: int) -> Network:
        """The network for samples of a shape, before any data are seen."""
        return self._build_network(int(np.prod(shape)), n_outputs)

    @property
    def _dtypes(self) -> Any:
        return FLOATS if self.dtype == "auto" else np.dtype(self.dtype)

    # Fitted parameters -----------------------------------------------------------------------

    def _unpack(self, network: Network, flat: np.ndarray) -> None:
        """Set `coefs_`, `intercepts_` and their like from the flat vector of the training."""
        for name, values in network.fitted_attributes(flat).items():
            setattr(self, name, values)

    def _parameters(self, network: Network) -> list[Parameters]:
        """The fitted parameters of each layer, from the public attributes."""
        n_weighted = len(network.weighted)
        if n_weighted != len(self.coefs_):
            raise ValueError(
                f"the parameters describe {n_weighted} layers of weights, but {len(self.coefs_)} "
                "were fitted: fit anew, with warm_start=False"
            )
        return network.parameters_of(self)

    def _network_of_weights(self) -> Network:
        """The network of weights that nobody has fitted, but a user has set."""
        return self._build_network(np.shape(self.coefs_[0])[0], np.shape(self.coefs_[-1])[1])

    # Prediction ------------------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
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

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`, and in the dtype of X, or of the network where that is
            wider, as scikit-learn's are: rows sum to 1 in it. Of several labels a sample each has
            its own probability.
        """
        p = self._predicted(X)
        if p.shape[1] > 1:
            return p
        classes = getattr(self, "classes_", ())  # weights set by hand may come without
        return np.ones_like(p) if len(classes) == 1 else np.hstack([1 - p, p])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):  # the logarithm of a probability of 0 is -inf
            return np.log(p, out=p)

    def _predicted(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        known = known_outputs(self, X)
        if known is not None:
            return known
        dtype = float_dtype(X)
        is_given = not hasattr(self, "_network")
        network = self._network_of_weights() if is_given else self._network
        X = self._checked_rows(self._as_rows(X, shape=network.shapes[0]))
        own = X.dtype if is_given else None  # weights that a hand has set may have any
        objective = Objective(self.loss, self.out_activation_)
        device = resolve_device(self.device)
        with current(device):
            parameters = [
                {name: to_device(np.asarray(a, own)[None], device) for name, a in p.items()}
                for p in self._parameters(network)
            ]
            return self._outputs(network, objective, parameters, X, device, dtype)[0]

    def _checked_rows(self, X: Any) -> Any:
        """Validate X at prediction time."""
        dtypes, rows = self._dtypes, X
        with np.errstate(over="ignore"):  # what float32 does not hold is refused in words
            if type(X) is np.ndarray and X.dtype.kind in "fiu" and not isinstance(dtypes, tuple):
                rows = X.astype(dtypes, order="C", copy=False)
            if is_plainly_valid(self, rows, dtypes):
                return rows
        sparse = sp.issparse(X) and self.__sklearn_tags__().input_tags.sparse
        with np.errstate(over="ignore"):
            return validate_data(
                self,
                X,
                accept_sparse="csr" if sparse else False,
                dtype=dtypes,
                order="C",
                reset=False,
            )

    def _outputs(
        self,
        network: Network,
        objective: Objective,
        parameters: list[Parameters],
        X: Any,
        device: str,
        dtype: np.dtype,
    ) -> np.ndarray:
        """Output probabilities (M, n_samples, n_outputs), a bounded number of samples at a time.

        The parameters are those of a stack of M models. X is on the host or, if it is an array, on
        the device. The scores are in the precision of the network; what is made of them is in
        `dtype`, if that is wider.
        """
        # bits are the same on any number of cores either way
        few = is_undivided(X.shape[0] * network.operations // 2)
        compute = self._computed_outputs if few else self._outputs_alone
        return compute(network, objective, parameters, X, device, dtype)

    def _computed_outputs(
        self,
        network: Network,
        objective: Objective,
        parameters: list[Parameters],
        X: Any,
        device: str,
        dtype: np.dtype,
    ) -> np.ndarray:
        widest = max(prod(shape) for shape in network.shapes)

        def probabilities(_: None, rows: slice) -> Array:
            part = X[rows]
            if sp.issparse(part):
                stored = (part.data, part.indices, part.indptr)
                x: Any = SparseRows(*(to_device(a, device) for a in stored))
            else:
                x = to_device(self._shaped(part, network)[None], device)
            z, _backward = network.forward(parameters, x, Mode())
            return objective.probabilities(z.astype(np.result_type(z.dtype, dtype), copy=False))

        chunks = shares(X.shape[0], max(1, _PREDICTED_AT_ONCE // widest)) or [slice(0, 0)]
        if device == "cpu":
            parts = in_parallel(probabilities, chunks)
        else:
            parts = [probabilities(None, rows) for rows in chunks]
        if len(parts) == 1:
            return to_host(parts[0])
        return to_host(namespace(parts[0]).concatenate(parts, axis=1))

    _outputs_alone = on_one_blas_thread(_computed_outputs)

    def _shaped(self, X: Array, network: Network) -> Array:
        return X.reshape(len(X), *network.shapes[0])

    def _labels(self, p: np.ndarray) -> np.ndarray:
        return self._label_binarizer.inverse_transform(p[:, 0] if p.shape[1] == 1 else p)
