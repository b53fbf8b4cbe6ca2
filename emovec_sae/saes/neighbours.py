"""The site check: an SAE explains the site that it was trained on better than the sites around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emovec_sae.saes.sums import token_sums
from emovec_sae.sites import STREAMS, Site
from emovec_sae.stats import Interval

if TYPE_CHECKING:
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations

_TOKENS = 20_000


@dataclass(frozen=True)
class Neighbour:
    """Explained variance of an SAE at a recorded site; its interval is over texts."""

    site: Site
    explained: Interval


def compare_sites(coder: SparseCoder, source: SiteActivations, *, most: int, seed: int) -> tuple[Neighbour, ...]:
    """Explained variances on some texts: at the SAE's own site first, then at the nearest others with tokens.

    Empty where no other site was recorded with tokens, or none is asked for.
    """
    acts = source.activations
    others = [site for site in acts.sites if site != source.site and acts.has_tokens(site)]
    nearest = sorted(others, key=lambda site: _distance(site, source.site))[:most]
    if not nearest:
        return ()
    lengths = acts.frame["n_tokens"].to_numpy().cumsum()
    few = acts.where(range(min(len(lengths), int((lengths < _TOKENS).sum()) + 1)))
    return tuple(Neighbour(site, token_sums(coder, few[site]).explained(seed=seed)) for site in (source.site, *nearest))


def site_note(compared: Sequence[Neighbour]) -> list[str]:
    """What the site check says."""
    if not compared:
        return ["site check: no other site was recorded with tokens"]
    own, *others = compared
    best = max(others, key=lambda one: one.explained.value)
    if best.explained.low > own.explained.high:
        told = f"explains {best.explained.value:.2f} at {best.site} and {own.explained.value:.2f} at {own.site}"
        return [f"site check: the SAE {told}: it was probably trained on another site than it says"]
    return [f"site check: {own.site} {own.explained.value:.2f}, best other {best.site} {best.explained.value:.2f}"]


def _distance(site: Site, own: Site) -> tuple[int, int]:
    place, mine = (one.layer * len(STREAMS) + STREAMS.index(one.stream) for one in (site, own))
    return abs(place - mine), place
