"""Replace names of scikit-learn, and put them back."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable
from typing import Any

from estimators.patching import own_imports
from estimators.patching.notices import logger, say, say_once, set_verbose

_originals: dict[str, Any] = {}


def patch_sklearn(names: str | Iterable[str] | None = None, *, verbose: bool = True) -> None:
    """Put classes and functions of this package in the place of scikit-learn's of the same name.

    What is imported from scikit-learn after that is ours: ``from sklearn.linear_model import
    LogisticRegression`` as well as ``sklearn.linear_model.LogisticRegression``. Names that a
    program has imported before stay scikit-learn's. So do scikit-learn's own modules: a
    `StackingClassifier` combines by scikit-learn's LogisticRegression, unless it is given another.

    A replaced class has scikit-learn's parameters and defaults, and an `MLPClassifier` computes in
    the dtype of X, as scikit-learn's does (``dtype="auto"``). `isinstance` holds between replaced
    classes and scikit-learn's in both directions. A fit that our class refuses is made by
    scikit-learn's class on the same object; what that refuses too is its error.

    Parameters
    ----------
    names : str, iterable of str or None, default=None
        What to replace, such as "LogisticRegression" or ``["MLPClassifier", "GridSearchCV"]``.
        None: all that this package has of scikit-learn's names: LogisticRegression, Perceptron,
        MLPClassifier, and what is in `estimators.model_selection`. Names add up over calls.
    verbose : bool, default=True
        Whether to say on standard error what was replaced, and once for each reason that
        scikit-learn's class has made a fit. Where the program has set up `logging`, that goes there
        and not to standard error, in any case, from the logger "estimators.patching".

    Raises
    ------
    ValueError
        If a name is none that can be replaced. Nothing is replaced then.
    TypeError
        If `names` are no strings.

    See Also
    --------
    unpatch_sklearn : Put scikit-learn's own back.

    Notes
    -----
    ``python -m estimators script.py`` and ``%load_ext estimators`` call this function. It also
    makes scikit-learn's halving searches available, which need no import from
    `sklearn.experimental` then.

    Examples
    --------
    >>> from estimators import patch_sklearn, unpatch_sklearn
    >>> patch_sklearn("MLPClassifier", verbose=False)
    >>> from sklearn.neural_network import MLPClassifier
    >>> MLPClassifier(dropout=0.1)
    MLPClassifier(dropout=0.1)
    >>> unpatch_sklearn()
    """
    from estimators.patching import classes  # here, as it takes a second and unpatching needs none

    chosen = _checked(names, classes.PLACES)
    set_verbose(verbose)
    done = []
    for name in chosen:
        module, ours = importlib.import_module(classes.PLACES[name]), getattr(classes, name)
        there = getattr(module, name)
        if there is not ours:
            _originals[name] = there
            own_imports.replaced[id(ours)] = ours, there
            setattr(module, name, ours)
            done.append(name)
    own_imports.keep()
    if done:
        say(f"{', '.join(done)} of scikit-learn {_are(done)} replaced by cukernels'")
    _say_what_stays(chosen)


def unpatch_sklearn(names: str | Iterable[str] | None = None) -> None:
    """Put scikit-learn's own classes and functions back.

    Objects that were made in the meantime stay what they are, and go on working.

    Parameters
    ----------
    names : str, iterable of str or None, default=None
        What to put back; None: all that is replaced. What is not replaced is left alone.

    Raises
    ------
    ValueError
        If a name is none that can be replaced.
    TypeError
        If `names` are no strings.
    """
    classes = sys.modules.get("estimators.patching.classes")
    if classes is None:
        if names is None:
            return  # nothing was ever replaced
        classes = importlib.import_module("estimators.patching.classes")
    for name in _checked(names, classes.PLACES):
        if name not in _originals:
            continue
        module, ours = importlib.import_module(classes.PLACES[name]), getattr(classes, name)
        original = _originals.pop(name)
        own_imports.replaced.pop(id(ours), None)
        if getattr(module, name) is ours:
            setattr(module, name, original)
        else:
            logger.warning(
                "%s.%s was replaced by somebody else after patch_sklearn, and stays so",
                module.__name__,
                name,
            )
    own_imports.keep()


def sklearn_is_patched(name: str | None = None) -> bool:
    """Return whether a name of scikit-learn is replaced by this package's.

    Parameters
    ----------
    name : str or None, default=None
        Such as "LogisticRegression"; None: any.

    Returns
    -------
    is_patched : bool
    """
    return bool(_originals) if name is None else name in _originals


def _checked(names: Any, known: Iterable[str]) -> list[str]:
    """Return names that are known, or raise an error that lists those."""
    known = sorted(known)
    if names is None:
        return known
    given = [names] if isinstance(names, str) else list(_iterable(names))
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, such as 'LogisticRegression', got {name!r}")
        if name not in known:
            near = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1)
            meant = next((k for k in known if [k.lower()] == near), None)
            raise ValueError(
                f"cukernels has nothing to replace {name!r} of scikit-learn with"
                + (f" (did you mean {meant!r}?)" if meant else "")
                + f"; what it can replace is {', '.join(known)}"
            )
    return sorted(set(given))


def _iterable(names: Any) -> Iterable[Any]:
    try:
        return iter(names)
    except TypeError:
        raise TypeError(f"names must be a string, several, or None, got {names!r}") from None


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _say_what_stays(names: list[str]) -> None:
    """Name what the program itself has imported before, which is scikit-learn's for good."""
    main = vars(sys.modules.get("__main__", sys))
    theirs = {id(_originals[name]): name for name in names if name in _originals}
    before = sorted(name for name, value in list(main.items()) if id(value) in theirs)
    if before:
        say_once(
            f"{', '.join(before)} {'was' if len(before) == 1 else 'were'} imported before, and "
            f"{'stays' if len(before) == 1 else 'stay'} scikit-learn's: import anew"
        )
