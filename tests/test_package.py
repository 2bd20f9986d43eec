"""The distribution: its version, its extras, what importing it imports, and its wheel."""

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest

import cukernels
from _requirements import require

ROOT = Path(__file__).parent.parent
PACKAGES = ("cukernels", "estimators")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def distribution(requirement):
    """Return the name in a requirement such as `numpy>=2`, and the extras that it asks for."""
    name, extras = re.match(r"([\w.-]+)(\[.*?\])?", requirement).groups()
    return name.lower(), extras or ""


def test_version_has_a_single_source():
    version = cukernels.__version__
    assert importlib.metadata.version("cukernels") == version
    assert PROJECT["dynamic"] == ["version"]
    sources = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    sources += [ROOT / "pyproject.toml", ROOT / "docs" / "conf.py"]
    have_it = [path for path in sources if version in path.read_text()]
    assert have_it == [ROOT / "cukernels" / "runtime" / "version.py"]


def test_a_checkout_on_the_path_needs_no_installation(tmp_path):
    """Both packages, every public module and the report, where no distribution is known."""
    checkout, others = tmp_path / "checkout", tmp_path / "others"
    others.mkdir()
    for name in PACKAGES:
        copytree(ROOT / name, checkout / name, ignore=ignore_patterns("__pycache__"))
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            if not re.match("cukernels|__editable__", path.name):
                (others / path.name).symlink_to(path)
    code = """
import importlib, importlib.metadata, cukernels, estimators
for name in ("model_selection", "convert", "datasets", "inspection"):
    importlib.import_module(f"estimators.{name}")
for name in estimators.__all__:
    getattr(estimators, name)
try:
    print(importlib.metadata.version("cukernels"))
except importlib.metadata.PackageNotFoundError:
    print("not installed:", cukernels.__file__)
cukernels.show_versions()
"""
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],  # without the paths that installations add
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (checkout, others)))},
    )
    assert run.returncode == 0, run.stderr
    first, *report = run.stdout.splitlines()
    assert first == f"not installed: {checkout / 'cukernels' / '__init__.py'}"
    assert f"cukernels: {cukernels.__version__}" in [line.strip() for line in report]


@pytest.mark.parametrize(
    "package",
    [*PACKAGES, *(f"estimators.{n}" for n in ("callbacks", "convert", "datasets", "inspection"))],
)
def test_import_is_light(package):
    heavy = {"cupy", "torch", "matplotlib", "onnx", "skl2onnx", "tqdm", "tensorboard"}
    code = f"import sys, {package}; print(*{heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_the_cuda_extras_name_cupy_nvrtc_and_headers_alone():
    extras = PROJECT["optional-dependencies"]
    assert [distribution(r) for r in extras["cuda12"]] == [
        ("cupy-cuda12x", ""),  # its extra "ctk" would bring cuBLAS and the rest of the toolkit
        ("nvidia-cuda-nvrtc-cu12", ""),
        ("nvidia-cuda-runtime-cu12", ""),
    ]
    assert [distribution(r) for r in extras["cuda13"]] == [
        ("cupy-cuda13x", ""),
        ("nvidia-cuda-nvrtc", ""),
        ("nvidia-cuda-runtime", ""),
    ]


def test_no_requirement_is_a_library_of_kernels():
    extras = PROJECT["optional-dependencies"]
    requirements = [r for name in extras if name != "oracle" for r in extras[name]]
    names = " ".join(distribution(r)[0] for r in [*PROJECT["dependencies"], *requirements])
    assert not re.search("blas|cudnn|cufft|curand|cusolver|cusparse|toolkit|torch|jax", names)


def test_the_floors_are_what_test_oldest_installs():
    oldest = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in oldest if "==" in line)
    for requirement in PROJECT["dependencies"]:
        name, floor = requirement.split(">=")
        assert f"{pins[name]}.".startswith(f"{floor}."), requirement


def test_wheel_has_every_source_of_both_packages(tmp_path):
    # A copy, since a build leaves files behind, which the next build would pack.
    source = tmp_path / "source"
    for name in PACKAGES:
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, source)
    expected = {str(path.relative_to(source)) for path in source.rglob("*/*") if path.is_file()}

    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    run = subprocess.run([*pip, "-w", tmp_path, source], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"cukernels-{cukernels.__version__}-")
    packed = set(zipfile.ZipFile(wheel).namelist())
    meta = {name for name in packed if ".dist-info/" in name}
    assert packed - meta == expected
    assert {"cukernels/py.typed", "estimators/py.typed", "estimators/mlp.py"} <= expected
    assert any(name.endswith("licenses/LICENSE") for name in meta)


def test_a_missing_package_skips_a_stranger_and_fails_continuous_integration(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"needs no_such: pip install .*\[oracle\]"):
        require("no_such", "oracle")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="may not be skipped"):
        require("no_such", "oracle")
    assert require("json", "oracle").loads("1") == 1
