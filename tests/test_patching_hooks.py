"""What a program writes into scikit-learn's classes counts, in a subclass or set on the class."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.model_selection
import sklearn.neural_network
from sklearn.datasets import load_iris

from _patching import patched  # noqa: F401
from estimators.patching import classes, notices

Network = sklearn.neural_network.MLPClassifier
Perceptron = sklearn.linear_model.Perceptron
search_of = sklearn.model_selection.cross_val_score
X, Y = load_iris(return_X_y=True)
SETTINGS = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0}
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("patched"),
]


@pytest.fixture(autouse=True)
def said_anew():
    notices.set_verbose(False)


def ones(self, fan_in, fan_out, dtype):
    return np.ones((fan_in, fan_out), dtype) / fan_in, np.ones(fan_out, dtype)


def with_weights_of_its_own(base):
    class Own(base):
        registered = []

        def __init_subclass__(cls, **kwargs):
            Own.registered.append(cls)

        def fit(self, X, y):
            self.n_calls_ = getattr(self, "n_calls_", 0) + 1
            return super().fit(X * 2, y)

        def _init_coef(self, fan_in, fan_out, dtype):
            weights, intercepts = super()._init_coef(fan_in, fan_out, dtype)
            return 2 * weights, intercepts + 1

        def _forward_pass_fast(self, X, check_input=True):
            return super(Own, self)._forward_pass_fast(X, check_input)[:, ::-1]  # noqa: UP008

    return Own


def test_a_method_of_a_subclass_that_scikit_learns_class_calls(caplog):
    theirs, ours = (with_weights_of_its_own(b) for b in (Network, classes.MLPClassifier))
    expected, found = (own(**SETTINGS).fit(X, Y) for own in (theirs, ours))
    for weights, own_weights in zip(expected.coefs_, found.coefs_, strict=True):
        np.testing.assert_array_equal(own_weights, weights)
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    assert type(found) is ours and found.n_calls_ == 1 and ours.registered == []
    ours(**SETTINGS).fit(X, Y)
    assert (
        caplog.text.count("the program has its own _forward_pass_fast, which scikit-learn's") == 1
    )


def test_in_a_search_too():
    theirs, ours = (with_weights_of_its_own(b) for b in (Network, classes.MLPClassifier))
    expected = search_of(theirs(**SETTINGS), X, Y, cv=3)
    own = sklearn.model_selection.cross_val_score(ours(**SETTINGS), X, Y, cv=3)
    np.testing.assert_array_equal(own, expected)


def test_what_is_set_on_an_object_or_comes_of_another_base():
    def of_another_base(base):
        return type("Own", (type("Mixin", (), {"_init_coef": ones}), base), {})(**SETTINGS)

    def of_an_object(base):
        model = base(**SETTINGS)
        model._init_coef = ones.__get__(model)
        return model

    for own in (of_another_base, of_an_object):
        theirs, found = (own(base).fit(X, Y).coefs_ for base in (Network, classes.MLPClassifier))
        np.testing.assert_array_equal(found[0], theirs[0])


@pytest.mark.parametrize("where", [classes.MLPClassifier, Network, Network.__mro__[2]])
def test_what_is_set_on_a_class(where, monkeypatch):
    Replaced = classes.MLPClassifier
    before = Replaced(**SETTINGS).fit(X, Y).coefs_[0]
    with monkeypatch.context() as patch:
        patch.setattr(Network, "_init_coef", ones)
        expected = Network(**SETTINGS).fit(X, Y).coefs_[0]
    with monkeypatch.context() as patch:
        patch.setattr(where, "_init_coef", ones)
        for own in (Replaced, type("Own", (Replaced,), {})):
            np.testing.assert_array_equal(own(**SETTINGS).fit(X, Y).coefs_[0], expected)
    model = Replaced(**SETTINGS).fit(X, Y)
    np.testing.assert_array_equal(model.coefs_[0], before)
    assert "_fitted_by_scikit_learn" not in vars(model)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_perceptron_that_validates_by_a_copy_of_itself(early_stopping):
    def own(base):
        class Own(base):
            def __init__(self, step=1.0, early_stopping=False):
                super().__init__(eta0=step, early_stopping=early_stopping, random_state=0)
                self.step = step

            def _get_penalty_type(self, penalty):
                return super()._get_penalty_type("l2")

        return Own(step=0.5, early_stopping=early_stopping).fit(X, Y)

    theirs, found = own(Perceptron), own(classes.Perceptron)
    np.testing.assert_array_equal(found.coef_, theirs.coef_)
    assert found.n_iter_ == theirs.n_iter_
    assert found.get_params() == theirs.get_params()


def test_tables_that_ours_does_not_read(caplog):
    class Own(classes.Perceptron):
        loss_functions = classes.Perceptron.loss_functions | {}

    Own().fit(X, Y)
    assert "its own loss_functions" in caplog.text


def test_ours_fits_what_scikit_learns_class_does_not_call(caplog):
    class Own(classes.MLPClassifier):
        _parameter_constraints = classes.MLPClassifier._parameter_constraints | {"kind": [str]}

        def __init__(self, kind="x", **settings):
            super().__init__(**settings)
            self.kind = kind

        def _own_helper(self):
            return 3

        def predict(self, X):
            return super().predict(X)[::-1]

    model = Own(**SETTINGS).fit(X, Y)
    assert "_fitted_by_scikit_learn" not in vars(model) and not caplog.records
    expected = classes.MLPClassifier(**SETTINGS).fit(X, Y).predict(X)[::-1]
    np.testing.assert_array_equal(model.predict(X), expected)


def test_what_ours_alone_has_does_not_go_with_what_scikit_learns_alone_calls():
    model = with_weights_of_its_own(classes.MLPClassifier)(**SETTINGS).set_params(dropout=0.5)
    with pytest.raises(ValueError, match="own _forward_pass_fast.* scikit-learn's has no dropout"):
        model.fit(X, Y)
