"""Small images for trials: MNIST and sets like it, CIFAR-10, and scikit-learn's small digits."""

from estimators.datasets.cifar10 import load_cifar10
from estimators.datasets.digits import load_digits_split
from estimators.datasets.folders import DATA_VARIABLE as DATA_VARIABLE
from estimators.datasets.idx import read_idx
from estimators.datasets.mnist import load_fashion_mnist, load_mnist

__all__ = ["load_cifar10", "load_digits_split", "load_fashion_mnist", "load_mnist", "read_idx"]
