"""Which fits of a search are trained at once: as many as the memory allows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from estimators.search.fits import StackedFit
from estimators.search.shared_steps import first_steps

FRACTION_OF_FREE_MEMORY = 0.25  # that the models of a search may take, if nobody says
_COPIES = 2  # of samples that a pipeline makes for a fold: its own, and those of all folds joined


def batches(fits: Iterable[StackedFit], limit: Callable[[str], int]) -> Iterator[list[StackedFit]]:
    """Prepare the fits, and yield those that are to be trained at once.

    Fits that share what the steps of a pipeline make of a fold come in succession, so that it can
    be dropped soon.

    Parameters
    ----------
    fits : iterable of StackedFit
        All fits.
    limit : callable
        Returns how many bytes they may take on a device.
    """
    folds: dict[int, int] = {}

    def place(fit: StackedFit) -> tuple[str, int]:
        # others come candidate after candidate, so that Ctrl-C leaves some with all their scores
        own = _rows(fit) if first_steps(fit.estimator) is not None else 0
        return fit.steps, folds.setdefault(own, len(folds))

    queue = sorted(fits, key=place)
    while queue:
        n_bytes, n_fits, max_bytes = 0, 0, sys.maxsize
        counted: set[int] = set()  # samples of pipelines
        of_fold = 0  # what the first fit of a fold has added
        for fit in queue:
            # one that does not fit in is better not prepared, which may cost much
            is_next_fold = _rows(fit) != _rows(queue[max(n_fits - 1, 0)])
            more = of_fold if is_next_fold and not fit.tried_to_prepare else 0
            if n_fits and n_bytes + max(more, 1) > max_bytes:
                break
            if not fit.tried_to_prepare:
                fit.prepare()
            max_bytes = min(max_bytes, limit(fit.device))
            of_samples = 0 if id(fit.own_samples) in counted else _COPIES * fit.samples_bytes
            own = fit.n_bytes + of_samples
            if n_fits and n_bytes + own > max_bytes:
                break
            of_fold = own if of_samples else of_fold
            counted.add(id(fit.own_samples))
            n_bytes, n_fits = n_bytes + own, n_fits + 1
        batch, queue = queue[:n_fits], queue[n_fits:]
        yield batch


def _rows(fit: StackedFit) -> int:
    """Return what tells the rows of a fit's fold from others."""
    return id(fit.arguments.get("train"))
