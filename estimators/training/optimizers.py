"""The solvers of the networks: one table for validation, docstrings, training and conversion.

A solver is one entry of `SOLVERS`. Apart from the defaults of the estimators, no other code of this
package asks for a solver by its name. So a new one needs its op in `cukernels`, and an entry.
`tests/test_solvers.py` walks the table and holds each entry to the signature of its op.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from cukernels import adam, adamw, rmsprop, sgd
from estimators.optimize.lbfgs import LBFGSResult, minimize_lbfgs


def _same(*names: str) -> dict[str, str]:
    """Return a mapping for arguments of an op that have the names of what they are taken from."""
    return {name: name for name in names}


@dataclass(frozen=True, kw_only=True)
class Solver:
    """What the rest of the package has to know about a solver.

    It has either an `op`, which takes one step of a stack of M models with P parameters each, or
    `minimize`, which is given the loss of all rows at once. The op is called as
    ``op(params, grads, *moments, n_decayed=..., **vectors)``; the fields `settings`, `shared` and
    `of_step` say where its other arguments come from.

    Attributes
    ----------
    summary : str
        What it is, for the docstrings of the estimators.
    op : callable or None, default=None
        The op of `cukernels` that takes a step, in place.
    moments : tuple of str, default=()
        Arguments of the op that it keeps from step to step. They are arrays of shape (M, P), which
        are zero at the start. `partial_fit` goes on with them.
    settings : mapping of str to str, default={}
        The hyperparameter that each argument of the op is taken from. It becomes a vector of shape
        (M,), so the models of a stack may differ in it.
    shared : mapping of str to str, default={}
        The same for hyperparameters in which all models of a stack agree.
    of_step : mapping of str to str, default={}
        The attribute of `Step` that each argument of the op is taken from: a vector of shape (M,)
        that differs from step to step.
    epoch_schedules : bool, default=True
        Whether the learning rates that change between epochs, "invscaling" and "adaptive", apply.
    minimize : callable or None, default=None
        A minimiser with the signature of `minimize_lbfgs`.
    in_sklearn : str or None, default=None
        What scikit-learn's MLPClassifier calls it; None if it has no such solver.
    """

    summary: str
    op: Callable[..., None] | None = None
    moments: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    of_step: Mapping[str, str] = field(default_factory=dict)
    epoch_schedules: bool = True
    minimize: Callable[..., LBFGSResult] | None = None
    in_sklearn: str | None = None

    @property
    def goes_by_steps(self) -> bool:
        """Whether it learns from one minibatch after the other, and not from all rows at once."""
        return self.op is not None

    @property
    def copies(self) -> int:
        """How many arrays of the size of the parameters it takes to train in steps.

        These are parameters, gradients and moments, and copies of an epoch's begin for Ctrl-C.
        """
        return 3 + 2 * len(self.moments)

    @property
    def penalises(self) -> bool:
        """Whether `alpha` is a penalty in the loss, and not only an argument of the op."""
        return not self.goes_by_steps or "l2" in self.of_step

    def uses(self, name: str) -> bool:
        """Return whether it reads a hyperparameter, or has a property, of this name."""
        return name in {*self.settings.values(), *self.shared.values()} or bool(
            getattr(self, name, False)
        )

    def agreed(self, settings: Any) -> tuple[Any, ...]:
        """Return the settings of a model in which all models of its stack have to agree."""
        return tuple(getattr(settings, name) for name in self.shared.values())


_PENALISED = _same("learning_rate", "l2")

SOLVERS: dict[str, Solver] = {
    "adam": Solver(
        summary="Adam (Kingma and Ba, arXiv:1412.6980)",
        op=adam,
        moments=("first", "second"),
        settings=_same("beta_1", "beta_2", "epsilon"),
        of_step=_PENALISED | {"step": "number"},
        epoch_schedules=False,  # as in scikit-learn
        in_sklearn="adam",
    ),
    "adamw": Solver(
        summary="Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101): a "
        "step of rate r shrinks the weights by ``r * alpha``, and the loss has no penalty",
        op=adamw,
        moments=("first", "second"),
        settings=_same("beta_1", "beta_2", "epsilon") | {"weight_decay": "alpha"},
        of_step=_same("learning_rate") | {"step": "number"},
    ),
    "rmsprop": Solver(
        summary="the gradient divided by the root of the running mean of its square (Tieleman and "
        "Hinton, lecture 6e, 2012), as PyTorch's RMSprop without momentum; with "
        "``beta_2=0.999``, the default, its first step is 30 times the rate, with PyTorch's 0.99 "
        "10 times",
        op=rmsprop,
        moments=("second",),
        settings=_same("beta_2", "epsilon"),
        of_step=_PENALISED,
    ),
    "sgd": Solver(
        summary="stochastic gradient descent with momentum",
        op=sgd,
        moments=("velocity",),
        settings=_same("momentum"),
        shared={"nesterov": "nesterovs_momentum"},
        of_step=_PENALISED,
        in_sklearn="sgd",
    ),
    "lbfgs": Solver(
        summary="L-BFGS, on all samples at once (Liu and Nocedal 1989)",
        minimize=minimize_lbfgs,
        epoch_schedules=False,
        in_sklearn="lbfgs",
    ),
}

# Vectors of the size of the parameters: the memory of L-BFGS, and what an iteration of it makes.
VECTORS_OF_LBFGS = 28
STEPPED = [name for name, solver in SOLVERS.items() if solver.goes_by_steps]


def solver_named(name: Any) -> Solver:
    """Return the entry of a solver.

    Raises
    ------
    ValueError
        If there is no solver of that name.
    """
    if not isinstance(name, str) or name not in SOLVERS:
        raise ValueError(f"there is no solver {name!r}: the solvers are {listed(SOLVERS)}")
    return SOLVERS[name]


def listed(names: Iterable[str], last: str = "and") -> str:
    """Return names in quotes, as a sentence lists them."""
    *others, end = [f'"{name}"' for name in names]
    return f"{', '.join(others)} {last} {end}" if others else end


_PLACES = re.compile(r"^( *)<summaries of solvers>|<solvers(?:\s+with\s+(\w+))?>", re.MULTILINE)
Class = TypeVar("Class", bound=type)


def lists_solvers(cls: Class) -> Class:
    """Write the table into the docstring of a class.

    ``<solvers>`` becomes the set of names. ``<solvers with momentum>`` becomes the names of those
    that use a hyperparameter, or have a property, of that name. ``<summaries of solvers>``, on a
    line of its own, becomes a list with the summary of each.
    """

    def filled(place: re.Match[str]) -> str:
        indent, which = place.groups()
        if indent is not None:
            lines = (f'- "{name}": {solver.summary}.' for name, solver in SOLVERS.items())
            fill = partial(
                textwrap.fill, width=100, initial_indent=indent, subsequent_indent=f"{indent}  "
            )
            return "\n".join(map(fill, lines))
        if which is None:
            return "{" + ", ".join(f'"{name}"' for name in SOLVERS) + "}"
        names = [name for name, solver in SOLVERS.items() if solver.uses(which)]
        if not names:
            raise ValueError(
                f"the docstring of {cls.__name__} lists the solvers with {which}: none"
            )
        return listed(names)

    if cls.__doc__ is not None:  # which python -OO leaves out
        cls.__doc__ = _PLACES.sub(filled, cls.__doc__)
    return cls
