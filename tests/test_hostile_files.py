"""Files that are damaged, or made to do harm: nothing is executed, and nothing fills the memory."""

from __future__ import annotations

import copy
import io
import json
import random
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from _small_digits import X, Y
from estimators import MLPClassifier
from estimators.callbacks import Checkpoint
from estimators.checkpoints.archive import read_archive, write_archive
from estimators.checkpoints.generators import read_generator

pytestmark = pytest.mark.filterwarnings("ignore")

META = {"format": 1, "list": [1, 2.5, None], "of": {"words": "é"}}
ARRAYS = {"params": np.arange(5, dtype=np.float32), "rows": np.arange(4), "words": np.array(["ab"])}
SETTINGS = {
    "hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, "batch_size": 20,
    "early_stopping": True, "dropout": 0.2,
}  # fmt: skip


@pytest.fixture
def sound(tmp_path):
    """The bytes of a file that is as it should be."""
    write_archive(tmp_path / "sound", META, ARRAYS)
    return (tmp_path / "sound").read_bytes()


def is_refused(path: Path, content: bytes) -> bool:
    """Whether a file is refused in words; if not, it has what was written."""
    path.write_bytes(content)
    try:
        meta, arrays = read_archive(path)
    except ValueError as error:
        assert "is no checkpoint, or is damaged" in str(error)
        return True
    assert meta == META and list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    return False


def test_a_file_that_is_cut_anywhere(sound, tmp_path):
    for n in range(len(sound)):
        assert is_refused(tmp_path / "cut", sound[:n])
    assert not is_refused(tmp_path / "cut", sound)


@pytest.mark.parametrize("seed", range(4))
def test_a_file_with_other_bytes_anywhere(seed, sound, tmp_path):
    """It is refused, or has what was written: a date, say, may be another."""
    rng, refused = random.Random(seed), 0
    for place in range(seed, len(sound), 4):
        one = bytearray(sound)
        one[place] ^= 1 << rng.randrange(8)
        some = bytearray(sound)
        for _ in range(rng.randint(2, 6)):
            some[rng.randrange(len(sound))] = rng.choice((0, 0x80, 0xFF, rng.randrange(256)))
        begin, end = sorted(rng.randrange(len(sound)) for _ in range(2))
        for content in (bytes(one), bytes(some), sound[:begin] + sound[end:]):
            refused += is_refused(tmp_path / "other", content)
    assert refused > len(sound) // 2


def zipped(parts, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one name twice
        for name, content in parts:
            archive.writestr(name, content)
    return file.getvalue()


def header(text):
    """A part whose header is this text."""
    text = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


def meta_of(names=(), **more):
    return ("meta.json", json.dumps({"arrays": list(names), **more}))


def with_array(shape, dtype="<f8", content=b""):
    """A file with one array, whose header says so."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"
    return zipped([meta_of(["a"]), ("a.npy", header(text) + content)])


HOSTILE = {
    "bomb": zipped([meta_of(["a"]), ("a.npy", bytes(2**24))], zipfile.ZIP_DEFLATED),
    "duplicates": zipped([meta_of(["a"]), ("a.npy", b""), ("a.npy", b"")]),
    "two meta data": zipped([meta_of(), meta_of()]),
    "huge shape": with_array(f"({2**40},)"),
    "a shape to compute": with_array("(2**40,)"),
    "many empty words": with_array(f"({2**40},)", "<U0"),
    "negative shape": with_array("(-8, -8)", "|u1", bytes(64)),
    "objects": with_array("(1,)", "|O", b"cos\nsystem\n."),
    "fields": with_array("(1,)", "V9", bytes(9)),
    "nested header": zipped([meta_of(["a"]), ("a.npy", header("(" * 9000))]),
    "a header of code": zipped([meta_of(["a"]), ("a.npy", header("__import__('os').abort()"))]),
    "nested meta data": zipped([("meta.json", "[" * 10**6)]),
    "long meta data": zipped([("meta.json", meta_of()[1] + " " * 2**24)]),
    "a long number": zipped([("meta.json", '{"a": ' + "9" * 10**6 + "}")]),
    "no meta data": zipped([("a.npy", b"")]),
    "a list": zipped([("meta.json", "[]")]),
    "no zip": b"PK\3\4" * 1000,
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_made_to_do_harm(name, tmp_path):
    content = HOSTILE[name]
    (tmp_path / "hostile").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is no checkpoint, or is damaged"):
            read_archive(tmp_path / "hostile")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * len(content) + 2**22


def test_parts_that_are_larger_than_the_file_are_not_read(sound, tmp_path, monkeypatch):
    """Their sizes stand in the directory, which may say anything."""
    at = sound.rindex(b"PK\x01\x02")  # the last entry of the directory, an array
    huge = sound[: at + 20] + (2 * (2**31).to_bytes(4, "little")) + sound[at + 28 :]
    (tmp_path / "huge").write_bytes(huge)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)  # whoever reads a part fails otherwise
    with pytest.raises(ValueError, match="its parts are larger than the file"):
        read_archive(tmp_path / "huge")


def test_names_of_paths_are_only_names(tmp_path):
    """Nothing is unpacked to the disk."""
    file = io.BytesIO()
    npy.write_array(file, np.zeros(1))
    names = ["../../outside", "/etc/outside", "c:\\outside"]
    (tmp_path / "in").mkdir()
    content = zipped([meta_of(names), *((f"{name}.npy", file.getvalue()) for name in names)])
    (tmp_path / "in" / "file").write_bytes(content)
    _meta, arrays = read_archive(tmp_path / "in" / "file")
    assert list(arrays) == names
    assert {p.name for p in tmp_path.rglob("*")} == {"in", "file"}


def test_what_is_no_file_at_all_is_said_as_python_says_it(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        read_archive(tmp_path)


def test_a_generator_never_looks_outside_of_its_key():
    """NumPy takes any place, and would read there."""
    key = {"dtype": "uint32", "values": list(range(624))}
    for pos, values in ((625, key), (10**6, key), (-1, key), (0, {**key, "values": [1]})):
        with pytest.raises(ValueError, match="a generator is at"):
            read_generator({"state": {"key": values, "pos": pos}})
    for dtype in ("U1000000", "O", "f8"):
        with pytest.raises(ValueError, match="no values of dtype"):
            read_generator({"key": {"dtype": dtype, "values": [1] * 1000}})
    assert read_generator({"key": key, "pos": 624})["pos"] == 624


VALUES = [
    None, -1, 2**70, -(2**70), 1e308, float("nan"), float("inf"), "x", [], {}, [[1]], True,
    "9" * 30, {"dtype": "U99999", "values": [1]}, {"dtype": "O", "values": [1]}, 10**6,
]  # fmt: skip


def places(value, path=()):
    """Where the values of nested dicts and short lists are."""
    if path:
        yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list) and len(value) < 10:
        for i in range(len(value)):
            yield from places(value[i], (*path, i))


def test_a_fit_refuses_values_that_cannot_be_or_goes_on(tmp_path):
    """Whatever stands at any place of a file that is sound otherwise."""
    data = X[:60], Y[:60]
    MLPClassifier(**SETTINGS, callbacks=Checkpoint(tmp_path / "{epoch}")).fit(*data)
    meta, arrays = read_archive(tmp_path / "2")
    refused, tried, rng = 0, 0, random.Random(0)

    def resume(meta, arrays):
        nonlocal refused, tried
        write_archive(tmp_path / "hostile", meta, arrays)
        tried += 1
        try:
            MLPClassifier(**SETTINGS).fit(*data, resume_from=tmp_path / "hostile")
        except ValueError as error:  # the file's name stands in each message but one
            assert "hostile" in str(error) or "non-finite parameter weights" in str(error)
            refused += 1

    for path in places(meta):
        for value in rng.sample(VALUES, 5):
            other = copy.deepcopy(meta)
            inner = other
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
            resume(other, arrays)
    for name, a in arrays.items():
        for b in (
            a[:0], a[:-1], np.concatenate([a, a]), a.astype(float), a[:, None], a.astype("U5"),
            np.full_like(a, -1), np.full(a.shape, np.nan), np.full(a.shape, 10**9, a.dtype),
        ):  # fmt: skip
            resume(meta, {**arrays, name: b})
        resume(meta, {n: b for n, b in arrays.items() if n != name})
    assert tried > 300 and refused > 0.8 * tried
