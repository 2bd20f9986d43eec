"""Where the samples of a fit lie: on its device, or on the host while it trains on a GPU."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from cukernels.runtime import to_device
from estimators.shared.samples import Samples
from estimators.training.data import Data
from estimators.training.member import Member
from estimators.training.network import Network
from estimators.training.optimizers import Solver, solver_named


class PlacedFit:
    """The part of `NeuralFit` that has to do with the places of its samples.

    Attributes
    ----------
    streamed, held_out_streamed : bool
        Whether the device has no room for the samples, or for a validation set of the user's own,
        so that they come to it step by step.
    is_kept : bool
        Whether the device keeps the samples for the stacks to come. Else they are only there among
        those of a stack.
    """

    network: Network
    member: Member
    samples: Samples
    X: Any
    targets: np.ndarray
    device: str
    streamed = held_out_streamed = False
    is_kept = True

    @property
    def solver(self) -> Solver:
        """The entry of its solver."""
        return solver_named(self.member.settings.solver)

    @property
    def can_stream(self) -> bool:
        """Whether samples may stay on the host, and come to a GPU step by step."""
        return self.solver.goes_by_steps and isinstance(self.X, np.ndarray)

    @property
    def held_out_data(self) -> Data | None:
        """A validation set of the user's own, if the solver looks at it."""
        own = self.member.held_out
        return None if own is None or not self.solver.goes_by_steps else own.data

    @property
    def _place(self) -> tuple[Hashable, ...]:
        """How the samples lie."""
        return (self.network.shapes[0], self.member.state.params.dtype)

    @property
    def is_placed(self) -> bool:
        """Whether the device has the samples, which another fit has brought there."""
        if not sp.issparse(self.X):
            return self.samples.kept(self.device, self._place) is not None
        kept = self.samples.kept(self.device, (*self._place, id(self.targets)))
        return kept is not None and kept[1].is_placed

    def data(self) -> Data:
        """Return samples and targets on the device, or with samples that are still on the host.

        What the device keeps is one copy for all fits that share it.
        """
        X, place = self.X, self._place
        if not sp.issparse(X):
            X = X.reshape(len(X), *self.network.shapes[0])
        if self.streamed or not self.is_kept:
            return Data(X, to_device(self.targets, self.device), place[-1])

        def placed() -> tuple[np.ndarray, Data]:
            x = X
            if not sp.issparse(X):
                x = self.samples.keep(self.device, place, lambda: to_device(X, self.device))
            return self.targets, Data(x, to_device(self.targets, self.device), place[-1])

        # The entry holds the targets, so that no other array can have their identity.
        return self.samples.keep(self.device, (*place, id(self.targets)), placed)[1]


def joined_data(fits: Sequence[PlacedFit]) -> Data:
    """Return the data of a stack, and tell each member which rows of it are its own."""
    sets: dict[tuple, PlacedFit] = {}
    for fit in fits:
        sets.setdefault((id(fit.samples), id(fit.targets)), fit)
        own, data = fit.member.held_out, fit.held_out_data
        if own is not None and data is not None:
            own.data = data.brought_to(fit.device, streamed=fit.held_out_streamed)
    data, begins = Data.joined([fit.data() for fit in sets.values()], streamed=fits[0].streamed)
    for fit in fits:
        place = list(sets).index((id(fit.samples), id(fit.targets)))
        fit.member.first_row = int(begins[place])
    return data
