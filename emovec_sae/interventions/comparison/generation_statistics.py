"""Statistics of generations: signed effects, ratios to the raw vector, and texts that moved the wrong way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.norms import load_norms
from emovec_sae.stats.bootstrap import bootstrap_mean
from emovec_sae.stats.hierarchical import hierarchical_ratio
from emovec_sae.stats.proportion import proportion

MIDDLE, CLEAR = 5.0, 1.0
"""Middle of the ratings of valence (1 to 9), and how far from it an emotion is pleasant or unpleasant."""
UNDIRECTED = ("distinct-1", "distinct-2", "distinct-3", "repetition", "surprise", "perplexity")
"""Outcomes that tell of damage: no emotion has a right direction there, so they have changes and no ratios."""

_PAIR = ["emotion", "prompt", "seed"]


def valence_signs() -> dict[str, float]:
    """1 for a pleasant emotion, -1 for an unpleasant one, by the packaged ratings; others are left out."""
    norms = load_norms()
    apart = norms["valence"] - MIDDLE
    kept = apart.abs() >= CLEAR
    return dict(zip(norms["emotion"][kept], np.sign(apart[kept]).astype(float), strict=True))


def signed_effects(frame: pd.DataFrame) -> pd.DataFrame:
    """Changes of the directed outcomes, positive where they go the emotion's way.

    The scores of a probe and of a judge should rise. Valence should rise for pleasant emotions and fall for unpleasant
    ones; emotions within `CLEAR` of the middle of the ratings have no valence effect.

    Parameters
    ----------
    frame
        From `Generations.frame`.

    Returns
    -------
    pandas.DataFrame
        outcome, masked, level, arm, emotion, prompt, seed, effect; draws and folds are averaged, texts without a value
        are left out.
    """
    kept = frame[~frame["outcome"].isin(UNDIRECTED)].copy()
    signs = kept["emotion"].map(valence_signs()).astype(float)
    kept["effect"] = kept["change"] * np.where(kept["outcome"] == "valence", signs, 1.0)
    return averaged(kept, "effect")


def averaged(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column by outcome, masked, level, arm, emotion, prompt and seed; draws and folds averaged, NaN left out."""
    keys = ["outcome", "masked", "level", "arm", *_PAIR]
    known = frame.dropna(subset=[column])
    return known.groupby(keys, sort=False, dropna=False)[[column]].mean().reset_index()


def at_levels(table: pd.DataFrame, level: float | None) -> Iterator[tuple[float, pd.DataFrame]]:
    """Rows of each level (or of one), with those of arms that have no dose."""
    levels = sorted(table["level"].dropna().unique()) if level is None else [level]
    for one in levels:
        yield float(one), table[(table["level"] == one) | table["level"].isna()]


def ratios(effects: pd.DataFrame, *, level: float | None = None, seed: int = 0) -> pd.DataFrame:
    """Mean effect of each arm over that of the raw vectors, on the same emotions, prompts and seeds.

    Emotions are resampled with their prompts and seeds; of a single emotion, prompts are.

    Returns
    -------
    pandas.DataFrame
        outcome, masked, level, arm, value, low, high, n (clusters resampled), texts (pairs), interval (how it was
        made). NaN where the interval of the raw effect holds 0: there is no effect to be a share of.
    """
    found: list[dict[str, Any]] = []
    for one, table in at_levels(effects, level):
        for (outcome, masked), some in table.groupby(["outcome", "masked"], sort=False):
            wide = some.set_index([*_PAIR, "arm"])["effect"].unstack("arm")
            for arm in [str(name) for name in wide.columns if name != "raw" and "raw" in wide.columns]:
                both = wide[[arm, "raw"]].dropna()
                if both.empty:
                    continue
                outer, middle = _clusters(both.index)
                ratio = hierarchical_ratio(both[arm].to_numpy(), both["raw"].to_numpy(), outer, middle, seed=seed)
                numbers = {"value": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.clusters}
                keys = {"outcome": outcome, "masked": masked, "level": one, "arm": arm}
                found.append({**keys, **numbers, "texts": len(both), "interval": ratio.method})
    return pd.DataFrame(found, columns=["outcome", "masked", "level", "arm", "value", "low", "high", "n", "texts",
                                        "interval"])  # fmt: skip


def means(table: pd.DataFrame, column: str, *, level: float | None = None, seed: int = 0) -> pd.DataFrame:
    """Mean of a column by outcome, masked, level and arm, with an interval over emotions.

    The interval is over prompts for a single emotion, and for what an arm without one does to every emotion alike
    (random directions write one set of texts: its damage counts once).
    """
    found: list[dict[str, Any]] = []
    for one, part in at_levels(table, level):
        for (outcome, masked, arm), some in part.groupby(["outcome", "masked", "arm"], sort=False):
            alone = some.drop_duplicates(["prompt", "seed", column])
            if not alone.duplicated(["prompt", "seed"]).any():
                some = alone
            outer = some["emotion"] if some["emotion"].nunique() > 1 else some["prompt"]
            mean = bootstrap_mean(some[column].to_numpy(), outer.to_numpy(), seed=seed)
            keys = {"outcome": outcome, "masked": masked, "level": one, "arm": arm}
            numbers = {"value": mean.value, "low": mean.low, "high": mean.high, "n": mean.clusters}
            found.append({**keys, **numbers, "texts": len(some)})
    return pd.DataFrame(found, columns=["outcome", "masked", "level", "arm", "value", "low", "high", "n", "texts"])


def wrong_way(effects: pd.DataFrame, *, level: float | None = None) -> pd.DataFrame:
    """Share of (emotion, prompt) cells whose mean effect is below 0: outcome, masked, level, arm, value, low, high, n.

    The interval counts emotions as clusters.
    """
    found: list[dict[str, Any]] = []
    for one, part in at_levels(effects, level):
        cells = part.groupby(["outcome", "masked", "arm", "emotion", "prompt"], sort=False)["effect"].mean()
        for (outcome, masked, arm), some in cells.reset_index().groupby(["outcome", "masked", "arm"], sort=False):
            share = proportion((some["effect"] < 0).to_numpy(), some["emotion"].to_numpy())
            keys = {"outcome": outcome, "masked": masked, "level": one, "arm": arm}
            found.append({**keys, "value": share.value, "low": share.low, "high": share.high, "n": share.n})
    return pd.DataFrame(found, columns=["outcome", "masked", "level", "arm", "value", "low", "high", "n"])


def _clusters(index: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Outer and middle clusters of the pairs."""
    emotions = index.get_level_values("emotion").to_numpy()
    prompts = index.get_level_values("prompt").to_numpy()
    return (emotions, prompts) if len(np.unique(emotions)) > 1 else (prompts, None)
