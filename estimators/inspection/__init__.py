"""Displays: pictures of networks, weights, filters, activations, loss curves, searches and errors.

They follow scikit-learn's convention: ``Display.from_estimator(...)`` draws and returns an object
with the axes `ax_`, the figure `figure_` and what was drawn. Its `plot` draws the same once more,
elsewhere or in another style. Drawing needs matplotlib, the extra `plot`; importing this module
does not.
"""

from estimators.inspection.activation_maps import ActivationMapsDisplay
from estimators.inspection.errors import ErrorsDisplay
from estimators.inspection.filters import FiltersDisplay
from estimators.inspection.loss_curve import LossCurveDisplay
from estimators.inspection.maximal_patches import MaximalPatchesDisplay
from estimators.inspection.network import NetworkDisplay
from estimators.inspection.search import SearchDisplay
from estimators.inspection.weights import WeightsDisplay

__all__ = [
    "ActivationMapsDisplay",
    "ErrorsDisplay",
    "FiltersDisplay",
    "LossCurveDisplay",
    "MaximalPatchesDisplay",
    "NetworkDisplay",
    "SearchDisplay",
    "WeightsDisplay",
]
