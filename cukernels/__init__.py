"""Array ops with hand-written bodies: NumPy arrays run on the CPU, CuPy arrays on their GPU."""

import cukernels.activations
import cukernels.dropout
import cukernels.gather
import cukernels.losses
import cukernels.matmul
import cukernels.normalization
import cukernels.optimizers
import cukernels.sparse
from cukernels._op import OPS as OPS
