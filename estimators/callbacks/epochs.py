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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, by which a search varies them: ``callbacks__patience``.

        Parameters
        ----------
        deep : bool, default=True
            Changes nothing: none of them has parameters of its own.
        """
        return {name: getattr(self, name) for name in _defaults(type(self))}

    def set_params(self, **params: Any) -> Self:
        """Set some parameters; return the callback itself.

        Raises
        ------
        ValueError
            If there is no such parameter, or it does not take the value.
        """
        now = self.get_params()
        if unknown := sorted(params.keys() - now.keys()):
            raise ValueError(
                f"{type(self).__name__} has no parameter {unknown[0]!r}: it has {sorted(now)}"
            )
        type(self)(**now | params)  # which raises for what it does not take
        vars(self).update(params)
        return self

    def __sklearn_clone__(self) -> Self:
        """Return one with the same parameters, which knows of no fit.

        So each fit of a search has its own.
        """
        return type(self)(**self.get_params())

    def __repr__(self) -> str:
        defaults = _defaults(type(self))
        own = {n: v for n, v in self.get_params().items() if v is not defaults[n]}
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in own.items())})"


def _defaults(cls: type) -> dict[str, Any]:
    """Return the parameters of a class of callbacks, with their defaults.

    A subclass that hands ``**more`` on to its base has the parameters of that as well.
    """
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(signature(vars(base)["__init__"]).parameters.values())[1:]  # without self
        named = [p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        found = {p.name: p.default for p in named} | found
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return found
