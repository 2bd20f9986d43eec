"""Fits of linear models, and of networks by L-BFGS, that go on from a file."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from _checkpoints import (
    FITS,
    LINEAR,
    SPARSE,
    WEIGHT,
    X,
    Y,
    assert_equal,
    fit_of,
    labels_for,
    quietly,
    some,
    written,
)
from estimators import LogisticRegression, MLPClassifier, Perceptron
from estimators.callbacks import Checkpoint
from estimators.checkpoints.archive import read_archive, write_archive
from estimators.linear import proximal

each = pytest.mark.parametrize("name", FITS)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weights"])
@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@each
def test_goes_on_as_if_it_had_not_stopped(name, samples, weight, tmp_path):
    model, fit, losses = FITS[name], {"sample_weight": weight}, []
    whole, files = written(model, tmp_path, samples, losses, **fit)
    assert len(files) == np.max(whole.n_iter_) > 2
    assert_equal(fit_of(model, samples, **fit), whole)  # without a callback
    for file in some(files):
        np.random.seed(1)
        left: list = []
        resumed = clone(model).set_params(callbacks=lambda e, info, left=left: left.append(info))
        quietly(resumed, samples, labels_for(model), resume_from=file, **fit)
        assert_equal(resumed, whole)
        done = files.index(file) + 1
        assert [info.loss for info in left] == losses[done:]
        assert [info.epoch for info in left] == list(range(done + 1, len(losses) + 1))


@pytest.mark.parametrize("name", ["lbfgs", "elastic net", "lasso", "newton-cg", "perceptron L2"])
def test_in_float32(name, tmp_path):
    samples = X.astype(np.float32)
    whole, files = written(FITS[name], tmp_path, samples)
    for file in some(files):
        assert_equal(fit_of(FITS[name], samples, resume_from=file), whole)


@pytest.mark.parametrize("samples", [X, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", ["lasso", "elastic net"])
def test_orthant_steps_remember_their_curvature(name, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(proximal, "LARGEST_HESSIAN", 2)
    whole, files = written(FITS[name], tmp_path, samples)
    assert len(files) > 3
    assert any(read_archive(file)[1]["n_pairs"] > 0 for file in files)
    for file in files:
        assert_equal(fit_of(FITS[name], samples, resume_from=file), whole)


@each
def test_goes_on_for_longer_than_planned(name, tmp_path):
    """Neither `max_iter` nor a callback has the last word of a fit that is to go on."""
    model = FITS[name]
    file, whole = tmp_path / "last.ckpt", fit_of(model, X)
    short = fit_of(clone(model).set_params(max_iter=2, callbacks=Checkpoint(file, every=9)), X)
    assert np.max(short.n_iter_) == 2
    assert_equal(fit_of(model, X, resume_from=file), whole)
    assert_equal(fit_of(clone(model).set_params(max_iter=2), X, resume_from=file), short)
    stops = [Checkpoint(file), lambda estimator, info: info.epoch == 2]
    assert_equal(fit_of(clone(model).set_params(callbacks=stops), X), short)
    assert_equal(fit_of(model, X, resume_from=file), whole)
    with pytest.raises(ValueError, match="max_iter is 1, and 2 epochs are done"):
        fit_of(clone(model).set_params(max_iter=1), X, resume_from=file)


@pytest.mark.parametrize("name", ["lbfgs", "newton-cholesky", "perceptron", "network"])
def test_warm_start_goes_on_from_the_file(name, tmp_path):
    """An estimator that goes on from its own weights, as it would have without the stop."""
    model = clone(FITS[name]).set_params(warm_start=True, max_iter=6)
    other = X[:, ::-1] * 2

    def second(**parameters):
        one = quietly(clone(model).set_params(max_iter=3), other, Y)
        return one.set_params(max_iter=6, **parameters)

    file = tmp_path / "{epoch}.ckpt"
    whole = quietly(second(callbacks=Checkpoint(file)), X, Y)
    assert np.max(whole.n_iter_) > 2
    for one in (second(), clone(model)):
        assert_equal(quietly(one, X, Y, resume_from=str(file).format(epoch=2)), whole)


@pytest.mark.parametrize("seed", [None, "generator"])
@pytest.mark.parametrize("name", ["perceptron", "early stopping"])
def test_draws_of_a_generator_are_in_the_file(name, seed, tmp_path):
    def model():
        state = np.random.RandomState(5) if seed else None
        return clone(LINEAR[name]).set_params(random_state=state)

    whole, files = written(model(), tmp_path, X)
    for file in some(files):
        np.random.seed(77)
        assert_equal(quietly(model(), X, Y, resume_from=file), whole)


def test_the_last_and_the_best_are_written(tmp_path):
    """Also between `every`, where a fit converges; the best is that of the highest score."""
    for name in ("lbfgs", "saga", "perceptron's tol", "network"):
        file = tmp_path / f"{name}.ckpt"
        model = clone(FITS[name]).set_params(callbacks=Checkpoint(file, every=1000))
        whole = fit_of(model, X)
        assert read_archive(file)[0]["n_iter"] == np.max(whole.n_iter_)
        assert_equal(fit_of(FITS[name], X, resume_from=file), whole)
    scores, file = [], tmp_path / "best.ckpt"
    hears = [Checkpoint(file, keep="best"), lambda e, info: scores.append(info.validation_score)]
    fit_of(clone(FITS["early stopping"]).set_params(callbacks=hears), X)
    meta, _ = read_archive(file)
    assert meta["validation_score"] == max(scores) == scores[meta["n_iter"] - 1]
    assert meta["n_iter"] == scores.index(max(scores)) + 1 < len(scores)


# Files that do not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lbfgs", "saga", "perceptron", "network"])
def test_says_what_differs(name, tmp_path):
    file = tmp_path / "one.ckpt"
    model = clone(FITS[name]).set_params(callbacks=Checkpoint(file), max_iter=3)
    fit_of(model, X)
    other, longer = X.copy(), np.vstack([X, X[:1]])
    other[3, 2] += 1
    goes_on = {
        "X has other values": lambda m: m.fit(other, Y, resume_from=file),
        r"X had shape \(120, 7\) and has \(121, 7\)": lambda m: m.fit(
            longer, np.append(Y, 0), resume_from=file
        ),
        "y has other values": lambda m: m.fit(X, np.roll(Y, 1), resume_from=file),
        "sample_weight": lambda m: m.fit(X, Y, sample_weight=WEIGHT, resume_from=file),
        "the classes": lambda m: m.fit(X, Y.astype(str), resume_from=file),
        "tol was .* and is 0.25": lambda m: m.set_params(tol=0.25).fit(X, Y, resume_from=file),
    }
    for message, call in goes_on.items():
        with pytest.raises(ValueError, match=f"belongs to another fit.*{message}"):
            call(clone(model).set_params(callbacks=None))
    others = {"lbfgs": Perceptron(multi_class="multinomial"), "network": LogisticRegression()}
    with pytest.raises(ValueError, match="it was a fit of .*, and this is one of"):
        others.get(name, MLPClassifier(solver="lbfgs")).fit(X, Y, resume_from=file)
    meta, arrays = read_archive(file)
    write_archive(file, meta | {"version": "0.0"}, arrays)
    with pytest.raises(ValueError, match=r"cukernels was 0\.0 and is"):
        fit_of(FITS[name], X, resume_from=file)
    with pytest.raises(FileNotFoundError):
        fit_of(FITS[name], X, resume_from=tmp_path / "none.ckpt")


@pytest.mark.parametrize(
    "name", ["lbfgs", "newton-cg", "elastic net", "perceptron L1", "early stopping", "network"]
)
def test_a_damaged_file_is_refused_or_does_no_harm(name, tmp_path):
    model = clone(FITS[name]).set_params(max_iter=4)
    whole, files = written(model, tmp_path, X)
    raw, file, rng = files[1].read_bytes(), tmp_path / "damaged.ckpt", np.random.default_rng(2)
    n_refused = 0
    for trial in range(120):
        damaged = bytearray(raw)
        if trial % 3:
            damaged[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        else:
            del damaged[rng.integers(len(raw)) :]
        file.write_bytes(damaged)
        try:
            assert_equal(fit_of(model, X, resume_from=file), whole)
        except ValueError as error:
            assert "damaged.ckpt" in str(error)
            n_refused += 1
    assert n_refused > 80  # not all bytes say something


@pytest.mark.parametrize(
    "name", ["lbfgs", "newton-cg", "elastic net", "perceptron L1", "early stopping", "network"]
)
def test_a_file_with_other_arrays_is_refused(name, tmp_path):
    """Whatever its sums say; a list, a text or nothing in the place of an array, too."""
    model, file = clone(FITS[name]).set_params(max_iter=4), tmp_path / "hostile.ckpt"
    (tmp_path / "files").mkdir()
    _, files = written(model, tmp_path / "files", X)
    meta, arrays = read_archive(files[1])
    assert set(arrays) > {"n_iter", "x"} or "w" in arrays or "params" in arrays
    unread = {"loss_curve", "validation_scores"}  # of a network: any numbers
    for key in sorted(set(arrays) - unread):
        array = arrays[key]
        wrong = [None, np.zeros((*array.shape, 2), array.dtype), array.astype("U9")]
        if array.dtype.kind == "i" and "waited" not in key and array.size:
            wrong.append(array - 2**40)
        for replaced in wrong:
            parts = {n: a for n, a in (arrays | {key: replaced}).items() if a is not None}
            write_archive(file, meta, parts)
            with pytest.raises(ValueError, match="hostile.ckpt"):
                fit_of(model, X, resume_from=file)
    of_network = {"has_ended"} & set(meta)
    for key in ("format", "parameters", "data", "class", *of_network):
        for replaced in (None, [], "x", {"a": 1}):
            write_archive(file, {k: v for k, v in meta.items() if k != key}, arrays)
            with pytest.raises(ValueError, match="hostile.ckpt"):
                fit_of(model, X, resume_from=file)
            write_archive(file, meta | {key: replaced}, arrays)
            if key != "has_ended":  # which is true or false, whatever it is
                with pytest.raises(ValueError, match="hostile.ckpt"):
                    fit_of(model, X, resume_from=file)
