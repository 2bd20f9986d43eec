"""The README's tables of figures, written from the committed results.

    python benchmarks/readme_tables.py           says where the README differs; exit status 1
    python benchmarks/readme_tables.py --write   writes the figures of benchmarks/results/ into it

A table stands between two comments of the README that name it. What is measured anew changes the
README by this script, and never by hand; a test compares them.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import _rounds
from _rounds import Result

from estimators.shared.files import write_text

README = Path(__file__).parent.parent / "README.md"

# What the README calls a race. One that is measured stands here or in LEFT_OUT.
CPU = {
    "Perceptron, MNIST, 5 epochs": (
        "`Perceptron`, MNIST, 5 epochs (scikit-learn's own loop, a class on each core)"
    ),
    "Perceptron, 20,000 x 20": "`Perceptron`, 20,000 samples of 20 features",
    "Perceptron, sparse, 11,314 x 50,000": "`Perceptron`, sparse as text, 11,314 x 50,000",
    "LogisticRegression, MNIST, lbfgs": "`LogisticRegression`, MNIST, L-BFGS",
    "LogisticRegression, 1,000 x 20": "`LogisticRegression`, 1,000 samples of 20 features",
    "LogisticRegression, L1, 5 classes, 2,000 x 50": "`LogisticRegression`, L1, 2,000 x 50",
    "LogisticRegression, half L1, 300 raw digits": "`LogisticRegression`, half L1, 300 raw digits",
    "MLPClassifier (100,), batch 200, MNIST epoch": "`MLPClassifier((100,))`, MNIST, an epoch",
    "MLPClassifier (512, 512), batch 256, MNIST epoch": (
        "`MLPClassifier((512, 512))`, MNIST, an epoch"
    ),
    "MLPClassifier (100,), batch 32, digits, 20 epochs": (
        "`MLPClassifier((100,))`, digits, 20 epochs"
    ),
    "ConvNetClassifier (16, 32), batch 128, MNIST epoch": (
        "`ConvNetClassifier((16, 32))`, MNIST, an epoch"
    ),
    "predict_proba, one row": "`MLPClassifier.predict_proba`, one row",
    "predict_proba, 60,000 rows": "`MLPClassifier.predict_proba`, 60,000 rows",
}
SEARCH = {
    "MLPClassifier (64,), 12 x 5, 50 epochs": "`MLPClassifier((64,))`, 12 candidates, 50 epochs",
    "MLPClassifier (100,), 12 x 5, 50 epochs": "`MLPClassifier((100,))`, 12 candidates, 50 epochs",
    "pipeline, scaler and MLP (64,), 24 x 5, 50 epochs": (
        "`StandardScaler` and `MLPClassifier((64,))`, 24 candidates"
    ),
    "LogisticRegression, 20 C x 5": "`LogisticRegression`, 20 values of `C`",
}
PERCEPTRON = "Perceptron, 20 x 5, 20 epochs"
PERCEPTRON_FILE = "search-perceptron"
CONVNETS = "ConvNetClassifier (8, 16), 4 x 3, 8 epochs"
LEFT_OUT = {
    "LogisticRegression, L1, 5 classes, 300 x 30",
    "import of MLPClassifier",
    # Older than the Perceptron of today, whose search stands in a file of its own.
    f"{PERCEPTRON}, one process",
    f"{PERCEPTRON}, n_jobs=2",
}
BY_PROCESSOR = ("cpu", "search")
PLACES = ("one process", "n_jobs=2")
PEERS = {
    "scikit-learn": {"scikit-learn": ""},
    "PyTorch": {"PyTorch": "", "PyTorch, NCHW": "", "PyTorch, channels last": "channels last "},
    "skorch": {"skorch": ""},
}


def document(name: str) -> dict[str, Any]:
    """What a benchmark has saved; of results by processor, the newest."""
    if name in BY_PROCESSOR:
        name = _rounds.newest(name)
    return json.loads((_rounds.RESULTS / f"{name}.json").read_text())


def races(name: str) -> dict[str, dict[str, Any]]:
    """The races of a document by what is done; a ValueError if the README would hide one."""
    found = {race["work"]: race for race in document(name)["races"]}
    known = {f"{work}, {place}" for work in (*SEARCH, PERCEPTRON) for place in PLACES}
    if unknown := set(found) - set(CPU) - LEFT_OUT - known - {CONVNETS}:
        raise ValueError(
            f"{name}.json has races that the README says nothing of: {sorted(unknown)}; "
            f"name them in CPU, SEARCH or LEFT_OUT of benchmarks/readme_tables.py"
        )
    return found


def measured_on(name: str) -> str:
    """A line that says on what, with what and when."""
    facts = document(name)["machine"]
    titles = {"numpy": "NumPy", "scikit-learn": "scikit-learn", "torch": "PyTorch"}
    packages = (f"{titles[k]} {v}" for k, v in facts["packages"].items() if k in titles)
    return (
        f"{facts['cores']} cores of {facts['processor']}, without a GPU; "
        f"{', '.join(packages)}; {facts['date']}."
    )


def time(seconds: float) -> str:
    """A time with three digits, in a unit that fits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size / 10:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def demo() -> str:
    """What `python examples/demo.py` has printed for MNIST."""
    lines = [
        "| estimator | train seconds | test accuracy | parameters |",
        "|---|---:|---:|---:|",
    ]
    for row in document("demo")["rows"]:
        lines.append(
            f"| {row['estimator']} | {row['train_seconds']:.2f} | {row['test_accuracy']:.4f} "
            f"| {row['parameters']:,} |"
        )
    return "\n".join([*lines, "", measured_on("demo")])


def cpu() -> str:
    """Our seconds, and how many times as fast as each peer we are."""
    found = races("cpu")
    lines = [
        f"| work | ours | times as fast as {' | '.join(PEERS)} |",
        f"|---|---:|{'---:|' * len(PEERS)}",
    ]
    for work, label in CPU.items():
        race = found[work]
        cells = [label, time(median(race["seconds"]["cukernels"]))]
        for names in PEERS.values():
            ratios = race["ratios"]
            cells.append(
                ", ".join(f"{names[n]}{median(ratios[n]):.2f}" for n in names if n in ratios)
            )
        lines.append(f"| {' | '.join(cells)} |")
    rounds = len(next(iter(found["Perceptron, MNIST, 5 epochs"]["ratios"].values())))
    return "\n".join([*lines, "", f"Medians of {rounds} turns each. {measured_on('cpu')}"])


def search() -> str:
    """How many times as fast whole searches are, and what memory they add."""
    found = races("search")
    lines = ["| search | scikit-learn | in one process | with `n_jobs=2` |", "|---|---:|---:|---:|"]
    works = [(SEARCH[work], work, found) for work in SEARCH]
    works.append(("`Perceptron`, 20 candidates, 20 epochs *", PERCEPTRON, races(PERCEPTRON_FILE)))
    for label, work, there in works:
        pair = [there[f"{work}, {place}"] for place in PLACES]
        (peer,) = pair[0]["ratios"]
        ratios = [median(race["ratios"][peer]) for race in pair]
        seconds = median(pair[0]["seconds"][peer])
        lines.append(f"| {label} | {seconds:.1f} s | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    memory = [found[f"{work}, one process"]["megabytes"] for work in SEARCH]
    ours, theirs = ([m[name] for m in memory] for name in ("cukernels", "scikit-learn, n_jobs=2"))
    (alone,) = found[CONVNETS]["ratios"].values()
    return "\n".join(
        [
            *lines,
            "",
            measured_on("search"),
            f"\\* {measured_on(PERCEPTRON_FILE)}",
            "",
            f"In one process these searches of networks and `LogisticRegression` add "
            f"{min(ours):.0f} to {max(ours):.0f} MB, where",
            f"scikit-learn's two processes take {min(theirs):.0f} to {max(theirs):.0f} MB. Four "
            f"`ConvNetClassifier`s in three folds are",
            f"{median(alone):.1f} times as fast as one after the other.",
        ]
    )


TABLES: dict[str, Callable[[], str]] = {"demo": demo, "cpu": cpu, "search": search}


def written(text: str) -> str:
    """The text of the README with its tables as the results have them.

    Raises
    ------
    ValueError
        If a table does not stand in it exactly once between its two comments.
    """
    for name, make in TABLES.items():
        begin = f"<!-- figures: {name}; `python benchmarks/readme_tables.py --write` -->"
        end = f"<!-- end of {name} -->"
        if not text.count(begin) == text.count(end) == 1 or text.index(begin) > text.index(end):
            raise ValueError(f"the README needs once each, in this order: {begin} and {end}")
        between = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        block = f"{begin}\n\n{make()}\n\n{end}"
        text = between.sub(lambda _, block=block: block, text)
    return text


def stale_pages() -> list[str]:
    """The pages beside the results whose table of races is another one than theirs."""
    stale = []
    for path in sorted(
        p for name in BY_PROCESSOR for p in _rounds.RESULTS.glob(f"{name}-on-*.json")
    ):
        results = [Result(**race) for race in json.loads(path.read_text())["races"]]
        tables = [_rounds.markdown(results)]
        if any(result.cores for result in results):
            tables.append(_rounds.cores_markdown(results))
        page = path.with_suffix(".md").read_text()
        if any(table not in page for table in tables):
            stale.append(f"benchmarks/results/{path.stem}.md")
    return stale


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say what differs; the default")
    parser.add_argument("--write", action="store_true", help="write the tables into the README")
    parser.add_argument("--readme", type=Path, default=README, help="another file than README.md")
    options = parser.parse_args()
    try:
        now = options.readme.read_text()
        then = written(now)
    except (OSError, ValueError) as error:  # a file without the comments, or none
        parser.error(f"{options.readme}: {error}")
    if options.write:
        write_text(options.readme, then)
        now = then
    sys.stdout.writelines(
        difflib.unified_diff(
            now.splitlines(True), then.splitlines(True), str(options.readme), "the results"
        )
    )
    stale = stale_pages()
    for page in stale:
        print(f"{page} is not what its .json says: run the benchmark again, or restore it")
    return int(now != then or bool(stale))


if __name__ == "__main__":
    sys.exit(main())
