"""The layers of a network in scikit-learn's diagram, where a notebook shows an estimator.

scikit-learn asks every estimator in a diagram for its block, and from release 1.7 on for the HTML
of its parameters, after which the layers are shown. In release 1.6 a block has only text.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from estimators import scikit_learn
from estimators.neural.summary import NetworkSummary, common, summary_of, summary_of_fit

_UNLIKE = 3, 5  # numbers of outputs that have nothing in common
_SHOWN = """
<div class="estimator-table">
  <details open>
    <summary style="color: #000">Layers</summary>
    {table}
  </details>
</div>"""


class LayersInDiagram:
    """A network that shows its layers in a diagram, as far as they are known."""

    def _sk_visual_block_(self) -> Any:
        """Return the block of the network: its name, and how many parameters it has."""
        details, summary = str(self), _known_summary(self)
        if summary is not None and scikit_learn.asked_in_diagrams is None:
            details = f"{details}\n\n{summary}\n{summary.told_memory}".rstrip()
        count = None if summary is None else summary.parameters
        return scikit_learn.VisualBlock(
            "single",
            self,
            names=type(self).__name__,
            name_details=details,
            name_caption=None if count is None else f"{count:,} parameters",
        )

    def _get_params_html(self, *args: Any, **options: Any) -> Any:
        """Return the parameters with their HTML, and the layers after them."""
        parameters = super()._get_params_html(*args, **options)  # type: ignore[misc]
        summary = _known_summary(self)
        return parameters if summary is None else _with_layers(parameters, summary)


def _with_layers(parameters: Any, summary: NetworkSummary) -> Any:
    """Return parameters of an estimator with a table of layers after their HTML."""
    table = summary.html_table("parameters-table", "#000")

    class WithLayers(type(parameters)):  # type: ignore[misc]
        def _repr_html_inner(self) -> str:
            return super()._repr_html_inner() + _SHOWN.format(table=table)

    parameters.__class__ = WithLayers
    return parameters


def _known_summary(model: Any) -> NetworkSummary | None:
    """Return the layers of a network with what is known of them; None if nothing is.

    Before a fit that is what does not depend on the shape of the samples and on the number of
    classes. So the layers are laid out for two shapes and two numbers that are unlike.
    """
    with suppress(Exception):  # parameters that `fit` refuses, which a diagram has to show as well
        if hasattr(model, "coefs_"):
            return summary_of_fit(model, model._network_shown(None, None))
        one, other = (
            summary_of(model._described(shape, n_outputs), model._own_dtype.itemsize)
            for shape, n_outputs in zip(model._unlike_shapes(), _UNLIKE, strict=True)
        )
        return common(one, other)
    return None
