"""ConvNetClassifier: how it reads images, what it builds from its parameters, and what it says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from cukernels.images.augment import shift_and_flip
from estimators import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    ConvNetClassifier,
    Dense,
    Dropout,
    LocallyConnected2D,
    MaxPool2D,
    MLPClassifier,
)
from estimators.model_selection import GridSearchCV as StackedGridSearchCV
from estimators.neural.augment import Augmentation
from estimators.training.initial_weights import draw_as_scikit_learn

QUICK = {"max_iter": 2, "tol": 0.0, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32)[:300], y[:300]


def small(**parameters):
    return ConvNetClassifier((3,), hidden_layer_sizes=(8,), **(QUICK | parameters))


def test_learns_digits():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)
    settings = {"learning_rate": "one_cycle", "learning_rate_init": 5e-3, "batch_size": 32}
    clf = ConvNetClassifier((8, 16), max_iter=15, tol=0, random_state=0, **settings)
    assert clf.fit(X_train, y_train).score(X_test, y_test) > 0.96


@pytest.mark.parametrize(
    ("n_features", "given", "expected"),
    [
        (64, None, (8, 8, 1)),
        (16, None, (4, 4, 1)),
        (9, None, (1, 9, 1)),  # too small to be an image
        (60, None, (1, 60, 1)),
        (1, None, (1, 1, 1)),
        (60, (6, 10), (6, 10, 1)),
        (60, (4, 5, 3), (4, 5, 3)),
    ],
)
def test_image_shape_of_rows(n_features, given, expected):
    X = np.random.default_rng(0).random((20, n_features))
    clf = small(image_shape=given).fit(X, np.arange(20) % 3)
    assert clf.image_shape_ == expected
    assert clf.predict(X).shape == (20,)


def test_images_and_rows_of_pixels_are_the_same(digits):
    X, y = digits
    rows = small().fit(X, y)
    for images in (X.reshape(-1, 8, 8), X.reshape(-1, 8, 8, 1), X.reshape(-1, 8, 8).tolist()):
        clf = small().fit(images, y)
        assert clf.n_features_in_ == 64
        assert clf.image_shape_ == (8, 8, 1)
        same = X.astype(np.asarray(images).dtype)  # lists are of float64
        np.testing.assert_array_equal(clf.predict_proba(images), rows.predict_proba(same))
        np.testing.assert_array_equal(clf.predict_proba(X), rows.predict_proba(X))


def test_images_that_are_not_square(digits):
    X, y = digits
    X = X.reshape(-1, 4, 8, 2)
    clf = small().fit(X, y)
    assert clf.image_shape_ == (4, 8, 2)
    with pytest.raises(ValueError, match=r"fitted on images of shape \(4, 8, 2\)"):
        clf.predict(X.reshape(-1, 8, 4, 2))


def as_three(X):
    return X.reshape(-1, 8, 8)


def as_four(X):
    return X.reshape(-1, 8, 8, 1)


FORMS = {
    "rows": lambda X: X,
    "3-D": as_three,
    "4-D": as_four,
    "list": lambda X: as_three(X).tolist(),
}


@pytest.mark.parametrize("validated", FORMS)
@pytest.mark.parametrize("learned", FORMS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_validation_set_comes_in_every_form_of_images(digits, method, learned, validated):
    X, y = digits
    given = {"X_val": FORMS[validated](X[200:]), "y_val": y[200:]}
    known = {"classes": range(10)} if method == "partial_fit" else {}
    clf = small()
    getattr(clf, method)(FORMS[learned](X[:200]), y[:200], **known, **given)
    assert clf.validation_scores_[-1] == clf.score(X[200:], y[200:])
    expected = list(clf.validation_scores_)
    # a model of other images learns these anew, and one of these goes on
    again = small().fit(X.reshape(-1, 4, 16)[:, :, :5], y)
    assert again.fit(FORMS[learned](X), y, **given).image_shape_ == (8, 8, 1)
    if method == "fit":
        again = small().fit(X.reshape(-1, 4, 16), y)
        again.fit(FORMS[learned](X[:200]), y[:200], **given)
        assert again.validation_scores_ == expected
    assert again.partial_fit(X, y, **given).validation_scores_[-1] == again.score(X[200:], y[200:])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_validation_set_of_other_images_is_refused(digits, method):
    X, y = digits
    known = {"classes": range(10)} if method == "partial_fit" else {}
    other = X.reshape(-1, 4, 16)
    for clf in (small(), small().fit(other, y)):
        if method == "partial_fit" and hasattr(clf, "coefs_"):
            continue
        for images in (other, other.reshape(-1, 4, 4, 4), other[:, :, :7]):
            with pytest.raises(ValueError, match=r"fitted on images of shape \(8, 8, 1\)"):
                getattr(clf, method)(as_three(X), y, **known, X_val=images, y_val=y)
        with pytest.raises(ValueError, match="X has 60 features, but .* is expecting 64"):
            getattr(clf, method)(as_three(X), y, **known, X_val=X[:, :60], y_val=y)


@pytest.mark.parametrize("dtype", ["uint8", "float64", "object"])
def test_a_validation_set_of_another_dtype(digits, dtype):
    X, y = digits
    X = np.round(X * 16)
    for own in ("float32", "float64", "auto"):
        clf = small(dtype=own).fit(as_four(X), y, X_val=as_four(X).astype(dtype), y_val=y)
        assert clf.validation_scores_[-1] == clf.score(X, y)


def test_a_fit_that_fails_does_not_change_the_shape_that_is_fitted_on(digits):
    X, y = digits
    clf = small(layers=[Conv2D(2), Dense(4)]).fit(as_three(X), y)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        clf.fit(X.reshape(-1, 4, 16), y[:-1])
    assert clf.partial_fit(X, y).image_shape_ == (8, 8, 1)


def test_a_search_over_images_is_that_over_their_rows(digits):
    X, y = digits
    grid = {"alpha": [1e-4, 1.0]}
    rows = StackedGridSearchCV(small(), grid, cv=2).fit(X, y)
    for images in (as_three(X), as_four(X)):
        search = StackedGridSearchCV(small(), grid, cv=2).fit(images, y)
        for name in ("split0_test_score", "split1_test_score"):
            np.testing.assert_array_equal(search.cv_results_[name], rows.cv_results_[name])
        assert search.score(images, y) == rows.score(X, y)


def test_a_row_of_pixels_shrinks_what_does_not_fit():
    X = np.random.default_rng(0).random((20, 3))
    clf = small(padding="valid", kernel_size=5).fit(X, np.arange(20) % 2)
    assert clf.coefs_[0].shape == (3, 1, 3, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"conv_layer_sizes": (2,) * 4}, r"MaxPool2D\(.*pool_size 2 does not fit an image of heig"),
        ({"kernel_size": 9, "padding": "valid"}, r"Conv2D\(.*kernel_size 9 does not fit an image"),
        ({"image_shape": (8, 9)}, r"image_shape \(8, 9\) has 72 pixels, but X has 64 features"),
        ({"image_shape": (8, -8)}, "image_shape must be .* positive integers"),
        ({"conv_layer_sizes": (4, 0)}, r"conv_layer_sizes must be > 0, got \[4, 0\]"),
        ({"hidden_layer_sizes": (-4,)}, r"hidden_layer_sizes must be > 0, got \[-4\]"),
        ({"kernel_size": (3, 0)}, "kernel_size must be made of positive integers"),
        ({"activation": ["relu"]}, "activation names 1 functions for 3"),
        ({"layers": ["Dense"]}, "layers must be made of .*Conv2D, .* got 'Dense'"),
        ({"layers": [Dense(3), Conv2D(4)]}, r"Conv2D\(.*needs images .* gives \(3,\)"),
        ({"augment": {"zoom": 2}}, r"unknown names \['zoom'\].*'shift'"),
        ({"augment": {"shift": -1}}, "shift must be pixels"),
        ({"solver": "lbfgs", "dropout": 0.5}, "solver='lbfgs' minimises one fixed function"),
    ],
)
def test_bad_parameters(digits, parameters, message):
    X, y = digits
    clf = ConvNetClassifier((3, 3), hidden_layer_sizes=(8,), **QUICK)
    with pytest.raises(ValueError, match=message):
        clone(clf).set_params(**parameters).fit(X, y)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y).set_params(**parameters).fit(X, y)
    assert clf.set_params(**{p: getattr(ConvNetClassifier(), p) for p in parameters}).fit(X, y)


def test_a_layer_names_its_bad_number():
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\)"):
        Dropout(1.0)
    with pytest.raises(ValueError, match="Unknown activation 'rely': expected one of .*'relu'"):
        Conv2D(3, activation="rely")
    with pytest.raises(ValueError, match="filters must be made of positive integers"):
        Conv2D(-3)


def test_dense_layers_alone_are_an_mlp(digits, monkeypatch):
    X, y = digits
    monkeypatch.setattr(ConvNetClassifier, "_draw", staticmethod(draw_as_scikit_learn))
    chain = ConvNetClassifier(layers=[Dense(20), Dense(10, "tanh")], **QUICK).fit(X, y)
    mlp = MLPClassifier((20, 10), ["relu", "tanh"], **QUICK).fit(X, y)
    np.testing.assert_array_equal(chain.predict_proba(X), mlp.predict_proba(X))


def test_parameters_describe_the_chain_that_layers_spells_out(digits):
    X, y = digits
    flat = ConvNetClassifier(
        (3, 4), kernel_size=(3, 2), pooling="avg", hidden_layer_sizes=(5,), dropout=0.2,
        batch_norm=True, activation=["relu", "gelu", "tanh"], **QUICK,
    ).fit(X, y)  # fmt: skip
    chain = ConvNetClassifier(
        layers=[
            Conv2D(3, (3, 2), activation="identity"), BatchNorm(), Activation("relu"),
            AvgPool2D(2),
            Conv2D(4, (3, 2), activation="identity"), BatchNorm(), Activation("gelu"),
            AvgPool2D(2),
            Dense(5, "identity"), BatchNorm(), Activation("tanh"), Dropout(0.2),
        ],
        **QUICK,
    ).fit(X, y)  # fmt: skip
    assert [w.shape for w in flat.coefs_] == [(3, 3, 2, 1), (4, 3, 2, 3), (16, 5), (5, 10)]
    assert len(flat.batch_norms_) == 3
    np.testing.assert_array_equal(flat.predict_proba(X), chain.predict_proba(X))


def test_own_filters_at_each_place(digits):
    X, y = digits
    layers = [LocallyConnected2D(2, 3, padding="valid"), MaxPool2D(2)]
    clf = ConvNetClassifier(layers=layers, **QUICK).fit(X, y)
    assert clf.coefs_[0].shape == (6, 6, 2, 3, 3, 1)


def test_summary_counts_what_fit_allocates(digits, capsys):
    X, y = digits
    clf = small(batch_norm=True)
    clf.summary((8, 8), n_classes=10)
    before = capsys.readouterr().out
    clf.fit(X, y).summary()
    assert capsys.readouterr().out == before
    arrays = [*clf.coefs_, *clf.intercepts_, *(a for p in clf.batch_norms_ for a in p.values())]
    assert before.split()[-1] == f"{sum(a.size for a in arrays):,}"
    assert "MaxPool2D" in before
    assert "4 x 4 x 3" in before


def test_summary_allocates_nothing(capsys):
    """Too large for any memory, and no trouble to describe: 200 x 200 images, all connected."""
    ConvNetClassifier(layers=[Dense(40_000)]).summary((200, 200), n_classes=10)
    assert "1,600,040,000" in capsys.readouterr().out


def test_summary_says_what_it_needs():
    with pytest.raises(ValueError, match=r"not fitted yet: give summary the shape"):
        ConvNetClassifier().summary((28, 28))


def test_a_search_varies_layers_and_augmentation(digits):
    X, y = digits
    grid = {"augment": [None, {"shift": 1}], "layers": [None, [Conv2D(2), MaxPool2D(4)]]}
    search = GridSearchCV(small(), grid, cv=2).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) > 1


class Draws:
    """A random stream that gives what it was told to."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def randint(self, *limits, size):
        return np.array(self.draws.pop(0))


def changed(augment, x, *draws):
    return shift_and_flip(x, Augmentation(augment).draw(len(x), Draws(*draws)))


def test_augmentation_shifts_each_image_and_fills_with_zeros():
    x = np.arange(1.0, 13.0).reshape(2, 2, 3, 1)
    shifted = changed({"shift": 1}, x, [1, 0], [0, -1])
    np.testing.assert_array_equal(shifted[0, :, :, 0], [[0, 0, 0], [1, 2, 3]])
    np.testing.assert_array_equal(shifted[1, :, :, 0], [[8, 9, 0], [11, 12, 0]])


def test_augmentation_flips_some_images():
    x = np.arange(1.0, 13.0).reshape(2, 2, 3, 1)
    both = {"horizontal_flip": True, "vertical_flip": True}
    flipped = changed(both, x, [0, 0], [0, 0], [0, 1], [1, 1])
    np.testing.assert_array_equal(flipped[0, :, :, 0], [[3, 2, 1], [6, 5, 4]])
    np.testing.assert_array_equal(flipped[1, :, :, 0], [[12, 11, 10], [9, 8, 7]])


def test_augmentation_leaves_the_data_alone(digits):
    X, y = digits
    before = X.copy()
    clf = small(augment={"shift": 2}).fit(X, y)
    np.testing.assert_array_equal(X, before)
    assert clf.loss_ != small().fit(X, y).loss_
    again = small(augment={"shift": 2}).fit(X, y)
    np.testing.assert_array_equal(again.coefs_[0], clf.coefs_[0])


def test_every_batch_gets_the_changes_that_were_drawn_for_it(digits, monkeypatch):
    X, y = digits
    drawn, applied = [], []
    draw = Augmentation.draw
    monkeypatch.setattr(
        Augmentation, "draw", lambda self, n, rng: drawn.append(draw(self, n, rng)) or drawn[-1]
    )
    monkeypatch.setattr(
        "estimators.training.steps.shift_and_flip",
        lambda x, moves: applied.append(moves[0]) or shift_and_flip(x, moves),
    )
    small(augment={"shift": 2, "vertical_flip": True}, batch_size=70).fit(X, y)
    assert len(drawn) > 4 and len(drawn[0]) == 70 != len(drawn[4])
    for expected, moves in zip(drawn, applied, strict=True):
        np.testing.assert_array_equal(moves, expected)


def test_augmentation_differs_from_call_to_call_of_partial_fit(digits, monkeypatch):
    X, y = digits
    seen = []
    draw = Augmentation.draw
    monkeypatch.setattr(
        Augmentation, "draw", lambda self, n, rng: seen.append(draw(self, n, rng)) or seen[-1]
    )
    clf = small(augment={"shift": 2}, shuffle=False, batch_size=300)
    for _ in range(3):
        clf.partial_fit(X, y, classes=range(10))
    assert len(seen) == 3
    assert (seen[0] != seen[1]).any() and (seen[1] != seen[2]).any()
