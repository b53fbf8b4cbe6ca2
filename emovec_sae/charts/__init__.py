"""Publication figures: tidy frames in, altair charts out; each family is one module, imported when it is drawn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from types import ModuleType

    import altair as alt
    import pandas as pd

    from emovec_sae.charts.save import save_chart

__all__ = ["FAMILIES", "caption", "draw", "save_chart"]

FAMILIES = {
    "vector_map": "the emotion vectors on two principal components",
    "similarity": "cosines between emotion vectors",
    "site_sweep": "held-out accuracy over layers",
    "composition": "what composes an emotion vector",
    "latents_by_emotion": "which latents carry which emotions",
    "dose_curves": "effect of the arms at equal dose",
    "patching": "what patching one site brings back",
}
"""Chart families in the order of a report; the name is the module, and the function in it."""


def draw(name: str, frame: pd.DataFrame, **options: Any) -> alt.TopLevelMixin:
    """Draw the chart of the family `name` from `frame`.

    Parameters
    ----------
    name
        One of `FAMILIES`.
    frame
        The family's columns are in its module's ``COLUMNS``.
    **options
        Passed on, such as ``interval="95 % bootstrap over prompts"`` of the families with intervals.

    Raises
    ------
    ConfigError
        If there is no such family or columns are missing.
    """
    return getattr(_module(name), name)(frame, **options)


def caption(name: str, frame: pd.DataFrame) -> str:
    """Write the caption of the family `name` from the numbers in `frame` (errors as in `draw`)."""
    return _module(name).caption(frame)


def _module(name: str) -> ModuleType:
    if name not in FAMILIES:
        raise ConfigError(f"there is no chart '{name}'{suggest(name, FAMILIES)}; charts are {', '.join(FAMILIES)}")
    return import_module(f"emovec_sae.charts.{name}")


def __getattr__(name: str) -> Any:
    if name == "save_chart":
        return import_module("emovec_sae.charts.save").save_chart
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
