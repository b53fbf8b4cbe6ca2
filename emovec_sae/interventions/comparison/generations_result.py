"""The result of generations: texts, their scores, and every number that is made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.comparison import generation_statistics as statistics
from emovec_sae.interventions.comparison.conditions import BASE
from emovec_sae.interventions.comparison.files import read_tables, write_tables
from emovec_sae.scoring.regimes import REGIMES
from emovec_sae.stats.proportion import proportion

if TYPE_CHECKING:
    import altair as alt

KEYS = ("emotion", "arm", "draw", "fold", "level", "prompt", "seed")
"""What tells a text from others; `emotion` is None for the base model and for controls that serve every emotion."""
COLUMNS = {
    ("valence", False): "valence", ("valence", True): "valence_masked", ("distinct-1", False): "distinct_1",
    ("distinct-2", False): "distinct_2", ("distinct-3", False): "distinct_3", ("repetition", False): "repeated",
    ("surprise", False): "surprise", ("perplexity", False): "perplexity",
}  # fmt: skip
"""(outcome, masked) -> column of the texts."""


@dataclass(frozen=True)
class Generations:
    """Texts of arms at equal dose, and what they say.

    Attributes
    ----------
    texts
        One row a text: the `KEYS`, kl, coefficient, reached, tokens (how many), text, and its numbers: surprise (nats a
        token under the unedited model), valence, valence_masked, distinct_1 to 3, repeated, perplexity, regime.
    scores
        One row a (text, reader, masked or not, emotion): the `KEYS`, outcome (``probe``, ``judge``), masked, scored,
        value.
    provenance
        Model, prompts, emotions, levels, sampling, readers.
    """

    texts: pd.DataFrame
    scores: pd.DataFrame
    provenance: dict[str, Any]

    @cached_property
    def emotions(self) -> list[str]:
        """Emotions whose arms wrote."""
        return [str(one) for one in self.texts["emotion"].dropna().unique()]

    def frame(self) -> pd.DataFrame:
        """All outcomes as one tidy table; a control of no emotion counts for each.

        Returns
        -------
        pandas.DataFrame
            emotion, arm, draw, fold, level (NaN for the instruction, which has no dose), prompt, seed, outcome, masked,
            value, change (less the base model's text after the same prompt with the same seed). Of the readers' scores
            those of the arm's own emotion.
        """
        parts = [self._for_each(self._of_texts(outcome, column, masked=masked))
                 for (outcome, masked), column in COLUMNS.items()]  # fmt: skip
        if len(self.scores):
            own = self._for_each(self._changed_scores())
            parts.append(own[own["emotion"] == own["scored"]].drop(columns="scored"))
        return pd.concat(parts, ignore_index=True)[[*KEYS, "outcome", "masked", "value", "change"]]

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return self.frame()

    @cached_property
    def _effects(self) -> pd.DataFrame:
        return self.effects()

    def effects(self) -> pd.DataFrame:
        """Changes that go the emotion's way; see `.generation_statistics.signed_effects`."""
        return statistics.signed_effects(self._frame)

    def means(self, level: float | None = None, *, seed: int = 0) -> pd.DataFrame:
        """Mean signed effect of each arm, of all levels or of one.

        See `.generation_statistics.means`.
        """
        return statistics.means(self._effects, "effect", level=level, seed=seed)

    def damage(self, level: float | None = None, *, seed: int = 0) -> pd.DataFrame:
        """Mean change of distinct-n, repetition, surprise and perplexity; see `.generation_statistics.means`."""
        some = self._frame[self._frame["outcome"].isin(statistics.UNDIRECTED)]
        return statistics.means(statistics.averaged(some, "change"), "change", level=level, seed=seed)

    def ratios(self, level: float | None = None, *, seed: int = 0) -> pd.DataFrame:
        """Mean effect of each arm over that of the raw vectors; see `.generation_statistics.ratios`."""
        return statistics.ratios(self._effects, level=level, seed=seed)

    def wrong_way(self, level: float | None = None) -> pd.DataFrame:
        """Share of (emotion, prompt) cells that went the wrong way; see `.generation_statistics.wrong_way`."""
        return statistics.wrong_way(self._effects, level=level)

    def specificity(
        self, level: float, arm: str = "raw", *, outcome: str = "probe", masked: bool = False
    ) -> pd.DataFrame:
        """The whole matrix of an arm: what its texts change in the scores of every emotion.

        Returns
        -------
        pandas.DataFrame
            emotion (whose arm), scored, effect (mean change over prompts and seeds), own (the diagonal), n (texts).

        Raises
        ------
        ConfigError
            If nobody read the texts for that outcome, or the arm did not write at that level.
        """
        there = sorted(self.scores["outcome"].unique()) if len(self.scores) else []
        if outcome not in there:
            raise ConfigError(f"no reader '{outcome}' read these texts; there are {', '.join(there) or 'none'}")
        table = self._changed_scores()
        at = (table["level"] == level) | table["level"].isna()
        rows = table[(table["arm"] == arm) & at & (table["outcome"] == outcome) & (table["masked"] == masked)]
        rows = rows.dropna(subset=["change", "emotion"])
        if rows.empty:
            raise ConfigError(f"'{arm}' wrote no text of an emotion at {level:g} nats")
        found = rows.groupby(["emotion", "scored"], as_index=False, sort=False)["change"].agg(["mean", "count"])
        found = found.rename(columns={"mean": "effect", "count": "n"})
        return found.assign(own=found["emotion"] == found["scored"])[["emotion", "scored", "effect", "own", "n"]]

    def regimes(self) -> pd.DataFrame:
        """Share of each regime: arm, level (NaN without a dose), regime, share, low, high (95 %, over prompts), n."""
        rows: list[dict[str, Any]] = []
        for (arm, level), some in self.texts.groupby(["arm", "level"], dropna=False, sort=False):
            for regime in REGIMES:
                share = proportion((some["regime"] == regime).to_numpy(), some["prompt"].to_numpy())
                ends = {"share": share.value, "low": share.low, "high": share.high, "n": share.n}
                rows.append({"arm": arm, "level": level, "regime": regime, **ends})
        return pd.DataFrame(rows)

    def samples(
        self, level: float, *, emotions: Sequence[str] | None = None, prompts: int = 1, seed: int = 0
    ) -> pd.DataFrame:
        """Texts side by side at the same dose: emotion, prompt, and a column for ``base`` and each arm (first draw)."""
        names = self.emotions if emotions is None else list(emotions)
        texts = self.texts
        first = texts[(texts["draw"] == 0) & (texts["fold"] == 0) & (texts["seed"] == seed)]
        first = first[first["prompt"] < prompts]
        kept = self._for_each(first[(first["level"] == level) | first["level"].isna()])
        kept = kept[kept["emotion"].isin(names)]
        order = list(dict.fromkeys([BASE, *kept["arm"]]))
        return (
            kept.pivot_table(index=["emotion", "prompt"], columns="arm", values="text", aggfunc="first", sort=False)[
                order
            ]
            .rename_axis(columns=None)
            .reset_index()
        )

    def plot(self, level: float | None = None, *, seed: int = 0) -> alt.TopLevelMixin:
        """Mean signed effect of each arm, with and without words of emotion; at the largest level by default."""
        from emovec_sae.charts import draw

        at = float(self.texts["level"].max()) if level is None else level
        return draw("text_outcomes", self.means(at, seed=seed))

    def plot_specificity(
        self, level: float, arm: str = "raw", *, outcome: str = "probe", masked: bool = False
    ) -> alt.TopLevelMixin:
        """The specificity matrix as a heat map, among the emotions whose arms wrote."""
        from emovec_sae.charts import draw

        table = self.specificity(level, arm, outcome=outcome, masked=masked)
        table = table[table["scored"].isin(self.emotions)]
        place = {name: number for number, name in enumerate(self.emotions)}
        table = table.rename(columns={"emotion": "row", "scored": "column", "effect": "value"})
        table = table.assign(low=np.nan, high=np.nan, row_order=table["row"].map(place),
                             column_order=table["column"].map(place))  # fmt: skip
        title = f"What the texts of '{arm}' change in each emotion's {outcome}"
        told = f"rows: whose arm wrote, at {level:g} nats; columns: what was read{', words masked' if masked else ''}"
        return draw("matrix", table, title=title, legend="change", diverging=True, subtitle=told)

    def save(self, path: str | Path) -> Path:
        """Write the texts as Parquet, the scores beside them, and a JSON file with the provenance."""
        return write_tables(path, self.texts, self.scores, beside="scores", provenance=self.provenance)

    def _of_texts(self, outcome: str, column: str, *, masked: bool) -> pd.DataFrame:
        table = self.texts[[*KEYS, column]].rename(columns={column: "value"})
        return _changed(table.assign(outcome=outcome, masked=masked), ["prompt", "seed"])

    def _changed_scores(self) -> pd.DataFrame:
        return _changed(self.scores, ["prompt", "seed", "outcome", "masked", "scored"])

    def _for_each(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of no emotion, once for each emotion."""
        free = table["emotion"].isna()
        every = table[free].drop(columns="emotion").merge(pd.DataFrame({"emotion": self.emotions}), how="cross")
        return pd.concat([table[~free], every[list(table.columns)]], ignore_index=True)


def load_generations(path: str | Path) -> Generations:
    """Read what `Generations.save` wrote.

    Raises
    ------
    StoreError
        If one of its files is missing.
    """
    return Generations(*read_tables(path, beside="scores", again="generate"))


def _changed(table: pd.DataFrame, pair: list[str]) -> pd.DataFrame:
    """Rows of the arms with their change against the base model's own, which are left out."""
    base = table[table["arm"] == BASE].set_index(pair)["value"].rename("base")
    arms = table[table["arm"] != BASE].join(base, on=pair)
    return arms.assign(change=arms["value"] - arms["base"]).drop(columns="base")
