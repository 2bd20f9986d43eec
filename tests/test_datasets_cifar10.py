"""CIFAR-10 from its binary batches: what is in them, and files that are not what they seem."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from _openml import NoServer, install
from estimators import ConvNetClassifier
from estimators.datasets import load_cifar10

RECORD = 3073
NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    monkeypatch.delenv("CUKERNELS_DATA", raising=False)
    install(monkeypatch, NoServer())


@pytest.fixture
def records():
    """Two images with their labels for each of the six files, as bytes."""
    rng = np.random.default_rng(0)
    records = rng.integers(256, size=(12, RECORD), dtype=np.uint8)
    records[:, 0] = np.arange(12) % 10
    return records


@pytest.fixture
def folder(tmp_path, records):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        (folder / name).write_bytes(records[2 * i : 2 * i + 2].tobytes())
    return folder


def test_the_five_batches_and_the_one_to_test(folder, records):
    found = load_cifar10(folder, dtype="uint8", as_images=True)
    assert found.X_train.shape == (10, 32, 32, 3)
    assert found.X_test.shape == (2, 32, 32, 3)
    assert found.image_shape == (32, 32, 3)
    for i, image in enumerate([*found.X_train, *found.X_test]):
        for colour in range(3):
            begin = 1 + 1024 * colour
            plane = records[i, begin : begin + 1024].reshape(32, 32)
            assert_array_equal(image[:, :, colour], plane)
    assert found.y_train.tolist() == list(range(10))
    assert found.y_test.tolist() == [0, 1]
    assert found.y_train.dtype == np.int64
    assert found.target_names[found.y_test].tolist() == ["airplane", "automobile"]
    assert len(found.target_names) == 10


def test_rows_are_those_of_the_images(folder):
    images = load_cifar10(folder, as_images=True, scale=True)
    X_train, X_test, y_train, y_test = load_cifar10(folder, scale=True, return_X_y=True)
    assert X_train.dtype == np.float32 and X_train.max() == 1
    assert_array_equal(X_train.reshape(-1, 32, 32, 3), images.X_train)
    assert_array_equal(X_test.reshape(-1, 32, 32, 3), images.X_test)
    settings = {"conv_layer_sizes": (2,), "hidden_layer_sizes": (), "max_iter": 1}
    by_rows = ConvNetClassifier(**settings, image_shape=(32, 32, 3), random_state=0)
    by_images = ConvNetClassifier(**settings, random_state=0)
    with pytest.warns(UserWarning):  # one epoch is not enough
        by_rows.fit(X_train, y_train), by_images.fit(images.X_train, y_train)
    assert_array_equal(by_rows.predict_proba(X_test), by_images.predict_proba(images.X_test))


def test_where_the_folder_may_be(folder, monkeypatch):
    expected = load_cifar10(folder).X_test
    assert_array_equal(load_cifar10(folder.parent).X_test, expected)
    monkeypatch.setenv("CUKERNELS_DATA", str(folder.parent))
    assert_array_equal(load_cifar10().X_test, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {name}; CIFAR-10's binary version has"):
        load_cifar10(folder)


def test_what_else_may_be_there(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        load_cifar10(tmp_path / "nowhere")
    (folder / NAMES[0]).rename(folder / "data_batch_1")
    with pytest.raises(FileNotFoundError, match="which is a pickle: .*Take the binary version"):
        load_cifar10(folder)
    (folder / "data_batch_1").unlink()
    (folder / "cifar-10-binary.tar.gz").touch()
    with pytest.raises(FileNotFoundError, match=r"unpack cifar-10-binary\.tar\.gz there"):
        load_cifar10(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its 0 bytes are not one image or more of 3,073 bytes each"),
        (bytes(RECORD - 1), "truncated, or no batch of CIFAR-10's binary version: its 3,072 bytes"),
        (bytes(2 * RECORD + 1), "its 6,147 bytes"),
        (bytes(2 * (RECORD + 1)), "its 6,148 bytes"),  # CIFAR-100 has two labels
        (b"\x0a" + bytes(RECORD - 1), "labels have 10 among them; expected whole numbers from 0"),
        (bytes(RECORD) + b"\xff" * RECORD, "labels have 255"),
    ],
    ids=["empty", "short", "long", "two labels", "a label of 10", "a label of 255"],
)
def test_a_file_that_is_no_batch(folder, content, message):
    for name in (NAMES[2], NAMES[5]):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            load_cifar10(folder)
        (folder / name).write_bytes(good)


@pytest.mark.parametrize("n_bytes", [10_000 * RECORD + 1, 10_001 * RECORD, 2**40])
def test_a_file_of_any_length_takes_no_more_than_a_batch(folder, n_bytes):
    """Up to a terabyte of nothing, which takes no room on the disk."""
    with open(folder / NAMES[4], "r+b") as file:
        file.truncate(n_bytes)
    with pytest.raises(ValueError, match="batch_5.bin is too long: .* has at most 10,000 images"):
        load_cifar10(folder)


def test_what_is_no_file_is_missing(folder):
    """A pipe without an end, or a folder of that name."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes")
    path = folder / NAMES[0]
    for make in (os.mkfifo, os.mkdir):
        path.unlink()
        make(path)
        with pytest.raises(FileNotFoundError, match="has no data_batch_1.bin"):
            load_cifar10(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dtype": "int8"}, "one of uint8"), ({"dtype": "uint8", "scale": True}, "do not fit")],
)
def test_bad_dtypes(folder, options, message):
    with pytest.raises(ValueError, match=message):
        load_cifar10(folder, **options)
