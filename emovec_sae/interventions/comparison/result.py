"""The result of a comparison: effects and doses, and every number that is made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from emovec_sae.interventions.comparison import statistics
from emovec_sae.interventions.comparison.files import read_tables, write_tables
from emovec_sae.interventions.comparison.names import INSTRUCTION
from emovec_sae.stats.bootstrap import Interval, bootstrap_mean

if TYPE_CHECKING:
    import altair as alt


_OWN = ("emotion", "arm", "draw", "fold", "shared", "level", "kl", "prompt", "effect")


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes
    ----------
    effects
        One row an (arm, draw, fold, level, prompt, scored emotion): arm, emotion (whose arm; None for random), draw,
        fold (of a rotation over topics, 0 without one; may be missing), level, kl, coefficient, reached, prompt,
        scored, effect (change of the scored emotion's log-odds, nats).
    doses
        One row a calibration: arm, emotion, draw, fold, level, kl, coefficient, strength, reached, monotone,
        evaluations.
    provenance
        Model, site, prompts, levels, seed.
    """

    effects: pd.DataFrame
    doses: pd.DataFrame
    provenance: dict[str, Any]

    def own(self) -> pd.DataFrame:
        """Effects on the arm's own emotion; a random draw counts for every emotion.

        Returns
        -------
        pandas.DataFrame
            emotion, arm, draw, fold, shared (the arm belongs to no fold), level, kl, prompt, effect.
        """
        effects = _folded(self.effects)
        kept = effects[effects["emotion"].isna() | (effects["emotion"] == effects["scored"])]
        shared = kept["emotion"].isna() | (kept["arm"] == INSTRUCTION)
        return kept.assign(emotion=kept["scored"], shared=shared)[list(_OWN)]

    def frame(self, *, seed: int = 0) -> pd.DataFrame:
        """Mean effect by emotion, arm and level: emotion, arm, level, kl, effect, low, high, n.

        Draws of a random arm, and folds, are averaged within a prompt; the 95 % interval is over prompts.
        """
        keys = ["emotion", "arm", "level"]
        by_prompt = self.own().groupby([*keys, "prompt"], as_index=False, sort=False)[["effect", "kl"]].mean()
        rows = []
        for (emotion, arm, level), some in by_prompt.groupby(keys, sort=False):
            mean = bootstrap_mean(some["effect"].to_numpy(), seed=seed)
            row = {"emotion": emotion, "arm": arm, "level": level, "kl": some["kl"].mean()}
            rows.append({**row, "effect": mean.value, "low": mean.low, "high": mean.high, "n": len(some)})
        return pd.DataFrame(rows)

    def ratios(self, level: float, *, primary: str = statistics.PRIMARY, seed: int = 0) -> pd.DataFrame:
        """Mean effect of each arm over that of the raw vectors, pooled over the emotions that have the arm.

        See `emovec_sae.interventions.comparison.statistics.pooled_ratios` for the columns.
        """
        return statistics.pooled_ratios(self._at(level), primary=primary, seed=seed)

    def ratios_by_emotion(self, level: float, *, seed: int = 0) -> pd.DataFrame:
        """Effect of each arm over that of the raw vector within an emotion, prompts resampled.

        See `emovec_sae.interventions.comparison.statistics.emotion_ratios`.
        """
        return statistics.emotion_ratios(self._at(level), seed=seed)

    def ratios_by_fold(self, level: float, *, seed: int = 0) -> pd.DataFrame:
        """Ratios within each fold of a rotation, and how far they lie from that of all folds.

        See `emovec_sae.interventions.comparison.statistics.fold_ratios`.
        """
        return statistics.fold_ratios(self._at(level), seed=seed)

    def k90(self, level: float, *, by_emotion: bool = False, seed: int = 0) -> pd.DataFrame:
        """The smallest k whose latents match the raw vector, by selector and, if asked, emotion."""
        return statistics.k90(self.ratios_by_emotion(level, seed=seed) if by_emotion else self.ratios(level, seed=seed))

    def sufficiency_and_necessity(self, level: float, *, seed: int = 0) -> pd.DataFrame:
        """What k latents do by themselves, and what the vector loses without them, by selector and k."""
        return statistics.sufficiency_and_necessity(self.ratios(level, seed=seed))

    def specificity(self, level: float, arm: str = "raw") -> pd.DataFrame:
        """The whole matrix of an arm: emotion (whose arm), scored, effect (mean over prompts), own (the diagonal)."""
        rows = self.effects[(self.effects["arm"] == arm) & (self.effects["level"] == level)]
        table = rows.groupby(["emotion", "scored"], as_index=False, sort=False)["effect"].mean()
        return table.assign(own=table["emotion"] == table["scored"])

    def falsifiers(self, level: float, *, seed: int = 0) -> pd.DataFrame:
        """What would speak against the claim that latents are the vector; see `.falsifiers` beside this module."""
        from emovec_sae.interventions.comparison.falsifiers import falsifiers

        return falsifiers(self._at(level), self.doses[self.doses["level"] == level], seed=seed)

    def verdict(self, level: float, *, seed: int = 0) -> list[str]:
        """Sentences made from the numbers at a level, the failures included."""
        from emovec_sae.interventions.comparison.verdict import write_verdict

        return write_verdict(self, level, seed=seed)

    def page(self, level: float, *, seed: int = 0, title: str = "") -> str:
        """The verdict on one page of Markdown: the sentences, their tables, and what the other levels say."""
        from emovec_sae.interventions.comparison.page import verdict_page

        return verdict_page(self, level, seed=seed, title=title)

    def above_random(self, level: float) -> tuple[int, int]:
        """Emotions whose raw vector raises its own words more than the random directions do on average, and all."""
        means = self.frame().query("level == @level").pivot_table(index="emotion", columns="arm", values="effect")
        both = means[["raw", "random"]].dropna()
        return int((both["raw"] > both["random"]).sum()), len(both)

    def wrong_way(self, level: float) -> pd.DataFrame:
        """Share of (emotion, prompt) cells that an arm moved away from its emotion: arm, value, low, high, n."""
        return statistics.wrong_way(self._at(level))

    def raw_effect(self, level: float, *, seed: int = 0) -> Interval:
        """Mean effect of the raw vectors over emotions, in nats, with an interval over emotions."""
        means = self.frame(seed=seed).query("level == @level and arm == 'raw'")
        return bootstrap_mean(means["effect"].to_numpy(), seed=seed)

    def _at(self, level: float) -> pd.DataFrame:
        return self.own().query("level == @level")

    def plot(self, emotions: Sequence[str] | None = None) -> alt.TopLevelMixin:
        """Dose curves of the arms, a panel an emotion."""
        from emovec_sae.charts import draw

        frame = self.frame()
        return draw("dose_curves", frame if emotions is None else frame[frame["emotion"].isin(list(emotions))])

    def save(self, path: str | Path) -> Path:
        """Write the effects as Parquet, the doses beside them, and a JSON file with the provenance."""
        return write_tables(path, self.effects, self.doses, beside="doses", provenance=self.provenance)


def load_comparison(path: str | Path) -> Comparison:
    """Read what `Comparison.save` wrote.

    Raises
    ------
    StoreError
        If one of its files is missing.
    """
    effects, doses, provenance = read_tables(path, beside="doses", again="run the comparison")
    return Comparison(_folded(effects), _folded(doses), provenance)


def _folded(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a fold; comparisons that were saved before there were folds have the one fold 0."""
    return table if "fold" in table else table.assign(fold=0)
