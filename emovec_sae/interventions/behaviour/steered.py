"""SteeredPreferences: effects of edits on preferences, held against what the directions read on the activities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.corpora.norms import load_norms
from emovec_sae.directions.checks.result import Check, number, numbers
from emovec_sae.directions.evaluation import records
from emovec_sae.interventions.behaviour.conditions import RANDOM, Condition
from emovec_sae.stats import correlation, max_t_p, permutation_p
from emovec_sae.stats.resampled_r import drawn, permuted_r, weighted_r

if TYPE_CHECKING:
    import altair as alt

PAPER = 0.85
"""Correlation of effect and read-out correlation over emotions in Sofroniew et al. 2026."""
_RESAMPLES, _PERMUTATIONS, _FEWEST = 2000, 4999, 3


@dataclass(frozen=True, eq=False, repr=False)
class SteeredPreferences(Check):
    """Preferences under edits; `table` has one row a condition and activity: arm, emotion, draw, level, activity, base,
    score, effect (Bradley-Terry scores in nats, edits over the whole question).

    Attributes
    ----------
    emotions
        One row a condition: arm, emotion, draw, level; preference (r over activities of the read-out with the unedited
        scores), preference_low, preference_high; option (mean change of the log-odds of the option whose tokens were
        edited, nats), option_low, option_high; r (over activities, of what the edit's own vector reads with the change
        of the scores), low, high, p, p_max (max-T over the emotions of an arm and level); bias (change of the log-odds
        of the letter A), valence, n (activities).
    doses
        One row a condition: arm, emotion, draw, level, kl, coefficient, reached.
    """  # noqa: D205

    title: ClassVar[str] = "Does steering move preferences the way that the read-outs say?"

    emotions: pd.DataFrame = field(default_factory=pd.DataFrame)
    doses: pd.DataFrame = field(default_factory=pd.DataFrame)

    def points(self) -> pd.DataFrame:
        """What `plot` draws: label, x, y, low, high, group; a row an emotion, of the first arm at its largest level."""
        frame = self._drawn()
        return pd.DataFrame(
            {
                "label": frame["emotion"],
                "x": frame["preference"], "y": frame["option"], "low": frame["option_low"],
                "high": frame["option_high"], "group": frame["arm"],
            }
        ).reset_index(drop=True)  # fmt: skip

    def _drawn(self) -> pd.DataFrame:
        known = self.emotions[self.emotions["emotion"].notna()]
        known = known[known["arm"] == known["arm"].iloc[0]]
        return known[known["level"].isna() | (known["level"] == known["level"].max())]

    def plot(self) -> alt.LayerChart:
        """Draw the effect on the edited option over the read-out's correlation with preference; see `points`."""
        from emovec_sae.charts import draw

        level = float(self._drawn()["level"].iloc[0])
        told = "" if np.isnan(level) else f"KL {level:g} nats; "
        return draw(
            "scatter", self.points(), x_title="r of the read-out with the unedited preference, over activities",
            y_title="change of the edited option\u2019s log-odds, nats", title=self.title,
            subtitle=f"{told}{self.settings.get('model')}, {self.settings.get('pairs')} pairs in both orders",
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """The numbers for machines, by name, the settings, and every condition."""
        return {**super().summary(), "emotions": records(self.emotions), "doses": records(self.doses)}


@dataclass(frozen=True, eq=False)
class Asked:
    """What was measured: `scores` (1 + conditions, activities), the base first; `option` (conditions, pairs)."""

    conditions: tuple[Condition, ...]
    names: Sequence[str]
    first: np.ndarray
    n: int
    scores: np.ndarray
    option: np.ndarray
    bias: np.ndarray
    readings: np.ndarray
    own: np.ndarray
    seed: int

    @property
    def change(self) -> np.ndarray:
        """Change of the scores, (activities, conditions)."""
        return (self.scores[1:] - self.scores[0]).T

    def by_activity(self) -> np.ndarray:
        """Mean effect on an activity's log-odds where its tokens were edited, (activities, conditions)."""
        count = np.bincount(self.first, minlength=self.n)
        total = [np.bincount(self.first, weights=one, minlength=self.n) for one in self.option]
        return (np.stack(total) / count).T


def summarise(asked: Asked, texts: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables of conditions, of numbers, and of activities; activities are resampled, the same for all conditions."""
    times = np.concatenate([np.ones((1, asked.n)), drawn(asked.n, _RESAMPLES, seed=asked.seed)])
    reading = _readings(asked)
    preference = weighted_r(times, reading, asked.scores[0][:, None])
    option = times @ asked.by_activity() / times.sum(axis=1, keepdims=True)
    own = weighted_r(times, asked.own, asked.change)
    null = permuted_r(asked.own, asked.change, permutations=_PERMUTATIONS, seed=asked.seed)
    table = pd.DataFrame([one.facts() for one in asked.conditions])[["arm", "emotion", "draw", "level"]]
    for name, draws in (("preference", preference), ("option", option)):
        table[name], (table[f"{name}_low"], table[f"{name}_high"]) = draws[0], _ends(draws)
    table["r"], (table["low"], table["high"]) = own[0], _ends(own)
    table["p"], table["p_max"] = permutation_p(own[0], null, alternative="two-sided"), np.nan
    for _, part in table.groupby(["arm", "level"], dropna=False):
        table.loc[part.index, "p_max"] = max_t_p(own[0, part.index], null[:, part.index])
    table["bias"] = asked.bias[1:] - asked.bias[0]
    valence = load_norms().set_index("emotion")["valence"]
    table["valence"], table["n"] = valence.reindex(table["emotion"]).to_numpy(dtype=float), asked.n
    controls = table["emotion"].isna()
    table.loc[controls, ["preference", "preference_low", "preference_high"]] = np.nan
    parts = [
        pd.DataFrame({"activity": texts, "base": asked.scores[0], "score": score, "effect": score - asked.scores[0]})
        .assign(arm=one.arm.name, emotion=one.arm.emotion, draw=one.arm.draw, level=one.level)
        for one, score in zip(asked.conditions, asked.scores[1:], strict=True)
    ]  # fmt: skip
    activities = pd.concat(parts, ignore_index=True).astype({"emotion": object})
    return table, numbers(_rows(asked, table, preference, option, own)), activities


def _readings(asked: Asked) -> np.ndarray:
    """What the emotion's direction reads on each activity, (activities, conditions); zeros for a control."""
    place = {name: column for column, name in enumerate(asked.names)}
    found = np.zeros((asked.n, len(asked.conditions)))
    for column, one in enumerate(asked.conditions):
        if one.arm.emotion in place:
            found[:, column] = asked.readings[:, place[one.arm.emotion]]
    return found


def _rows(
    asked: Asked, table: pd.DataFrame, preference: np.ndarray, option: np.ndarray, own: np.ndarray
) -> list[dict[str, Any]]:
    """What stands for the check: over emotions, by arm and level, then the position bias."""
    rows: list[dict[str, Any]] = []
    for _, part in table.groupby(["arm", "level"], dropna=False, sort=False):
        arm, level = str(part["arm"].iloc[0]), float(part["level"].iloc[0])
        name, index = arm + ("" if np.isnan(level) else f", KL {level:g}"), part.index
        if arm == RANDOM:
            ends = {"low": float(part["option"].min()), "high": float(part["option"].max())}
            told = "smallest and largest of the draws"
            rows.append(number(f"{name}: option", float(part["option"].mean()), n=len(part), note=told, **ends))
            ends = {"low": float(part["r"].min()), "high": float(part["r"].max())}
            told = "own reading and change of the scores; smallest and largest of the draws"
            rows.append(number(f"{name}: mean r", float(part["r"].mean()), n=len(part), note=told, **ends))
            continue
        if len(part) >= _FEWEST:
            rows.append(_over(f"{name}: effect and read-out's r", preference[:, index], option[:, index], asked.seed))
            known = part["valence"].notna()
            if known.sum() >= _FEWEST:
                valence = np.broadcast_to(part["valence"][known].to_numpy(), (len(option), int(known.sum())))
                rows.append(_over(f"{name}: effect and valence", valence, option[:, index[known]], asked.seed))
        mean, control = own[:, index].mean(axis=1), table[(table["arm"] == RANDOM) & (table["level"] == level)]["r"]
        low, high = np.quantile(mean[1:], [0.025, 0.975])
        null = float(control.mean()) if len(control) else 0.0
        told = (
            f"own reading and change of the scores; max-T p below .05 for {(part['p_max'] < 0.05).sum()} of {len(part)}"
        )
        rows.append(
            number(
                f"{name}: mean r", float(mean[0]), low=float(low), high=float(high), n=len(part), null=null, note=told
            )
        )
    told = "log-odds of (A), whatever it stands for; cancels in scores and effects"
    rows.append(number("position bias, nats", float(asked.bias[0]), n=len(asked.first), null=0.0, note=told))
    return rows


def _over(name: str, x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    """Pearson's r over emotions of two series; its interval resamples activities, its p permutes emotions."""
    a, b = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    draws = (a * b).sum(axis=1) / np.where(spread > 0, spread, np.inf)
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    moving = spread[0] > 0
    p = correlation(x[0], y[0], resamples=200, seed=seed).p if moving else float("nan")
    note = f"over {x.shape[1]} emotions; interval: activities resampled; p: emotions permuted; {PAPER} in the paper"
    told = note if "read-out" in name else note.rpartition(";")[0]
    return number(name, float(draws[0]), low=float(low), high=float(high), n=x.shape[1], null=0.0, p=p, note=told)


def _ends(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(draws[1:], [0.025, 0.975], axis=0)
    return low, high
