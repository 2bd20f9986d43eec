"""What the README says works: its code, its make targets, its demo."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.filterwarnings("error::UserWarning")  # such as fits that failed in a search
def test_code_runs(capsys):
    blocks = list(re.finditer(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE))
    assert len(blocks) >= 2
    for block in blocks:
        line = README.count("\n", 0, block.start(1))
        # Blank lines before the code, so that a traceback has the line of the README.
        exec(compile("\n" * line + block[1], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "mlpclassifier__activation" in printed
    assert "32" in printed  # a line of net.summary()


def test_make_targets_and_files_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)[ `]", README, re.MULTILINE))
    assert {"demo", "test"} <= {a or b for a, b in named} <= set(targets)
    files = re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", README)
    folders = re.findall(r"^([a-z]+/) ", README, re.MULTILINE)
    # that of a source distribution has links that lead away, or none: docs/long_description.py
    assert len(files) >= 3 or (ROOT / "PKG-INFO").is_file()
    assert len(folders) >= 4
    assert [path for path in files + folders if not (ROOT / path).exists()] == []


@pytest.fixture
def made(tmp_path):
    """Returns the README that `make dist` builds of, with the address of the repository or not."""

    def make(urls, *tag):
        project = (ROOT / "pyproject.toml").read_text()
        (tmp_path / "pyproject.toml").write_text(project.replace("[tool.", urls + "[tool.", 1))
        (tmp_path / "README.md").write_text(README)
        script = ROOT / "docs" / "long_description.py"
        subprocess.run([sys.executable, script, tmp_path, *tag], check=True)
        return (tmp_path / "README.md").read_text()

    return make


LINKS = r"""\]\(([^)]+)\)|\bhref="([^"]+)"|\bsrc="([^"]+)\""""


def test_the_page_of_a_release_has_no_link_to_a_file_beside_it(made):
    ours = {link for link in map("".join, re.findall(LINKS, README)) if not link.startswith("http")}
    plain = made("")
    left = {"".join(link) for link in re.findall(LINKS, plain)}
    assert all(link.startswith(("https://", "#")) for link in left)
    assert "<img" not in plain and "<p>" not in plain and "The gallery shows, in" in plain
    assert plain.count("```") == README.count("```") and plain.count("\n|") == README.count("\n|")
    where = "https://example.org/us"
    page = made(f'[project.urls]\nRepository = "{where}/"\n\n', "v0.1.0")
    for link in ours:
        kind = "raw" if link.endswith(".png") else "blob"
        there = link if link.startswith("#") else f"{where}/{kind}/v0.1.0/{link}"
        assert f"]({there})" in page or f'"{there}"' in page, link
    assert f"{where}/blob/main/examples/README.md" in made(
        f'[project.urls]\nRepository = "{where}"\n'
    )


def test_demo_learns():
    environment = {k: v for k, v in os.environ.items() if k != "CUKERNELS_DATA"}
    demo = [sys.executable, "examples/demo.py", "--json"]
    run = subprocess.run(demo, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)["rows"]
    names = ["Perceptron", "LogisticRegression", "MLPClassifier", "ConvNetClassifier"]
    assert [row["estimator"] for row in rows] == names
    floors = [0.90, 0.95, 0.96, 0.97]
    low = [
        row["settings"]
        for row, floor in zip(rows, floors, strict=True)
        if row["test_accuracy"] < floor
    ]
    assert low == []
    # ten outputs of 64 pixels and a bias; then 64-128-10
    assert [row["parameters"] for row in rows[:3]] == [650, 650, 64 * 128 + 128 + 128 * 10 + 10]
