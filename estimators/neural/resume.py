"""Fits of networks that go on from a file: what is written of one, and how another takes it up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cukernels import __version__
from estimators.checkpoints.archive import read_archive, write_archive
from estimators.checkpoints.fingerprint import differences, digest_of, parameters_of, plain
from estimators.checkpoints.generators import read_generator, written_generator
from estimators.training.member import Arrays, Member, Streams, TrainingState
from estimators.training.schedules import PER_STEP

_FORMAT = 1
_NUMBERS = (
    *("solver", "step", "learning_rate", "n_iter", "t", "loss"),
    *("best_loss", "best_validation_score", "no_improvement"),
)
_LISTS = "loss_curve", "validation_scores"
_MOST = 2**53  # epochs, or steps: the device counts them in 64 bits


def fit_described(fit: Any) -> dict[str, Any]:
    """Return what a fit depends on, as `differences` compares it."""
    member, held_out = fit.member, fit.member.held_out
    rows = member.rows
    if held_out is not None and held_out.data is None:
        rows = np.concatenate([rows, held_out.rows])
    data = {
        "the choice of rows": np.sort(rows),
        "the classes": fit.estimator.classes_,
        "sample_weight": member.sample_weight,
        "X_val": None if held_out is None or held_out.data is None else held_out.data.X,
        "y_val": None if held_out is None or held_out.data is None else held_out.labels,
    }
    return {
        "version": __version__,
        "class": type(fit.estimator).__name__,
        "parameters": parameters_of(fit.estimator),
        "data": {name: digest_of(values) for name, values in data.items()}
        | {"X": _shared_digest(fit, fit.X), "y": _shared_digest(fit, fit.targets)},
    }


def _shared_digest(fit: Any, values: Any) -> dict[str, Any] | None:
    """Return a digest, made once for all fits that share the values."""
    # The entry holds the values, so that no others can have their identity.
    make = lambda: (values, digest_of(values))  # noqa: E731
    return fit.samples.once(("digest", id(values)), make)[1]


def write_fit(
    path: str | os.PathLike[str],
    described: Mapping[str, Any],
    member: Member,
    arrays: Arrays,
    max_iter: int,
    *,
    has_ended: bool,
) -> None:
    """Write all that a fit needs to go on from the epoch that has just ended.

    Parameters
    ----------
    path : path
        The file.
    described : mapping
        What `fit_described` has returned.
    member, arrays
        The model.
    max_iter : int
        The most epochs of its fit.
    has_ended : bool
        Whether this was its last epoch, also if there could be more.
    """
    state, streams = member.state.with_arrays(arrays), member.streams
    meta = {
        "format": _FORMAT,
        **described,
        "state": {name: plain(getattr(state, name)) for name in _NUMBERS},
        "order": written_generator(streams.order),
        "changes": written_generator(streams.changes),
        "dropout": plain(member.dropout),
        "max_iter": max_iter,
        "has_ended": has_ended,
    }
    held_out = member.held_out
    written = {
        "params": state.params,
        **{f"moments.{name}": a for name, a in state.moments.items()},
        **{name: np.array(getattr(state, name), float) for name in _LISTS},
        "rows": streams.rows,
        "best_params": state.best_params,
        "held_out": None if held_out is None or held_out.data is not None else held_out.rows,
    }
    write_archive(path, meta, {n: a for n, a in written.items() if a is not None})


def resume(fit: Any, path: str | os.PathLike[str]) -> None:
    """Let a fit that is prepared go on from a file.

    Parameters
    ----------
    fit : NeuralFit
        The fit.
    path : path
        The file.

    Raises
    ------
    ValueError
        If the file is of another fit, or damaged. The message names what differs.
    """
    meta, arrays = read_archive(path)
    if meta.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)!r} is no checkpoint of a network")
    described = fit_described(fit)
    try:
        differ = differences(meta, described)
        if not differ:
            state = _state_of(fit.member.state, meta, arrays)
            differ = _limits(fit, meta, state)
        if not differ:
            _go_on(fit, meta, arrays, state)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged: {error}") from error
    if differ:
        raise ValueError(
            f"{os.fspath(path)!r} belongs to another fit, which this one cannot resume: "
            + "; ".join(differ)
        )


def _limits(fit: Any, meta: Mapping[str, Any], state: TrainingState) -> list[str]:
    """Return what forbids to go on with another `max_iter` than before."""
    before, now = meta["max_iter"], fit.estimator.max_iter
    if fit.member.settings.learning_rate in PER_STEP and before != now:
        return [f"max_iter was {before} and is {now}, and the learning rates follow from it"]
    if state.n_iter > now:
        return [f"max_iter is {now}, and {state.n_iter} epochs are done"]
    return []


def _state_of(
    start: TrainingState, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> TrainingState:
    """Return the state in a file. `start` says which arrays it has to have."""
    numbers = {name: type(getattr(start, name))(meta["state"][name]) for name in _NUMBERS}
    if not all(0 <= numbers[name] < _MOST for name in ("step", "n_iter", "t", "no_improvement")):
        raise ValueError("a number of epochs or steps is none")
    if any(arrays[name].ndim != 1 or arrays[name].dtype != float for name in _LISTS):
        raise ValueError("the losses or scores of the epochs are no numbers")
    params = start.params

    def vector(name: str) -> np.ndarray:
        values = arrays[name]
        if values.shape != params.shape or values.dtype != params.dtype:
            raise ValueError(f"{name} has shape {values.shape} and dtype {values.dtype}")
        return values

    return replace(
        start,
        **numbers,
        **{name: arrays[name].tolist() for name in _LISTS},
        params=vector("params"),
        moments={name: vector(f"moments.{name}") for name in start.moments},
        best_params=vector("best_params") if "best_params" in arrays else None,
    )


def _go_on(
    fit: Any,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    state: TrainingState,
) -> None:
    # what can be wrong comes first: a search begins a fit anew whose file is refused
    member = fit.member
    changes = None if meta["changes"] is None else read_generator(meta["changes"])
    order = read_generator(meta["order"])
    for generator in (order, changes):
        if generator is not None:
            np.random.RandomState().set_state(generator)
    if [rate for rate, _ in meta["dropout"]] != [rate for rate, _ in member.dropout]:
        raise ValueError("the rates of dropout are others")
    dropout = [(float(rate), int(np.uint64(seed))) for rate, seed in meta["dropout"]]
    rows = _rows_of(arrays["rows"], fit.X.shape[0], len(member.rows))
    if member.held_out is not None and member.held_out.data is None:
        places = _rows_of(arrays["held_out"], fit.X.shape[0], len(member.held_out.rows))
        member.held_out = fit.held_out_of(places)
    if fit.estimator.random_state is None:  # NumPy's global generator is not ours to set
        member.order.rng = np.random.RandomState()
    member.dropout, member.state, member.has_ended = dropout, state, bool(meta["has_ended"])
    member.streams = Streams(rows, order, changes)


def _rows_of(rows: np.ndarray, n_samples: int, count: int) -> np.ndarray:
    """Return row numbers of a file; kernels look them up unseen."""
    if rows.dtype.kind != "i" or rows.shape != (count,):
        raise ValueError(f"there are {rows.shape} rows in place of {count}")
    if rows.min() < 0 or rows.max() >= n_samples:
        raise ValueError("a row is outside of X")
    return rows.astype(np.intp)
