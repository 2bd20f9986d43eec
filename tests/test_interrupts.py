"""Ctrl-C at any point: nothing hangs, BLAS has its threads again, and the helpers still help.

KeyboardInterrupt is raised after each line, and before each instruction, of the files that share
work out; in the main thread, as Python does it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

import _interrupted_fits
from _struck import Struck
from cukernels.runtime import arrays, blas_threads, interrupts, workers, workspace
from cukernels.runtime.workers import in_parallel, threads
from estimators.search import turns
from estimators.shared import interrupts as estimators_interrupts
from estimators.shared import known_outputs, warnings

ROOT, PACKAGES = Path(__file__).parents[1], ("cukernels", "estimators")
FILES = {module.__file__ for module in (workers, blas_threads, interrupts)}
SECONDS = 100  # until a test counts as hung, and the process ends with the stacks of all threads


@pytest.fixture(autouse=True)
def watchdog():
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@contextmanager
def all_well(at: Struck) -> Iterator[None]:
    """Everything is afterwards as it was before."""
    blas = ThreadpoolController().select(user_api="blas").lib_controllers
    before, strangers = [one.num_threads for one in blas], _threads() - workers._helpers
    yield
    assert [one.num_threads for one in blas] == before, at.at
    assert not blas_threads._holders and not blas_threads._turn, at.at
    assert blas_threads._before is None and not workers._open_jobs, at.at
    assert threads() == max(before), at.at
    both_are_here = threading.Barrier(2, timeout=30)
    who = in_parallel(lambda _, item: (both_are_here.wait(), threading.get_ident())[1], [0, 1])
    assert len(set(who)) == 2, at.at
    assert _threads() - strangers == workers._helpers, at.at


def _threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name == "cukernels"}


class Shared:
    """Items that two threads share, with a look at whether anybody still works at one."""

    def __init__(self) -> None:
        self.busy: set[int] = set()

    def item(self, state: None, item: int) -> int:
        self.busy.add(item)
        time.sleep(2e-4)
        self.busy.discard(item)
        return item * item

    def work(self) -> None:
        assert in_parallel(self.item, range(6)) == [i * i for i in range(6)]


@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_an_interrupt_anywhere_leaves_nothing_undone(kind, two_threads):
    in_parallel(lambda state, item: item, [0, 1])
    for place in itertools.count():
        strike, shared = Struck(FILES, kind, place), Shared()
        with all_well(strike):
            struck = strike.during(shared.work)
            assert not shared.busy, strike.at
        if not struck:
            break
    assert place > {"line": 60, "opcode": 300}[kind]


def test_a_second_interrupt_soon_after_the_first_neither(two_threads):
    in_parallel(lambda state, item: item, [0, 1])
    n_pairs = 0
    for place in itertools.count():
        for then in itertools.count(place % 3, 3):  # all would take half a minute
            strike, shared = Struck(FILES, "line", place, then), Shared()
            with all_well(strike):
                struck = strike.during(shared.work)
                assert not shared.busy, strike.at
            if not struck:
                break
            n_pairs += 1
        if strike.left >= 0:
            break
    assert n_pairs > 200


def test_an_interrupt_while_a_thread_starts_loses_none(two_threads):
    for place in itertools.count():
        strike, n = Struck(FILES, "line", place), len(workers._helpers)
        with all_well(strike):
            struck = strike.during(lambda n=n: workers._hire(n + 1))
            assert workers._hire(n + 1) == n + 1
            assert len(workers._helpers) == n + 1, strike.at
        if not struck:
            break
    assert place > 3


def test_an_interrupt_from_outside_at_any_moment():
    """A few of each; ``python tests/_interrupted_fits.py 100`` sends more."""
    faulthandler.cancel_dump_traceback_later()
    names = (*_interrupted_fits.FITS, *_interrupted_fits.SEARCHES)
    counts = _interrupted_fits.interrupt(names, 2)
    for name in names:
        assert counts[name]["fits"] == 2
        assert not any(counts[name][wrong] for wrong in _interrupted_fits.WRONG), name


@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_an_interrupt_anywhere_leaves_no_workspace(kind):
    """Else what is computed next would share the memory of what is computed after that."""
    workspaces = workspace.Workspaces()
    workspaces.compute(workspace.LARGE, lambda: workspace.empty((9,), float))
    for place in itertools.count():
        strike = Struck({workspace.__file__, interrupts.__file__}, kind, place)
        struck = strike.during(
            lambda: workspaces.compute(workspace.LARGE, lambda: workspace.empty((9,), float))
        )
        assert not workspace.is_active(), strike.at
        if not struck:
            break
    assert place > {"line": 30, "opcode": 150}[kind]


# Settings of a call ------------------------------------------------------------------------------

TURN, KNOWN = turns.Turn(jobs=3, number=2), known_outputs.KnownOutputs()
SETTINGS = {  # how a function is called with it, its variable, and the value that it has then
    "turn of a search": (partial(turns.in_turn, TURN), turns._CURRENT, TURN),
    "turn of a GPU": (partial(arrays.cuda_in_turn, 2), arrays._turn, 2),
    "issuer": (partial(warnings.issued_by, "sklearn"), warnings._issuer, "sklearn"),
    "warnings said": (warnings.one_of_each, warnings._said, set()),
    "Ctrl-C": (estimators_interrupts.interrupts_raise, estimators_interrupts._raises, True),
    "outputs": (KNOWN.during, known_outputs._OF_THIS_SEARCH, KNOWN),
}
SET_BY = {
    module.__file__
    for module in (interrupts, estimators_interrupts, arrays, turns, warnings, known_outputs)
}


def test_all_settings_are_known():
    """But the precision, which the user's own `with` sets."""
    known = {variable.name for _, variable, _ in SETTINGS.values()} | {"precision"}
    texts = [path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    assert {own for text in texts for own in re.findall(r"ContextVar\(\s*\"(\w+)", text)} == known


@pytest.mark.parametrize("kind", ["line", "opcode"])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_end_with_their_call_wherever_it_is_struck(name, kind):
    call, variable, value = SETTINGS[name]
    for place in itertools.count():
        strike = Struck(SET_BY, kind, place)
        struck = strike.during(lambda: call(variable.get))
        assert variable.get() != value, strike.at
        if not struck:
            break
    assert place > {"line": 3, "opcode": 20}[kind]
    assert call(variable.get) == value


@pytest.mark.parametrize("name", SETTINGS)
def test_keywords_of_any_name_go_to_the_function_that_is_called(name):
    given = dict.fromkeys(("function", "variable", "value", "module", "number", "turn", "self"), 1)
    assert SETTINGS[name][0](dict, **given) == given


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_function_sets_itself_stays_set(name):
    """Such as a scorer's `numpy.seterr`, and a block that it opens and somebody else closes."""
    call, opened = SETTINGS[name][0], contextlib.ExitStack()
    before = np.geterr()
    call(opened.enter_context, np.errstate(divide="raise", over="raise"))
    assert np.geterr()["over"] == "raise"
    opened.close()
    assert np.geterr() == before
