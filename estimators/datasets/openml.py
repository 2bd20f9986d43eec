"""Data sets from OpenML: fetched once by scikit-learn, checked, and kept as idx files.

OpenML has each of them as a table of text. To parse one takes from seconds to minutes, and for
CIFAR-10 some gigabytes of memory; so what came is kept in a form that is read in a moment.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml, get_data_home

from estimators.datasets.folders import DATA_VARIABLE, FILES
from estimators.datasets.idx import read_idx, write_idx
from estimators.datasets.pixels import PIXELS, check_numbers
from estimators.shared.files import write_text

_DIGEST = "sha256.txt"
Raw = dict[str, np.ndarray]


@dataclass(frozen=True)
class Published:
    """What is known of a data set that OpenML has.

    Attributes
    ----------
    name : str
        What people call it.
    data_id : int
        Its number at OpenML.
    folder : str
        Where it is kept, and what its folder in that of ``CUKERNELS_DATA`` is called.
    files : str
        What a folder of it holds, in words.
    planes : tuple of int
        Shape of a sample as a row of OpenML's holds it: (height, width), or colours first.
    train, test : tuple of int
        Number of samples of each class. Those to train on come first.
    sha256 : str, default=""
        Of the bytes of the images and the labels to train on, then of those to test. Empty: not
        known, and what is known are the numbers of samples.
    """

    name: str
    data_id: int
    folder: str
    files: str
    planes: tuple[int, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    sha256: str = ""

    @property
    def advice(self) -> str:
        """What to do where it cannot be had from OpenML."""
        return (
            f"give the folder of its {self.files} by data_dir, or put that folder as "
            f"{self.folder!r} into the one that the environment variable {DATA_VARIABLE} names"
        )


def fetch(published: Published, data_home: str | os.PathLike[str] | None) -> Raw:
    """Return images and labels as bytes, from the files kept here or from OpenML.

    Parameters
    ----------
    published : Published
    data_home : path or None
        Where scikit-learn keeps its data sets; None: where it does by default.

    Raises
    ------
    OSError
        If it is not here and cannot be downloaded.
    ValueError
        If what came is damaged, or is something else.
    """
    home = Path(get_data_home(data_home))
    kept = home / "cukernels" / published.folder
    raw = _read(kept, published)
    if raw is None:
        try:
            raw = _download(published, home)
            _check(raw, published, home)
        except (OSError, ValueError) as error:
            if not any((kept / name).exists() for name in FILES.values()):
                raise
            kind = OSError if isinstance(error, OSError) else ValueError
            raise kind(f"{error}; the copy in {kept} is damaged and was not used") from error
        with suppress(OSError):  # a full disk: next time it is downloaded again
            _keep(kept, raw)
    return raw


def digest(raw: Raw) -> str:
    """The SHA-256 of images and labels, those to train on first."""
    sha256 = hashlib.sha256()
    for key in ("X_train", "y_train", "X_test", "y_test"):
        sha256.update(np.ascontiguousarray(raw[key], np.uint8).data)
    return sha256.hexdigest()


def _read(folder: Path, published: Published) -> Raw | None:
    """What is kept, or None if nothing is, or it is not what was kept."""
    try:
        expected = published.sha256 or (folder / _DIGEST).read_text().strip()
        raw = {key: read_idx(folder / name) for key, name in FILES.items()}
    except (OSError, ValueError):
        return None
    shapes = {key: values.shape for key, values in raw.items()}
    same = shapes == _shapes(published) and {v.dtype.str for v in raw.values()} == {"|u1"}
    return raw if same and digest(raw) == expected else None


def _shapes(published: Published) -> dict[str, tuple[int, ...]]:
    *colours, height, width = published.planes
    shapes: dict[str, tuple[int, ...]] = {}
    for subset, counts in (("train", published.train), ("test", published.test)):
        shapes[f"X_{subset}"] = (sum(counts), height, width, *colours)
        shapes[f"y_{subset}"] = (sum(counts),)
    return shapes


def _keep(folder: Path, raw: Raw) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, name in FILES.items():
        write_idx(folder / name, raw[key])
    write_text(folder / _DIGEST, digest(raw) + "\n")


def _download(published: Published, home: Path) -> Raw:
    # The parser of pandas is the fast one. With "auto", scikit-learn fails where pandas is missing.
    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"
    n_pixels = int(np.prod(published.planes))
    # Float32 holds a pixel, and what is none, in half the memory of the default. Labels as text:
    # from pandas 3.1 on, scikit-learn up to 1.9.1 fails on those that pandas takes for numbers.
    types = dict.fromkeys(range(n_pixels), "float32") | {n_pixels: "str"}
    try:
        came = fetch_openml(
            data_id=published.data_id,
            as_frame=False,
            parser=parser,
            data_home=str(home),
            read_csv_kwargs={"dtype": types} if parser == "pandas" else None,
        )
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"{published.name} could not be downloaded from OpenML "
            f"({type(error).__name__}: {error}); without a network, {published.advice}"
        ) from error
    except (ValueError, LookupError, EOFError, zlib.error) as error:
        raise ValueError(
            f"what came from OpenML for {published.name} is damaged "
            f"({type(error).__name__}: {error}); {_again(published, home)}"
        ) from error
    return _arrays(came.data, came.target, published, home)


def _arrays(data: np.ndarray, target: np.ndarray, published: Published, home: Path) -> Raw:
    """A table of pixels, and labels that may be strings, as bytes in the shape of images."""
    classes, n_train = len(published.train), sum(published.train)
    shape = (n_train + sum(published.test), int(np.prod(published.planes)))
    what = f"OpenML's {published.name}"
    if data.shape != shape or np.shape(target) != shape[:1]:
        raise ValueError(
            f"{what} has pixels of shape {data.shape} and labels of shape {np.shape(target)}; "
            f"expected {shape} and {shape[:1]}; {_again(published, home)}"
        )
    try:
        pixels, labels = (
            np.asarray(data),
            np.strings.strip(np.asarray(target, str), "'\"").astype(np.int64),
        )
        if pixels.dtype.kind not in "uif":
            pixels = pixels.astype(np.float64)
        check_numbers(f"{what}: the pixels", pixels, PIXELS, whole=True)
        check_numbers(f"{what}: the labels", labels, (0, classes - 1), whole=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error}; {_again(published, home)}") from error
    images = pixels.astype(np.uint8).reshape(-1, *published.planes)
    if len(published.planes) == 3:
        images = np.ascontiguousarray(np.moveaxis(images, 1, -1))  # colours last
    labels = labels.astype(np.uint8)
    return {
        "X_train": images[:n_train],
        "X_test": images[n_train:],
        "y_train": labels[:n_train],
        "y_test": labels[n_train:],
    }


def _check(raw: Raw, published: Published, home: Path) -> None:
    """Raise ValueError if it is not what was published."""
    for subset, expected in (("train", published.train), ("test", published.test)):
        counts = np.bincount(raw[f"y_{subset}"], minlength=len(expected))
        if counts.tolist() != list(expected):
            raise ValueError(
                f"OpenML's {published.name} has {counts.tolist()} samples of its classes in the "
                f"{subset} part, expected {list(expected)}; {_again(published, home)}"
            )
    if published.sha256 and (found := digest(raw)) != published.sha256:
        raise ValueError(
            f"OpenML's {published.name} is not what was published: its SHA-256 is {found}, "
            f"expected {published.sha256}; {_again(published, home)}"
        )


def _again(published: Published, home: Path) -> str:
    return f"remove {home / 'openml'} to download it anew, or {published.advice}"
