"""What a fit of a network tells its callbacks, and what it writes for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from estimators.neural.attributes import fitted_attributes
from estimators.neural.resume import write_network
from estimators.shared.callbacks import EpochCallbacks
from estimators.training.member import Arrays, Member, TrainingState
from estimators.training.network import Network


class NetworkCallbacks(EpochCallbacks):
    """All callbacks of one fit of a network; see `EpochCallbacks`.

    Parameters
    ----------
    estimator : MLPClassifier or ConvNetClassifier
        The estimator that is fitted. Its labels are known.
    network : Network
        Its layers.
    X, y, sample_weight
        What it is fitted on.
    n_epochs : int
        The most epochs.
    """

    def __init__(
        self,
        estimator: Any,
        network: Network,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        n_epochs: int,
    ) -> None:
        # No bound method: the cycle through it would keep X until Python looks for cycles.
        attributes = partial(_attributes, estimator, network)
        super().__init__(estimator, X, y, sample_weight, n_epochs, attributes)

    def tell(self, member: Member, arrays: Arrays) -> bool:
        """Tell that an epoch has ended; return whether a callback wants to stop.

        Parameters
        ----------
        member : Member
            The model.
        arrays : Arrays
            Its parameters and moments now. Those of its state are older.
        """
        if not self.are_heard:
            return False
        state = member.state
        score = state.validation_scores[-1] if state.validation_scores else None
        return self.epoch(
            self.info(state.n_iter, state.loss, score, member.rate),
            (state, arrays),
            # what is lost is no use to anybody
            None if member.is_lost else partial(write_network, member, arrays),
            is_last=arrays.are_last or member.is_over,
        )


def _attributes(
    estimator: Any, network: Network, state: TrainingState, arrays: Arrays
) -> dict[str, Any]:
    return fitted_attributes(estimator, network, state.with_arrays(arrays))
