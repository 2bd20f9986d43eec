"""Data sets that come from OpenML: through scikit-learn's own code, on a small server's answers."""

from __future__ import annotations

import http.client
import sys
import time
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from _openml import TABLE, Server, install, table
from estimators.datasets import cifar10, load_cifar10, load_fashion_mnist, load_mnist, mnist
from estimators.datasets.openml import digest

LOADERS = {
    "MNIST": (load_mnist, mnist, "MNIST", 554, (2, 3)),
    "Fashion-MNIST": (load_fashion_mnist, mnist, "FASHION", 40996, (2, 3)),
    "CIFAR-10": (load_cifar10, cifar10, "CIFAR10", 40927, (3, 2, 2)),
}
pytestmark = pytest.mark.filterwarnings("ignore:A network error occurred", "ignore:Invalid cache")


@pytest.fixture(params=LOADERS)
def small(request, monkeypatch, tmp_path):
    """A loader of a data set that is smaller than it is, its table, its server, and its home."""
    load, module, constant, data_id, planes = LOADERS[request.param]
    published = getattr(module, constant)
    assert published.data_id == data_id
    published = replace(
        published, planes=planes, train=(2, 3) + (1,) * 8, test=(1,) * 10, sha256=""
    )
    pixels, labels = table(published)
    sha256 = digest(halves(published, pixels, labels)) if getattr(module, constant).sha256 else ""
    monkeypatch.setattr(module, constant, replace(published, sha256=sha256))
    monkeypatch.delenv("CUKERNELS_DATA", raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between scikit-learn's tries
    server = Server(data_id, pixels, labels)
    install(monkeypatch, server)
    return load, pixels, labels, server, tmp_path / "home"


def halves(published, pixels, labels):
    n = sum(published.train)
    images = pixels.reshape(-1, *published.planes)
    images = images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
    keys = ("X_train", "X_test", "y_train", "y_test")
    values = (images[:n], images[n:], labels[:n], labels[n:])
    return {key: value.astype(np.uint8) for key, value in zip(keys, values, strict=True)}


@pytest.mark.parametrize("pandas", [True, False], ids=["pandas", "without pandas"])
def test_it_is_downloaded_once_and_kept(small, pandas, monkeypatch):
    load, pixels, labels, server, home = small
    if not pandas:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setitem(sys.modules, "pandas", None)
    first = load(data_home=home, dtype="uint8", as_images=True)
    assert_array_equal(np.concatenate([first.y_train, first.y_test]), labels)
    images = np.concatenate([first.X_train, first.X_test])
    planes = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images
    assert_array_equal(planes.reshape(len(pixels), -1), pixels)
    assert len(first.y_train) == 13
    assert first.X_train.dtype == np.uint8 and first.y_train.dtype == np.int64
    assert any("download" in path for path in server.asked)

    server.asked.clear()
    (home / "openml").rename(home / "elsewhere")  # what scikit-learn keeps is not needed
    again = load(data_home=home, scale=True, return_X_y=True)
    assert server.asked == []
    assert_array_equal(again[0] * 255, first.X_train.reshape(13, -1))
    assert_array_equal(again[3], first.y_test)


def test_what_scikit_learn_has_downloaded_is_not_downloaded_again(small):
    load, *_, server, home = small
    load(data_home=home)
    for path in (home / "cukernels").rglob("*.*"):
        path.unlink()
    (next((home / "cukernels").iterdir()) / "train-images-idx3-ubyte").unlink()
    server.asked.clear()
    load(data_home=home)
    assert server.asked == []


def test_the_home_is_scikit_learns(small, monkeypatch):
    load, *_, home = small
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home))
    load()
    assert {path.name for path in home.iterdir()} == {"openml", "cukernels"}


@pytest.mark.parametrize("change", ["a byte", "a label", "shorter", "gone", "another shape"])
def test_what_is_kept_and_damaged_is_fetched_again(small, change):
    load, *_, server, home = small
    first = load(data_home=home)
    (kept,) = (home / "cukernels").iterdir()
    path = kept / ("t10k-labels-idx1-ubyte" if change == "a label" else "train-images-idx3-ubyte")
    content = bytearray(path.read_bytes())
    good = bytes(content)
    content[-1] ^= 1
    if change == "shorter":
        content = content[:-1]
    elif change == "another shape":  # of the same bytes
        content = bytearray(good)
        content[8:16] = content[12:16] + content[8:12]
        if content[8:12] == content[12:16]:
            content = bytearray(good[:3] + b"\x01" + len(good[20:]).to_bytes(4, "big") + good[20:])
    path.unlink() if change == "gone" else path.write_bytes(content)
    again = load(data_home=home)
    assert_array_equal(again.X_train, first.X_train)
    assert_array_equal(again.y_test, first.y_test)
    assert path.read_bytes() == good


def test_where_nothing_can_be_kept_it_is_loaded_all_the_same(small):
    load, _, labels, _, home = small
    home.mkdir()
    (home / "cukernels").write_text("no folder")
    assert_array_equal(load(data_home=home).y_train, labels[:13])


class Slow:
    """A connection that stops within what it sends."""

    def __init__(self, error):
        self.error = error

    def __call__(self, path):
        raise self.error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (URLError("Name or service not known"), "URLError: .*Name or service not known"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (TimeoutError("timed out"), "timed out"),
        (http.client.IncompleteRead(b"half"), "IncompleteRead"),
    ],
    ids=["no network", "reset", "timeout", "incomplete"],
)
def test_without_a_network_it_says_what_to_do(small, error, says):
    load, *_, server, home = small
    server.fails = Slow(error)
    with pytest.raises(OSError, match=f"could not be downloaded from OpenML.*{says}") as told:
        load(data_home=home)
    for words in ("without a network", "data_dir", "CUKERNELS_DATA"):
        assert words in str(told.value)
    assert not (home / "cukernels").exists()


@pytest.mark.parametrize("fails", ["network", "table"])
def test_of_a_damaged_copy_that_cannot_be_fetched_again_it_says_so(small, fails):
    load, *_, server, home = small
    load(data_home=home)
    (kept,) = (home / "cukernels").iterdir()
    (kept / "train-images-idx3-ubyte").write_bytes(b"no images")
    (home / "openml").rename(home / "elsewhere")
    error, server.fails = OSError, Slow(URLError("no network"))
    if fails == "table":
        error = ValueError
        server.fails = lambda path: (200, b"no table") if path.startswith(TABLE) else None
    with pytest.raises(error, match=f"the copy in {kept} is damaged and was not used"):
        load(data_home=home)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_that_refuses(small, status):
    load, *_, server, home = small
    server.fails = lambda path: (status, b"") if "download" in path else None
    with pytest.raises(OSError, match=f"could not be downloaded .*HTTP Error {status}"):
        load(data_home=home)
    server.fails = None
    load(data_home=home)


def test_a_data_set_that_openml_does_not_know_any_more(small):
    load, *_, server, home = small
    server.fails = lambda path: (412, b"")
    with pytest.raises(ValueError, match=r"damaged \(OpenMLError: .*data_dir"):
        load(data_home=home)


@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_a_download_that_is_cut_short(small, cut):
    """Scikit-learn compares it with the MD5 that OpenML states."""
    load, *_, server, home = small
    path = next(path for path in server.answers if "download" in path)
    whole = server.answers[path]
    server.answers[path] = whole[: int(cut * len(whole))]
    with pytest.raises(ValueError, match=r"damaged \(ValueError: .*md5.*remove .*openml"):
        load(data_home=home)
    assert not (home / "cukernels").exists()
    server.answers[path] = whole
    load(data_home=home)  # nothing of it has stayed


def test_an_answer_that_is_no_json(small):
    load, *_, server, home = small
    server.fails = lambda path: (200, b"<html>a portal of the hotel</html>")
    with pytest.raises(ValueError, match=r"damaged \(JSONDecodeError"):
        load(data_home=home)


def wrong(small, monkeypatch, pixels, labels):
    load, *_, server, home = small
    data_id = next(data_id for f, *_, data_id, _ in LOADERS.values() if f is load)
    install(monkeypatch, Server(data_id, pixels, labels))
    return load, home


def test_labels_may_be_quoted(small, monkeypatch):
    """As in some tables of OpenML's; a parser may leave the quotes there."""
    _, pixels, labels, *_ = small
    load, home = wrong(small, monkeypatch, pixels, [f"'{label}'" for label in labels])
    assert_array_equal(load(data_home=home).y_train, labels[:13])


def test_a_table_that_is_not_what_was_published(small, monkeypatch):
    """The same sizes with the MD5 that OpenML states, and yet another content."""
    _, pixels, labels, *_ = small
    changed = pixels.copy()
    changed[3, 1] ^= 1
    load, home = wrong(small, monkeypatch, changed, labels)
    if load is load_cifar10:  # whose sum is not known
        load(data_home=home)
    else:
        with pytest.raises(ValueError, match="not what was published: its SHA-256 is .*expected"):
            load(data_home=home)
        assert not (home / "cukernels").exists()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("fewer rows", r"has pixels of shape \(22, \d+\).*expected \(23, \d+\)"),
        ("fewer columns", "has pixels of shape .*expected"),
        ("256", "the pixels have 256.* among them; expected whole numbers from 0 to 255"),
        ("-1", "the pixels have -1"),
        ("half", "the pixels have 0.5"),
        ("unknown", "the pixels have nan"),
        ("a class more", "the labels have 10 among them; .* from 0 to 9"),
        ("words", "invalid literal for int"),
        (
            "in another order",
            r"has \[.*\] samples of .* the train part, expected \[2, 3",
        ),
    ],
)
def test_a_table_that_makes_no_sense(small, monkeypatch, what, message):
    _, pixels, labels, *_ = small
    pixels, labels = pixels.astype(object), labels.astype(object)
    if what == "fewer rows":
        pixels, labels = pixels[1:], labels[1:]
    elif what == "fewer columns":
        pixels = pixels[:, 1:]
    elif what == "a class more":
        labels[2] = 10
    elif what == "words":
        labels[:] = [f"c{label}" for label in labels]
    elif what == "in another order":
        order = np.argsort(labels.astype(int), kind="stable")
        pixels, labels = pixels[order], labels[order]
    else:
        pixels[4, 2] = {"half": 0.5, "unknown": "?"}.get(what, what)
    load, home = wrong(small, monkeypatch, pixels, labels)
    with pytest.raises(ValueError, match=f"{message}.*data_dir"):
        load(data_home=home)
    assert not (home / "cukernels").exists()


def test_what_the_variable_names_may_lack_the_data_set(small, monkeypatch, tmp_path):
    """MNIST's own folder is not one of Fashion-MNIST or CIFAR-10, which are downloaded then."""
    load, _, labels, server, home = small
    monkeypatch.setenv("CUKERNELS_DATA", str(tmp_path))
    if load is load_mnist:
        with pytest.raises(FileNotFoundError, match="has no train-images-idx3-ubyte"):
            load(data_home=home)
        assert server.asked == []
    else:
        assert_array_equal(load(data_home=home).y_train, labels[:13])


def test_a_folder_is_never_asked_for_at_openml(small, tmp_path):
    load, *_, server, home = small
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere", data_home=home)
    assert server.asked == []


def test_the_numbers_of_samples_are_those_of_the_sets():
    for published in (mnist.MNIST, mnist.FASHION, cifar10.CIFAR10):
        whole = (50_000 if published is cifar10.CIFAR10 else 60_000, 10_000)
        assert (sum(published.train), sum(published.test)) == whole
        assert len(published.train) == len(published.test) == 10
    assert {len(p.sha256) for p in (mnist.MNIST, mnist.FASHION)} == {64}
