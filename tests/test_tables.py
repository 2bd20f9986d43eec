"""The figures of the README are those of the committed results, and a change of either is seen."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
sys.path.insert(0, str(ROOT / "benchmarks"))
import readme_tables as tables  # noqa: E402


def run(*options):
    command = [sys.executable, ROOT / "benchmarks" / "readme_tables.py", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_readme_has_the_figures_of_the_results():
    """`python benchmarks/readme_tables.py --write` puts them there."""
    done = run("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", tables.TABLES)
def test_a_figure_that_was_changed_by_hand(name, tmp_path):
    text = README.read_text()
    begin = text.index(f"<!-- figures: {name};")
    figure = re.compile(r"\d\.\d+(?= \|)").search(text, begin)
    assert figure.start() < text.index(f"<!-- end of {name} -->")
    changed = f"{text[: figure.start()]}9.99{text[figure.end() :]}"
    copy = tmp_path / "README.md"
    copy.write_text(changed)
    done = run("--check", "--readme", copy)
    assert done.returncode == 1
    assert "9.99" in done.stdout
    assert copy.read_text() == changed  # a check writes nothing
    assert run("--write", "--readme", copy).returncode == 0
    assert copy.read_text() == text


@pytest.mark.parametrize("name", tables.TABLES)
@pytest.mark.parametrize("change", ["no end", "twice"])
def test_a_table_without_its_place(name, change):
    text = README.read_text()
    end = f"<!-- end of {name} -->"
    text = text.replace(end, "") if change == "no end" else text.replace(end, end * 2)
    with pytest.raises(ValueError, match=f"needs once each.*figures: {name}"):
        tables.written(text)


@pytest.mark.parametrize("script", ["cpu.py", "search.py", "readme_tables.py"])
def test_figures_are_of_the_checkout_that_they_name(script, tmp_path):
    """Packages may be installed from another one."""
    copy = tmp_path / "benchmarks"
    shutil.copytree(ROOT / "benchmarks", copy, ignore=shutil.ignore_patterns("results", "__*"))
    done = subprocess.run([sys.executable, copy / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"those of {tmp_path.resolve()}: run `pip install" in done.stderr


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A copy of the committed results, in which a test may change some."""
    for path in tables._rounds.RESULTS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(tables._rounds, "RESULTS", tmp_path)

    def change(name, edit):
        path = (
            tmp_path
            / f"{tables._rounds.newest(name) if name in tables.BY_PROCESSOR else name}.json"
        )
        document = json.loads(path.read_text())
        edit(document)
        path.write_text(json.dumps(document))

    return change


def test_a_file_that_is_no_readme_is_told_of_in_a_line(tmp_path):
    (tmp_path / "README.md").write_text("no markers\n")
    for path, says in (("README.md", "the README needs once each"), ("none.md", "No such file")):
        done = run("--readme", tmp_path / path)
        assert done.returncode == 2 and done.stdout == ""
        assert says in done.stderr and str(tmp_path / path) in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_measured_anew_changes_the_readme(results):
    def faster(document):
        race = next(r for r in document["races"] if r["work"] == "Perceptron, MNIST, 5 epochs")
        race["ratios"]["scikit-learn"] = [7.0, 8.125, 9.0]

    text = README.read_text()
    assert tables.written(text) == text
    assert tables.stale_pages() == []
    results("cpu", faster)
    assert "| 8.12 |" in tables.written(text)
    assert tables.stale_pages() == [f"benchmarks/results/{tables._rounds.newest('cpu')}.md"]


def test_the_newest_results_of_several_processors(results):
    """All are kept, side by side; the README has the newest."""
    before = tables._rounds.newest("cpu")
    text = (tables._rounds.RESULTS / f"{before}.json").read_text()
    other = tables._rounds.RESULTS / "cpu-on-a-new-processor.json"
    document = json.loads(text)
    document["machine"] |= {"date": "9999-01-01", "processor": "A New Processor"}
    other.write_text(json.dumps(document))
    other.with_suffix(".md").write_text((tables._rounds.RESULTS / f"{before}.md").read_text())
    assert tables._rounds.newest("cpu") == other.stem
    assert "A New Processor" in tables.cpu()


@pytest.mark.parametrize(
    ("processor", "name"),
    [("Intel(R) Xeon(R) Processor, family 6", "intel-xeon-family-6"),
     ("Intel(R) Xeon(R) CPU @ 2.20GHz, family 6", "intel-xeon-family-6"),
     ("AMD EPYC, family 26", "amd-epyc-family-26"),
     ("Apple M4", "apple-m4")],
)  # fmt: skip
def test_a_processor_names_a_file(processor, name):
    assert tables._rounds.slug(processor) == name


def test_what_a_second_core_brings():
    cores = tables._rounds.Cores(one=[2.0, 4.0, 3.0], all=[1.0, 2.0, 2.0])
    assert cores.ratio == 2.0
    race = json.loads((tables._rounds.RESULTS / f"{tables._rounds.newest('cpu')}.json").read_text())
    result = tables.Result(**race["races"][0] | {"cores": {"one": [3.0], "all": [2.0]}})
    assert tables._rounds.cores_markdown([result]).endswith("| 3 | 2 | 1.50 |")


def test_a_race_that_the_readme_would_hide(results):
    def another(document):
        document["races"].append(document["races"][0] | {"work": "Perceptron, in a hurry"})

    results("cpu", another)
    with pytest.raises(ValueError, match=r"cpu.json has races .*Perceptron, in a hurry"):
        tables.cpu()


def test_a_race_that_is_gone_is_missed(results):
    results("search", lambda document: document["races"].pop(0))
    with pytest.raises(KeyError, match="MLPClassifier"):
        tables.search()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(107.89, "108 s"), (1.59, "1.59 s"), (0.332, "0.332 s"), (0.0583, "58.3 ms"),
     (0.00521, "5.21 ms"), (9.11e-5, "91.1 µs")],
)  # fmt: skip
def test_times_are_in_a_unit_that_fits_them(seconds, said):
    assert tables.time(seconds) == said


def test_no_other_table_of_the_readme_has_times():
    """Figures outside the places that are written by the script would grow old unseen."""
    text = README.read_text()
    for name in tables.TABLES:
        text = re.sub(f"<!-- figures: {name};.*<!-- end of {name} -->", "", text, flags=re.DOTALL)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    times = re.compile(r"\d\.\d+ (s|ms|µs)\b|\|\s*\d+\.\d\d\s*\|")
    assert [row for row in rows if times.search(row)] == []
