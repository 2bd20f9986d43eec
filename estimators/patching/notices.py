"""What is said of a patch: what was replaced, and which objects scikit-learn fits itself.

A program that was written for scikit-learn knows nothing of this package. So what is said must not
change what it does: no line on its standard output, which others may read, and no warning, which
the program may count or turn into an error. Notices go to the logger `estimators.patching`: where
the program has set up logging they appear there, and else on standard error.
"""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("estimators.patching")
_said: set[str] = set()


class _StandardError(logging.Handler):
    """Writes to what `sys.stderr` is now, unless the program has handlers of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if not logging.getLogger().handlers and sys.stderr is not None:
            print(f"estimators: {record.getMessage()}", file=sys.stderr)  # noqa: T201


_handler = _StandardError()
# without a handler, logging itself would write warnings to standard error
logger.addHandler(logging.NullHandler())


def set_verbose(verbose: bool) -> None:
    """Choose whether notices are written to standard error where no logging is set up.

    What was said once may be said again after this.
    """
    logger.removeHandler(_handler)
    logger.setLevel(logging.INFO)
    if verbose:
        logger.addHandler(_handler)
    _said.clear()


def say(message: str) -> None:
    """Say what was done as asked."""
    logger.info(message)


def say_once(message: str) -> None:
    """Say what may surprise, once in this process."""
    if message not in _said:
        _said.add(message)
        logger.warning(message)
