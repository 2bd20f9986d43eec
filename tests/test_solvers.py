"""The table of the networks' solvers: every entry is whole, and does all that a solver has to do.

The tests walk `SOLVERS`, so that a new solver is tested once its entry is there; what is new about
its arithmetic belongs in `test_oracles_training.py` and `test_oracle_solvers.py`.
"""

from __future__ import annotations

import inspect
import pickle
import re
from dataclasses import fields, replace
from itertools import permutations

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.utils._param_validation import InvalidParameterError

from cukernels.runtime.registry import OPS
from estimators import ConvNetClassifier, MLPClassifier
from estimators.convert import from_sklearn, to_sklearn
from estimators.model_selection import GridSearchCV
from estimators.training.member import TrainingState
from estimators.training.optimizers import SOLVERS, STEPPED, Solver, lists_solvers, solver_named
from estimators.training.settings import Settings
from estimators.training.steps import Step

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
each = pytest.mark.parametrize("name", SOLVERS)
each_stepped = pytest.mark.parametrize("name", STEPPED)

X, Y = (a[:200] for a in load_digits(return_X_y=True))
X = X / 16
SETTINGS = {field.name for field in fields(Settings)}
# Two values of every hyperparameter that a solver may read.
VALUES = {
    "alpha": [1e-4, 0.1],
    "momentum": [0.5, 0.9],
    "nesterovs_momentum": [True, False],
    "beta_1": [0.5, 0.9],
    "beta_2": [0.9, 0.99],
    "epsilon": [1e-8, 1e-3],
}


def mlp(name, **parameters):
    defaults = {"hidden_layer_sizes": (9,), "max_iter": 6, "batch_size": 60, "random_state": 0}
    return MLPClassifier(**defaults | {"solver": name, "learning_rate_init": 0.01} | parameters)


def weights(model):
    return np.concatenate([a.ravel() for a in model.coefs_ + model.intercepts_])


def assert_same_bits(one, other):
    assert weights(one).tobytes() == weights(other).tobytes()
    assert one.loss_ == other.loss_
    assert getattr(one, "loss_curve_", None) == getattr(other, "loss_curve_", None)


# Entries ----------------------------------------------------------------------------------------


def faults(solver: Solver) -> list[str]:
    """What an entry lacks, or says of its op that is not so."""
    found = []
    if not solver.summary or solver.summary.endswith("."):
        found.append("summary")
    if (solver.op is None) == (solver.minimize is None):
        found.append("op or minimize")
    theirs = neural_network.MLPClassifier._parameter_constraints["solver"][0].options
    if solver.in_sklearn is not None and solver.in_sklearn not in theirs:
        found.append("in_sklearn")
    known = set(MLPClassifier().get_params()) & SETTINGS & set(VALUES)
    if not {*solver.settings.values(), *solver.shared.values()} <= known:
        found.append("a hyperparameter that no estimator has")
    computed = {name for name, own in vars(Step).items() if isinstance(own, property)}
    if not set(solver.of_step.values()) <= {*Step._fields, *computed}:
        found.append("an attribute of steps")
    if solver.op is None:
        if solver.moments or solver.settings or solver.shared or solver.of_step:
            found.append("arguments of no op")
        return found
    entry = OPS.get(solver.op.__name__)
    if entry is None or entry.cuda is None:
        return [*found, "op with its kernel"]
    arrays = [
        p for p in inspect.signature(solver.op).parameters.values() if p.kind != p.KEYWORD_ONLY
    ]
    if [p.name for p in arrays] != ["params", "grads", *solver.moments]:
        found.append("moments")
    if entry.mutates != ("params", *solver.moments, "total"):
        found.append("moments that it updates")
    given = [*solver.moments, *solver.settings, *solver.shared, *solver.of_step, "n_decayed"]
    given += ["total", "loss", "size"]
    if sorted(given) != sorted(entry.parameters[2:]):
        found.append("arguments")
    if not solver.penalises and "alpha" not in solver.settings.values():
        found.append("alpha")
    return found


@each
def test_every_entry_is_whole(name):
    assert faults(SOLVERS[name]) == []


def test_every_op_of_an_optimizer_is_a_solver():
    rooms = (op.reference.__module__.split(".")[1] for op in OPS.values())
    ops = {name for name, room in zip(OPS, rooms, strict=True) if room == "optimizers"}
    used = {solver.op.__name__ for solver in SOLVERS.values() if solver.op}
    assert ops - used == set(), "without an entry in SOLVERS"


LACKING = {
    "summary": {"summary": ""},
    "op": {"op": None},
    "moments": {"moments": ()},
    "settings": {"settings": {}},
    "of_step": {"of_step": {}},
    "another op": {"op": OPS["relu"].reference},
    "another way to learn": {"minimize": SOLVERS["lbfgs"].minimize},
    "a moment of another": {"moments": ("velocity", "second")},
    "a hyperparameter of nobody": {"settings": {"beta_1": "beta_3"}},
    "a field of nobody": {"of_step": {"learning_rate": "rate"}},
    "a name that is not there": {"in_sklearn": "Adam"},
}


@each_stepped
@pytest.mark.parametrize("lack", LACKING)
def test_an_entry_that_lacks_a_part_is_found(name, lack):
    assert faults(replace(SOLVERS[name], **LACKING[lack]))


def test_shared_hyperparameters_and_alpha_are_not_forgotten():
    assert faults(replace(SOLVERS["sgd"], shared={}))
    assert faults(replace(SOLVERS["adamw"], settings=SOLVERS["adam"].settings))
    assert faults(replace(SOLVERS["lbfgs"], minimize=None))
    assert faults(replace(SOLVERS["lbfgs"], settings={"beta_1": "beta_1"}))


@each
def test_docstrings_and_constraints_list_it(name):
    text = MLPClassifier.__doc__
    assert re.search(rf'solver : {{.*"{name}".*}}', text)
    assert f'- "{name}": ' in text
    flat = " ".join(text.split())
    assert " ".join(SOLVERS[name].summary.split()) in flat
    assert not re.search("<[a-z ]+>", text)
    for cls in (MLPClassifier, ConvNetClassifier):
        assert cls._parameter_constraints["solver"][0].options == set(SOLVERS)


def test_a_docstring_that_lists_what_no_solver_has_is_an_error():
    with pytest.raises(ValueError, match="docstring of Thing lists the solvers with beta_3: none"):

        @lists_solvers
        class Thing:
            """Of <solvers with beta_3>."""


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nadam", "Adam", "", None, ["adam"], 1])
def test_an_unknown_name_is_an_error_and_no_other_solver(name):
    clf = mlp(name)
    for call in (lambda: clf.fit(X, Y), lambda: clf.partial_fit(X, Y, classes=range(10))):
        with pytest.raises(InvalidParameterError, match="'solver' parameter .* must be a str") as e:
            call()
        assert all(repr(one) in str(e.value) for one in SOLVERS)
    assert not hasattr(clf, "coefs_")
    with pytest.raises(ValueError, match='no solver .*: the solvers are "adam", "adamw"'):
        solver_named(name)
    with pytest.raises(ValueError, match="no solver"):
        TrainingState(np.zeros(3)).restart_optimizer(Settings(solver=name))


def test_a_fitted_model_with_an_unknown_name_trains_by_no_other():
    clf = mlp("adam").fit(X, Y)
    before = weights(clf)
    clf.set_params(solver="nadam")
    with pytest.raises(
        ValueError, match="no solver 'nadam'"
    ):  # it validates in its first call only
        clf.partial_fit(X, Y)
    with pytest.raises(ValueError, match="no solver 'nadam'"):
        to_sklearn(clf)
    np.testing.assert_array_equal(weights(clf), before)


# Training ---------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_fits(name, dtype):
    clf = mlp(name, hidden_layer_sizes=(32,), max_iter=60, batch_size=20, tol=0, dtype=dtype)
    assert clf.fit(X, Y).score(X, Y) > 0.98
    if SOLVERS[name].goes_by_steps:
        assert len(clf.loss_curve_) == 60 and clf.loss_curve_[-1] < clf.loss_curve_[0] / 10
    net = ConvNetClassifier((2,), solver=name, learning_rate_init=0.01, batch_size=20, dtype=dtype)
    assert net.set_params(random_state=0, max_iter=20).fit(X, Y).score(X, Y) > 0.8


def test_a_search_over_all_solvers_has_the_results_of_its_own_fits():
    for parameters in ({}, {"early_stopping": True, "n_iter_no_change": 1, "max_iter": 9}):
        grid = {"solver": list(SOLVERS), "alpha": [1e-4, 1.0]}
        options = {"param_grid": grid, "cv": 3, "refit": False, "return_train_score": True}
        ours = GridSearchCV(mlp("adam", **parameters), **options).fit(X, Y).cv_results_
        theirs = sk.GridSearchCV(mlp("adam", **parameters), **options).fit(X, Y).cv_results_
        for column in (c for c in ours if c.endswith("_score")):
            np.testing.assert_array_equal(ours[column], theirs[column])


def together_and_alone(name, device):
    """Losses and weights of models that differ in all that the solver reads: as a stack, and alone.

    The first two differ in everything, and the others from the first in one setting each.
    """
    settings = {"alpha": VALUES["alpha"]}
    settings |= {key: VALUES[key] for key in SOLVERS[name].settings.values()}
    if SOLVERS[name].goes_by_steps:
        settings["learning_rate_init"] = [0.005, 0.02]
    usual, unusual = ({key: values[i] for key, values in settings.items()} for i in (0, 1))
    models = [usual, unusual, *(usual | {key: unusual[key]} for key in list(settings)[1:])]
    found: list[list] = []

    def keep(model, info):
        found[-1].append((info.loss, weights(model).tobytes()))

    model = mlp(name, device=device, max_iter=2, callbacks=keep)
    grid = [{key: [value] for key, value in one.items()} for one in models]
    everything = [(np.arange(len(Y)), np.arange(10))]
    for fused in (True, False):
        found.append([])
        GridSearchCV(model, grid, cv=everything, refit=False, fused=fused).fit(X, Y)
    assert len(set(found[0])) == 2 * len(models)
    return [sorted(all_of_them) for all_of_them in found]


@each
def test_a_stack_is_its_models_one_by_one(name):
    together, alone = together_and_alone(name, "cpu")
    assert together == alone


@each_stepped
def test_a_stack_on_a_device_is_its_models_one_by_one(name, cupy):
    together, alone = together_and_alone(name, "cuda")
    assert together == alone


@each
@pytest.mark.parametrize("key", VALUES)
def test_the_hyperparameters_that_it_names_matter_and_no_others(name, key):
    solver = SOLVERS[name]
    one, other = (mlp(name, **{key: value}).fit(X, Y) for value in VALUES[key])
    used = key == "alpha" or solver.uses(key)
    assert (weights(one) != weights(other)).any() == used


@each
@pytest.mark.parametrize("schedule", ["invscaling", "adaptive"])
def test_rates_that_change_between_epochs_are_for_those_that_say_so(name, schedule):
    options = {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 9}
    rates = {}
    for learning_rate in ("constant", schedule):
        heard = rates[learning_rate] = []
        told = {"callbacks": lambda model, info, heard=heard: heard.append(info.learning_rate)}
        mlp(name, learning_rate=learning_rate, **options, **told).fit(X, Y)
    follows = SOLVERS[name].goes_by_steps and SOLVERS[name].epoch_schedules
    assert (len(set(rates[schedule])) > 1) == follows


@each_stepped
def test_alpha_shrinks_weights_and_no_biases(name):
    """Where the loss has no gradient, nothing else moves them."""
    coefs, biases = [np.full((64, 3), 0.5), np.full((3, 10), 0.5)], [np.full(3, 0.5), np.zeros(10)]
    biases[1][4] = 1e3  # the scores of label 4, so that its loss is 0 and the gradient too
    clf = MLPClassifier.from_weights(
        coefs, biases, classes=range(10), dtype="float64", solver=name, alpha=1.0,
        learning_rate_init=0.1,
    )  # fmt: skip
    clf.partial_fit(X[:10], np.full(10, 4))
    for own, before in zip(clf.intercepts_, biases, strict=True):
        np.testing.assert_array_equal(own, before)
    assert all((w < 0.5).all() for w in clf.coefs_)
    squares = 0.25 * (64 * 3 + 3 * 10)
    if SOLVERS[name].penalises:
        assert clf.loss_ == pytest.approx(squares / 2 / 10, rel=1e-12)
    else:
        assert clf.loss_ == 0
        np.testing.assert_allclose(clf.coefs_[0], 0.5 * (1 - 0.1 * 1.0), rtol=1e-15)


# From call to call ------------------------------------------------------------------------------


@each_stepped
def test_calls_of_partial_fit_are_one_fit(name):
    """State and step count go on, also through a pickle; only shuffles begin anew in each call."""
    parameters = {"shuffle": False, "max_iter": 5, "tol": 0, "learning_rate": "invscaling"}
    once = mlp(name, **parameters).fit(X, Y)
    model, stored = (mlp(name, **parameters) for _ in range(2))
    for _ in range(5):
        model.partial_fit(X, Y, classes=range(10))
        stored = pickle.loads(pickle.dumps(stored.partial_fit(X, Y, classes=range(10))))
    assert_same_bits(model, once)
    assert_same_bits(stored, once)
    assert model._state.step == 5 * 4
    for moment in SOLVERS[name].moments:
        kept = model._state.moments[moment]
        assert kept.any()
        np.testing.assert_array_equal(kept, once._state.moments[moment])


def of_weights(model):
    """A model with the same parameters and weights, which has never been trained."""
    parameters = {k: v for k, v in model.get_params().items() if k != "hidden_layer_sizes"}
    return MLPClassifier.from_weights(
        model.coefs_, model.intercepts_, classes=model.classes_, **parameters
    )


@each
def test_a_warm_start_takes_the_weights_and_no_more(name):
    """As in scikit-learn: a `fit` begins with moments of its own."""
    first = mlp(name, warm_start=True).fit(X, Y)
    given = of_weights(first)
    loaded = pickle.loads(pickle.dumps(first))
    before = weights(first)
    first.fit(X, Y)
    assert (weights(first) != before).any()
    for other in (given, loaded):
        np.testing.assert_array_equal(weights(other.fit(X, Y)), weights(first))
        assert other.loss_ == first.loss_


@pytest.mark.parametrize(("before", "name"), list(permutations(SOLVERS, 2)))
def test_another_solver_begins_with_moments_of_its_own(before, name):
    """It is the one that trains then, whichever was before."""
    model = mlp(before, shuffle=False).fit(X, Y)
    other = of_weights(model)
    method = "partial_fit" if SOLVERS[name].goes_by_steps else "fit"
    for one in (model, other):
        getattr(one.set_params(solver=name, warm_start=True), method)(X, Y)
    np.testing.assert_array_equal(weights(model), weights(other))
    assert set(model._state.moments) == set(SOLVERS[name].moments)


# scikit-learn's own -----------------------------------------------------------------------------


@each
def test_scikit_learn_has_it_or_an_error_names_it(name):
    model = mlp(name).fit(X, Y)
    there = SOLVERS[name].in_sklearn
    if there is None:
        with pytest.raises(ValueError, match=f"has no solver '{name}', only \"adam\", .* and"):
            to_sklearn(model)
        model.set_params(solver="adam")  # what the error says
        there = "adam"
    theirs = to_sklearn(model)
    assert theirs.solver == there
    np.testing.assert_array_equal(theirs.predict(X), model.predict(X))
    back = from_sklearn(theirs)
    assert back.solver == model.solver
    back.set_params(warm_start=True).fit(X, Y)
    theirs.fit(X, Y)  # which is valid there


def test_a_solver_of_scikit_learn_that_is_not_here():
    theirs = neural_network.MLPClassifier((4,), max_iter=2).fit(X, Y)
    theirs.solver = "muon"  # that of a release to come
    with pytest.raises(ValueError, match="no solver here that is scikit-learn's 'muon', only"):
        from_sklearn(theirs)
    assert from_sklearn(theirs, solver="adamw").solver == "adamw"
