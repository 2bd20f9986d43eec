"""Scores of models in training, on what is held out: scikit-learn's accuracy, all at once."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_validate as sklearn_cross_validate
from sklearn.preprocessing import LabelBinarizer

from _requirements import RELEASE
from estimators import ConvNetClassifier, Dense, MLPClassifier, Perceptron
from estimators.layers.dense import Scores
from estimators.layers.layer import Mode
from estimators.model_selection import cross_validate
from estimators.training.data import Data
from estimators.training.held_out import HeldOut, places_of
from estimators.training.member import Member, TrainingState
from estimators.training.network import Network
from estimators.training.objective import Objective
from estimators.training.order import RowOrder
from estimators.training.settings import Settings
from estimators.training.validation import validation_scores

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
    members = []
    for m in range(n_models):
        state = TrainingState(network.init(np.random.RandomState(m), np.float64))
        rows = rng.permutation(len(places))[: 20 + m % 2]
        held_out = HeldOut(rows, places[rows], None if m % 3 else rng.uniform(size=len(rows)))
        if m == 1:
            held_out.data = own
        if m != 2:
            state.best_params = state.params
        member = Member(Settings(), state, RowOrder(rows, np.random.RandomState(m)))
        member.held_out = None if m == 2 else held_out
        members.append(member)
    return network, members


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("at_once", [2**20, 35])
def test_scores_of_a_stack_are_those_of_its_models(monkeypatch, sparse, at_once):
    monkeypatch.setattr(
        "estimators.training.validation.VALUES_SCORED_AT_ONCE", at_once
    )  # 5 rows of the widest
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40, 7))
    places = rng.integers(0, 3, 40)
    own = Data(dense[::-1].copy(), places)
    X = sp.csr_matrix(dense) if sparse else dense
    if sparse:
        own = Data(sp.csr_matrix(own.X), places)
    network, members = stack(rng, X, places, 6, own)
    objective = Objective("log_loss", "softmax")
    params = np.stack([t.state.params for t in members])
    scores = validation_scores(network, objective, Data(X, places), members, params)
    assert scores[2] is None
    for m, member in enumerate(members):
        if m == 2:
            continue
        source = dense[::-1] if m == 1 else dense
        x = source[member.held_out.rows][None]
        z, _ = network.forward(network.views(params[m : m + 1]), x, Mode())
        assert scores[m] == accuracy_score(
            places[member.held_out.rows],
            z[0].argmax(axis=1),
            sample_weight=member.held_out.weight,
        )


def test_rows_count_from_where_a_models_samples_begin():
    rng = np.random.default_rng(0)
    X, places = rng.normal(size=(40, 7)), rng.integers(0, 3, 40)
    network, members = stack(rng, X, places, 1, None)
    objective = Objective("log_loss", "softmax")
    params = members[0].state.params[None]
    expected = validation_scores(network, objective, Data(X, places), members, params)
    members[0].first_row = 10
    both = Data(
        np.concatenate([rng.normal(size=(10, 7)), X]), np.concatenate([places[:10], places])
    )
    assert validation_scores(network, objective, both, members, params) == expected


# Labels that the user gives for scoring ----------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 16))
ONE = np.arange(60) % 3  # one label a sample
SEVERAL = RNG.integers(0, 2, (60, 3))
NAMES = np.array(["ant", "bee", "cow"])[ONE]
SETTINGS = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
each_network = pytest.mark.parametrize(
    "network",
    [MLPClassifier(**SETTINGS), ConvNetClassifier((2,), **SETTINGS)],
    ids=["mlp", "convnet"],
)
SPARSE = [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array]


def fitted(network, method, y, **given):
    """A clone that is fitted, with no warning but that of few epochs."""
    known = {}
    if method == "partial_fit":
        known["classes"] = np.arange(3) if y.ndim == 2 else np.unique(y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        return getattr(clone(network), method)(X, y, **known, **given)


@each_network
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("y", "y_val", "message"),
    [
        (ONE, ONE.astype(str), r"Mix of label input types \(string and number\)"),
        (NAMES, ONE, r"Mix of label input types \(string and number\)"),
        (NAMES.astype(object), ONE, r"Mix of label input types \(string and number\)"),
        (ONE, ONE + 3, r"`y_val` has classes not in `self.classes_`.*\[0 1 2\].*\[3 4 5\]"),
        (NAMES, np.char.upper(NAMES), "`y_val` has classes not in `self.classes_`.*'COW'"),
        (ONE, SEVERAL, "Mix type of y not allowed.*multilabel-indicator"),
        (ONE, sp.csr_matrix(SEVERAL), "Mix type of y not allowed.*multilabel-indicator"),
        (SEVERAL, ONE, "Mix type of y not allowed.*multilabel-indicator"),
        (SEVERAL, NAMES, "Mix type of y not allowed.*multilabel-indicator"),
        (SEVERAL, SEVERAL[:, :2], "indicator input with different numbers of labels"),
        (SEVERAL, sp.csr_matrix(SEVERAL[:, :2]), "indicator input with different numbers of label"),
        (ONE, ONE[:-1], "inconsistent numbers of samples"),
        (ONE, np.linspace(0, 1, 60), "Unknown label type"),
    ],
)
def test_labels_of_another_kind_are_refused(network, method, y, y_val, message):
    with pytest.raises(ValueError, match=message):
        fitted(network, method, y, X_val=X, y_val=y_val)


@each_network
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("y", "odd"), [(ONE, 7), (NAMES, "dog")], ids=["numbers", "names"])
def test_single_labels_that_nobody_learns_are_a_warning(network, method, y, odd):
    y_val = y.copy()
    y_val[:5] = odd
    known = {"classes": np.unique(y)} if method == "partial_fit" else {}
    with pytest.warns(UserWarning, match=f"`y_val` has classes .*{odd}.* no prediction") as told:
        model = getattr(clone(network), method)(X, y, **known, X_val=X, y_val=y_val)
    assert {w.filename for w in told if "y_val" in str(w.message)} == {__file__}
    assert model.validation_scores_[-1] == accuracy_score(y_val, model.predict(X))


@each_network
@pytest.mark.parametrize(
    ("y", "y_val"),
    [
        (ONE, ONE.astype(float)),
        (ONE, ONE[:, None].tolist()),
        (ONE, np.zeros(60, int)),  # not all labels have to be there
        (ONE > 0, (ONE > 0).astype(int)),
        (NAMES, NAMES.astype(object)),
        (NAMES.astype(object), NAMES.tolist()),
    ],
)
def test_equal_labels_of_another_dtype_are_taken_as_they_are(network, y, y_val):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", DataConversionWarning)
        model = clone(network).fit(X, y, X_val=X, y_val=y_val)
    assert model.validation_scores_[-1] == accuracy_score(np.ravel(y_val), model.predict(X))


@each_network
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("learned", [np.asarray, *SPARSE], ids=lambda f: f.__name__)
def test_sparse_indicators_are_scored_as_dense_ones(network, method, learned):
    y = learned(SEVERAL)
    expected = fitted(network, method, SEVERAL, X_val=X, y_val=SEVERAL).validation_scores_
    for given in [np.asarray, *SPARSE]:
        model = fitted(network, method, y, X_val=X, y_val=given(SEVERAL))
        assert model.validation_scores_ == expected
        assert model.validation_scores_[-1] == model.score(X, y)


@each_network
def test_one_label_a_sample_is_refused_where_several_were_learned(network):
    for model, method in [
        (fitted(network, "partial_fit", SEVERAL), "partial_fit"),
        (fitted(clone(network).set_params(warm_start=True), "fit", SEVERAL), "fit"),
    ]:
        with pytest.raises(ValueError, match="Mix type of y not allowed"):
            getattr(model, method)(X, ONE)


# Weights of what early stopping holds out --------------------------------------------------------

each_with_early_stopping = pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier(**SETTINGS, early_stopping=True),
        ConvNetClassifier((2,), **SETTINGS, early_stopping=True),
        Perceptron(random_state=0, max_iter=2, early_stopping=True),
    ],
    ids=["mlp", "convnet", "perceptron"],
)


def weighed(estimator, y, weight):
    """Whether early stopping has something to score by, where these are the weights."""
    try:
        clone(estimator).fit(X, y, sample_weight=weight)
    except ValueError as error:
        return "The sample weights for validation set are all zero" not in str(error)
    return True


@each_with_early_stopping
@pytest.mark.parametrize("y", [ONE > 0, ONE, NAMES, SEVERAL, sp.csr_matrix(SEVERAL)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_weight_on_what_is_held_out(estimator, y):
    if y.ndim == 2 and isinstance(estimator, Perceptron):
        return  # it learns one label a sample
    held_out = [row for row in range(60) if weighed(estimator, y, np.eye(60)[row])]
    assert len(held_out) == 6
    weight = np.ones(60)
    weight[held_out] = [1, -1] * 3
    with pytest.raises(ValueError, match="The sample weights for validation set sum to zero"):
        clone(estimator).fit(X, y, sample_weight=weight)
    weight[held_out] = [0] * 5 + [1]
    assert clone(estimator).fit(X, y, sample_weight=weight).score(X, y) >= 0


@each_with_early_stopping
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_search_says_so_too(estimator):
    row = next(row for row in range(60) if not weighed(estimator, ONE, np.eye(60)[row]))
    params, rows = {"sample_weight": np.eye(60)[row]}, np.arange(60)
    for run in (cross_validate, sklearn_cross_validate):
        with pytest.raises(ValueError, match="The sample weights for validation set are all zero"):
            run(estimator, X, ONE, cv=[(rows, rows)], params=params, error_score="raise")


@each_network
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced", [{0: 1, 1: 2}] * 3])
@pytest.mark.parametrize("weight", [None, np.arange(60.0), np.ones(60, int)])
def test_sparse_indicators_weigh_as_dense_ones(network, early_stopping, class_weight, weight):
    network = clone(network).set_params(early_stopping=early_stopping, class_weight=class_weight)
    expected = fitted(network, "fit", SEVERAL, sample_weight=weight)
    for form in SPARSE:
        model = fitted(network, "fit", form(SEVERAL), sample_weight=weight)
        assert model.loss_curve_ == expected.loss_curve_
        assert model.validation_scores_ == expected.validation_scores_
        np.testing.assert_array_equal(model.predict(X).toarray(), expected.predict(X))


@each_network
@pytest.mark.parametrize("several_together", [False, True])
@pytest.mark.parametrize(
    ("rare", "other"), [("b", "a"), ("a", "b"), (7, 3)], ids=["last", "first", "numbers"]
)
def test_a_class_of_one_member_is_named(network, rare, other, several_together):
    """By its label; in its place it would be 0 or 1, which is none of these."""
    y = np.array([other] * 50 + [rare])
    one = clone(network).set_params(early_stopping=True)
    x = RNG.normal(size=(51, 16))
    with pytest.raises(ValueError, match=r"[Tt]he least populated class") as error:
        if several_together:
            cross_validate(one, x, y, cv=[(np.arange(51), np.arange(9))] * 2)
        else:
            one.fit(x, y)
    if RELEASE >= (1, 8):
        assert f"members are: {[rare]}" in str(error.value)


@each_network
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("form", [np.asarray, *SPARSE], ids=lambda f: f.__name__)
@pytest.mark.parametrize("one", [2, -1, 7])
def test_an_indicator_that_is_not_0_is_1(network, method, form, one):
    """In what is learned, held out and given to score alike, as in scikit-learn's."""
    y = form(SEVERAL * one)
    expected = fitted(network, method, SEVERAL, X_val=X, y_val=SEVERAL)
    for learned, given in ((SEVERAL, y), (y, SEVERAL), (y, y)):
        model = fitted(network, method, learned, X_val=X, y_val=given)
        assert model.validation_scores_ == expected.validation_scores_
        assert model.loss_ == expected.loss_
    stops = clone(network).set_params(early_stopping=True)
    scores = [fitted(stops, method, labels).validation_scores_ for labels in (SEVERAL, y)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("one", [2, -1, 7])
def test_indicators_train_as_scikit_learns(one):
    ours, theirs = (
        M(hidden_layer_sizes=(4,), max_iter=2, random_state=0, solver="lbfgs")
        for M in (MLPClassifier, sklearn.neural_network.MLPClassifier)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        losses = [model.fit(X, SEVERAL * one).loss_ for model in (ours, theirs)]
        stacks = [
            cross_validate(ours, X, SEVERAL * k, cv=2, return_estimator=True)["estimator"]
            for k in (1, one)
        ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert [m.loss_ for m in stacks[0]] == [m.loss_ for m in stacks[1]]
