"""What the tests of `Perceptron` share: data, and equality to the bit or to rounding."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

DATA = {
    "iris": load_iris(return_X_y=True),
    "digits": tuple(a[:600] for a in load_digits(return_X_y=True)),
    "cancer": load_breast_cancer(return_X_y=True),
}
NAMES = ("coef_", "intercept_", "n_iter_", "t_")


def assert_same(ours, theirs):
    """Every attribute that training sets, to the bit."""
    for name in NAMES:
        own, expected = getattr(ours, name), getattr(theirs, name)
        assert type(own) is type(expected), name
        np.testing.assert_array_equal(own, expected, err_msg=name)
        assert getattr(own, "dtype", None) == getattr(expected, "dtype", None), name


def assert_near(ours, theirs, rtol=1e-9):
    scale = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol, atol=rtol * scale)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
