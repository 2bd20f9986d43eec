"""Fits of networks that are stopped and go on from a file: as if they had never been stopped."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from estimators import ConvNetClassifier, MLPClassifier
from estimators.callbacks import Checkpoint
from estimators.checkpoints.archive import read_archive, write_archive
from estimators.training.optimizers import STEPPED
from estimators.training.schedules import PER_STEP

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"max_iter": 7, "random_state": 0, "batch_size": 60}
MLP = MLPClassifier((8,), **SMALL)
CONV = ConvNetClassifier((2,), hidden_layer_sizes=(), **SMALL)
CHANGES = {"shift": 1, "horizontal_flip": True}
FITS = {
    **{solver: clone(MLP).set_params(solver=solver) for solver in STEPPED},
    **{rate: clone(MLP).set_params(learning_rate=rate) for rate in sorted(PER_STEP)},
    "invscaling": clone(MLP).set_params(solver="sgd", learning_rate="invscaling"),
    "adaptive": clone(MLP).set_params(
        solver="sgd", learning_rate="adaptive", tol=0.1, n_iter_no_change=1
    ),
    "early stopping": clone(MLP).set_params(early_stopping=True, n_iter_no_change=2),
    "dropout, norm": clone(MLP).set_params(dropout=0.3, batch_norm=True),
    "float64": clone(MLP).set_params(dtype="float64", shuffle=False),
    "weighted": clone(MLP).set_params(class_weight="balanced"),
    "one batch": clone(MLP).set_params(batch_size=1000),
    "convnet": clone(CONV),
    "images that change": clone(CONV).set_params(augment=CHANGES, dropout=0.2),
    "no seed": clone(MLP).set_params(random_state=None, early_stopping=True, dropout=0.2),
    "a generator": clone(CONV).set_params(augment=CHANGES, early_stopping=True),
}
FITTED = ("coefs_", "intercepts_", "loss_curve_", "validation_scores_", "batch_norms_")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200] / 16, y[:200]


def values_of(model):
    """All that a fit has learned, and what the next one would go on from."""
    for name in FITTED:
        for value in getattr(model, name, None) or ():
            yield from value.values() if isinstance(value, dict) else [value]
    state = model._state
    yield from (state.params, *state.moments.values(), state.step, state.t, state.learning_rate)
    yield from (state.best_loss, state.best_validation_score, state.no_improvement)


def assert_same(model, other):
    for a, b in zip(values_of(model), values_of(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.n_iter_ == other.n_iter_


def without_a_seed(name, model):
    """A fit that draws from NumPy's generator, or from one of its own."""
    np.random.seed(7)
    if name == "a generator":
        model.set_params(random_state=np.random.RandomState(3))
    return model


@pytest.mark.parametrize("name", FITS)
def test_it_goes_on_as_if_nothing_had_happened(name, digits, tmp_path):
    X, y = digits
    file = Checkpoint(tmp_path / "{epoch}.ckpt")
    whole = without_a_seed(name, clone(FITS[name]).set_params(callbacks=file)).fit(X, y)
    silent = without_a_seed(name, clone(FITS[name])).fit(X, y)
    assert_same(whole, silent)  # the files change nothing
    assert whole.n_iter_ > 3
    assert len(list(tmp_path.iterdir())) == whole.n_iter_
    for epoch in (1, 2, whole.n_iter_ - 1, whole.n_iter_):
        again = clone(FITS[name]).set_params(verbose=0)
        if name == "a generator":  # wherever it stands now
            again.set_params(random_state=np.random.RandomState(99))
        again.fit(X, y, resume_from=tmp_path / f"{epoch}.ckpt")
        assert_same(again, whole)
        for model in (again, whole):
            pickle.dumps(model.set_params(callbacks=None))
        if name == "a generator":  # the user's own generator too is where it would be
            assert again.random_state.randint(10**9) == silent.random_state.randint(10**9)
            silent = without_a_seed(name, clone(FITS[name])).fit(X, y)


@pytest.mark.parametrize("kind", ["sparse", "uint8", "labels", "weights", "validation", "words"])
def test_whatever_it_learns_from(kind, digits, tmp_path):
    X, y = digits
    model, more = clone(MLP), {}
    if kind == "sparse":
        X = sp.csr_matrix(X)
    elif kind == "uint8":
        model, X = clone(CONV), (16 * X).astype(np.uint8)
    elif kind == "labels":
        y = np.stack([y > 4, y % 2 == 0], axis=1).astype(int)
    elif kind == "words":
        y = np.array(["zero", "one", "two", *"3456789"], object)[y]
    elif kind == "weights":
        more = {"sample_weight": 1.0 + y}
    else:
        more = {"X_val": X[:50], "y_val": y[:50]}
    whole = clone(model).set_params(callbacks=Checkpoint(tmp_path / "{epoch}")).fit(X, y, **more)
    again = clone(model).fit(X, y, **more, resume_from=str(tmp_path / "4"))
    assert_same(again, whole)
    np.testing.assert_array_equal(again.predict(X), whole.predict(X))


def test_a_fit_that_goes_on_from_a_fit(digits, tmp_path):
    X, y = digits
    first = clone(MLP).set_params(warm_start=True).fit(X, y)
    kept = pickle.dumps(first)
    first.set_params(callbacks=Checkpoint(tmp_path / "{epoch}")).fit(X, y)
    for start in (pickle.loads(kept), clone(MLP)):  # also where the first fit is gone
        assert_same(start.fit(X, y, resume_from=tmp_path / "3"), first)


def test_more_epochs_than_planned(digits, tmp_path):
    X, y = digits
    clone(MLP).set_params(callbacks=Checkpoint(tmp_path / "7")).fit(X, y)
    longer = clone(MLP).set_params(max_iter=12)
    assert_same(clone(longer).fit(X, y, resume_from=tmp_path / "7"), clone(longer).fit(X, y))


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("name", ["adam", "cosine", "adaptive", "early stopping", "convnet"])
def test_a_fit_that_a_callback_ended_goes_on(name, every, digits, tmp_path):
    X, y = digits
    path = tmp_path / "stopped"
    stops = clone(FITS[name]).set_params(callbacks=[lambda e, info: info.epoch == 2])
    stops.callbacks.append(Checkpoint(path, every))
    assert stops.fit(X, y).n_iter_ == 2
    whole = clone(FITS[name]).fit(X, y)
    assert whole.n_iter_ > 2
    assert_same(clone(FITS[name]).fit(X, y, resume_from=path), whole)
    again = stops.fit(X, y, resume_from=path)  # by a callback that has nothing more to say
    assert_same(again, whole)


def test_a_fit_that_has_ended_by_itself_stays_as_it_is(digits, tmp_path):
    X, y = digits
    impatient = clone(MLP).set_params(tol=1.0, n_iter_no_change=1, max_iter=50)
    impatient.set_params(callbacks=Checkpoint(tmp_path / "impatient")).fit(X, y)
    more = clone(impatient).set_params(callbacks=None, max_iter=80)
    assert_same(more.fit(X, y, resume_from=tmp_path / "impatient"), impatient)


def test_callbacks_are_told_of_the_rest(digits, tmp_path):
    X, y = digits
    heard = []
    clone(MLP).set_params(callbacks=Checkpoint(tmp_path / "{epoch}")).fit(X, y)
    model = clone(MLP).set_params(callbacks=lambda e, info: heard.append((info.epoch, e.n_iter_)))
    model.fit(X, y, resume_from=tmp_path / "4")
    assert heard == [(5, 5), (6, 6), (7, 7)]


def test_every_and_last(digits, tmp_path):
    X, y = digits
    clone(MLP).set_params(callbacks=Checkpoint(tmp_path / "{epoch:02d}", every=3)).fit(X, y)
    assert sorted(os.listdir(tmp_path)) == ["03", "06", "07"]  # the last one too


def test_seconds(digits, tmp_path):
    X, y = digits
    clone(MLP).set_params(callbacks=Checkpoint(tmp_path / "{epoch}", seconds=1000)).fit(X, y)
    assert sorted(os.listdir(tmp_path)) == ["1", "7"]


@pytest.mark.parametrize("resumed", [False, True])
def test_the_best(resumed, digits, tmp_path):
    X, y = digits
    path = tmp_path / "best"
    scored = {"X_val": X[150:], "y_val": y[150:]}
    model = clone(MLP).set_params(max_iter=15, learning_rate_init=0.03)
    model.set_params(callbacks=[Checkpoint(path, keep="best"), Checkpoint(tmp_path / "{epoch}")])
    model.fit(X[:150], y[:150], **scored)
    scores = model.validation_scores_
    best = int(np.argmax(scores)) + 1
    assert 1 < best < 15
    if resumed:  # the best one before counts as well
        write_archive(path, *read_archive(tmp_path / str(best)))
        model = clone(model).set_params(callbacks=Checkpoint(path, keep="best"))
        model.fit(X[:150], y[:150], **scored, resume_from=tmp_path / str(best + 1))
    meta, arrays = read_archive(path)
    assert meta["state"]["n_iter"] == best == len(arrays["loss_curve"])


def test_a_fit_that_is_lost_keeps_the_good_file(digits, tmp_path):
    X, y = digits
    model = clone(MLP).set_params(solver="sgd", callbacks=Checkpoint(tmp_path / "{epoch}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.raises(ValueError, match="non-finite"):
            model.set_params(learning_rate_init=1e9, momentum=0.99).fit(1e6 * X, y)
    for name in os.listdir(tmp_path):
        _, arrays = read_archive(tmp_path / name)
        assert np.isfinite(arrays["loss_curve"]).all()


# What does not fit together ------------------------------------------------------------------

OTHERS = {
    "alpha was 0.0001 and is 0.5": ({"alpha": 0.5}, {}),
    "hidden_layer_sizes was [8] and is [9]": ({"hidden_layer_sizes": (9,)}, {}),
    "random_state was 0 and is 1": ({"random_state": 1}, {}),
    "X had shape (200, 64) and has (199, 64)": ({}, {"rows": slice(199)}),
    "X has other values": ({}, {"X": 2.0}),
    "there was no sample_weight and there is sample_weight": ({}, {"weight": True}),
    "y has other values": ({}, {"y": True}),
    "max_iter is 3, and 4 epochs are done": ({"max_iter": 3}, {}),
    "dtype was 'float32' and is 'float64'": ({"dtype": "float64"}, {}),
}


@pytest.mark.parametrize("words", OTHERS)
def test_another_fit_is_refused_in_words(words, digits, tmp_path):
    X, y = digits
    clone(MLP).set_params(callbacks=Checkpoint(tmp_path / "{epoch}")).fit(X, y)
    params, changed = OTHERS[words]
    X, y = changed.get("X", 1.0) * X, y
    y = np.roll(y, 1) if "y" in changed else y
    rows = changed.get("rows", slice(None))
    weight = np.ones(200) if "weight" in changed else None
    with pytest.raises(ValueError, match="belongs to another fit") as error:
        clone(MLP).set_params(**params).fit(
            X[rows], y[rows], sample_weight=weight, resume_from=tmp_path / "4"
        )
    assert words in str(error.value)


def test_other_kinds_and_versions(digits, tmp_path, monkeypatch):
    X, y = digits
    clone(MLP).set_params(callbacks=Checkpoint(tmp_path / "mlp")).fit(X, y)
    with pytest.raises(ValueError, match="was a fit of MLPClassifier, and this is one of ConvNet"):
        clone(CONV).fit(X, y, resume_from=tmp_path / "mlp")
    cyclic = clone(MLP).set_params(learning_rate=sorted(PER_STEP)[0])
    clone(cyclic).set_params(callbacks=Checkpoint(tmp_path / "{epoch}")).fit(X, y)
    with pytest.raises(ValueError, match="max_iter was 7 and is 9, and the learning rates follow"):
        clone(cyclic).set_params(max_iter=9).fit(X, y, resume_from=tmp_path / "2")
    monkeypatch.setattr("estimators.checkpoints.fits.__version__", "99.0")
    with pytest.raises(ValueError, match=r"cukernels was 0\S+ and is 99.0"):
        clone(MLP).fit(X, y, resume_from=tmp_path / "mlp")
    with pytest.raises(FileNotFoundError):
        clone(MLP).fit(X, y, resume_from=tmp_path / "nowhere")


def test_a_refusal_leaves_the_estimator(digits, tmp_path):
    X, y = digits
    model = clone(MLP).set_params(callbacks=Checkpoint(tmp_path / "a")).fit(X, y)
    before = pickle.dumps(model.set_params(callbacks=None).coefs_)
    with pytest.raises(ValueError, match="belongs to another fit"):
        model.set_params(alpha=3.0).fit(X, y, resume_from=tmp_path / "a")
    assert pickle.dumps(model.coefs_) == before


@pytest.mark.parametrize("given", [{"every": 0}, {"keep": "all"}, {"seconds": -1}, {"every": 1.5}])
def test_what_a_checkpoint_does_not_take(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        Checkpoint("a", **given)
    with pytest.raises(ValueError, match="placeholders of a path are"):
        Checkpoint("a{}")


def test_what_no_file_can_be_written_by_ends_the_fit_before_it_begins(digits, tmp_path):
    heard = []
    for path, error, message in (
        ("a{number}", ValueError, r"has no parameter 'number': placeholders are {fit}, .*{epoch}"),
        ("nowhere/a", FileNotFoundError, "No such folder for a file: '.*nowhere'"),
        ("", IsADirectoryError, "cannot take the place of a folder"),
    ):
        hears = [Checkpoint(tmp_path / path), lambda e, info: heard.append(info)]
        with pytest.raises(error, match=message):
            clone(MLP).set_params(callbacks=hears).fit(*digits)
    assert heard == []


# Damage --------------------------------------------------------------------------------------


def test_a_file_that_is_cut_or_changed_is_refused(digits, tmp_path):
    """Or read as it was, where the change is in a place that says nothing."""
    X, y = digits
    path, other = tmp_path / "a", tmp_path / "b"
    model = clone(MLP).set_params(callbacks=Checkpoint(path)).fit(X, y)
    raw, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    cuts = [raw[:n] for n in rng.integers(0, len(raw), 40).tolist()]
    flips = []
    for place in rng.integers(0, len(raw), 150).tolist():
        flips.append(raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :])
    for damaged in itertools.chain(cuts, flips):
        other.write_bytes(damaged)
        try:
            assert_same(clone(MLP).fit(X, y, resume_from=other), model)
        except ValueError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("what", ["huge", "compressed", "object", "rows", "params", "meta"])
def test_a_file_that_lies_is_refused(what, digits, tmp_path):
    X, y = digits
    path = tmp_path / "a"
    clone(MLP).set_params(callbacks=Checkpoint(path)).fit(X, y)
    meta, arrays = read_archive(path)
    if what == "rows":
        arrays["rows"][3] = 10**6  # a kernel would look there
    elif what == "params":
        arrays["params"] = arrays["params"][:-8]
    elif what == "meta":
        meta["state"]["step"] = "many"
    write_archive(path, meta, arrays)
    if what in ("huge", "compressed", "object"):
        kind = zipfile.ZIP_DEFLATED if what == "compressed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("meta.json", json.dumps(meta))
            with archive.open("params.npy", "w") as part:
                if what == "object":
                    np.lib.format.write_array(part, np.array([print], object), allow_pickle=True)
                else:
                    header = {"descr": "<f4", "fortran_order": False, "shape": (2**45,)}
                    np.lib.format.write_array_header_1_0(part, header)
    with pytest.raises(ValueError, match="is damaged|no checkpoint"):
        clone(MLP).fit(X, y, resume_from=path)
