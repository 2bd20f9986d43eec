"""Displays: pictures of weights, filters, activations, trainings, searches and errors.

They follow scikit-learn's convention: ``Display.from_estimator(...)`` draws and returns an object
with the axes `ax_`, the figure `figure_` and what was drawn; its `plot` draws once more, elsewhere
or in another style. They need matplotlib, the extra `plot`; importing this module does not.
"""

from estimators._curves_display import LossCurveDisplay, SearchDisplay
from estimators._errors_display import ErrorsDisplay
from estimators._maps_display import ActivationMapsDisplay, MaximalPatchesDisplay
from estimators._weights_display import FiltersDisplay, WeightsDisplay

__all__ = [
    "ActivationMapsDisplay",
    "ErrorsDisplay",
    "FiltersDisplay",
    "LossCurveDisplay",
    "MaximalPatchesDisplay",
    "SearchDisplay",
    "WeightsDisplay",
]
