"""Check on this machine that every body of every op computes what the definition says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cukernels.runtime.arrays import current, to_device
from cukernels.runtime.cases import DTYPES, Case, Verdict, backwards, cases, contiguous, judge_body
from cukernels.runtime.registry import OPS

# How arrays are stored: a layout that every body takes as it is, and one that no kernel does. The
# definition is array code, to which a layout is nothing; and a user waits for this check.
LAYOUTS_OF_DEFINITION = (contiguous,)
LAYOUTS_OF_BODIES = (contiguous, backwards)


class Check(NamedTuple):
    """The result of comparing one body of an op with its definition.

    Attributes
    ----------
    op, body : str
        Name of the op; "reference", "numpy" or the device of its CUDA body, as "cuda:0".
    calls : int
        How many samples, in float32 and in float64.
    error : float
        The largest error, in units of what rounding explains; above 1 the body is wrong.
    failure : str
        What is wrong; empty if nothing is.
    """

    op: str
    body: str
    calls: int
    error: float
    failure: str

    @property
    def passed(self) -> bool:
        """Whether the body computes what the definition says."""
        return not self.failure


def self_check(devices: list[str] | None = None) -> Iterator[Check]:
    """Compare every body of every op on this machine with the definition, computed in float64.

    Parameters
    ----------
    devices : list of str, default=None
        The GPUs to run the CUDA bodies on, as "cuda:0"; None means no GPU.

    Yields
    ------
    check : Check
    """
    by_op: dict[str, list[Case]] = {name: [] for name in OPS}
    for case in cases():
        by_op[case.op.name].append(case)
    for name, entry in OPS.items():
        yield check_body("reference", entry.reference, by_op[name])
        if entry.numpy is not None:
            yield check_body("numpy", entry.numpy, by_op[name])
        if entry.cuda is not None:
            for device in devices or []:
                yield check_body(device, entry.cuda, by_op[name], device)


def check_body(
    name: str, body: Callable[..., Any], cases_of_op: list[Case], device: str = "cpu"
) -> Check:
    """Compare a body with the definition in all cases of its op, in both precisions."""
    place = partial(to_device, device=device)
    layouts = LAYOUTS_OF_DEFINITION if name == "reference" else LAYOUTS_OF_BODIES
    op, worst, n_calls = cases_of_op[0].op.name, 0.0, 0
    for case in cases_of_op:
        for dtype in DTYPES:
            n_calls += 1
            try:
                with current(device):
                    verdict = judge_body(case, body, dtype, layouts=layouts, place=place)
            except Exception as error:  # noqa: BLE001 (whatever it is, the report says so)
                verdict = Verdict(np.inf, f"{type(error).__name__}: {error}")
            worst = max(worst, verdict.error)
            if verdict.failure:
                return Check(op, name, n_calls, worst, verdict.failure)
    return Check(op, name, n_calls, worst, "")
