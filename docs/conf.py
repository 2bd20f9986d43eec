"""How Sphinx builds the manual; the reference and the gallery are written anew by each build."""

import importlib
import inspect
import re
import runpy
import sys
from pathlib import Path
from shutil import copytree, rmtree

import cukernels

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"

project = "cukernels"
author = copyright = "The cukernels developers"
release = cukernels.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_title = f"cukernels {release}"
html_theme_options = {
    "description": "scikit-learn's networks and linear models on short kernels",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "sidebar_width": "240px",
}
html_show_sourcelink = False
default_role = "code"  # a name in single quotes is a name in the code
autodoc_typehints = "none"  # the docstrings say more
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them
numpydoc_class_members_toctree = False

REFERENCE = {
    "estimators": ("Estimators", "estimators"),
    "inspection": ("Displays", "estimators.inspection"),
    "convert": ("Conversion", "estimators.convert"),
    "datasets": ("Digits", "estimators.datasets"),
    "callbacks": ("Callbacks", "estimators.callbacks"),
    "model_selection": ("Model selection", "estimators.model_selection"),
}


def _heading(text, mark):
    return [text, mark * len(text), ""]


def _entry(module, name):
    """The directive that documents a public name of a module."""
    thing = getattr(module, name)
    full = f"{module.__name__}.{name}"
    if inspect.isclass(thing):
        lines = [f".. autoclass:: {full}", "   :members:", "   :inherited-members:"]
        theirs = ", ".join(_theirs(thing))
        return [*lines, *([f"   :exclude-members: {theirs}"] if theirs else []), ""]
    kind = "autofunction" if callable(thing) else "autodata"
    more = ["   :no-value:"] if kind == "autodata" else []
    return [f".. {kind}:: {full}", *more, ""]


def _theirs(cls):
    """The public members that scikit-learn's base classes bring along: documented there."""
    for name in dir(cls):
        owner = next(c for c in cls.__mro__ if name in vars(c))
        made_there = owner.__module__.startswith("sklearn.") or re.fullmatch(
            r"set_\w+_request", name
        )
        if made_there and not name.startswith("_"):
            yield name


def _public(module):
    own = [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
    ]
    return getattr(module, "__all__", own)


def write_reference():
    """A page for each module of the estimators, and one for the ops, by family."""
    folder = DOCS / "reference"
    rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pages = []
    for page, (title, name) in REFERENCE.items():
        if importlib.util.find_spec(name) is None:
            continue
        module = importlib.import_module(name)
        lines = [*_heading(title, "="), f".. module:: {name}", "", inspect.getdoc(module), ""]
        for public in sorted(_public(module)):
            lines += _entry(module, public)
        (folder / f"{page}.rst").write_text("\n".join(lines))
        pages.append(page)

    lines = [*_heading("Ops", "="), ".. module:: cukernels", "", inspect.getdoc(cukernels), ""]
    families = {}
    for public in cukernels.__all__:
        thing = getattr(cukernels, public)
        families.setdefault(getattr(thing, "__module__", ""), []).append(public)
    families.pop("", None)  # the registry itself
    for family, names in families.items():
        summary = inspect.getdoc(sys.modules[family]).splitlines()[0]
        lines += [*_heading(family.rpartition(".")[2].strip("_"), "-"), summary, ""]
        for public in names:
            lines += _entry(cukernels, public)
    (folder / "ops.rst").write_text("\n".join(lines))
    toctree = [".. toctree::", "   :maxdepth: 1", "", *(f"   {p}" for p in [*pages, "ops"]), ""]
    (folder / "index.rst").write_text("\n".join([*_heading("Reference", "="), *toctree]))


def write_gallery():
    """A page for each example: its picture, its text, its code; and one that shows them all."""
    folder = DOCS / "gallery"
    rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copytree(EXAMPLES / "gallery", folder / "pictures")
    index = [*_heading("Gallery", "="), "The systems of two lectures on feature learning, and"]
    index += ["searches for good settings of them.", ""]
    index += [".. toctree::", "   :hidden:", ""]
    pages = list(runpy.run_path(str(EXAMPLES / "_page.py"))["examples"]())
    index += [f"   {path.stem}" for path, *_ in pages] + [""]
    for path, title, text in pages:
        title = f"{int(path.name[:2])}. {title}"
        picture = f".. image:: pictures/{path.stem}.png"
        source = f"../../examples/{path.name}"
        lines = [*_heading(title, "="), text, "", picture, f"   :alt: {title}", ""]
        lines += [f".. literalinclude:: {source}", "   :language: python", ""]
        (folder / f"{path.stem}.rst").write_text("\n".join(lines))
        index += [f":doc:`{title} <{path.stem}>`", "", picture, f"   :target: {path.stem}.html"]
        index += [f"   :alt: {title}", ""]
    (folder / "index.rst").write_text("\n".join(index))


def escape(app, what, name, thing, options, lines):
    """In `x : array of shape (*stack, n_features_in_)` neither star nor underscore is markup."""
    for i, line in enumerate(lines):
        found = re.match(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)", line)
        if found:
            kind = re.sub(r"(?<=\w)_(?!\w)", r"\\_", found[2].replace("*", r"\*"))
            lines[i] = f"{found[1]} : {kind}"
        elif "``" not in line and ">>>" not in line:
            lines[i] = re.sub(r"\(\*(?=\w)", r"(\*", line)


def setup(app):
    """Run before numpydoc does."""
    app.connect("autodoc-process-docstring", escape, priority=400)


write_reference()
write_gallery()
