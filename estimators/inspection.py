"""Displays: pictures of weights, filters, activations, trainings, searches and errors.

They follow scikit-learn's convention: ``Display.from_estimator(...)`` draws and returns an object
with the axes `ax_`, the figure `figure_` and what was drawn; its `plot` draws once more, elsewhere
or in another style. They need matplotlib, the extra `plot`; importing this module does not.
"""

from estimators._activation_maps_display import ActivationMapsDisplay
from estimators._errors_display import ErrorsDisplay
from estimators._filters_display import FiltersDisplay
from estimators._loss_curve_display import LossCurveDisplay
from estimators._maximal_patches_display import MaximalPatchesDisplay
from estimators._search_display import SearchDisplay
from estimators._weights_display import WeightsDisplay

__all__ = [
    "ActivationMapsDisplay",
    "ErrorsDisplay",
    "FiltersDisplay",
    "LossCurveDisplay",
    "MaximalPatchesDisplay",
    "SearchDisplay",
    "WeightsDisplay",
]
