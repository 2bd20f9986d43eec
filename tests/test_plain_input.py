"""The short way of plain arrays past scikit-learn's validation leads where the long one does."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.shared import base
from estimators.shared.base import is_plainly_valid

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 16)), np.arange(40) % 3
MODELS = {
    "mlp": MLPClassifier(hidden_layer_sizes=(4,), max_iter=2),
    "mlp float64": MLPClassifier(hidden_layer_sizes=(4,), max_iter=2, dtype="float64"),
    "mlp auto": MLPClassifier(hidden_layer_sizes=(4,), max_iter=2, dtype="auto"),
    "convnet": ConvNetClassifier(conv_layer_sizes=(2,), hidden_layer_sizes=(3,), max_iter=2),
    "logistic": LogisticRegression(),
    "perceptron": Perceptron(),
}


def changed(value):
    x = X.copy()
    x[3, 5] = value
    return x


INPUTS = {
    "float64": X,
    "float32": X.astype(np.float32),
    "one row": X[:1],
    "integers": (10 * X).astype(int),
    "strided": np.repeat(X, 2, axis=0)[::2],
    "columns first": np.asfortranarray(X),
    "a list": X.tolist(),
    "a frame": pd.DataFrame(X),
    "a sparse matrix": sp.csr_matrix(X),
    "a matrix in a subclass": X.view(type("Own", (np.ndarray,), {})),
    "one axis": X[0],
    "no rows": X[:0],
    "too few columns": X[:, :15],
    "images": X.reshape(40, 4, 4),
    "nan": changed(np.nan),
    "infinity": changed(np.inf),
    "both infinities": np.concatenate([changed(np.inf), changed(-np.inf)]),
    "huge": np.full_like(X, 1e308),
    "huge float32": np.full(X.shape, 3e38, np.float32),
    "objects": X.astype(object),
    "words": X.astype(str),
    "complex": X + 1j,
}


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: model.fit(X, Y) for name, model in MODELS.items()}


def outcome(model, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.predict(x).tolist()
        except (ValueError, TypeError) as error:
            return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", INPUTS)
def test_the_short_way_leads_where_the_long_one_does(fitted, monkeypatch, name, kind):
    short = outcome(fitted[name], INPUTS[kind])
    for module in ("shared.base", "neural.fitted"):
        monkeypatch.setattr(f"estimators.{module}.is_plainly_valid", lambda *_: False)
    assert short == outcome(fitted[name], INPUTS[kind])


def test_plain_arrays_take_it_and_others_do_not(fitted):
    model = fitted["logistic"]
    plain = {k for k, x in INPUTS.items() if is_plainly_valid(model, x, (np.float64, np.float32))}
    assert plain == {"float64", "float32", "one row"}
    named = LogisticRegression().fit(pd.DataFrame(X).rename(columns=str), Y)
    assert not is_plainly_valid(named, X, (np.float64,))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        named.predict(X)


def test_every_part_of_a_large_array_is_looked_at(monkeypatch):
    monkeypatch.setattr(base, "_SUMMED", 16 * 6)  # six rows at a time
    model = LogisticRegression().fit(X, Y)
    assert is_plainly_valid(model, X, (np.float64,))
    for row in range(40):
        x = X.copy()
        x[row, row % 16] = np.nan
        assert not is_plainly_valid(model, x, (np.float64,))


class Tensor:
    """What of PyTorch's tensors matters here, as not all machines have PyTorch."""

    def __init__(self, values, requires_grad=True, dtype="torch.float64"):
        self.values, self.requires_grad, self.dtype = values, requires_grad, dtype
        self.shape, self.ndim = values.shape, values.ndim

    def detach(self):
        return Tensor(self.values, False)

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.values, dtype)


def tensors(of):
    if of == "ours":
        return Tensor(X), Tensor(X, dtype="torch.bfloat16")
    torch = pytest.importorskip("torch")
    return torch.tensor(X, requires_grad=True), torch.tensor(X, dtype=torch.bfloat16)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("of", ["ours", "torch"])
@pytest.mark.parametrize("name", MODELS)
def test_tensors_with_gradients_and_of_a_type_of_their_own(name, of):
    gradients, short = tensors(of)
    model = clone(MODELS[name]).set_params(random_state=0, device="cpu")
    own = model.fit(gradients, Y).predict(gradients)
    assert type(own) is np.ndarray
    np.testing.assert_array_equal(own, clone(model).fit(X, Y).predict(X))
    for call in (lambda: model.fit(short, Y), lambda: model.predict(short)):
        with pytest.raises(TypeError, match=r"Tensor has the type bfloat16, .* X\.float\(\)"):
            call()
