"""What a release is made of: a source distribution, the wheel from it, and an empty environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import cukernels

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = cukernels.__version__
BUILT = {"docs/_build", "docs/gallery", "docs/reference", "build", "dist", "tests/softgpu/build"}
# Of the repository, and of no use to whoever builds or tests a release.
STAYS = re.compile(r"(.*/)?\.gitignore|\.(git|github|ci)(/.*)?")


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def sources():
    """The files of the repository, as git knows them, or what is here where there is no git."""
    git = subprocess.run(("git", "ls-files"), cwd=ROOT, capture_output=True, text=True, check=False)
    listed = git.stdout.splitlines()
    if "pyproject.toml" not in listed:
        made = re.compile(r"PKG-INFO|setup\.cfg|.*(\.egg-info|\.venv[\w-]*|_cache|__pycache__)/.*")
        paths = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]
        left = tuple(f"{folder}/" for folder in BUILT)
        listed = [p for p in paths if not made.match(p) and not p.startswith(left)]
    return {name for name in listed if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, built of a copy, since a build leaves files behind."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    for name in sources():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name in BUILT:  # what is left of earlier builds stays out
        (source / name).mkdir(parents=True, exist_ok=True)
        (source / name / "left.py").write_text("left = True\n")
    build = "import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))"
    run(sys.executable, "-c", build, folder, cwd=source)
    return folder / f"cukernels-{VERSION}.tar.gz"


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel that pip makes of the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet")
    run(*pip, "-w", folder, sdist)
    (found,) = folder.glob("*.whl")
    return found


def test_the_sdist_has_what_is_needed_to_build_and_test_and_no_more(sdist):
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert {m.type for m in members} <= {tarfile.REGTYPE, tarfile.DIRTYPE}
    begin = f"cukernels-{VERSION}/"
    packed = {m.name.removeprefix(begin) for m in members if m.isfile()}
    made = {name for name in packed if re.match(r"PKG-INFO|setup\.cfg|cukernels\.egg-info/", name)}
    assert packed - made == {name for name in sources() if not STAYS.fullmatch(name)}
    assert sdist.stat().st_size < 6e6


def test_the_wheel_is_the_same_for_every_python_and_system(wheel):
    assert wheel.name == f"cukernels-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"cukernels-{VERSION}.dist-info/METADATA").decode()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"cukernels", "estimators", f"cukernels-{VERSION}.dist-info"}
    headers = metadata.split("\n\n")[0].splitlines()
    assert f"Version: {VERSION}" in headers
    assert "License-Expression: BSD-3-Clause" in headers
    assert "Description-Content-Type: text/markdown" in headers
    assert {f"Provides-Extra: {extra}" for extra in PROJECT["optional-dependencies"]} <= set(
        headers
    )


def outside(folder):
    """Where a process sees no checkout, whose metadata pip would take for an installation."""
    left_out = ("PYTHONPATH", "CUKERNELS_DATA", "VIRTUAL_ENV")
    return {"cwd": folder, "env": {k: v for k, v in os.environ.items() if k not in left_out}}


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The Python of an environment that has the wheel, and what it depends on."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder / "venv", with_pip=False, symlinks=os.name != "nt")
    place = "Scripts" if os.name == "nt" else "bin"
    made = folder / "venv" / place / "python"
    install = ("install", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", made, *install, wheel, **outside(folder))
    # There may be no network: the dependencies are those of this environment, without our packages.
    others = folder / "others"
    others.mkdir()
    for there in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(there).iterdir():
            if not re.match(r"cukernels|estimators|__editable__|.*\.pth$", path.name):
                (others / path.name).symlink_to(path)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    Path(run(made, "-c", code).strip(), "others.pth").write_text(f"{others}\n")
    return made


def test_the_first_example_of_the_readme_runs_on_the_wheel(python, tmp_path):
    readme = (ROOT / "README.md").read_text()
    example = re.search(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)[1]
    example += "import cukernels, estimators; print(cukernels.__file__, estimators.__file__)\n"
    printed = run(python, "-W", "error::ImportWarning", "-c", example, **outside(tmp_path))
    assert "mlpclassifier__activation" in printed
    files = printed.split()[-2:]
    assert all(Path(file).is_relative_to(python.parent.parent) for file in files), files


def test_the_installed_packages_know_their_version(python, tmp_path):
    code = (
        "import importlib.metadata as m, cukernels; "
        "print(m.version('cukernels'), cukernels.__version__)"
    )
    assert run(python, "-c", code, **outside(tmp_path)).split() == [VERSION] * 2


def test_every_op_is_right_on_the_wheel(python, tmp_path):
    """`python -m cukernels`, as a report of a defect has it; kernels are sources in the wheel."""
    printed = run(python, "-m", "cukernels", **outside(tmp_path))
    assert f"cukernels: {VERSION}" in printed
    code = (
        "from pathlib import Path; import cukernels; "
        "print(len(list(Path(cukernels.__file__).parent.rglob('*.cu*'))))"
    )
    here = len(list((ROOT / "cukernels").rglob("*.cu*")))
    assert int(run(python, "-c", code, **outside(tmp_path))) == here


def test_what_is_cited_has_no_version_of_its_own():
    """`cukernels/runtime/version.py` is the only place of it; the changelog has the history."""
    text = (ROOT / "CITATION.cff").read_text()
    assert not re.search(r"^(version|date-released|doi):", text, re.MULTILINE)
    title, licence = (
        re.search(rf"^{k}: (.*)$", text, re.MULTILINE)[1] for k in ("title", "license")
    )
    assert (title, licence) == (PROJECT["name"], PROJECT["license"])
    assert f"- name: {PROJECT['authors'][0]['name']}" in text


def test_the_changelog_has_this_version_or_waits_for_it():
    """A development version has no section; a release has one, with its date."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[([\d.]+)\] - \d{4}-\d\d-\d\d", s)[1] for s in sections[1:]]
    if "dev" in VERSION:
        assert VERSION.partition(".dev")[0] not in released
    else:
        assert released[0] == VERSION
