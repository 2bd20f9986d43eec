"""What a patch replaces and what it leaves alone, and that it is taken back to the last name."""

from __future__ import annotations

import importlib
import inspect
import logging
import pickle
import sys
import warnings

import pytest
import sklearn.linear_model
import sklearn.model_selection
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

import estimators
import estimators.model_selection
from _patching import patched, printed  # noqa: F401
from _requirements import require
from estimators import patch_sklearn, sklearn_is_patched, unpatch_sklearn
from estimators.convert import SKOPS_TRUSTED
from estimators.patching import classes, notices
from estimators.patching.classes import PLACES
from estimators.scikit_learn import RELEASE

ORIGINALS = {name: getattr(importlib.import_module(PLACES[name]), name) for name in PLACES}
MODELS = "LogisticRegression", "Perceptron", "MLPClassifier"
SEARCHES = [name for name in PLACES if name.endswith("SearchCV")]
GRID = {"alpha": [1e-4, 1e-3]}
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def there(name):
    """What a program finds under a name of scikit-learn."""
    return getattr(importlib.import_module(PLACES[name]), name)


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    unpatch_sklearn()
    notices.set_verbose(False)
    assert {name: there(name) for name in PLACES} == ORIGINALS


def test_all_that_has_scikit_learns_name_is_replaced():
    public = "sklearn.linear_model", "sklearn.neural_network", "sklearn.model_selection"
    modules = [importlib.import_module(name) for name in (*public, "sklearn.neighbors")]
    ours = {*estimators.__all__, *estimators.model_selection.__all__}
    assert {n for n in ours for m in modules if hasattr(m, n)} == set(PLACES)
    patch_sklearn(verbose=False)
    assert all(there(name) is getattr(classes, name) is not ORIGINALS[name] for name in PLACES)


def test_some_names_alone_and_one_after_the_other():
    patch_sklearn("Perceptron", verbose=False)
    assert [name for name in PLACES if there(name) is not ORIGINALS[name]] == ["Perceptron"]
    assert sklearn_is_patched() and sklearn_is_patched("Perceptron")
    assert not sklearn_is_patched("MLPClassifier")
    patch_sklearn(["MLPClassifier", "Perceptron"], verbose=False)
    unpatch_sklearn("Perceptron")
    assert there("Perceptron") is ORIGINALS["Perceptron"]
    assert sklearn_is_patched("MLPClassifier")
    patch_sklearn(["MLPClassifier"], verbose=False)  # which changes nothing
    unpatch_sklearn(["MLPClassifier"])
    assert not sklearn_is_patched()


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("SVC", ValueError, r"nothing to replace 'SVC'.* LogisticRegression, MLPClassifier"),
        (["logisticregression"], ValueError, r"did you mean 'LogisticRegression'\?"),
        (["Perceptron", "MLPClasifier"], ValueError, r"did you mean 'MLPClassifier'\?"),
        (3, TypeError, "names must be a string, several, or None, got 3"),
        ([3], TypeError, "names must be strings, such as 'LogisticRegression', got 3"),
    ],
)
@pytest.mark.parametrize("function", [patch_sklearn, unpatch_sklearn])
def test_names_that_cannot_be_replaced(function, names, error, message):
    with pytest.raises(error, match=message):
        function(names)
    assert not sklearn_is_patched()


ATTRIBUTES = """
import importlib, sys, warnings
warnings.simplefilter("ignore")
import sklearn.linear_model, sklearn.neural_network, estimators.model_selection

def attributes():
    return {name: dict(vars(module)) for name, module in sys.modules.items()
            if name.partition(".")[0] == "sklearn"}

def same(a, b):
    return a.keys() == b.keys() and all(a[name] is b[name] for name in a)

def import_others():
    for name in ("ensemble", "calibration", "multioutput", "feature_selection", "semi_supervised",
                 "multiclass", "inspection", "pipeline"):
        importlib.import_module("sklearn." + name)

def ours():
    return sorted(f"{module}.{name}" for module, own in attributes().items()
                  for name, value in own.items()
                  if getattr(value, "__module__", "").startswith("estimators"))
"""


def test_taken_back_to_the_last_attribute_if_all_was_imported_before():
    code = """
import_others()
before, path = attributes(), list(sys.meta_path)
estimators.patch_sklearn(verbose=False)
print(*ours())
estimators.unpatch_sklearn()
after = attributes()
assert before.keys() == after.keys()
assert all(same(before[name], after[name]) for name in before)
assert sys.meta_path == path
"""
    replaced = printed(ATTRIBUTES + code).split()
    assert replaced == sorted(f"{place}.{name}" for name, place in PLACES.items())


def test_scikit_learns_own_modules_keep_its_classes_if_they_are_imported_later():
    code = """
assert "sklearn.ensemble" not in sys.modules
estimators.patch_sklearn(verbose=False)
import_others()
print(*ours())
import inspect, sklearn.ensemble._stacking as stacking
print(stacking.LogisticRegression.__module__, stacking.cross_val_predict.__module__)
assert "class StackingClassifier" in inspect.getsource(stacking)
assert "_Loader" not in f"{stacking.__loader__}{stacking.__spec__}"
estimators.unpatch_sklearn()
assert not ours()
"""
    replaced, own = printed(ATTRIBUTES + code).splitlines()
    assert replaced.split() == sorted(f"{place}.{name}" for name, place in PLACES.items())
    assert own == "sklearn.linear_model._logistic sklearn.model_selection._validation"


def test_what_somebody_else_has_replaced_stays(caplog):
    patch_sklearn("Perceptron", verbose=False)
    sklearn.linear_model.Perceptron = theirs = type("Perceptron", (), {})
    try:
        unpatch_sklearn()
        assert sklearn.linear_model.Perceptron is theirs
        assert "Perceptron was replaced by somebody else" in caplog.text
    finally:
        sklearn.linear_model.Perceptron = ORIGINALS["Perceptron"]


@pytest.mark.parametrize("name", [*MODELS, *SEARCHES])
def test_objects_made_before_and_after_are_of_both_classes(name):
    arguments = ()
    if name in SEARCHES:
        arguments = sklearn.linear_model.Perceptron(), {"alpha": [1.0]}
    original = ORIGINALS[name]
    before = original(*arguments)
    patch_sklearn(verbose=False)
    replaced = there(name)
    after = replaced(*arguments)
    for instance in (before, after):
        assert isinstance(instance, original) and isinstance(instance, replaced)
    assert issubclass(original, replaced) and issubclass(replaced, original)
    assert not isinstance(sklearn.linear_model.Ridge(), replaced)
    assert not issubclass(int, replaced)

    class Own(replaced):
        pass

    assert isinstance(Own(*arguments), replaced) and issubclass(Own, original)
    assert not isinstance(before, Own) and not isinstance(after, Own)


@pytest.mark.parametrize("name", MODELS)
def test_signature_defaults_and_repr_are_scikit_learns(name, patched):  # noqa: F811
    theirs, replaced = ORIGINALS[name], there(name)
    known = list(inspect.signature(theirs).parameters.values())
    own = list(inspect.signature(replaced).parameters.values())
    assert [(p.name, p.kind, p.default) for p in own[: len(known)]] == [
        (p.name, p.kind, p.default) for p in known
    ]
    assert theirs().get_params().items() <= replaced().get_params().items()
    assert repr(replaced()) == repr(theirs()) == f"{name}()"
    assert repr(replaced(warm_start=True)) == repr(theirs(warm_start=True))
    with pytest.raises(TypeError, match=rf"{name}.*unexpected keyword argument 'no_such'"):
        replaced(no_such=1)
    with pytest.raises(ValueError, match="Invalid parameter 'no_such' for estimator"):
        replaced().set_params(no_such=1)


@pytest.mark.parametrize("name", [*MODELS, *SEARCHES])
def test_the_text_is_that_of_our_class_and_a_subclass_has_its_own(name):
    replaced = getattr(classes, name)
    assert f"class {name}(" in inspect.getsource(replaced)
    parameters = list(inspect.signature(replaced.__init__).parameters.values())[1:]
    assert list(inspect.signature(replaced).parameters.values()) == parameters

    class Own(replaced):
        def __init__(self, kind=3):
            pass

    assert inspect.getsource(Own).lstrip().startswith("class Own(replaced)")
    assert str(inspect.signature(Own)) == "(kind=3)"


@quiet
def test_a_network_computes_in_the_dtype_of_its_samples(patched):  # noqa: F811
    network = sklearn.neural_network.MLPClassifier()
    assert network.dtype == clone(network).get_params()["dtype"] == "auto"
    assert repr(network.set_params(dtype="float32")) == "MLPClassifier(dtype='float32')"
    X, y = load_iris(return_X_y=True)
    network = sklearn.neural_network.MLPClassifier(solver="lbfgs", max_iter=5)
    for dtype in ("float32", "float64"):
        assert network.fit(X.astype(dtype), y).coefs_[0].dtype == dtype


@quiet
@pytest.mark.parametrize("name", MODELS)
def test_pickles_of_both_kinds_are_read_patched_or_not(name):
    X, y = load_iris(return_X_y=True)
    before = ORIGINALS[name]().fit(X, y)
    files = [pickle.dumps(before)]
    patch_sklearn(verbose=False)
    after = there(name)().fit(X, y)
    files += [pickle.dumps(after), pickle.dumps(before)]
    for _ in range(2):
        for model, file in zip((before, after, before), files, strict=True):
            read = pickle.loads(file)
            assert type(read) is type(model)
            assert (read.predict(X) == model.predict(X)).all()
        unpatch_sklearn()


@pytest.mark.parametrize("name", [*MODELS, *SEARCHES])
def test_files_of_skops_are_read_with_the_list_of_trusted_names(name, patched):  # noqa: F811
    io = require("skops.io", "test")
    X, y = load_iris(return_X_y=True)
    model = there(name)() if name in MODELS else there(name)(there("Perceptron")(), GRID)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = io.dumps(model.fit(X, y))
    asked = set(io.get_untrusted_types(data=file))
    assert f"estimators.patching.classes.{name}" in asked & set(SKOPS_TRUSTED)
    read = io.loads(file, trusted=[*SKOPS_TRUSTED, *(n for n in asked if n[:7] == "sklearn")])
    assert type(read) is there(name)
    assert (read.predict(X) == model.predict(X)).all()


def test_all_replaced_classes_are_trusted_and_no_function():
    made = {f"estimators.patching.classes.{n}": getattr(classes, n) for n in PLACES}
    assert {n for n in made if isinstance(made[n], type)} == set(made) & set(SKOPS_TRUSTED)


def test_functions_and_classes_are_found_by_pickle(patched):  # noqa: F811
    for name in PLACES:
        assert pickle.loads(pickle.dumps(there(name))) is there(name)
        assert there(name).__name__ == name and there(name).__doc__


def no_logging(monkeypatch):
    """A program that has not set up logging; pytest has."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


def test_what_is_replaced_is_said_on_standard_error_alone(capsys, monkeypatch):
    no_logging(monkeypatch)
    patch_sklearn("Perceptron")
    patch_sklearn("Perceptron")  # nothing is replaced, so that there is nothing to say
    patch_sklearn(["GridSearchCV", "cross_validate"], verbose=False)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "estimators: Perceptron of scikit-learn is replaced by cukernels'\n")


def test_where_a_program_logs_it_is_said_there(caplog, capsys):
    with caplog.at_level(logging.INFO):
        patch_sklearn("Perceptron")
    assert [(r.name, r.levelname) for r in caplog.records] == [("estimators.patching", "INFO")]
    assert capsys.readouterr().err == ""


def test_names_that_a_program_has_imported_before_are_told(monkeypatch, caplog):
    monkeypatch.setattr(sys.modules["__main__"], "Own", ORIGINALS["Perceptron"], raising=False)
    patch_sklearn(verbose=False)
    assert "Own was imported before, and stays scikit-learn's: import anew" in caplog.text


def test_the_extension_of_ipython(capsys, monkeypatch):
    """IPython calls these two functions of the module for %load_ext and %unload_ext."""
    no_logging(monkeypatch)
    estimators.load_ipython_extension(None)
    assert sklearn_is_patched("LogisticRegression")
    assert "LogisticRegression" in capsys.readouterr().err
    estimators.unload_ipython_extension(None)
    assert not sklearn_is_patched()


def test_a_search_of_a_release_without_a_private_name_is_run_by_scikit_learn(
    monkeypatch,
    caplog,
    patched,  # noqa: F811
):
    def gone(*args, **kwargs):
        raise estimators.scikit_learn.MissingNameError("gone")

    monkeypatch.setattr(estimators.model_selection, "rebound", gone)
    X, y = load_iris(return_X_y=True)
    model, grid = sklearn.linear_model.Perceptron(), {"alpha": [1e-3, 1e-4]}
    search = sklearn.model_selection.GridSearchCV(model, grid).fit(X, y)
    assert search.best_score_ > 0.5
    assert len(sklearn.model_selection.cross_val_score(model, X, y, cv=3)) == 3
    assert caplog.text.count("gone") == 2


def excused(estimator):
    """The checks that scikit-learn's Perceptron is excused from too."""
    if type(estimator).__name__ != "Perceptron":
        return {}
    kinds = ("dense_data", "sparse_data") if RELEASE >= (1, 6) else ()
    name = "check_sample_weight_equivalence_on"
    return {f"{name}_{kind}": "as scikit-learn's Perceptron" for kind in kinds}


@parametrize_with_checks(
    [getattr(classes, name)() for name in MODELS], expected_failed_checks=excused
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)
