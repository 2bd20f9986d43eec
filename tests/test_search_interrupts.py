"""Ctrl-C in a search: what is done counts, and a search without any score is no search."""

import warnings
from itertools import count

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.exceptions import FitFailedWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from _searches import FUNCTIONS, QUIET, SEARCHES, mlp
from estimators import LogisticRegression, Perceptron
from estimators import model_selection as ours
from estimators.linear import logistic_fit
from estimators.linear.perceptron_compiled import CompiledFit
from estimators.neural.fit import NeuralFit

pytestmark = QUIET


def test_ctrl_c_between_fits_of_scikit_learns_loop(digits, monkeypatch):
    """What is done counts, what is not was never begun: the loop gives nothing in between."""
    fit, n_fits = CompiledFit._run_alone, count()

    def interrupted(self, *args, **kwargs):
        if next(n_fits) == 8:
            raise KeyboardInterrupt
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(CompiledFit, "_run_alone", interrupted)
    grid = {"eta0": [0.1, 1.0, 2.0]}
    with pytest.warns(UserWarning, match="of 9 fits 6 are done, 2 are taken .* 1 did not begin"):
        search = ours.GridSearchCV(Perceptron(), grid, cv=3, refit=False).fit(*digits)
    monkeypatch.undo()
    expected = sk.GridSearchCV(Perceptron(), grid, cv=3, refit=False).fit(*digits).cv_results_
    scores, right = (
        np.array([results[f"split{i}_test_score"] for i in range(3)])
        for results in (search.cv_results_, expected)
    )
    np.testing.assert_array_equal(scores[:2], right[:2])
    np.testing.assert_array_equal(scores[2, :2], right[2, :2])
    assert np.isnan(scores[2, 2])
    assert search.best_index_ == np.argmax(right.mean(axis=0)[:2])


class _Interrupt:
    """Presses Ctrl-C after some epochs."""

    def __init__(self, after):
        self.after = after

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, estimator, info):
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt
        return False


def test_an_interrupt_keeps_what_is_done_and_says_what_is_missing(digits):
    grid = {"alpha": [1e-4, 1e-2, 1.0]}
    one = mlp()
    whole = ours.GridSearchCV(one, grid, cv=2, refit=False).fit(*digits)
    one.set_params(callbacks=_Interrupt(after=6 * 2 + 2 * 2 + 1))
    search = ours.GridSearchCV(one, grid, cv=2, refit=False, max_stack_bytes=1)
    with pytest.warns(UserWarning) as caught:
        search.fit(*digits)
    told = "\n".join(str(w.message) for w in caught)
    assert "Search interrupted by user: of 6 fits 2 are done, 1 are taken as far" in told
    assert "3 did not begin: their scores are NaN" in told
    assert not any(issubclass(w.category, FitFailedWarning) for w in caught)
    assert search.best_index_ == 0 and np.isfinite(search.best_score_)
    scores = np.stack([search.cv_results_[f"split{i}_test_score"] for i in range(2)], axis=1)
    expected = np.stack([whole.cv_results_[f"split{i}_test_score"] for i in range(2)], axis=1)
    np.testing.assert_array_equal(scores[0], expected[0])
    assert np.isfinite(scores[1, 0])
    assert np.isnan([scores[1, 1], *scores[2]]).all()


def _started(name, one, X, y, **options):
    """Whatever fits in stacks, by its name."""
    function = getattr(ours, name)
    known = one.get_params()
    place = next(p for p in ("mlpclassifier__alpha", "C", "alpha") if p in known)
    grid = (place, [0.1, 1.0])
    if name in SEARCHES:
        return function(one, dict([grid]), cv=2, **options).fit(X, y)
    if name == "validation_curve":
        options.update(param_name=grid[0], param_range=grid[1])
    return function(one, X, y, cv=2, **options)


class _ThatIsInterrupted:
    """Ctrl-C on the way to the first step, and once more at each try after it."""

    def __init__(self, monkeypatch, where):
        self.n_times = 0
        monkeypatch.setattr(where, self._strike)

    def _strike(self, *args, **kwargs):
        self.n_times += 1
        raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{}, {"error_score": "raise"}], ids=["nan", "raise"])
@pytest.mark.parametrize(
    "one, where",
    [
        (mlp(), "estimators.neural.classifier.NeuralClassifier._prepare"),
        (LogisticRegression(), "estimators.logistic.LogisticRegression._prepare"),
        (LogisticRegression(), "estimators.linear.logistic_fit._objective"),
        (LogisticRegression(solver="newton-cg"), "estimators.linear.logistic_fit._objective"),
        (Perceptron(), "estimators.perceptron.Perceptron._prepare"),
        (make_pipeline(StandardScaler(), mlp()), "sklearn.preprocessing.StandardScaler.fit"),
    ],
    ids=["mlp", "logistic", "objective", "newton", "perceptron", "pipeline"],
)
@pytest.mark.parametrize("name", SEARCHES + FUNCTIONS)
def test_an_interrupt_before_the_first_fit_is_an_interrupt(
    name, one, where, options, digits, monkeypatch
):
    """Not fits that failed, nor a model that is misconfigured: scikit-learn stops as well."""
    if name == "cross_val_predict":
        options = {}
    struck = _ThatIsInterrupted(monkeypatch, where)
    one_thread = threadpool_limits(1, user_api="blas")  # no other one that does get to its fit
    with one_thread, warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.filterwarnings("error", "Search interrupted|.*fits failed")
        _started(name, one, *digits, **options)
    assert struck.n_times == 1


def _after_an_iteration(monkeypatch):
    """Ctrl-C in the first stack of `LogisticRegression`, which is that of the first fold."""
    solve = logistic_fit.solve_lbfgs

    def interrupted(*args, callback, **kwargs):
        def strike(*told):
            callback(*told)
            raise KeyboardInterrupt

        return solve(*args, callback=strike, **kwargs)

    monkeypatch.setattr(logistic_fit, "solve_lbfgs", interrupted)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("one", ["logistic", "mlp", "fails"])
def test_an_interrupt_before_a_candidate_has_all_its_folds_is_an_interrupt(
    name, one, digits, monkeypatch
):
    """The best of candidates without a score would be any of them."""
    options = {"random_state": 0} if "Random" in name else {}
    if one == "logistic":
        _after_an_iteration(monkeypatch)
        model = LogisticRegression(max_iter=500, tol=1e-10)
        grid = {"C": np.logspace(-5, 3, 6)}
    else:
        model, grid = mlp(callbacks=_Interrupt(after=2)), {"alpha": [1e-4, 1e-2, 1.0]}
        options["max_stack_bytes"] = 1 if one == "mlp" else None
    if one == "fails":  # all are under way, and none of them can be finished
        monkeypatch.setattr(NeuralFit, "finish", _fails)
    search = getattr(ours, name)(model, grid, cv=3, **options)
    one_thread = threadpool_limits(1, user_api="blas")
    with one_thread, warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.filterwarnings("error", ".*fits failed")
        search.fit(*digits)


def _fails(training):
    raise ValueError("it diverged")


def test_an_interrupt_in_a_fold_of_a_function_keeps_that_fold(digits, monkeypatch):
    """Scores of folds have no best among them, so that each is of use alone."""
    _after_an_iteration(monkeypatch)
    with threadpool_limits(1, user_api="blas"), pytest.warns(UserWarning) as caught:
        scores = ours.cross_val_score(LogisticRegression(), *digits, cv=3)
    assert np.isfinite(scores).tolist() == [True, False, False]
    assert not any(issubclass(w.category, FitFailedWarning) for w in caught)


def test_predictions_that_are_not_complete_are_an_interrupt(digits):
    one = mlp(callbacks=_Interrupt(after=8))
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.filterwarnings("error", "Search interrupted")
        ours.cross_val_predict(one, *digits, cv=3, max_stack_bytes=1)


def test_an_interrupted_stack_is_scored_as_it_stands(digits):
    one = mlp(callbacks=_Interrupt(after=4 * 3), max_iter=50)
    with pytest.warns(UserWarning, match="of 4 fits 0 are done, 4 are taken as far"):
        search = ours.GridSearchCV(one, {"alpha": [1e-4, 1.0]}, cv=2, refit=False).fit(*digits)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_an_interrupt_does_not_raise_what_it_leaves_out(digits):
    one = mlp(callbacks=_Interrupt(after=8))
    search = ours.GridSearchCV(
        one, {"alpha": [1e-4, 1.0]}, cv=2, refit=False, max_stack_bytes=1, error_score="raise"
    )
    with pytest.warns(UserWarning, match="of 4 fits 1 are done, 1 are taken as far"):
        search.fit(*digits)
    assert np.isfinite(search.cv_results_["split0_test_score"][0])
