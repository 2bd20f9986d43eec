"""The ready callbacks that write files: tables of epochs, and curves for TensorBoard."""

from __future__ import annotations

import csv
import pickle
import struct
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from _checkpoints import X, Y, assert_equal, quietly
from _requirements import require
from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier, Perceptron
from estimators.callbacks import Checkpoint, CSVLogger, EpochInfo, TensorBoard
from estimators.callbacks.events import crc32c, scalars_record
from estimators.callbacks.run_paths import RunPath
from estimators.checkpoints.archive import read_archive
from estimators.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IMAGES = np.random.default_rng(0).standard_normal((120, 4, 4))
MODELS = {
    "mlp": MLPClassifier((6,), max_iter=6, early_stopping=True, random_state=0),
    "convnet": ConvNetClassifier((2,), hidden_layer_sizes=(4,), max_iter=6, random_state=0),
    "logistic": LogisticRegression(max_iter=6, tol=1e-9),
    "perceptron": Perceptron(multi_class="multinomial", tol=None, max_iter=6),
}
each = pytest.mark.parametrize("name", MODELS)
KINDS = {"csv": CSVLogger, "board": TensorBoard, "checkpoint": Checkpoint}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def samples(name):
    return IMAGES if name == "convnet" else X


def logged(name, *callbacks, **parameters):
    return clone(MODELS[name]).set_params(callbacks=list(callbacks), **parameters)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def epochs_of(path):
    return [int(row["epoch"]) for row in rows_of(path)]


def boards_of(folder):
    """What TensorBoard itself reads: (step, value) of each tag."""
    require("tensorboard", "test")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder))
    board.Reload()
    return {
        tag: [(event.step, event.value) for event in board.Scalars(tag)]
        for tag in board.Tags()["scalars"]
    }


class Fails:
    def __init__(self, epoch, error):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, estimator, info):
        if info.epoch == self.epoch:
            raise self.error


# CSVLogger ---------------------------------------------------------------------------------------


@each
def test_a_table_has_a_row_an_epoch(name, tmp_path):
    path, heard = tmp_path / "fit.csv", []
    model = logged(name, CSVLogger(path), lambda estimator, info: heard.append(info))
    quietly(model, samples(name), Y)
    assert path.read_text().splitlines()[0] == ",".join(EpochInfo._fields)
    for row, info in zip(rows_of(path), heard, strict=True):
        assert int(row["epoch"]) == info.epoch and int(row["n_epochs"]) == 6
        assert float(row["loss"]) == info.loss and float(row["seconds"]) == info.seconds
        score = row["validation_score"]
        assert (float(score) if score else None) == info.validation_score
        np.testing.assert_equal(float(row["learning_rate"]), info.learning_rate)
    assert_equal(model, quietly(clone(MODELS[name]), samples(name), Y))
    # the next fit begins it anew
    quietly(model.set_params(max_iter=3), samples(name), Y)
    assert epochs_of(path) == [1, 2, 3]


def test_a_table_can_be_read_while_it_is_written(tmp_path):
    path, lengths = tmp_path / "fit.csv", []
    reads = lambda estimator, info: lengths.append(len(rows_of(path)))  # noqa: E731
    quietly(logged("logistic", CSVLogger(path), reads), X, Y)
    assert lengths == [1, 2, 3, 4, 5, 6]


def test_append_goes_on_below(tmp_path):
    path = tmp_path / "fit.csv"
    logger = CSVLogger(path, append=True, separator=";")
    for _ in range(2):
        quietly(logged("logistic", logger, max_iter=2), X, Y)
    with open(path, "ab") as file:
        file.write(b"3;1")  # what a kill may leave
    quietly(logged("logistic", logger, max_iter=1), X, Y)
    header, *rows = path.read_text().splitlines()
    assert header == ";".join(EpochInfo._fields)
    assert [row.split(";")[0] for row in rows] == ["1", "2", "1", "2", "1"]
    with pytest.raises(ValueError, match="has other columns, so that no rows can be appended"):
        quietly(logged("logistic", CSVLogger(path, append=True)), X, Y)
    assert len(path.read_text().splitlines()) == 6


def test_a_fit_that_goes_on_leaves_the_table_of_one_never_stopped(tmp_path):
    path, file = tmp_path / "fit.csv", tmp_path / "3.ckpt"
    callbacks = CSVLogger(path), Checkpoint(tmp_path / "{epoch}.ckpt")
    quietly(logged("mlp", *callbacks), X, Y)
    whole = [row["loss"] for row in rows_of(path)]
    quietly(logged("mlp", CSVLogger(path)), X, Y, resume_from=file)
    assert [row["loss"] for row in rows_of(path)] == whole and epochs_of(path)[-1] == 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_table_is_whole_after_ctrl_c_and_a_failure(error, tmp_path):
    for name in MODELS:
        path = tmp_path / f"{name}.csv"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                logged(name, CSVLogger(path), Fails(3, error())).fit(samples(name), Y)
            except OSError:
                assert error is OSError
        assert epochs_of(path) == [1, 2, 3]
        assert list(tmp_path.glob(".*")) == []  # nothing unfinished is left


@pytest.mark.parametrize("name", ["mlp", "convnet", "perceptron"])
def test_partial_fit_adds_rows(name, tmp_path):
    path = tmp_path / "fit.csv"
    path.write_text("of another day\n")
    model = logged(name, CSVLogger(path))
    for k in range(4):
        model.partial_fit(samples(name), Y, classes=np.unique(Y))
        if k == 1:
            model = pickle.loads(pickle.dumps(model))
    assert epochs_of(path) == [1, 2, 3, 4]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        logged("logistic", CSVLogger(tmp_path / "nowhere" / "fit.csv")).fit(X, Y)


@pytest.mark.parametrize("separator", ["", ";;", ".", "1", "e", "\n", None])
def test_a_separator_is_one_that_separates(separator):
    with pytest.raises(ValueError, match="separator must be"):
        CSVLogger("fit.csv", separator=separator)


# TensorBoard -------------------------------------------------------------------------------------


@each
def test_tensorboard_reads_the_curves(name, tmp_path):
    heard = []
    model = logged(name, TensorBoard(tmp_path / "run"), lambda e, info: heard.append(info))
    quietly(model, samples(name), Y)
    read = boards_of(tmp_path / "run")
    expected = {"loss"} | ({"validation_score"} if name == "mlp" else set())
    expected |= set() if name == "logistic" else {"learning_rate"}
    assert set(read) == expected
    for tag, events in read.items():
        assert events == [(info.epoch, np.float32(getattr(info, tag))) for info in heard]
    assert_equal(model, quietly(clone(MODELS[name]), samples(name), Y))


def test_records_are_what_their_definition_says():
    """The check value of RFC 3720, and a record taken apart by hand."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    record = scalars_record(1.5, 300, {"loss": 0.25})
    (length,) = struct.unpack("<Q", record[:8])
    data = record[12 : 12 + length]
    assert len(record) == 8 + 4 + length + 4
    assert data[:12] == b"\x09" + struct.pack("<d", 1.5) + b"\x10\xac\x02"
    summary = b"\x0a\x04loss\x15" + struct.pack("<f", 0.25)
    assert data[12:] == bytes([0x2A, len(summary) + 2, 0x0A, len(summary)]) + summary
    # values that single precision does not hold
    assert struct.pack("<f", np.inf) in scalars_record(0.0, 1, {"loss": 1e300})


def test_a_fit_that_goes_on_takes_the_place_of_later_epochs(tmp_path):
    run, files = tmp_path / "run", tmp_path / "{epoch}.ckpt"
    model = quietly(logged("mlp", TensorBoard(run), Checkpoint(files)), X, Y)
    quietly(logged("mlp", TensorBoard(run)), X, Y, resume_from=tmp_path / "3.ckpt")
    assert len(list(run.iterdir())) == 2
    losses = [np.float32(loss) for loss in model.loss_curve_]
    assert boards_of(run)["loss"] == list(enumerate(losses, start=1))


def test_calls_of_partial_fit_are_steps(tmp_path):
    model = logged("perceptron", TensorBoard(tmp_path))
    for _ in range(3):
        model.partial_fit(X, Y, classes=np.unique(Y))
    assert [step for step, _ in boards_of(tmp_path)["loss"]] == [1, 2, 3]


def test_curves_after_ctrl_c(tmp_path):
    with pytest.warns(UserWarning, match="interrupted by user"):
        logged("mlp", TensorBoard(tmp_path), Fails(2, KeyboardInterrupt())).fit(X, Y)
    assert [step for step, _ in boards_of(tmp_path)["loss"]] == [1, 2]


# Searches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [None, 2])
@each_kind
def test_each_fit_of_a_search_has_its_own(kind, n_jobs, tmp_path):
    """Twelve fits and the refit; the next search takes the numbers that follow."""
    grid = {"alpha": [1e-4, 1e-2, 1.0]}
    model = logged("mlp", kind(tmp_path / "a={alpha:.0e}-{fit:02d}.log"))
    for n in (1, 2):
        GridSearchCV(model, grid, cv=4, n_jobs=n_jobs).fit(X, Y)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert len(names) == 13 * n
        for alpha in ("1e-04", "1e-02", "1e+00"):
            own = [name for name in names if name.startswith(f"a={alpha}-")]
            assert [int(name[-6:-4]) for name in own] == list(range(1, len(own) + 1))
            assert len(own) in (4 * n, 5 * n)
    whole = {
        CSVLogger: lambda path: epochs_of(path)[0] == 1,
        TensorBoard: lambda path: len(list(path.iterdir())) == 1,
        Checkpoint: lambda path: read_archive(path)[0]["n_iter"] > 1,
    }
    assert all(map(whole[kind], tmp_path.iterdir()))


@each_kind
def test_a_search_that_would_write_over_itself_is_refused(kind, tmp_path):
    one = kind(tmp_path / "run")
    message = rf"{kind.__name__}\(.*would write the same place.*put {{fit}} into the path"
    for fused in (True, False):
        for model, grid in (
            (logged("mlp", one), {"alpha": [0, 1]}),
            (logged("logistic", one), {"C": [0, 1]}),
            (make_pipeline(StandardScaler(), logged("mlp", one)), {"mlpclassifier__alpha": [0]}),
        ):
            for n_jobs in (None, 2):
                with pytest.raises(ValueError, match=message):
                    GridSearchCV(model, grid, cv=2, fused=fused, n_jobs=n_jobs).fit(X, Y)
            with pytest.raises(ValueError, match=message):
                HalvingGridSearchCV(model, grid, cv=2, fused=fused).fit(X, Y)
            with pytest.raises(ValueError, match=message):
                cross_val_score(model, X, Y, cv=2, fused=fused)
    # callbacks that candidates set
    with pytest.raises(ValueError, match=message):
        GridSearchCV(MODELS["mlp"], {"callbacks": [None, [one]]}, cv=2).fit(X, Y)
    assert list(tmp_path.iterdir()) == []


def test_a_search_with_files_has_the_results_of_one_without(tmp_path):
    grid, scores = {"alpha": [1e-4, 1.0]}, []
    for callbacks in ([], [CSVLogger(tmp_path / "{fit}.csv"), TensorBoard(tmp_path / "{fit}")]):
        search = GridSearchCV(logged("mlp", *callbacks), grid, cv=3).fit(X, Y)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", ["{epoch}-{fit:02d}", "{fit:02d}.{epoch:03d}"])
def test_files_of_epochs_have_the_number_of_their_fit(name, tmp_path):
    """Also where one fit writes fewer of them, so that no file has the name of its next."""
    for kept in ([2, 4, 6], [1, 2, 3, 4, 5, 6], [6]):
        every = kept[0]
        model = logged("perceptron", Checkpoint(tmp_path / name, every))
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        quietly(model, X, Y)
        assert all(path.read_bytes() == content for path, content in before.items())
        new = set(tmp_path.iterdir()) - set(before)
        assert sorted(read_archive(path)[0]["n_iter"] for path in new) == kept


def test_a_fit_with_a_number_can_be_resumed(tmp_path):
    """A fit that goes on takes a file of its own."""
    model = logged("mlp", Checkpoint(tmp_path / "a={alpha}-{fit}"))
    model.callbacks.append(lambda e, info: info.epoch == 3)
    quietly(model, X, Y)
    quietly(model, X, Y, resume_from=tmp_path / "a=0.0001-1")
    epochs = [read_archive(tmp_path / f"a=0.0001-{k}")[0]["n_iter"] for k in (1, 2)]
    assert epochs == [3, 6]


# Paths -------------------------------------------------------------------------------------------


def test_a_path_has_the_values_of_parameters(tmp_path):
    model = MLPClassifier((6, 3), alpha=0.5, solver="sgd")
    path = RunPath("{hidden_layer_sizes}-{alpha:.2f}-{solver}-{batch_size}-{random_state}.csv")
    assert path.of(model, None).name == "6-3-0.50-sgd-auto-None.csv"
    # nothing in a value leads to another folder
    assert RunPath("{device}").of(model.set_params(device="../cuda:1"), None).name == "..-cuda-1"
    with pytest.raises(ValueError, match=r"MLPClassifier has no parameter 'C'.*\{fit\}, .*\{alpha"):
        RunPath("{C}.csv").of(model, None)


@pytest.mark.parametrize("path", ["{", "{}", "{0}", "{alpha.real}", "a}b"])
@each_kind
def test_what_is_no_placeholder_is_refused(path, kind):
    with pytest.raises(ValueError, match="path is|placeholders of a path are"):
        kind(path)


def test_append_and_a_number_contradict_each_other():
    with pytest.raises(ValueError, match=r"append=True goes on in a file, but {fit} makes new"):
        CSVLogger("{fit}.csv", append=True)


@each_kind
def test_clone_and_pickle(kind, tmp_path):
    logger = kind(tmp_path / "{fit}")
    model = quietly(logged("mlp", logger), X, Y)
    own = clone(model).callbacks[0]
    new, place = kind(tmp_path / "{fit}"), "_number" if kind is Checkpoint else "_file"
    assert own is not logger and repr(own) == repr(logger)
    assert getattr(logger, place) is not None
    assert getattr(own, place) == getattr(new, place)  # it knows nothing of the fit
    loaded = pickle.loads(pickle.dumps(model)).callbacks[0]
    assert vars(loaded).keys() == vars(logger).keys()
    assert getattr(loaded, place) == getattr(logger, place)
