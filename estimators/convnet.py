"""`ConvNetClassifier`, a convolutional network with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from cukernels.images import pair
from estimators.layers.all import LAYERS
from estimators.layers.dense import Scores, hidden_layer, layer_activations, layer_sizes
from estimators.layers.image import Conv2D
from estimators.layers.layer import Layer, Shape
from estimators.layers.pooling import AvgPool2D, MaxPool2D
from estimators.mlp import dense_layers
from estimators.neural.augment import Augmentation
from estimators.neural.classifier import NeuralClassifier
from estimators.scikit_learn import Interval, StrOptions
from estimators.shared.image_shapes import (
    given_image_shape,
    rows_of_images,
    told_image_shape,
    warn_of_layout,
)
from estimators.training.initial_weights import draw_for_activation
from estimators.training.network import Network

_SMALLEST = 4  # side in pixels from which on a square number of features is taken as an image


class ConvNetClassifier(NeuralClassifier):
    """Convolutional network for images: convolutions with pooling, then dense layers.

    Numbers and strings describe the network, so that a search can vary it; any other chain of
    layers can be given as `layers`. Everything about training, attributes included, is as in
    `MLPClassifier`.

    Parameters
    ----------
    conv_layer_sizes : int or array-like of int, default=(32, 64)
        How many filters each convolution has.
    kernel_size : int or (int, int), default=3
        Height and width of the filters, in pixels.
    stride : int or (int, int), default=1
        How many pixels lie between one place of a filter and the next.
    padding : int, (int, int), "same" or "valid", default="same"
        How many zeros each convolution adds around its input; "same" keeps the size at stride 1.
    pool_size : int, (int, int) or None, default=2
        Height and width of the windows that are pooled after each convolution; None: no pooling.
    pooling : {"max", "avg"}, default="max"
        Whether pooling takes the largest value or the mean of a window.
    hidden_layer_sizes : int or array-like of int, default=(128,)
        How many units each dense layer has, between the last maps and the scores; () for none.
    image_shape : (int, int), (int, int, int) or None, default=None
        Height, width and channels of the images in 2-D input. None: a square number of features
        from 16 on is a square image of one channel. Any other number is an image of a single line,
        on which filters and windows that would not fit are made smaller; there is a warning if the
        line is as long as a square image in three colours. 3-D input (n_samples, height, width) and
        4-D input (n_samples, height, width, channels) has its own shape; there is a warning if its
        channels seem to come first.
    layers : list of layers or None, default=None
        Any chain of the layers of this package, such as `Conv2D`, `MaxPool2D`, `Dropout` and
        `Dense`. It takes the place of all parameters above except `image_shape`, and of
        `activation`, `dropout` and `batch_norm`. The layer of scores is added at its end.
    augment : dict or None, default=None
        Random changes of the training images: {"shift": pixels, "horizontal_flip": bool,
        "vertical_flip": bool}.
    activation : str or list of str, default="relu"
        The activation of all convolutions and hidden layers, or a list with one for each, in their
        order. Any name of `cukernels.activations.ACTIVATIONS` will do.
    dropout : float, default=0.0
        The fraction of the units of the hidden dense layers that each step drops.
    batch_norm : bool, default=False
        Whether to normalise convolutions and hidden layers over the batch.
    solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, \
    random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
    validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun, loss, class_weight, \
    dtype, device, callbacks
        As in `MLPClassifier`, with the same defaults.

    Attributes
    ----------
    image_shape_ : (int, int, int)
        Height, width and channels of the images.
    coefs_ : list of ndarray
        Filters (n_filters, height, width, n_channels) and dense weights (n_in, n_out).
    intercepts_ : list of ndarray
        Biases.
    classes_, batch_norms_, layer_norms_, loss_, loss_curve_, best_loss_, validation_scores_, \
    best_validation_score_, early_stopped_, n_iter_, t_, n_features_in_, n_layers_, n_outputs_, \
    out_activation_
        As in `MLPClassifier`.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86, 1998. He, Zhang, Ren and Sun,
    ICCV 2015, for the first weights. They are drawn for the activation of their layer, so that the
    values keep their size from layer to layer, and biases begin at 0. (`MLPClassifier` draws as
    scikit-learn does.)

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from estimators import ConvNetClassifier
    >>> X, y = load_digits(return_X_y=True)  # rows of 64 pixels: 8 x 8 is inferred
    >>> clf = ConvNetClassifier((8,), max_iter=5, tol=0, random_state=0).fit(X / 16, y)
    >>> clf.image_shape_
    (8, 8, 1)
    """

    _parameter_constraints: ClassVar[dict] = {
        "conv_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "kernel_size": [tuple, list, Interval(Integral, 1, None, closed="left")],
        "stride": [tuple, list, Interval(Integral, 1, None, closed="left")],
        "padding": [
            tuple,
            list,
            StrOptions({"same", "valid"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "pool_size": [tuple, list, Interval(Integral, 1, None, closed="left"), None],
        "pooling": [StrOptions({"max", "avg"})],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "image_shape": [tuple, list, None],
        "layers": [list, tuple, None],
        "augment": [Mapping, None],
        **NeuralClassifier._parameter_constraints,
    }

    def __init__(
        self,
        conv_layer_sizes: Any = (32, 64),
        *,
        kernel_size: Any = 3,
        stride: Any = 1,
        padding: Any = "same",
        pool_size: Any = 2,
        pooling: str = "max",
        hidden_layer_sizes: Any = (128,),
        image_shape: Any = None,
        layers: Any = None,
        augment: Any = None,
        activation: Any = "relu",
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: int | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: str = "log_loss",
        class_weight: Any = None,
        dropout: float = 0.0,
        batch_norm: bool = False,
        dtype: str = "float32",
        device: str = "auto",
        callbacks: Any = None,
    ) -> None:
        self.conv_layer_sizes = conv_layer_sizes
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.pool_size = pool_size
        self.pooling = pooling
        self.hidden_layer_sizes = hidden_layer_sizes
        self.image_shape = image_shape
        self.layers = layers
        self.augment = augment
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.class_weight = class_weight
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.dtype = dtype
        self.device = device
        self.callbacks = callbacks

    _draw = staticmethod(draw_for_activation)

    def _build_layers(self, shape: Shape, n_outputs: int) -> list[Layer]:
        if self.layers is not None:
            return [*_checked_layers(self.layers), Scores(n_outputs)]
        filters = layer_sizes(self.conv_layer_sizes, "conv_layer_sizes")
        units = layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        n_layers = len(filters) + len(units)
        names = layer_activations(self.activation, n_layers, "convolutions and hidden layers")
        layers: list[Layer] = []
        # an image of a single line, which nobody asked for
        shrinks = shape[0] == 1 and self.image_shape is None
        for k, name in zip(filters, names, strict=False):
            for layer in self._block(k, name, shape, shrinks):
                layers.append(layer)
                shape = layer.output_shape(shape)
        dense = dense_layers(units, names[len(filters) :], self.batch_norm, self.dropout, n_outputs)
        return layers + dense

    def _block(self, filters: int, activation: str, shape: Shape, shrinks: bool) -> list[Layer]:
        """Return a convolution and what follows it, made as small as the image if it `shrinks`."""
        kernel, pool = self.kernel_size, self.pool_size
        if shrinks and self.padding != "same":
            kernel = _that_fits(kernel, "kernel_size", shape)
        conv = Conv2D(filters, kernel, self.stride, self.padding, activation=activation)
        layers = hidden_layer(conv, self.batch_norm, 0.0)
        if pool is not None:
            if shrinks:
                pool = _that_fits(pool, "pool_size", conv.output_shape(shape))
            layers.append((MaxPool2D if self.pooling == "max" else AvgPool2D)(pool))
        return layers

    def _as_rows(self, X: Any, *, shape: Shape | None = None) -> Any:
        """Return images as rows for validation; during a fit, remember the shape that they have."""
        rows, given = rows_of_images(X, type(self).__name__, shape)
        if shape is None:
            self._given_shape = given
        return rows

    def _check_X_y(
        self, X: Any, y: Any, *, reset: bool, shape: Shape | None = None
    ) -> tuple[Any, np.ndarray]:
        X, y = super()._check_X_y(X, y, reset=reset, shape=shape)
        if shape is None:
            told = self.image_shape is not None or self._given_shape is not None
            warn_of_layout(self._sample_shape(X.shape[1]), X, told=told)
        return X, y

    def _sample_shape(self, n_features: int) -> Shape:
        return self._shape_of(n_features, self._given_shape)

    def _described(self, shape: Shape, n_outputs: int) -> Network:
        if len(shape) == 1:
            shape = self._shape_of(shape[0])
        shape = given_image_shape(shape)
        warn_of_layout(shape)
        return Network(self._build_layers(shape, n_outputs), shape)

    def _unlike_shapes(self) -> tuple[Shape, Shape]:
        if self.image_shape is None:
            return (512, 640, 3), (768, 896, 1)
        return (given_image_shape(self.image_shape),) * 2

    @property
    def image_shape_(self) -> Shape:
        """Height, width and channels of the images."""
        check_is_fitted(self, "coefs_")
        return self._network.shapes[0]

    def _shape_of(self, n_features: int, given: Any = None) -> Shape:
        """Return the shape given with X, or `image_shape`, or that of a square or of a line."""
        shape = told_image_shape(given, self.image_shape, n_features)
        if shape is not None:
            return shape
        side = isqrt(n_features)
        square = side * side == n_features and side >= _SMALLEST
        return (side, side, 1) if square else (1, n_features, 1)

    def _augmentation(self) -> Augmentation | None:
        return None if self.augment is None else Augmentation(self.augment)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.three_d_array = True
        return tags


def _that_fits(window: Any, name: str, shape: Shape) -> tuple[int, int]:
    """Return the size of a window, made smaller where an image of this shape is smaller."""
    rows, columns = pair(window, name)
    return min(rows, shape[0]), min(columns, shape[1])


def _checked_layers(layers: Any) -> list[Layer]:
    for layer in layers:
        if not isinstance(layer, Layer):
            *names, last = sorted(LAYERS)
            raise ValueError(f"layers must be made of {', '.join(names)} and {last}, got {layer!r}")
    return list(layers)
