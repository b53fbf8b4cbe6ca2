"""Publication figures: tidy frames in, altair charts out; each family is one module, imported when it is drawn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from types import ModuleType

    import pandas as pd

    from emovec_sae.charts.redrawing import redraw
    from emovec_sae.charts.save import save_chart

__all__ = ["FAMILIES", "caption", "columns", "draw", "redraw", "save_chart"]

FAMILIES = {
    "vector_map": "the emotion vectors on two principal components",
    "similarity": "cosines between emotion vectors",
    "families": "cosines within and between families of emotions",
    "spectrum": "the variance of the vectors by component",
    "site_sweep": "held-out accuracy over layers",
    "learning_curve": "accuracy over the number of topics",
    "scenario_matrix": "readings of messages that imply an emotion",
    "trends": "readings over rising numbers",
    "rsa": "similarity of emotions across layers or models",
    "language_transfer": "directions of one language, read in another",
    "logit_lens": "tokens that the vectors write",
    "token_heat": "what is read from each token of a text",
    "composition": "what composes an emotion vector",
    "latents_by_emotion": "which latents carry which emotions",
    "latent_dashboard": "what the leading latents are",
    "agreement": "whether methods choose the same latents",
    "k_curves": "how near the first latents come, beside their nulls",
    "stability": "latents chosen again in resamples",
    "matched": "latents found again in another SAE",
    "probing": "emotions told apart by a few latents",
    "naming": "latents that name, and latents that evoke",
    "dose_curves": "effect of the arms at equal dose",
    "frontier": "effect of the arms against the damage done",
    "k90": "how many latents do what the vector does",
    "specificity": "what adding an emotion does to others' words",
    "text_outcomes": "what the arms' texts say, and how they say it",
    "behaviour": "what emotions do to a battery of questions",
    "patching": "what patching one site brings back",
    "carriers": "what carries the answer from one text to another",
    "score_card": "the headline numbers of a model",
    "score_dots": "numbers beside their nulls",
    "curves": "curves with bands",
    "matrix": "a matrix of numbers",
    "scatter": "points with names",
}
"""Chart families in the order of a report; the name is the module, and the function in it."""


def draw(
    name: str, frame: pd.DataFrame, *, width: str | float = "double", interactive: bool = False, **options: Any
) -> Any:
    """Draw the chart of the family `name` from `frame`.

    Parameters
    ----------
    name
        One of `FAMILIES`.
    frame
        The family's columns are in its module's ``COLUMNS``; see `columns`.
    width
        Most that the figure may be wide: ``single`` (89 mm), ``double`` (183 mm), or mm.
    interactive
        Add tooltips, zoom and selection for a page that people use; the printed figure has none.
    **options
        Passed on, such as ``interval="95 % bootstrap over prompts"`` of the families with intervals. The chart keeps
        them in its ``usermeta``, from which `save_chart` writes them into the provenance.

    Returns
    -------
    altair.TopLevelMixin
        An altair chart: layered, concatenated or faceted, as the family has it.

    Raises
    ------
    ConfigError
        If there is no such family or width, or columns are missing.
    """
    from emovec_sae.charts import theme
    from emovec_sae.charts.save import META

    module = _module(name)
    with theme.on_page(width):
        chart = getattr(module, name)(frame, **options)
    chart.usermeta = {META: {"family": name, "options": options, "width": width}}
    if not interactive:
        return chart
    from emovec_sae.charts.interactive import explorable

    return explorable(chart, module)


def caption(name: str, frame: pd.DataFrame) -> str:
    """Write the caption of the family `name` from the numbers in `frame` (errors as in `draw`)."""
    return _module(name).caption(frame)


def columns(name: str) -> tuple[str, ...]:
    """Columns that a table needs to be drawn as the family `name`."""
    return tuple(_module(name).COLUMNS)


def _module(name: str) -> ModuleType:
    if name not in FAMILIES:
        raise ConfigError(f"there is no chart '{name}'{suggest(name, FAMILIES)}; charts are {', '.join(FAMILIES)}")
    return import_module(f"emovec_sae.charts.{name}")


def __getattr__(name: str) -> Any:
    if name in ("save_chart", "redraw"):
        home = {"save_chart": "save", "redraw": "redrawing"}[name]
        return getattr(import_module(f"emovec_sae.charts.{home}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
