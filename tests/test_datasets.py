"""The loaders, on small idx files made here; nothing is downloaded."""

import gzip
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from _openml import NoServer, install
from estimators.datasets import load_digits_split, load_fashion_mnist, load_mnist, mnist, read_idx
from estimators.datasets.openml import digest

TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array, magic=None):
    array = np.asarray(array)
    magic = magic or bytes([0, 0, TYPES[array.dtype.str[1:]], array.ndim])
    lengths = struct.pack(f">{array.ndim}I", *array.shape)
    return magic + lengths + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def digits():
    """Seven training images of 28 x 28 and three to test, with their labels, as uint8."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(10, 28, 28), dtype=np.uint8)
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    labels = np.arange(10, dtype=np.uint8)
    return {
        "train-images-idx3-ubyte": images[:7],
        "train-labels-idx1-ubyte": labels[:7],
        "t10k-images-idx3-ubyte": images[7:],
        "t10k-labels-idx1-ubyte": labels[7:],
    }


@pytest.fixture
def folder(tmp_path, digits):
    """A folder of those four files, two of them packed, one of them with a dot in its name."""
    packed = {"train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}
    for name, array in digits.items():
        if name in packed:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            name = name.replace("images-idx3", "images.idx3")
            (tmp_path / name).write_bytes(idx(array))
    return tmp_path


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    monkeypatch.delenv("CUKERNELS_DATA", raising=False)
    install(monkeypatch, NoServer())


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("dtype", TYPES)
def test_read_idx_gives_back_what_was_written(tmp_path, dtype, pack):
    array = np.array([[[1, 2, 3], [4, 5, 126]]], dtype=dtype)
    (tmp_path / "file").write_bytes(pack(idx(array)))
    read = read_idx(tmp_path / "file")
    assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable


def test_read_idx_takes_an_empty_array(tmp_path):
    (tmp_path / "file").write_bytes(idx(np.empty((0, 28, 28), np.uint8)))
    assert read_idx(tmp_path / "file").shape == (0, 28, 28)


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
# The time that gzip writes down would give the tests another name in every worker
packed = partial(gzip.compress, mtime=0)
PACKED = packed(GOOD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not an idx file: it begins with the bytes \(none\)"),
        (b"\x89PNG\r\n\x1a\n", "not an idx file: it begins with the bytes 89 50 4e 47"),
        (b"\0\0\x07" + GOOD[3:], "not an idx file"),
        (GOOD[:9], "truncated: it ends within its header of 12 bytes"),
        (GOOD[:-1], r"truncated: its header says shape \(2, 3\), 6 bytes, and 5 follow"),
        (GOOD + b"\0", "too long"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated"),  # a length that no memory could hold
        (packed(b"\0\0\x08\x03" + b"\xff" * 12), "truncated: .* and at most "),
        (packed(GOOD[:9]), "truncated: it ends within its header of 12 bytes"),
        (packed(GOOD[:-1]), r"truncated: its header says shape \(2, 3\), 6 bytes, and 5"),
        (packed(GOOD + b"\0"), "too long"),
        (PACKED + packed(b"more"), "too long"),  # gzip files may follow each other
        (PACKED[:-8] + b"\0" * 8, "gzip file is damaged: CRC check failed"),
        (b"\0\0\x08\x50" + b"\0\0\0\x01" * 80 + b"\0", "no array has that"),
        (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8, "no array has that"),
        (PACKED[:-4], "gzip file is damaged"),
        (PACKED[:10] + b"\xff" * 9, "gzip file is damaged"),
    ],
)
def test_read_idx_says_what_is_wrong(tmp_path, content, message):
    (tmp_path / "broken-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=f"broken-ubyte.*{message}"):
        read_idx(tmp_path / "broken-ubyte")


def peak_of_reading(path):
    """Bytes that a new process takes more at its peak after reading a file, and what it said."""
    code = """
import resource, sys
from estimators.datasets import read_idx
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    said = read_idx(sys.argv[1]).shape
except ValueError as error:
    said = error
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit, said)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    taken, _, said = run.stdout.partition(" ")
    return int(taken), said


ZEROS = [bytes(2**20)] * 2**6  # packed they are a thousandth
NOISE = [np.random.default_rng(0).bytes(2**20)]


@pytest.mark.parametrize(
    ("header", "content", "message", "limit"),
    [
        (GOOD, ZEROS, "too long", 2**24),
        (b"\0\0\x08\x02" + struct.pack(">2I", 2**6, 2**20), ZEROS, "(64, 1048576)", 1.2 * 2**26),
        (b"\0\0\x08\x02" + struct.pack(">2I", 2**20, 2**20), ZEROS, "truncated", 2**24),
        (b"\0\0\x08\x02" + struct.pack(">2I", 2**8, 2**20), NOISE, "truncated", 2**24),
        (b"\x89PNG", ZEROS, "not an idx file", 2**24),
    ],
    ids=["more", "as it says", "2**40 said", "less", "something else"],
)
def test_a_packed_file_unpacks_to_no_more_than_its_header_says(
    tmp_path, header, content, message, limit
):
    pytest.importorskip("resource", reason="there is none on Windows")
    with gzip.open(tmp_path / "packed.gz", "wb") as file:
        file.writelines([header, *content])
    assert (tmp_path / "packed.gz").stat().st_size < 2**21
    taken, said = peak_of_reading(tmp_path / "packed.gz")
    assert message in said
    assert taken < limit


def test_reading_makes_no_second_copy(tmp_path):
    array = np.arange(2**20, dtype=">i4").reshape(2, -1)
    for name, pack in (("plain", bytes), ("packed", partial(gzip.compress, compresslevel=1))):
        (tmp_path / name).write_bytes(pack(idx(array)))
        tracemalloc.start()
        read = read_idx(tmp_path / name)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert_array_equal(read, array)
        assert most < 1.4 * array.nbytes  # a piece of 1 MB is unpacked at once


def test_what_is_no_regular_file_is_read_too(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(PACKED,))
    writer.start()
    read = read_idx(tmp_path / "pipe")
    writer.join()
    assert_array_equal(read, np.arange(6).reshape(2, 3))


def test_mnist_bunch(folder, digits):
    mnist = load_mnist(folder)
    assert isinstance(mnist, Bunch)
    assert mnist.X_train.shape == (7, 784)
    assert mnist.X_train.dtype == np.float32
    assert_array_equal(mnist.X_train, digits["train-images-idx3-ubyte"].reshape(7, 784))
    assert_array_equal(mnist.X_test, digits["t10k-images-idx3-ubyte"].reshape(3, 784))
    assert_array_equal(mnist.y_train, np.arange(7))
    assert_array_equal(mnist.y_test, np.arange(7, 10))
    assert mnist.y_train.dtype == np.int64
    assert mnist.image_shape == (28, 28)


def test_mnist_tuple_is_in_the_order_of_train_test_split(folder):
    mnist = load_mnist(folder)
    X_train, X_test, y_train, y_test = load_mnist(folder, return_X_y=True)
    assert_array_equal(X_train, mnist.X_train)
    assert_array_equal(X_test, mnist.X_test)
    assert_array_equal(y_train, mnist.y_train)
    assert_array_equal(y_test, mnist.y_test)


@pytest.mark.parametrize("dtype", ["uint8", "float32", np.float64])
def test_mnist_images_keep_their_pixels(folder, digits, dtype):
    mnist = load_mnist(folder, as_images=True, dtype=dtype)
    assert mnist.X_train.dtype == dtype
    assert_array_equal(mnist.X_train, digits["train-images-idx3-ubyte"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scale_divides_by_255_in_the_wanted_type(folder, digits, dtype):
    X = load_mnist(folder, scale=True, dtype=dtype).X_train
    pixels = digits["train-images-idx3-ubyte"].reshape(7, 784)
    assert X.dtype == dtype
    assert_array_equal(X, pixels / np.dtype(dtype).type(255))
    assert (X.min(), X.max()) == (0, 1)


def test_the_environment_variable_names_the_folder(folder, monkeypatch):
    monkeypatch.setenv("CUKERNELS_DATA", str(folder))
    assert load_mnist().X_train.shape == (7, 784)


def test_the_argument_wins_over_the_environment_variable(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CUKERNELS_DATA", str(tmp_path / "elsewhere"))
    assert load_mnist(folder).X_train.shape == (7, 784)
    with pytest.raises(FileNotFoundError, match="there is no folder .*elsewhere"):
        load_mnist()


def test_a_folder_of_several_data_sets(folder, monkeypatch):
    """What the environment variable names may hold one folder a data set."""
    both = folder / "both"
    for name, offset in (("mnist", 0), ("fashion-mnist", 1)):
        (both / name).mkdir(parents=True)
        for path in folder.glob("*ubyte*"):
            (both / name / path.name).write_bytes(path.read_bytes())
        (both / name / "train-labels-idx1-ubyte").write_bytes(
            idx(np.arange(7, dtype=np.uint8) + offset)
        )
    monkeypatch.setenv("CUKERNELS_DATA", str(both))
    assert_array_equal(load_mnist().y_train, np.arange(7))
    assert_array_equal(load_fashion_mnist().y_train, np.arange(1, 8))
    monkeypatch.setenv("CUKERNELS_DATA", str(folder / "nowhere"))
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        load_fashion_mnist()


def test_fashion_mnist_says_what_the_labels_mean(folder):
    clothes = load_fashion_mnist(folder, as_images=True, dtype="uint8")
    assert clothes.X_train.shape == (7, 28, 28)
    assert clothes.target_names[clothes.y_test].tolist() == ["Sneaker", "Bag", "Ankle boot"]
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(4, 11, dtype=np.uint8)))
    assert load_mnist(folder).target_names.tolist() == [4, 5, 6, 7, 8, 9, 10]
    with pytest.raises(ValueError, match="train labels have 10 among them; .* from 0 to 9"):
        load_fashion_mnist(folder)


def test_the_digits_are_no_clothes(folder, monkeypatch):
    """Both have files of the same names; their sums tell them apart."""
    raw = load_mnist(folder, dtype="uint8", as_images=True)
    counts = [tuple(np.unique(y, return_counts=True)[1]) for y in (raw.y_train, raw.y_test)]
    known = replace(mnist.MNIST, train=counts[0], test=counts[1], sha256=digest(raw))
    for other in ({"sha256": "0" * 64}, {"train": (1, 2)}):
        monkeypatch.setattr(mnist, "MNIST", replace(known, **other))
        load_fashion_mnist(folder)
    monkeypatch.setattr(mnist, "MNIST", known)
    with pytest.raises(ValueError, match="has the digits of MNIST.*load_mnist"):
        load_fashion_mnist(folder)
    load_mnist(folder)


@pytest.mark.parametrize("named", ["by the argument", "by the variable"])
def test_a_tilde_is_the_home(named, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))  # on Windows
    where = f"~/{folder.name}"
    if named == "by the variable":
        monkeypatch.setenv("CUKERNELS_DATA", where)
    assert len(load_mnist(where if named == "by the argument" else None).y_train) == 7


def test_a_missing_file_is_named(folder):
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no train-labels-idx1-ubyte or .*\.gz"):
        load_mnist(folder)


def test_images_and_labels_must_match(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(6, np.uint8)))
    with pytest.raises(ValueError, match=r"train images have shape \(7, 28, 28\).*\(6,\)"):
        load_mnist(folder)


IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
FLOATS = np.ones((7, 28, 28), ">f4")
FLOATS[3, 2, 1] = np.nan
WRONG = {
    "a label is NaN": ({f"train-{LABELS}": np.array([0, np.nan] + [1.0] * 5)}, "labels have nan"),
    "a label is half": ({f"t10k-{LABELS}": np.array([0, 2.5, 1])}, "test labels have 2.5"),
    "a label is large": ({f"t10k-{LABELS}": np.array([0, 1e30, 1])}, r"labels have 1e\+30"),
    "a label is 2**63": ({f"t10k-{LABELS}": np.array([0, 2.0**63, 1])}, "labels have 9.2233"),
    "a label is endless": ({f"t10k-{LABELS}": np.array([0, -np.inf, 1])}, "labels have -inf"),
    "labels have an axis more": (
        {f"t10k-{LABELS}": np.zeros((3, 1), np.uint8)},
        r"labels \(3, 1\)",
    ),
    "fewer labels": ({f"t10k-{LABELS}": np.zeros(2, np.uint8)}, r"labels \(2,\)"),
    "no images": (
        {f"train-{IMAGES}": np.zeros((0, 28, 28), np.uint8), f"train-{LABELS}": np.zeros(0, "u1")},
        r"train images have shape \(0, 28, 28\): none to load",
    ),
    "no images to test": (
        {f"t10k-{IMAGES}": np.zeros((0, 28, 28), np.uint8), f"t10k-{LABELS}": np.zeros(0, "u1")},
        r"test images have shape \(0, 28, 28\): none to load",
    ),
    "images without pixels": ({f"train-{IMAGES}": np.zeros((7, 0, 28), "u1")}, "none to load"),
    "rows of pixels": (
        {f"train-{IMAGES}": np.zeros((7, 784), "u1")},
        r"images have shape \(7, 784",
    ),
    "other sizes": (
        {f"t10k-{IMAGES}": np.zeros((3, 20, 20), "u1")},
        r"train images have shape \(7, 28, 28\) and the test images \(3, 20, 20\)",
    ),
    "a pixel is NaN": ({f"train-{IMAGES}": FLOATS}, "train images have nan"),
    "a pixel is dark": ({f"t10k-{IMAGES}": np.full((3, 28, 28), 256, "i2")}, "images have 256"),
    "a pixel is negative": ({f"t10k-{IMAGES}": np.full((3, 28, 28), -1, "i1")}, "images have -1"),
}


@pytest.mark.parametrize(("files", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("options", [{}, {"dtype": "uint8"}, {"as_images": True, "scale": True}])
def test_a_folder_that_makes_no_sense(tmp_path, digits, files, message, options):
    for name, array in (digits | files).items():
        (tmp_path / name).write_bytes(idx(array))
    with pytest.raises(ValueError, match=f"{tmp_path.name}.*{message}"):
        load_mnist(tmp_path, **options)


def test_labels_and_pixels_of_other_types(tmp_path, digits):
    files = digits | {
        f"train-{LABELS}": np.arange(-3.0, 4.0),
        f"t10k-{IMAGES}": np.full((3, 28, 28), 0.5, "f4"),
    }
    for name, array in files.items():
        (tmp_path / name).write_bytes(idx(array))
    mnist = load_mnist(tmp_path)
    assert_array_equal(mnist.y_train, np.arange(-3, 4))
    assert_array_equal(mnist.X_test, 0.5)
    with pytest.raises(ValueError, match="images have 0.5 among them; expected whole numbers"):
        load_mnist(tmp_path, dtype="uint8")


@pytest.mark.parametrize("load", [load_mnist, load_digits_split])
def test_bad_dtypes(load):
    with pytest.raises(ValueError, match="one of uint8, float32, float64, got int64"):
        load(dtype="int64")
    with pytest.raises(ValueError, match=r"scaled to \[0, 1\] do not fit dtype uint8"):
        load(dtype="uint8", scale=True)


def test_digits_split_is_stratified_and_fixed():
    digits = load_digits_split()
    assert digits.X_train.shape == (1347, 64)
    assert digits.X_test.shape == (450, 64)
    assert digits.image_shape == (8, 8)
    assert (digits.X_train.min(), digits.X_train.max()) == (0, 16)
    counts = np.bincount(digits.y_test)
    assert_array_equal(np.abs(counts - np.bincount(load_digits().target) / 4) < 1, True)
    again = load_digits_split(as_images=True, scale=True, dtype="float64")
    assert_array_equal(again.X_train.reshape(-1, 64) * 16, digits.X_train)
    assert_array_equal(again.y_train, digits.y_train)


def test_digits_rows_keep_their_labels():
    X_train, X_test, y_train, y_test = load_digits_split(return_X_y=True)
    known = {row.tobytes(): label for row, label in zip(*load_digits(return_X_y=True), strict=True)}
    for X, y in [(X_train, y_train), (X_test, y_test)]:
        assert [known[row.astype(np.float64).tobytes()] for row in X] == y.tolist()
