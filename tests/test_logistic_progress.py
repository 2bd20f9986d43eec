"""What a fit of `LogisticRegression` tells while it runs, and what is left when it is ended."""

from __future__ import annotations

import pytest

from _logistic import peer, samples
from _requirements import RELEASE
from estimators.logistic import LogisticRegression


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky", "saga"])
def test_ctrl_c_keeps_what_there_is(solver, monkeypatch):
    X, y, _ = samples(3)
    calls = 0
    from estimators.linear.loss import LinearObjective

    evaluate = LinearObjective.value_and_gradient

    def interrupted(self, parameters, models):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return evaluate(self, parameters, models)

    monkeypatch.setattr(LinearObjective, "value_and_gradient", interrupted)
    model = LogisticRegression(solver=solver, l1_ratio=float(solver == "saga"), tol=1e-9)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert 0 < model.n_iter_[0] < 4
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("verbose", [1, True, 2, 10])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "liblinear"])
def test_verbose_prints_a_line_an_iteration(solver, verbose, capsys):
    X, y, _ = samples(2)
    n_iter = LogisticRegression(solver=solver, verbose=verbose).fit(X, y).n_iter_[0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == n_iter > 0
    assert lines[0].startswith("Iteration 1, loss = 0.")


@pytest.mark.skipif(RELEASE < (1, 9), reason="callbacks came with scikit-learn 1.9")
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cholesky"])
def test_callbacks_are_told_what_scikit_learn_tells(solver):
    class Recorder:
        """The norm of the weights at each hook."""

        def __init__(self):
            self.heard = []

        def setup(self, estimator, context):
            self.heard.append("setup")

        def on_fit_task_begin(self, estimator, context, **arguments):
            self.hear("begin", context, arguments)

        def on_fit_task_end(self, estimator, context, **arguments):
            self.hear("end", context, arguments)

        def teardown(self, estimator, context):
            self.heard.append("teardown")

        def hear(self, hook, context, arguments):
            self.heard.append((hook, context.task_name, context.task_id, context.max_subtasks))

    X, y, weights = samples(3)
    ours, theirs = Recorder(), Recorder()
    LogisticRegression(solver=solver).set_callbacks(ours).fit(X, y, weights)
    peer(solver="lbfgs").set_callbacks(theirs).fit(X, y, weights)
    if solver == "lbfgs":
        assert ours.heard == theirs.heard
    assert ours.heard[0] == "setup" and ours.heard[-1] == "teardown"
    assert ("end", f"{solver}-iter", 2, 0) in ours.heard


def test_an_interrupt_before_anything_is_learned_is_an_interrupt(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("estimators.linear.logistic_fit._objective", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LogisticRegression().fit([[0.0], [1.0]], [0, 1])
