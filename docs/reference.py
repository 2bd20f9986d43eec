"""Writes the pages of the reference from what the modules say is public, in order of importance.

A module of `estimators` with an `__all__` gets a page, and each public name gets one of its own,
which autosummary makes. Nothing has to be listed here when a name is added: the lists below say
what comes first, and how a page is called.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from types import ModuleType
from typing import Any

from sklearn.base import BaseEstimator

import cukernels
import estimators
from estimators.layers.all import LAYERS

TITLES = {
    "estimators": "Estimators",
    "estimators.model_selection": "Model selection",
    "estimators.inspection": "Displays",
    "estimators.callbacks": "Callbacks",
    "estimators.convert": "Conversion",
    "estimators.datasets": "Data sets",
    "cukernels.matmul": "Matrix products",
    "cukernels.quasi_newton": "Quasi-Newton",
    "cukernels": "This machine",
}
ROOMS = tuple(
    f"cukernels.{room}"
    for room in (
        *("matmul", "images", "pooling", "activations", "normalization", "training"),
        "optimizers",
    )
)
MACHINE = ("cukernels.gpu", "cukernels.runtime")  # no ops: how they are computed here
FIRST = ("MLPClassifier", "ConvNetClassifier", "LogisticRegression", "Perceptron")
Groups = dict[str, list[str]]


def public(module: ModuleType) -> list[str]:
    """The public names of a module: its `__all__`, or what it defines itself."""
    own = [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
    ]
    names = getattr(module, "__all__", own)
    return sorted(name for name in names if not inspect.ismodule(getattr(module, name)))


def modules() -> Iterator[tuple[str, list[str]]]:
    """The modules that have a page, with the names that none before them has."""
    named = (f"estimators.{found.name}" for found in pkgutil.iter_modules(estimators.__path__))
    others = [name for name in named if hasattr(importlib.import_module(name), "__all__")]
    documented: set[int] = set()
    for name in dict.fromkeys([*(n for n in TITLES if n.startswith("estimators")), *others]):
        module = importlib.import_module(name)
        new = [n for n in public(module) if id(getattr(module, n)) not in documented]
        documented.update(id(getattr(module, n)) for n in new)
        if new:
            yield name, new


def groups(module: str, names: list[str]) -> Groups:
    """The names of a page under their headings; a page of few kinds of things needs none."""
    things = {name: getattr(importlib.import_module(module), name) for name in names}
    if module != "estimators":
        return {"": names}
    found: Groups = {"Classifiers": [name for name in FIRST if name in things]}
    for name in names:
        if name not in FIRST:
            found.setdefault(_kind(name, things[name]), []).append(name)
    order = ["Classifiers", "The classic pipeline", "Functions", "Layers", "Other classes"]
    return {title: found[title] for title in order if title in found}


def _kind(name: str, thing: Any) -> str:
    """The heading that a public name of `estimators` stands under."""
    if name in LAYERS:
        return "Layers"
    if not inspect.isclass(thing):
        return "Functions"
    return "The classic pipeline" if issubclass(thing, BaseEstimator) else "Other classes"


def families() -> Groups:
    """The ops by the folder of `cukernels` that they are in; first those that are used most."""
    found: Groups = {}
    for name in cukernels.__all__:
        thing = getattr(cukernels, name)
        if callable(thing):  # all but the registry itself
            room = ".".join(thing.__module__.split(".")[:2])
            found.setdefault("cukernels" if room in MACHINE else room, []).append(name)
    order = [room for room in ROOMS if room in found]
    others = sorted(set(found) - {*order, "cukernels"})
    return {room: found[room] for room in [*order, *others, "cukernels"]}


def theirs(cls: type) -> Iterator[str]:
    """The public members that scikit-learn's base classes bring along: documented there."""
    for name in dir(cls):
        owner = next(c for c in cls.__mro__ if name in vars(c))
        made_there = owner.__module__.startswith("sklearn.") or re.fullmatch(
            r"set_\w+_request", name
        )
        if made_there and not name.startswith("_"):
            yield name


def _heading(text: str, mark: str) -> list[str]:
    return [text, mark * len(text), ""]


def _table(module: str, names: list[str]) -> list[str]:
    lines = [f".. currentmodule:: {module}", "", ".. autosummary::", "   :toctree: generated", ""]
    return [*lines, *(f"   {name}" for name in names), ""]


def write(folder: Path) -> None:
    """Write a page for each module, one for the ops, and the index of both, into `folder`."""
    rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pages = []
    for module, names in modules():
        page = module.rpartition(".")[2]
        title = TITLES.get(module, page.replace("_", " ").capitalize())
        text = inspect.getdoc(importlib.import_module(module)) or ""
        lines = [*_heading(title, "="), f".. module:: {module}", "", text, ""]
        for heading, members in groups(module, names).items():
            lines += [*(_heading(heading, "-") if heading else []), *_table(module, members)]
        (folder / f"{page}.rst").write_text("\n".join(lines))
        pages.append(page)

    lines = [
        *_heading("Ops", "="),
        ".. module:: cukernels",
        "",
        inspect.getdoc(cukernels) or "",
        "",
    ]
    for room, names in families().items():
        summary = (inspect.getdoc(importlib.import_module(room)) or "").splitlines()[0]
        if room == "cukernels":
            summary = "Its versions and devices, its speed, its precision."
        title = TITLES.get(room, room.rpartition(".")[2].replace("_", " ").capitalize())
        lines += [*_heading(title, "-"), summary, "", *_table("cukernels", names)]
    (folder / "ops.rst").write_text("\n".join(lines))

    head = [
        *_heading("Reference", "="),
        "All that is public, with a page for each class and function. What begins with an",
        "underscore, and modules that are not named here, may change without notice. The",
        ":ref:`index <genindex>` has all names, with those of methods, and there is a",
        ":ref:`list of the modules <modindex>`.",
        "",
    ]
    toctree = [".. toctree::", "   :maxdepth: 2", "", *(f"   {p}" for p in [*pages, "ops"]), ""]
    (folder / "index.rst").write_text("\n".join([*head, *toctree]))
