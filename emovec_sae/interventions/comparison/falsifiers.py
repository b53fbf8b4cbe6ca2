"""What would speak against the claim that k latents are the vector, computed and shown with every comparison."""

from __future__ import annotations

import numpy as np
import pandas as pd

from emovec_sae.interventions.comparison import statistics
from emovec_sae.interventions.comparison.names import LatentArm, read_name
from emovec_sae.stats.bootstrap import bootstrap_mean

MATCHED = "matched"
"""The selector that draws random latents with the firing rates and norms of the selected ones."""
RANDOM = "random latents as good"
"""The falsifier that counts until the difference is clear."""
EXPLAINED = 0.5
"""A share of the raw vector's divergence below which an arm moves the model in another way than the vector."""

COLUMNS = ("falsifier", "arm", "value", "low", "high", "n", "bar", "holds")


def falsifiers(own: pd.DataFrame, doses: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Compute every falsifier for which its arms were run.

    Parameters
    ----------
    own, doses
        Effects on the arms' own emotions and calibrations, both at one level.
    seed
        Seed of the resampling.

    Returns
    -------
    pandas.DataFrame
        falsifier, arm, value, low, high, n (emotions), bar, holds.

        ``remainder as strong as raw``: the ratio of the remainder; holds where its lower bound is at least 0.9.
        ``random latents as good``: mean effect of k selected latents less that of random latents that match them in
        firing rate and norm, or of random directions where those were not run; holds unless its interval lies above 0.
        ``same score, low explained KL``: of latents that match the raw vector, the share of the raw vector's
        divergence that it explains; holds where the upper bound is below 0.5.
        No row means that the arms it needs were not run.
    """
    ratios = statistics.pooled_ratios(own, seed=seed)
    rows = [*_remainders(ratios), *_random(own, seed), *_explained(ratios, doses, seed)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _remainders(ratios: pd.DataFrame) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for row in ratios.to_dict("records"):
        named = read_name(str(row["arm"]))
        if named is not None and named.kind == "remainder" and not np.isnan(row["value"]):
            numbers = (row["value"], row["low"], row["high"], row["n"])
            holds = bool(row["low"] >= statistics.MARGIN)
            found.append(("remainder as strong as raw", row["arm"], *numbers, statistics.MARGIN, holds))
    return found


def _random(own: pd.DataFrame, seed: int) -> list[tuple[object, ...]]:
    arms = [str(arm) for arm in own["arm"].unique()]
    found: list[tuple[object, ...]] = []
    for arm in arms:
        named = read_name(arm)
        if named is None or named.kind != "latents" or named.selector == MATCHED:
            continue
        twin = str(LatentArm("latents", named.k, MATCHED))
        control = twin if twin in arms else "random"
        if control in arms:
            row = statistics.difference(own, arm, control, seed=seed).iloc[0]
            holds = not row["low"] > 0
            numbers = (row["value"], row["low"], row["high"], int(row["n"]))
            found.append((f"{RANDOM} ({MATCHED if control == twin else control})", arm, *numbers, 0.0, holds))
    return found


def _explained(ratios: pd.DataFrame, doses: pd.DataFrame, seed: int) -> list[tuple[object, ...]]:
    if "explained_kl" not in doses:
        return []
    found: list[tuple[object, ...]] = []
    for arm in ratios.loc[ratios["matches"], "arm"]:
        if read_name(str(arm)) is None:  # the claim is about latents
            continue
        known = doses[(doses["arm"] == arm) & doses["emotion"].notna()].dropna(subset=["explained_kl"])
        if known.empty:
            continue
        mean = bootstrap_mean(known["explained_kl"].to_numpy(), known["emotion"].astype(str).to_numpy(), seed=seed)
        numbers = (mean.value, mean.low, mean.high, known["emotion"].nunique())
        found.append(("same score, low explained KL", arm, *numbers, EXPLAINED, bool(mean.high < EXPLAINED)))
    return found
