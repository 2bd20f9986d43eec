"""Fits of networks that go on from a file: what is written of one, and how another takes it up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from estimators.checkpoints.fingerprint import digest_of, plain
from estimators.checkpoints.fits import beyond, described, resume_fit, write_fit
from estimators.checkpoints.generators import read_generator, written_generator
from estimators.checkpoints.parts import array_in, rows_in
from estimators.optimize.states import LBFGSState
from estimators.shared.callbacks import EpochInfo
from estimators.training.member import Arrays, Member, Streams, TrainingState
from estimators.training.optimizers import solver_named
from estimators.training.schedules import PER_STEP

_NUMBERS = (
    *("solver", "step", "learning_rate", "n_iter", "t", "loss"),
    *("best_loss", "best_validation_score", "no_improvement"),
)
_LISTS = "loss_curve", "validation_scores"
_MOST = 2**53  # epochs, or steps: the device counts them in 64 bits
_OF_LBFGS = "lbfgs."


def describe_network(fit: Any) -> dict[str, Any]:
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
    description = described(fit.estimator, data)
    description["data"] |= {"X": _shared_digest(fit, fit.X), "y": _shared_digest(fit, fit.targets)}
    return description


def _shared_digest(fit: Any, values: Any) -> dict[str, Any] | None:
    """Return a digest, made once for all fits that share the values."""
    # The entry holds the values, so that no others can have their identity.
    make = lambda: (values, digest_of(values))  # noqa: E731
    return fit.samples.once(("digest", id(values)), make)[1]


def write_network(
    member: Member,
    arrays: Arrays,
    path: Path,
    description: Mapping[str, Any],
    info: EpochInfo,
) -> None:
    """Write a network after an epoch; see `write_fit`.

    Parameters
    ----------
    member, arrays
        The model.
    path, description, info
        As `write_fit` takes them.
    """
    state, streams = member.state.with_arrays(arrays), member.streams
    meta = {
        "has_ended": member.is_over,  # by its own rule, also if there could be more epochs
        "state": {name: plain(getattr(state, name)) for name in _NUMBERS},
        "order": written_generator(streams.order),
        "changes": written_generator(streams.changes),
        "dropout": plain(member.dropout),
    }
    held_out = member.held_out
    of_lbfgs = {} if arrays.of_lbfgs is None else arrays.of_lbfgs().written()
    written = {
        "params": state.params,
        **{f"moments.{name}": a for name, a in state.moments.items()},
        **{_OF_LBFGS + name: a for name, a in of_lbfgs.items()},
        **{name: np.array(getattr(state, name), float) for name in _LISTS},
        "rows": streams.rows,
        "best_params": state.best_params,
        "held_out": None if held_out is None or held_out.data is not None else held_out.rows,
    }
    write_fit(path, description, info, meta, written)


def resume_network(fit: Any, path: str | os.PathLike[str]) -> None:
    """Let a fit that is prepared go on from a file; see `resume_fit`.

    Parameters
    ----------
    fit : NeuralFit
        The fit.
    path : path
        The file.
    """
    resume_fit(path, describe_network(fit), partial(_take_up, fit))


def _take_up(fit: Any, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Let a fit go on from a file, or return what forbids it."""
    state = _state_of(fit.member.state, meta, arrays)
    forbids = _limits(fit, meta, state)
    if not forbids:
        _go_on(fit, meta, arrays, state)
    return forbids


def _limits(fit: Any, meta: Mapping[str, Any], state: TrainingState) -> list[str]:
    """Return what forbids to go on with another `max_iter` than before."""
    before, now = meta["max_iter"], fit.estimator.max_iter
    if fit.member.settings.learning_rate in PER_STEP and before != now:
        return [f"max_iter was {before} and is {now}, and the learning rates follow from it"]
    return beyond(state.n_iter, now)


def _state_of(
    start: TrainingState, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> TrainingState:
    """Return the state in a file. `start` says which arrays it has to have."""
    numbers = {name: type(getattr(start, name))(meta["state"][name]) for name in _NUMBERS}
    if not all(0 <= numbers[name] < _MOST for name in ("step", "n_iter", "t", "no_improvement")):
        raise ValueError("a number of epochs or steps is none")
    if any(arrays[name].ndim != 1 or arrays[name].dtype != float for name in _LISTS):
        raise ValueError("the losses or scores of the epochs are no numbers")
    like = start.params.shape, start.params.dtype
    return replace(
        start,
        **numbers,
        **{name: arrays[name].tolist() for name in _LISTS},
        params=array_in(arrays, "params", *like),
        moments={name: array_in(arrays, f"moments.{name}", *like) for name in start.moments},
        best_params=array_in(arrays, "best_params", *like) if "best_params" in arrays else None,
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
    rows = rows_in(arrays, "rows", fit.X.shape[0], len(member.rows))
    has_ended = bool(meta["has_ended"])
    of_lbfgs = None
    if not solver_named(member.settings.solver).goes_by_steps:
        own = {n.removeprefix(_OF_LBFGS): a for n, a in arrays.items() if n.startswith(_OF_LBFGS)}
        of_lbfgs = LBFGSState.read(own, state.params)
    if member.held_out is not None and member.held_out.data is None:
        places = rows_in(arrays, "held_out", fit.X.shape[0], len(member.held_out.rows))
        member.held_out = fit.held_out_of(places)
    if fit.estimator.random_state is None:  # NumPy's global generator is not ours to set
        member.order.rng = np.random.RandomState()
    member.dropout, member.state = dropout, state
    member.has_ended, member.of_lbfgs = has_ended, of_lbfgs
    member.streams = Streams(rows, order, changes)
