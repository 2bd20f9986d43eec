"""How Sphinx builds the manual; the reference and the gallery are written anew by each build."""

import re
import sys
from pathlib import Path

import cukernels

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import edit_link  # noqa: E402
import inventories  # noqa: E402
import reference  # noqa: E402

REPOSITORY = edit_link.repository(DOCS.parent / "pyproject.toml")

project = "cukernels"
author = copyright = "The cukernels developers"
release = version = cukernels.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"  # a name in single quotes is a name in the code
nitpicky = False  # what other manuals lack, or a machine without a network, is no defect of ours
intersphinx_mapping = inventories.mapping(DOCS / "_build" / "inventories")

# The look -----------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = f"cukernels {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_show_sourcelink = False
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {"text": "cukernels"},
    "navbar_start": ["navbar-logo", "version"],
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc", "edit"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_nav_level": 1,
    "show_toc_level": 2,
    "show_version_warning_banner": False,
    "icon_links": [{"name": "Repository", "url": REPOSITORY, "icon": "fa-solid fa-code-branch"}]
    if REPOSITORY
    else [],
}
copybutton_exclude = ".linenos, .gp, .go"  # neither prompts nor what is printed

# The reference ------------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say more
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # autodoc lists them
numpydoc_class_members_toctree = False

# The gallery --------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"^(?:_|demo)",  # what they share, and the table of `make demo`
    "within_subsection_order": "FileNameSortKey",
    "reset_argv": "gallery_settings.arguments",
    "reset_modules": ("matplotlib", "gallery_settings.forget"),
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("cukernels", "estimators"),
    "log_level": {"backreference_missing": "debug"},  # not every class has an example
    "abort_on_example_error": True,
    "capture_repr": (),  # what is printed is enough
    "download_all_examples": False,
    "notebook_extensions": set(),
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # seconds of the machine that builds the manual tell little
}


def escape(app, what, name, thing, options, lines):
    """In `x : array of shape (*stack, n_features_in_)` neither star nor underscore is markup."""
    for i, line in enumerate(lines):
        found = re.match(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)", line)
        if found:
            kind = re.sub(r"(?<=\w)_(?!\w)", r"\\_", found[2].replace("*", r"\*"))
            lines[i] = f"{found[1]} : {kind}"
        elif "``" not in line and ">>>" not in line:
            lines[i] = re.sub(r"\(\*(?=\w)", r"(\*", line)


def name_theirs(app, what, name, thing, options, lines):
    """What a class has from scikit-learn's base classes is documented there, and named here."""
    if what == "class" and (names := list(reference.theirs(thing))):
        named = ", ".join(f"``{n}``" for n in names)
        lines += ["", ".. rubric:: From scikit-learn's base classes", "", named, ""]


def skip_theirs(app, what, name, thing, skip, options):
    """Leave out of a class what scikit-learn's base classes bring along."""
    made = getattr(getattr(thing, "fget", thing), "__module__", None) or ""
    is_theirs = made.startswith("sklearn.") or re.fullmatch(r"set_\w+_request", name)
    return True if is_theirs else None


def add_edit_link(app, pagename, templatename, context, doctree):
    """Tell the template `edit.html` where the source of a page can be edited, if it is known."""
    context["edit_address"] = edit_link.edit_address(REPOSITORY, pagename)


def setup(app):
    """Change docstrings before numpydoc does, and after."""
    app.connect("autodoc-process-docstring", escape, priority=400)
    app.connect("autodoc-process-docstring", name_theirs, priority=600)
    app.connect("autodoc-skip-member", skip_theirs)
    app.connect("html-page-context", add_edit_link)


reference.write(DOCS / "reference")
