"""`MLPClassifier`, a multi-layer perceptron with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from estimators.layers.dense import Dense, Scores, hidden_layer, layer_activations, layer_sizes
from estimators.layers.layer import Layer, Shape
from estimators.neural.classifier import NeuralClassifier
from estimators.neural.given_weights import set_weights, weights_of
from estimators.scikit_learn import Interval
from estimators.training.network import Network
from estimators.training.optimizers import lists_solvers


@lists_solvers
class MLPClassifier(NeuralClassifier):
    """Multi-layer perceptron that minimises the log-loss.

    Parameters, attributes, random draws and arithmetic are those of scikit-learn's class. With
    ``dtype="float64"``, the same `random_state` gives the same loss curve up to rounding, as long
    as no probability is so near to 0 or 1 that scikit-learn clips it (2e-16). New are every
    activation of `cukernels`, `class_weight`, `dropout`, `batch_norm`, `loss`, `dtype`, two
    learning-rate schedules, a validation set of your own, and `partial_fit` with early stopping.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        How many units each hidden layer has.
    activation : str or list of str, default="relu"
        The activation of all hidden layers, or a list with one for each. Any name of
        `cukernels.activations.ACTIVATIONS` will do, such as "tanh" or "gelu".
    solver : <solvers>, default="adam"
        How the weights are learned:

        <summaries of solvers>
    alpha : float, default=0.0001
        The strength of the L2 penalty ``alpha / 2 * |w|^2 / n_samples`` on the weights (and not on
        the biases), for <solvers with penalises>. For other solvers, what `solver` says.
    batch_size : int or "auto", default="auto"
        Samples per step; "auto" is ``min(200, n_samples)``. Not used by "lbfgs".
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "one_cycle"}, \
            default="constant"
        How the learning rate changes. "invscaling" divides `learning_rate_init` by
        ``t**power_t``, and "adaptive" divides it by 5 whenever the loss stalls; both are for
        <solvers with epoch_schedules>, and have no effect with other solvers, as in scikit-learn.
        "cosine" lowers it to 0 along half a cosine over `max_iter` epochs, and "one_cycle" raises
        it from a 25th to its full value and lowers it to nearly 0 (Smith and Topin 2017); both are
        for <solvers with goes_by_steps>.
    learning_rate_init : float, default=0.001
        The first step size, or the highest one with "one_cycle".
    power_t : float, default=0.5
        The exponent of "invscaling".
    max_iter : int, default=200
        The most epochs, or iterations for "lbfgs".
    shuffle : bool, default=True
        Whether to draw a new order of the samples in each epoch.
    random_state : int, RandomState instance or None, default=None
        Draws the first weights, the orders of the samples, the validation set and the dropped
        units. With an int, fits are repeatable to the bit.
    tol : float, default=1e-4
        An epoch is an improvement only if the loss falls, or the validation score rises, by this
        much. "lbfgs" stops when no component of the gradient is larger.
    verbose : int or "bar", default=False
        From 1 on, scikit-learn's lines are printed, one for each epoch, and here also one for each
        iteration of "lbfgs". "bar" shows a progress bar, by tqdm or rich.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the previous fit.
    momentum : float, default=0.9
        The momentum of <solvers with momentum>, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether the momentum of <solvers with nesterovs_momentum> looks ahead.
    early_stopping : bool, default=False
        Whether the score on a validation set decides when to stop, and not the loss. The model then
        has the weights of the best epoch, even if a later epoch diverges.
    validation_fraction : float, default=0.1
        The fraction of the samples that early stopping holds out, unless `fit` is given a
        validation set.
    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates, in [0, 1), of the running mean of the gradient (<solvers with beta_1>), and of
        the running mean of its square (<solvers with beta_2>).
    epsilon : float, default=1e-8
        Keeps the division by the root of that mean finite (<solvers with epsilon>).
    n_iter_no_change : int, default=10
        After so many epochs without improvement the fit stops.
    max_fun : int, default=15000
        The most evaluations of the loss by "lbfgs".
    loss : {"log_loss", "squared_error"}, default="log_loss"
        Cross-entropy, or half the squared error of the probabilities.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights ``{label: weight}``. If samples have several labels each, a list with such a dict
        for each column of `y`. "balanced" weighs classes inversely to their frequency.
    dropout : float, default=0.0
        The fraction of the hidden units that each step drops, in [0, 1).
    batch_norm : bool, default=False
        Whether to normalise hidden layers over the batch, before the activation.
    dtype : {"float32", "float64", "auto"}, default="float32"
        The precision of weights and arithmetic; "auto" is that of X.
    device : str, default="auto"
        Where to compute: "cpu", "cuda", "cuda:N", or "auto": the first GPU where it is expected to
        be clearly faster for these samples, and else the CPU.
    callbacks : callable, object, list of them, or None, default=None
        Called as ``f(estimator, info)``, or as ``callback.on_epoch_end(estimator, info)``, after
        each epoch, or iteration of "lbfgs". The estimator is a copy that is fitted as far as the
        fit has come; `info` is an `EpochInfo`. A callback that returns True stops the fit.
        `estimators.callbacks` has ready ones, such as EarlyStopping. Those of scikit-learn's API
        (`set_callbacks`, release 1.9 and later) are called as well.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    coefs_, intercepts_ : lists of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer. Predictions use these arrays.
    batch_norms_ : list of dict of ndarray
        "gamma", "beta", "mean" and "variance" of each normalised layer.
    layer_norms_ : list of dict of ndarray
        "gamma" and "beta" of each `LayerNorm`, which only a ConvNetClassifier can have.
    loss_ : float
        The loss of the last epoch.
    loss_curve_ : list of float
        The loss of each epoch. "lbfgs" sets neither this nor the four attributes that follow.
    best_loss_ : float or None
        The lowest loss of an epoch; None with early stopping.
    validation_scores_ : list of float or None
        The accuracy on the validation set after each epoch; None if there is no such set.
    best_validation_score_ : float or None
        The highest of these accuracies.
    early_stopped_ : bool
        Whether early stopping has stopped `partial_fit`.
    n_iter_ : int
        How many epochs the last fit took.
    t_ : int
        How many samples were trained on, counted again in each epoch.
    n_features_in_, n_layers_, n_outputs_ : int
        The numbers of features, of layers (with the input and the output), and of outputs.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where X has names that are strings.
    out_activation_ : str
        "softmax", or "logistic" for two classes or several labels per sample.

    References
    ----------
    Rumelhart, Hinton and Williams, Nature 323, 1986. Kingma and Ba, arXiv:1412.6980. Glorot and
    Bengio, AISTATS 2010.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from estimators import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = MLPClassifier((64,), dropout=0.1, max_iter=30, tol=0, random_state=0).fit(X, y)
    >>> clf.predict(X[:3])
    array([0, 1, 2])
    """

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        **NeuralClassifier._parameter_constraints,
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
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
        self.hidden_layer_sizes = hidden_layer_sizes
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

    @classmethod
    def from_weights(
        cls,
        coefs: Sequence[Any],
        intercepts: Sequence[Any],
        *,
        classes: Any = None,
        **params: Any,
    ) -> MLPClassifier:
        """Make a network of given weights, which predicts as if it had been fitted.

        Parameters
        ----------
        coefs : sequence of array-like of shape (n_in, n_out)
            Weights of each layer, from the first hidden one to the scores, as in `coefs_`.
        intercepts : sequence of array-like of shape (n_out,)
            Biases of each layer.
        classes : array-like of shape (n_classes,), default=None
            Labels, in the order of the outputs; a single output has two. None: 0, 1, ...
        **params
            Parameters of the constructor, such as `activation`; `hidden_layer_sizes` follows from
            the weights. `partial_fit`, and `fit` with ``warm_start=True``, go on from the weights.

        Returns
        -------
        model : MLPClassifier

        Raises
        ------
        ValueError
            If the shapes of the arrays do not fit each other or the classes, if an array holds
            anything but numbers that are finite in the dtype of the network, or if `batch_norm` is
            True, since such a network has further parameters.

        Examples
        --------
        The logical "and" of two inputs, by one unit:

        >>> from estimators import MLPClassifier
        >>> gate = MLPClassifier.from_weights([[[20], [20]]], [[-30]])
        >>> gate.predict([[0, 0], [0, 1], [1, 0], [1, 1]])
        array([0, 0, 0, 1])
        """
        coefs, intercepts = weights_of(coefs, "coefs", 2), weights_of(intercepts, "intercepts", 1)
        sizes = [w.shape[1] for w in coefs]
        model = cls(hidden_layer_sizes=tuple(sizes[:-1]), **params)
        model._validate_params()
        if model.batch_norm:
            raise ValueError(
                "from_weights takes weights and biases alone: batch_norm=True has further "
                "parameters, which fit learns"
            )
        if classes is None:
            classes = np.arange(max([2, *sizes[-1:]]))
        return set_weights(model, coefs, intercepts, np.asarray(classes))

    def _build_layers(self, shape: Shape, n_outputs: int) -> list[Layer]:
        sizes = layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        return dense_layers(sizes, self.activation, self.batch_norm, self.dropout, n_outputs)

    def _network_of_weights(self) -> Network:
        n_inputs, *sizes = [np.shape(w)[0] for w in self.coefs_] + [np.shape(self.coefs_[-1])[1]]
        layers = dense_layers(sizes[:-1], self.activation, False, self.dropout, sizes[-1])
        return Network(layers, (n_inputs,))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags


def dense_layers(
    sizes: list[int], activation: Any, batch_norm: bool, dropout: float, n_outputs: int
) -> list[Layer]:
    """Return hidden layers of these sizes, and the layer of scores.

    Raises
    ------
    ValueError
        If `activation` is a list and does not have one for each hidden layer.
    """
    names = layer_activations(activation, len(sizes), "hidden layers")
    layers: list[Layer] = []
    for units, name in zip(sizes, names, strict=True):
        layers += hidden_layer(Dense(units, name), batch_norm, dropout)
    # the first weights of the scores too are drawn for the activation before them
    last = activation if isinstance(activation, str) else (names or ["identity"])[-1]
    return [*layers, Scores(n_outputs, hidden_activation=last)]
