"""Scores of models in training, on what is held out: scikit-learn's accuracy, all at once."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer

from estimators._batches import Data
from estimators._held_out import HeldOut, places_of, validation_scores
from estimators._layers import Dense, Mode, Scores
from estimators._network import Network
from estimators._objective import Objective
from estimators._trainee import Progress, Settings, Trainee

KINDS = ["two classes", "three classes", "names", "several labels"]


def labels(kind, n, rng):
    if kind == "several labels":
        return rng.integers(0, 2, (n, 3))
    numbers = rng.integers(0, 2 if kind == "two classes" else 3, n)
    return np.array(["ant", "bee", "cow"])[numbers] if kind == "names" else numbers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_is_scikit_learns(kind, weighted):
    rng = np.random.default_rng(0)
    y = labels(kind, 50, rng)
    binarizer = LabelBinarizer().fit(y)
    p = rng.uniform(size=binarizer.transform(y).shape)
    p[::7] = 0.5  # ties, and thresholds
    weight = rng.uniform(0, 2, 50) if weighted else None
    guessed = binarizer.inverse_transform(p[:, 0] if p.shape[1] == 1 else p)
    held_out = HeldOut(np.arange(50), places_of(y, binarizer.classes_), weight)
    assert held_out.accuracy(p) == accuracy_score(y, guessed, sample_weight=weight)


def test_a_label_that_nobody_learns_is_never_right():
    classes = np.array(["b", "d"])
    y = np.array(["a", "b", "c", "d", "e"])
    assert places_of(y, classes).tolist() == [-1, 0, -1, 1, -1]
    sure = HeldOut(np.arange(5), places_of(y, classes))
    assert sure.accuracy(np.ones((5, 1))) == 0.2
    assert sure.accuracy(np.zeros((5, 1))) == 0.2


def test_a_model_that_diverged_has_no_score():
    p = np.array([[0.2], [np.nan]])
    assert np.isnan(HeldOut(np.arange(2), np.array([0, 1])).accuracy(p))


def stack(rng, X, places, n_models, own):
    """Models that hold out rows of different places and numbers, of X or of an own data set."""
    network = Network([Dense(5), Scores(3)], (X.shape[1],))
    trainees = []
    for m in range(n_models):
        progress = Progress(network.init(np.random.RandomState(m), np.float64))
        rows = rng.permutation(len(places))[: 20 + m % 2]
        held_out = HeldOut(rows, places[rows], None if m % 3 else rng.uniform(size=len(rows)))
        if m == 1:
            held_out.data = own
        if m != 2:
            progress.best_params = progress.params
        trainee = Trainee(Settings(), progress, rows, np.random.RandomState(m))
        trainee.held_out = None if m == 2 else held_out
        trainees.append(trainee)
    return network, trainees


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("at_once", [2**20, 35])
def test_scores_of_a_stack_are_those_of_its_models(monkeypatch, sparse, at_once):
    monkeypatch.setattr("estimators._held_out._VALUES_AT_ONCE", at_once)  # 5 rows of the widest
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40, 7))
    places = rng.integers(0, 3, 40)
    own = Data(dense[::-1].copy(), places)
    X = sp.csr_matrix(dense) if sparse else dense
    if sparse:
        own = Data(sp.csr_matrix(own.X), places)
    network, trainees = stack(rng, X, places, 6, own)
    objective = Objective("log_loss", "softmax")
    params = np.stack([t.progress.params for t in trainees])
    scores = validation_scores(network, objective, Data(X, places), trainees, params)
    assert scores[2] is None
    for m, trainee in enumerate(trainees):
        if m == 2:
            continue
        source = dense[::-1] if m == 1 else dense
        x = source[trainee.held_out.rows][None]
        z, _ = network.forward(network.views(params[m : m + 1]), x, Mode())
        assert scores[m] == accuracy_score(
            places[trainee.held_out.rows],
            z[0].argmax(axis=1),
            sample_weight=trainee.held_out.weight,
        )


def test_rows_count_from_where_a_models_samples_begin():
    rng = np.random.default_rng(0)
    X, places = rng.normal(size=(40, 7)), rng.integers(0, 3, 40)
    network, trainees = stack(rng, X, places, 1, None)
    objective = Objective("log_loss", "softmax")
    params = trainees[0].progress.params[None]
    expected = validation_scores(network, objective, Data(X, places), trainees, params)
    trainees[0].first_row = 10
    both = Data(
        np.concatenate([rng.normal(size=(10, 7)), X]), np.concatenate([places[:10], places])
    )
    assert validation_scores(network, objective, both, trainees, params) == expected
