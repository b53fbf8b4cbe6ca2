"""Selectors that read what a decomposition measured: Delta share, pursuit, AUROC, attribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.comparison.selectors.selection import Selection, Sources, ordered


def by_share(sources: Sources) -> Selection:
    """By the share of |v|^2 that a latent holds; amounts are its Delta."""
    scores: dict[str, pd.DataFrame] = {}
    for emotion in sources.contrast.emotions:
        own = sources.candidates(emotion)
        table = {"latent": own["latent"], "amount": own["coefficient"], "score": own["share"].astype(float)}
        scores[emotion] = pd.DataFrame(table)
    return ordered("share", sources, scores)


def by_omp(sources: Sources) -> Selection:
    """In the order in which orthogonal matching pursuit takes them; amounts are refitted for every k."""
    return _in_order_of("omp", sources, own_amounts=True)


def by_attribution(sources: Sources) -> Selection:
    """By their part in a score of the emotion; amounts are the latents' Delta, since a part is no amount.

    A latent whose Delta the contrast does not hold (it leads no emotion) cannot be given one and is passed over.
    """
    return _in_order_of("attribution", sources, own_amounts=False)


def by_auroc(sources: Sources) -> Selection:
    """By how well a latent's mean over a text tells the emotion from the others, on either side; amounts are its Delta.

    A latent that is silent where the emotion is told has an area below one half and a negative Delta: both count.
    """
    if "auroc" not in sources.contrast.ranks:
        raise ConfigError("the selector 'auroc' needs a contrast that measured it; decompose again with this version")
    scores: dict[str, pd.DataFrame] = {}
    for emotion in sources.contrast.emotions:
        own = sources.candidates(emotion).dropna(subset=["auroc"])
        distance = (own["auroc"].astype(float) - 0.5).abs()
        scores[emotion] = pd.DataFrame({"latent": own["latent"], "amount": own["coefficient"], "score": distance})
    return ordered("auroc", sources, scores)


def _in_order_of(method: str, sources: Sources, *, own_amounts: bool) -> Selection:
    """The latents of another decomposition, by its ranks."""
    source, contrast = sources.other(method), sources.contrast
    if source.sae_fingerprint != contrast.sae_fingerprint:
        raise ConfigError(f"the decompositions by {method} and by contrast were made with different SAEs")
    scores: dict[str, pd.DataFrame] = {}
    for emotion in contrast.emotions:
        ranks = source.ranks[source.ranks["emotion"] == source.emotions[source.row(emotion)]].sort_values("rank")
        own = ranks[~ranks["dense"].fillna(value=False).astype(bool)]
        table = pd.DataFrame({"latent": own["latent"], "amount": own["coefficient"], "score": -own["rank"]})
        if not own_amounts:
            places = np.searchsorted(contrast.index, table["latent"]).clip(max=len(contrast.index) - 1)
            known = contrast.index[places] == table["latent"].to_numpy()
            amounts = contrast.coefficients[contrast.row(emotion)][places]
            table = table.assign(amount=amounts)[known]
        scores[emotion] = table
    found = ordered(method, sources, scores)
    return replace(found, source=source) if own_amounts else found
