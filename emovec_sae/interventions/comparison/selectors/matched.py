"""The control of every selector: random latents that fire as often and are written as large as the selected ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.comparison.selectors.selection import Selection, Sources, ordered

_NEAREST = 10
"""A draw is among so many of the nearest latents that are still free."""


def by_matched_draw(sources: Sources) -> Selection:
    """Draw for each candidate of an emotion, in order of Delta share, another latent that looks like it.

    Each is drawn among the ten free latents whose firing rate and decoder norm (both on a log scale, in standard
    deviations over the live latents) are nearest, and takes over the amount. No candidate of the emotion is drawn, no
    dense latent, and none twice.

    Raises
    ------
    ConfigError
        If the contrast holds no firing rates, or fewer than ten latents are left to draw from.
    """
    rates = sources.contrast.firing_rate
    if rates is None:
        raise ConfigError("the selector 'matched' needs firing rates, which only a contrast over tokens measures")
    norms = sources.coder.decoder_norms.cpu().numpy().astype(float)
    random = np.random.default_rng(sources.seed)
    scores: dict[str, pd.DataFrame] = {}
    for emotion in sources.contrast.emotions:
        own = sources.candidates(emotion)
        latents = own["latent"].to_numpy()
        drawn = _draw(latents, np.asarray(rates, float), norms, random)
        table = {"latent": drawn, "amount": own["coefficient"].to_numpy(), "score": -np.arange(len(drawn))}
        scores[emotion] = pd.DataFrame(table)
    return ordered("matched", sources, scores)


def _draw(latents: np.ndarray, rates: np.ndarray, norms: np.ndarray, random: np.random.Generator) -> np.ndarray:
    free = (rates > 0) & (rates <= 0.1) & (norms > 0)  # live, not dense
    looks = np.stack([np.log(np.maximum(rates, 1e-12)), np.log(np.maximum(norms, 1e-12))], axis=1)
    spread = looks[free].std(axis=0) if free.any() else np.ones(2)
    looks = looks / np.where(spread > 1e-9, spread, 1.0)
    free[latents] = False
    found = []
    for latent in latents:
        there = np.flatnonzero(free)
        if len(there) < _NEAREST:
            raise ConfigError(
                f"{len(there)} live latents are left to draw matched ones from, {_NEAREST} are needed; decompose with "
                "a smaller k, or use a wider SAE"
            )
        apart = np.square(looks[there] - looks[latent]).sum(axis=1)
        chosen = int(random.choice(there[np.argsort(apart, kind="stable")[:_NEAREST]]))
        free[chosen] = False
        found.append(chosen)
    return np.asarray(found, dtype=np.int64)
