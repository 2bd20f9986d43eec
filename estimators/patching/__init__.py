"""Programs that were written for scikit-learn, run with the classes and searches of this package.

`patch_sklearn` puts them in the place of scikit-learn's of the same name, `unpatch_sklearn` takes
them out again. ``python -m estimators script.py`` and ``%load_ext estimators`` call the former.
"""

from estimators.patching.patch import patch_sklearn as patch_sklearn
from estimators.patching.patch import sklearn_is_patched as sklearn_is_patched
from estimators.patching.patch import unpatch_sklearn as unpatch_sklearn

__all__ = ["patch_sklearn", "sklearn_is_patched", "unpatch_sklearn"]
