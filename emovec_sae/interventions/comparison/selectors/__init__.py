"""Selectors: who chooses the latents of an arm. Each orders an emotion's candidates and says the amounts to use."""

from __future__ import annotations

from collections.abc import Callable

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.interventions.comparison.selectors.amplified import by_confidence, by_output_score
from emovec_sae.interventions.comparison.selectors.matched import by_matched_draw
from emovec_sae.interventions.comparison.selectors.selection import Selection, Sources
from emovec_sae.interventions.comparison.selectors.tabled import by_attribution, by_auroc, by_omp, by_share

SELECTORS: dict[str, Callable[[Sources], Selection]] = {
    "share": by_share,
    "omp": by_omp,
    "auroc": by_auroc,
    "attribution": by_attribution,
    "output score": by_output_score,
    "confidence": by_confidence,
    "matched": by_matched_draw,
}
"""Selectors by the name that arms carry."""


def select_latents(selector: str, sources: Sources) -> Selection:
    """Order the latents of every emotion by a selector.

    Parameters
    ----------
    selector
        One of `SELECTORS`.
    sources
        What selectors draw on.

    Raises
    ------
    ConfigError
        If there is no such selector, or a source that it needs is missing.
    """
    if selector not in SELECTORS:
        raise ConfigError(
            f"unknown selector '{selector}'{suggest(selector, SELECTORS)}; there are {', '.join(SELECTORS)}"
        )
    return SELECTORS[selector](sources)


__all__ = ["SELECTORS", "Selection", "Sources", "select_latents"]
