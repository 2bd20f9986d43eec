"""Array ops with hand-written bodies: NumPy arrays run on the CPU, CuPy arrays on their GPU."""

__version__ = "0.1.0.dev0"  # the build, the manual and `show_versions` read it here

from cukernels import _conv_numpy  # noqa: F401 (attaches its bodies to the ops)
from cukernels._op import OPS
from cukernels._precision import precision
from cukernels._show_versions import show_versions
from cukernels.activations import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    identity,
    identity_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    logistic,
    logistic_backward,
    relu,
    relu_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)
from cukernels.augment import (
    shift_and_flip,
)
from cukernels.conv import (
    conv2d,
    conv2d_backward,
)
from cukernels.dropout import (
    dropout,
    dropout_backward,
)
from cukernels.epoch_loss import (
    add_loss,
)
from cukernels.gather import (
    gather_rows,
    gather_rows_backward,
)
from cukernels.local import (
    local2d,
    local2d_backward,
)
from cukernels.losses import (
    logistic_loss,
    perceptron_loss,
    softmax_cross_entropy,
    squared_loss,
)
from cukernels.matmul import (
    matmul,
    matmul_backward,
)
from cukernels.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from cukernels.optimizers import (
    adam,
    sgd,
)
from cukernels.perceptron import (
    csr_perceptron_sweep,
    perceptron_sweep,
)
from cukernels.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from cukernels.running_mean import (
    running_mean,
)
from cukernels.sparse import (
    csr_matmul,
    csr_matmul_backward,
)

__all__ = [
    "OPS",
    "show_versions",
    "precision",
    "identity",
    "identity_backward",
    "logistic",
    "logistic_backward",
    "tanh",
    "tanh_backward",
    "relu",
    "relu_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "softmax",
    "softmax_backward",
    "log_softmax",
    "log_softmax_backward",
    "shift_and_flip",
    "conv2d",
    "conv2d_backward",
    "dropout",
    "dropout_backward",
    "add_loss",
    "gather_rows",
    "gather_rows_backward",
    "local2d",
    "local2d_backward",
    "softmax_cross_entropy",
    "logistic_loss",
    "squared_loss",
    "perceptron_loss",
    "matmul",
    "matmul_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_inference_backward",
    "sgd",
    "adam",
    "perceptron_sweep",
    "csr_perceptron_sweep",
    "max_pool2d",
    "max_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "running_mean",
    "csr_matmul",
    "csr_matmul_backward",
]
