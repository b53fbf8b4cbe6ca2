"""Statistics of a comparison: ratios to the raw vector, whether they match it, and from which k on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from emovec_sae.interventions.comparison.names import TOPICS, LatentArm, read_name
from emovec_sae.stats.bootstrap import bootstrap_mean
from emovec_sae.stats.fdr import holm
from emovec_sae.stats.hierarchical import hierarchical_ratio, ratio_above_p
from emovec_sae.stats.proportion import proportion

MARGIN = 0.9
"""An arm matches the raw vector when the lower bound of its ratio is at least this."""
PRIMARY = str(LatentArm("latents", 16))
"""The arm of the primary test; every other test is secondary, and corrected."""

_ALPHA = 0.025
"""One-sided, as the lower end of a 95 % interval."""
POOLED = ("arm", "value", "low", "high", "n", "prompts", "interval", "p", "p_holm", "primary", "matches")
BY_FOLD = ("arm", "fold", "value", "low", "high", "n", "apart")
BY_EMOTION = ("emotion", "arm", "value", "low", "high", "n", "matches")


def pooled_ratios(own: pd.DataFrame, *, primary: str = PRIMARY, seed: int = 0) -> pd.DataFrame:
    """Mean effect of each arm over that of the raw vectors, pooled over the emotions that have the arm.

    Parameters
    ----------
    own
        Effects at one level: emotion, arm, prompt, effect (draws, folds and seeds of generation are averaged).
    primary
        The arm of the primary test, which is not corrected; all others are corrected together.
    seed
        Seed of the resampling.

    Returns
    -------
    pandas.DataFrame
        arm, value, low, high, n (emotions), prompts, interval (how it was made), p (one-sided, of a ratio not above
        0.9), p_holm (over the secondary tests; the primary one keeps its p), primary, matches (the lower bound is at
        least 0.9 and the test holds after correction). NaN where the interval of the raw effect holds 0.
    """
    rows = []
    for arm in _others(own):
        if (
            arm == TOPICS and own.loc[own["arm"] == arm, "fold"].nunique() > 1
        ):  # over both turns it is the raw vectors themselves
            continue
        both = beside(own, arm, "raw")
        emotions = both.index.get_level_values("emotion").to_numpy()
        ratio = hierarchical_ratio(both[arm].to_numpy(), both["raw"].to_numpy(), emotions, seed=seed)
        raised = not np.isnan(ratio.value) and both["raw"].mean() > 0
        p = ratio_above_p(both[arm].to_numpy(), both["raw"].to_numpy(), MARGIN, emotions) if raised else np.nan
        rows.append((arm, ratio.value, ratio.low, ratio.high, ratio.clusters, ratio.n, ratio.method, p))
    table = pd.DataFrame(rows, columns=list(POOLED[:8]))
    first = (table["arm"] == primary).to_numpy(bool)
    corrected = table["p"].to_numpy(float).copy()
    corrected[~first] = holm(corrected[~first])
    matches = (table["low"] >= MARGIN).to_numpy() & (corrected <= _ALPHA)
    return table.assign(p_holm=corrected, primary=first, matches=matches)[list(POOLED)]


def emotion_ratios(own: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Effect of each arm over that of the raw vector within an emotion, prompts resampled.

    Returns
    -------
    pandas.DataFrame
        emotion, arm, value, low, high, n (prompts), matches; NaN where the interval of the raw effect holds 0: such an
        emotion has no ratio.
    """
    rows = []
    for emotion, some in own.groupby("emotion"):
        for arm in _others(some):
            both = beside(some, arm, "raw")
            if both.empty:
                continue
            prompts = np.arange(len(both))
            ratio = hierarchical_ratio(both[arm].to_numpy(), both["raw"].to_numpy(), prompts, seed=seed)
            rows.append((emotion, arm, ratio.value, ratio.low, ratio.high, len(both), ratio.low >= MARGIN))
    return pd.DataFrame(rows, columns=list(BY_EMOTION))


def fold_ratios(own: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Ratio of each arm within each fold of a rotation over topics, and how far it lies from that of all folds.

    A control that was run once for all folds (random directions) is set beside the raw vectors of every fold.

    Returns
    -------
    pandas.DataFrame
        arm, fold, value, low, high, n (emotions), apart: the value less the ratio over all folds. The folds share
        emotions and prompts, so that their intervals are not independent.
    """
    whole = pooled_ratios(own, seed=seed).set_index("arm")["value"]
    folds = sorted(int(one) for one in own["fold"].unique())
    once = own["shared"].to_numpy(bool)
    parts: list[pd.DataFrame] = []
    for fold in folds:
        table = pooled_ratios(own[(own["fold"] == fold) | once], seed=seed)
        parts.append(
            table[list(BY_FOLD[:1] + BY_FOLD[2:6])].assign(fold=fold, apart=table["value"] - table["arm"].map(whole))
        )
    if not parts:
        return pd.DataFrame(columns=list(BY_FOLD))
    found = pd.concat(parts, ignore_index=True)[list(BY_FOLD)]
    return found.sort_values(["arm", "fold"], kind="stable").reset_index(drop=True)


def k90(ratios: pd.DataFrame) -> pd.DataFrame:
    """The smallest k that matches, by selector, and by emotion where the table has emotions.

    Parameters
    ----------
    ratios
        From `pooled_ratios` or `emotion_ratios`.

    Returns
    -------
    pandas.DataFrame
        selector, (emotion,) k90 (NaN: none of those tried matches), largest (the largest k tried), determined (whether
        there was a ratio at all).
    """
    keys = ["selector", "emotion"] if "emotion" in ratios else ["selector"]
    named = _named(ratios, "latents")
    rows = []
    for key, some in named.groupby(keys, sort=False):
        passing = some[some["matches"]]["k"]
        facts = dict(zip(keys, key, strict=True))
        facts |= {"k90": float(passing.min()) if len(passing) else np.nan, "largest": int(some["k"].max())}
        rows.append({**facts, "determined": bool(some["value"].notna().any())})
    return pd.DataFrame(rows, columns=[*keys, "k90", "largest", "determined"])


def sufficiency_and_necessity(ratios: pd.DataFrame) -> pd.DataFrame:
    """What k latents do by themselves, and what is lost without them.

    Returns
    -------
    pandas.DataFrame
        selector, k, quantity, value, low, high, n: ``sufficiency`` is the ratio of the k latents, ``necessity`` is one
        minus the ratio of the remainder (the vector without them).
    """
    alone = _named(ratios, "latents").assign(quantity="sufficiency")
    rest = _named(ratios, "remainder").assign(quantity="necessity")
    rest = rest.assign(value=1 - rest["value"], low=1 - rest["high"], high=1 - rest["low"])
    return pd.concat([alone, rest])[["selector", "k", "quantity", "value", "low", "high", "n"]].reset_index(drop=True)


def wrong_way(own: pd.DataFrame) -> pd.DataFrame:
    """Share of (emotion, prompt) cells that an arm moved away from its emotion: arm, value, low, high, n.

    The interval counts emotions as clusters.
    """
    rows = []
    for arm, effects in by_arm(own).items():
        known = effects.dropna()
        share = proportion((known < 0).to_numpy(), known.index.get_level_values("emotion").to_numpy())
        rows.append((arm, share.value, share.low, share.high, share.n))
    return pd.DataFrame(rows, columns=["arm", "value", "low", "high", "n"])


def difference(own: pd.DataFrame, arm: str, other: str, *, seed: int = 0) -> pd.DataFrame:
    """Mean effect of one arm less that of another over the emotions that have both: one row, value, low, high, n."""
    means = beside(own, arm, other).groupby(level="emotion").mean()
    apart = bootstrap_mean((means[arm] - means[other]).to_numpy(), seed=seed)
    return pd.DataFrame([{"value": apart.value, "low": apart.low, "high": apart.high, "n": apart.n}])


def by_arm(own: pd.DataFrame) -> pd.DataFrame:
    """Effects of every arm side by side, a row an (emotion, prompt); draws, folds and seeds of generation averaged."""
    return own.groupby(["emotion", "prompt", "arm"])["effect"].mean().unstack("arm")


def beside(own: pd.DataFrame, arm: str, other: str) -> pd.DataFrame:
    """Effects of two arms, a row an (emotion, prompt), draws and folds averaged, where both are known.

    Only the folds that both arms were run in count, so that they stand beside each other on the same texts; an arm that
    belongs to no fold (`shared`: random directions, the instruction) stands beside those of every fold.
    """
    one, two = own[own["arm"] == arm], own[own["arm"] == other]
    if "fold" in own and not (_shared(one) or _shared(two)):
        folds = set(one["fold"]) & set(two["fold"])
        one, two = one[one["fold"].isin(folds)], two[two["fold"].isin(folds)]
    keys = ["emotion", "prompt"]
    means = {name: rows.groupby(keys)["effect"].mean() for name, rows in ((arm, one), (other, two))}
    return pd.DataFrame(means).dropna()


def _shared(rows: pd.DataFrame) -> bool:
    return "shared" in rows and bool(rows["shared"].all())


def _others(own: pd.DataFrame) -> Sequence[str]:
    arms = sorted(str(arm) for arm in own["arm"].unique())
    return [arm for arm in arms if arm != "raw"] if "raw" in arms else []


def _named(ratios: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows of the arms of one kind, with their selector and k, by selector and k."""
    read = [read_name(str(arm)) for arm in ratios["arm"]]
    kept = [row for row, one in enumerate(read) if one is not None and one.kind == kind]
    known = [one for one in read if one is not None and one.kind == kind]
    table = ratios.iloc[kept].assign(selector=[one.selector for one in known], k=[one.k for one in known])
    return table.sort_values(["selector", "k"], kind="stable")
