"""Programs that are run by ``python -m estimators``, in a Python of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import zipfile

import pytest

from _patching import ROOT, printed, python
from _requirements import require

HEAD = "estimators: GridSearchCV, HalvingGridSearchCV,"


@pytest.fixture
def program(tmp_path):
    """Write a program, and return its path."""

    def write(text, name="program.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


def both(*arguments, **options):
    """What a program does under Python, and under ``python -m estimators -q``."""
    return python(*arguments, **options), python("-m", "estimators", "-q", *arguments, **options)


def test_a_program_finds_what_python_gives_it(program):
    path = program("""
        import pickle, sys
        from sklearn.linear_model import LogisticRegression
        import helper

        class Own:
            pass

        assert type(pickle.loads(pickle.dumps(Own()))) is Own
        assert sys.modules["__main__"].__dict__ is globals()
        print(__name__, __file__, __package__, __spec__, __doc__, __annotations__, sys.argv)
        print(sys.path[0], "estimators" in LogisticRegression.__module__, file=sys.stderr)
        number: int = 1
        """)
    program("", "helper.py")
    for cwd, name in ((path.parent, path.name), (ROOT, path)):
        arguments = name, "-q", "--only", "x", "-m", "y"
        plain, ours = both(*arguments, cwd=cwd)
        assert (plain.returncode, ours.returncode) == (0, 0), ours.stderr
        assert ours.stdout == plain.stdout
        assert plain.stderr == f"{path.parent} False\n"
        assert ours.stderr == f"{path.parent} True\n"


def test_annotations_are_not_made_strings_by_our_own_file(program):
    path = program("def f(x: 1 + 1): pass\nprint(f.__annotations__)\n")
    assert python("-m", "estimators", "-q", path).stdout == "{'x': 2}\n"


def test_a_module_a_package_a_folder_an_archive_a_text_and_standard_input(program, tmp_path):
    text = "import sys\nfrom sklearn.linear_model import Perceptron as P\n"
    text += "print(__name__, sys.argv[1:], 'estimators' in P.__module__)\n"
    program(text, "alone.py")
    (tmp_path / "room").mkdir()
    program(text, "room/__main__.py")
    program("", "room/__init__.py")
    with zipfile.ZipFile(tmp_path / "packed.pyz", "w") as archive:
        archive.writestr("__main__.py", text)
    kinds = [["-m", "alone"], ["-m", "room"], ["room"], ["packed.pyz"], ["-c", text], ["alone.py"]]
    for kind in kinds:
        run = python("-m", "estimators", "-q", *kind, "-m", "b", cwd=tmp_path)
        assert run.stdout == "__main__ ['-m', 'b'] True\n", (kind, run.stderr)
    run = python("-m", "estimators", "-q", "-", "a", cwd=tmp_path, text=text)
    assert run.stdout == "__main__ ['a'] True\n"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(7)", 7),
        ("sys.exit('a reason')", 1),
        ("first()", 1),
        ("raise KeyboardInterrupt", 130),
        ("try:\n    first()\nexcept KeyError as e:\n    raise ValueError('two') from e", 1),
        ("1 +", 1),
        (
            "import atexit, threading, time\n"
            "atexit.register(late)\nthreading.Thread(target=late).start()",
            0,
        ),
    ],
)
def test_status_and_traceback_are_those_of_python(program, end, status):
    path = program("import sys\n")
    path.write_text(f"""
import sys
def first():
    raise KeyError("x")
def late():
    time.sleep(0.5)
    print("late", sys.argv[1:])
{end}
""")
    plain, ours = both(path, "a")
    if end == "raise KeyboardInterrupt":
        status = plain.returncode  # of a signal, on this system
    assert plain.returncode == ours.returncode == status
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr
    if end in ("first()", "raise KeyboardInterrupt"):
        name = path.stem
        in_module = python("-m", "estimators", "-q", "-m", name, cwd=path.parent)
        assert in_module.returncode == status
        assert in_module.stderr == plain.stderr


def test_what_cannot_be_run(tmp_path):
    plain, ours = both("no_such.py", cwd=tmp_path)
    assert ours.stderr == plain.stderr and ours.returncode == plain.returncode == 2
    plain, ours = both("-m", "no_such", cwd=tmp_path)
    assert ours.stderr == plain.stderr and ours.returncode == plain.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no program to run"),
        (["-q"], "there is no program to run"),
        (["-m"], "-m needs an argument"),
        (["--no-such", "program.py"], "unrecognized arguments: --no-such"),
        (["--only", "SVC", "program.py"], "nothing to replace 'SVC'"),
        (["--only"], "expected one argument"),
    ],
)
def test_what_the_command_line_refuses(arguments, message):
    run = python("-m", "estimators", *arguments)
    assert run.returncode == 2 and run.stdout == ""
    assert message in run.stderr and "usage: python -m estimators" in run.stderr


def test_help_tells_what_there_is():
    run = python("-m", "estimators", "--help")
    assert run.returncode == 0
    assert all(word in run.stdout for word in ("--quiet", "--only", "-m module", "-c text"))


def test_it_is_said_once_what_was_replaced_and_on_standard_error(program):
    path = program("print('a result')")
    run = python("-m", "estimators", path)
    assert run.stdout == "a result\n"
    assert run.stderr.startswith(HEAD) and run.stderr.count("\n") == 1
    run = python("-m", "estimators", "--only=Perceptron,cross_validate", path)
    assert run.stderr == (
        "estimators: Perceptron, cross_validate of scikit-learn are replaced by cukernels'\n"
    )


def test_a_program_that_logs_finds_it_in_its_log():
    code = "import logging; logging.basicConfig(level='INFO', format='%(name)s:%(message).9s')\n"
    run = python("-c", code + "import estimators; estimators.patch_sklearn('Perceptron')")
    assert run.stderr == "estimators.patching:Perceptro\n"


# Programs of the form of scikit-learn's gallery ---------------------------------------------

GALLERY = {
    "regularization": """
        from sklearn.datasets import make_moons
        from sklearn.model_selection import train_test_split
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        for X, y in (make_moons(noise=0.3, random_state=0), make_moons(noise=0.1, random_state=1)):
            split = train_test_split(X, y, test_size=0.4, random_state=42)
            for alpha in (1.0, 10.0):
                network = MLPClassifier(solver="lbfgs", alpha=alpha, random_state=1, max_iter=500)
                model = make_pipeline(StandardScaler(), network).fit(split[0], split[2])
                print(f"{alpha}: {model.score(split[1], split[3]):.3f}")
        """,
    "filters": """
        import warnings
        from sklearn.datasets import load_digits
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.model_selection import train_test_split
        from sklearn.neural_network import MLPClassifier

        X, y = load_digits(return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(X / 16.0, y, random_state=0)
        network = MLPClassifier((40,), max_iter=8, solver="sgd", verbose=10, random_state=1,
                                learning_rate_init=0.2)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
            network.fit(X_train, y_train)
        print(network.score(X_train, y_train), network.score(X_test, y_test))
        print(network.coefs_[0].shape, network.coefs_[0].dtype)
        """,
    "search": """
        import numpy as np
        from sklearn import datasets
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler

        steps = [("scaler", StandardScaler()), ("pca", PCA(random_state=0)),
                 ("logistic", LogisticRegression(max_iter=10000, tol=0.01))]
        grid = {"pca__n_components": [5, 30], "logistic__C": np.logspace(-2, 2, 3)}
        search = GridSearchCV(Pipeline(steps), grid, n_jobs=2)
        search.fit(*datasets.load_digits(return_X_y=True))
        print(f"{search.best_score_:.3f}", search.best_params_)
        print(sorted(search.cv_results_)[:3])
        """,
}


@pytest.mark.parametrize("name", GALLERY)
def test_a_program_prints_what_it_prints_under_scikit_learn(name, program):
    path = program(GALLERY[name])
    plain, ours = both(path, OMP_NUM_THREADS="1")
    assert plain.returncode == ours.returncode == 0, ours.stderr
    assert ours.stdout == plain.stdout != ""
    assert ours.stderr == plain.stderr == ""


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import sys, estimators; print('numpy' in sys.modules, hasattr(estimators, {!r}))"
    assert printed(code.format("load_ipython_extension")) == "False True\n"
    code = "from estimators import unpatch_sklearn as un; un(); import sys; print(*sys.modules)"
    assert not {"numpy", "sklearn"} & set(printed(code).split())


def test_ipython_loads_and_unloads_the_extension():
    require("IPython", "test")
    lines = [
        "%load_ext estimators",
        "from sklearn.linear_model import Perceptron; print(Perceptron.__module__)",
        "%unload_ext estimators",
        "from sklearn.linear_model import Perceptron; print(Perceptron.__module__)",
    ]
    command = [sys.executable, "-m", "IPython", "--no-banner", "--quick", "-c", "\n".join(lines)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "estimators.patching.classes\nsklearn.linear_model._perceptron" in run.stdout, run.stderr
