"""What the ready callbacks have in common: they count epochs, and a clone of one is new."""

from __future__ import annotations

from inspect import signature
from typing import Any, Self

from estimators.shared.callbacks import EpochInfo


class EpochCallback:
    """A callback that knows which epoch it is in, also where `partial_fit` makes each of them.

    Attributes
    ----------
    needs_fitted : bool
        Whether it looks at the weights of the estimator that it is called with. Where none does,
        they stay on their device.
    may_stop : bool
        Whether it stops fits, or chooses their weights, by what it remembers.
    """

    needs_fitted = False
    may_stop = False
    _is_in_fit = False
    _epoch = 0  # the last one that has ended

    def on_fit_begin(self, estimator: Any, info: EpochInfo) -> None:
        """Begin anew.

        Parameters
        ----------
        estimator : estimator
            A copy of the estimator, whose fit begins.
        info : EpochInfo
            How many epochs are planned, and how many a file has had that the fit goes on from.
        """
        self._is_in_fit, self._epoch = True, info.epoch

    def on_fit_end(self, estimator: Any, info: EpochInfo) -> None:
        """End, however the fit has ended.

        Parameters
        ----------
        estimator : estimator
            The copy that the callback was given last.
        info : EpochInfo
            How far the fit has come.
        """
        self._is_in_fit = False

    def _count(self, info: EpochInfo) -> int:
        """Return the number of an epoch that has ended; calls of `partial_fit` are counted on."""
        self._epoch = info.epoch if self._is_in_fit else self._epoch + 1
        return self._epoch

    def __sklearn_clone__(self) -> Self:
        """Return one with the same parameters, which knows of no fit.

        So each fit of a search has its own.
        """
        return type(self)(**self._parameters())

    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def __repr__(self) -> str:
        of = signature(type(self)).parameters
        own = {n: v for n, v in self._parameters().items() if v is not of[n].default}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in own.items())})"
