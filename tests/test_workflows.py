"""Continuous integration runs what developers run and holds no secret; forms ask for a report."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from _requirements import require

yaml = require("yaml", "cluster")  # Dask brings it

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
if not GITHUB.is_dir():
    pytest.skip("a source distribution has no workflows", allow_module_level=True)
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(path):
    """Each step of a workflow, with its job."""
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        for step in job["steps"]:
            yield job, step


def test_there_is_one_for_tests_one_for_the_manual_and_one_for_releases():
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "test"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_runs_what_developers_run(path):
    commands = [step["run"] for _, step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        if command != "bash .ci/run":
            target = re.fullmatch(r'make ([a-z-]+)( TAG="\$TAG")?', command)
            assert target and target[1] in TARGETS, command
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_holds_no_secret_and_may_do_little(path):
    text = path.read_text()
    assert not re.search(r"secrets\.|password|token:(?! write)|pull_request_target", text)
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        wanted = {"id-token": "write"} if name == "publish" else None
        assert job.get("permissions") == wanted, name
        assert job["timeout-minutes"] <= 120
    # What a stranger can name, such as a tag or a title, is never part of a command.
    assert not any("${{" in step.get("run", "") for _, step in steps(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_their_major_version(path):
    used = [step["uses"] for _, step in steps(path) if "uses" in step]
    assert used
    assert [u for u in used if not re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", u)] == []


def test_a_release_is_tested_and_published_by_trust():
    workflow = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as a truth value
    jobs = workflow["jobs"]
    assert (jobs["build"]["needs"], jobs["publish"]["needs"]) == ("test", "build")
    assert jobs["publish"]["environment"] == "pypi"
    assert [s for s in jobs["publish"]["steps"] if "run" in s] == []  # what is tested, and no more
    assert jobs["test"]["steps"][-1] == {"run": "bash .ci/run"}


def test_every_python_that_the_package_names_is_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {c.split(" :: ")[-1] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)}
    workflow = yaml.safe_load((GITHUB / "workflows" / "test.yml").read_text())
    tested = workflow["jobs"]["each"]["strategy"]["matrix"]["python"]
    assert all(isinstance(version, str) for version in tested)  # 3.10 as a number is 3.1
    assert named <= set(tested)
    assert f">={tested[0]}" == project["requires-python"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_whole(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"textarea", "input", "dropdown", "checkboxes"}
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field["validations"]["required"] for field in fields)


@pytest.mark.parametrize("name", ["defect", "speed"])
def test_a_report_has_what_the_command_prints(name):
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    (field,) = (f for f in form["body"] if f.get("id") == "report")
    assert "python -m cukernels" in field["attributes"]["label"]
    assert field["validations"]["required"]
