"""The order in which a model goes through its rows. Models that draw the same orders share one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(eq=False)
class RowOrder:
    """Rows in their present order, and where the next order comes from.

    Attributes
    ----------
    rows : integer ndarray
        The rows of the data, in their present order.
    rng : RandomState
        Where the shuffles come from.
    shuffles : bool, default=True
        Whether each epoch has a new order.
    is_private : bool, default=False
        Whether nobody else draws from `rng`, or looks at it. Then it makes no difference when the
        orders are drawn, nor how often.
    """

    rows: np.ndarray
    rng: np.random.RandomState
    shuffles: bool = True
    is_private: bool = False

    def next(self) -> None:
        """Shuffle the rows, with scikit-learn's draws."""
        if self.shuffles:
            order = np.arange(len(self.rows))
            self.rng.shuffle(order)
            self.rows = self.rows[order]

    @property
    def key(self) -> Hashable:
        """What two orders have in common if all that they will draw is the same."""
        if not self.is_private:
            return id(self)
        stream: Any = self.rng.get_state(legacy=False)["state"]
        state = (stream["key"].tobytes(), stream["pos"]) if self.shuffles else ()
        return self.shuffles, state, self.rows.dtype, self.rows.tobytes()


def share_orders(members: Sequence[Any]) -> None:
    """Let models of a stack that will draw the same orders have one `RowOrder` together.

    A grid search has many candidates with one seed on each fold. A shuffle of 60,000 rows takes as
    long as twenty steps of a small network on a GPU, and models with the same order can also share
    the samples of their batches.
    """
    first: dict[Hashable, RowOrder] = {}
    for member in members:
        key = member.first_row, member.order.key
        member.order = first.setdefault(key, member.order)
