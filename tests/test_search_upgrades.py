"""Searches with a scikit-learn whose private names have changed: a message, never fits one by one.

What is renamed here lives on under its new name, so scikit-learn itself works as before.
"""

from __future__ import annotations

from inspect import signature, unwrap

import joblib
import pytest
import sklearn
from sklearn import model_selection as sk
from sklearn.datasets import load_digits

from _upgrades import forget, take_out
from estimators import LogisticRegression, model_selection, scikit_learn
from estimators.linear.logistic_fit import LogisticFit
from estimators.scikit_learn import FITS, USES, MissingNameError

VERSIONS = f"scikit-learn {sklearn.__version__} and joblib {joblib.__version__}"
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def nothing_remembered():
    """No check is answered by what another test has seen."""
    forget()
    yield
    forget()


@pytest.fixture
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:60] / 16, y[:60] % 2


@pytest.fixture
def stacks(monkeypatch):
    """How many models were trained together, and how many alone."""
    seen: list[int] = []
    run = LogisticFit.run.__func__

    def counted(cls, trainings, watch=None):
        seen.append(len(trainings))
        return run(cls, trainings, watch)

    monkeypatch.setattr(LogisticFit, "run", classmethod(counted))
    return seen


def searched(name: str, X, y, **options):
    """Run a search or a function of this package."""
    model = LogisticRegression(max_iter=5)
    if name == "BaseSearchCV.fit":
        return model_selection.GridSearchCV(model, {"C": [1, 2]}, cv=2, refit=False, **options).fit(
            X, y
        )
    given = {"learning_curve": {"train_sizes": [0.5, 1.0]}}
    given["validation_curve"] = {"param_name": "C", "param_range": [1, 2]}
    function = getattr(model_selection, name)
    return function(model, X, y, cv=2, **given.get(name, {}), **options)


# which of scikit-learn's functions fits the models of each search
FITTED_BY = {
    **dict.fromkeys([name for name in USES if name not in FITS], "_fit_and_score"),
    "cross_val_predict": "_fit_and_predict",
}
RENAMED = [
    *((name, name, gone) for name in FITTED_BY for gone in USES[name]),
    *((name, by, gone) for name, by in FITTED_BY.items() for gone in USES[by]),
]


@pytest.mark.parametrize(("search", "renamed_in", "gone"), RENAMED)
def test_a_search_says_that_it_cannot_stack(search, renamed_in, gone, digits, stacks, monkeypatch):
    searched(search, *digits)
    assert stacks and min(stacks) > 1
    function = unwrap(sk._search.BaseSearchCV.fit)
    if renamed_in != "BaseSearchCV.fit":
        function = unwrap(getattr(sk._validation, renamed_in))
    take_out(monkeypatch, function, gone)
    if f"{gone}_2" not in function.__globals__:
        monkeypatch.setitem(function.__globals__, f"{gone}_2", function.__globals__[gone])
    if gone == "time":  # the module and its function have one name
        monkeypatch.setattr(function.__globals__["time"], "time_2", lambda: 0.0, raising=False)
    stacks.clear(), forget()
    with pytest.raises(MissingNameError) as told:
        searched(search, *digits)
    assert f"{renamed_in} does not use {gone} any more." in str(told.value)
    assert VERSIONS in str(told.value)
    assert not stacks  # it says so before anything is trained
    searched(search, *digits, fused=False)  # which is scikit-learn's own


@pytest.mark.parametrize("search", FITTED_BY)
def test_a_search_whose_fits_have_another_name(search, digits, stacks, monkeypatch):
    name = FITTED_BY[search]
    monkeypatch.setattr(getattr(sk._validation, name), "__name__", "_fit_and_judge")
    with pytest.raises(MissingNameError, match=f"call sklearn.*_fit_and_judge, and no.*{name}"):
        searched(search, *digits)
    assert not stacks


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name in FITS for argument in FITS[name]]
)
def test_a_search_whose_fits_have_another_argument(name, argument, digits, stacks, monkeypatch):
    function = getattr(sk._validation, name)
    own = signature(function)
    others = [p.replace(name=p.name + "_2" * (p.name == argument)) for p in own.parameters.values()]
    monkeypatch.setattr(function, "__signature__", own.replace(parameters=others), raising=False)
    search = next(search for search, by in FITTED_BY.items() if by == name)
    with pytest.raises(MissingNameError, match=f"{name} has no argument {argument} any more"):
        searched(search, *digits)
    assert not stacks


def test_a_function_that_is_not_known():
    with pytest.raises(MissingNameError, match="does not know what sklearn.*permutation_test"):
        scikit_learn.rebound(sk.permutation_test_score)


def test_constraints_that_are_gone(monkeypatch):
    with pytest.raises(MissingNameError, match="print has no _skl_parameter_constraints"):
        scikit_learn.constraints_of(print)
