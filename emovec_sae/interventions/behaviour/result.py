"""Behaviour: how far each condition moves a battery, beside random directions, with what head-room it had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.norms import load_norms
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.interventions.behaviour.conditions import RANDOM
from emovec_sae.interventions.behaviour.headroom import Headroom
from emovec_sae.interventions.comparison.controls import FLIPPED
from emovec_sae.provenance import atomic, write_json
from emovec_sae.stats import correlation, holm, sign_flip
from emovec_sae.stats.strata import stratified_mean

if TYPE_CHECKING:
    import altair as alt

COLUMNS = (
    "arm", "emotion", "level", "value", "low", "high", "n", "rate", "random", "random_low", "random_high", "p",
    "p_holm", "outside", "reached", "interpreted",
)  # fmt: skip
"""Columns of `Behaviour.frame`."""
_CONDITION = ["arm", "emotion", "level"]
_FEWEST = 3
"""Emotions without which there is no correlation over them."""


@dataclass(frozen=True, eq=False, repr=False)
class Behaviour:
    """A battery under edits.

    Attributes
    ----------
    battery, model, form
        What was asked of which model; ``chat`` or ``completion``.
    cells
        One row an (item, condition): id, group, kind, base, base_bias, arm, emotion, draw, level, log_odds, effect
        (log_odds less base, nats), bias (log-odds of the answer listed first).
    doses
        One row a condition: arm, emotion, draw, level, kl, coefficient, reached.
    headroom
        What the unedited model does; says whether the effects are interpreted.
    seed
        Of intervals and tests.
    provenance
        Who made it, from what.
    """

    battery: str
    model: str
    form: str
    cells: pd.DataFrame
    doses: pd.DataFrame
    headroom: Headroom
    seed: int
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        return f"Behaviour('{self.battery}', {self.model}, {len(self.doses)} conditions; {self.headroom})"

    def frame(self, by: str | None = None) -> pd.DataFrame:
        """Mean change of the log-odds of the behaviour under every condition.

        Parameters
        ----------
        by
            ``group`` or ``kind`` gives the means within each of these instead, with a column of that name and without
            tests.

        Returns
        -------
        pandas.DataFrame
            arm, emotion, level, value (nats), low, high (95 %, items resampled within groups), n, rate (share of items
            on which the behaviour is the likelier answer), random, random_low, random_high (mean over random
            directions at that level, and their smallest and largest), p (sign flips of the items' differences from the
            random directions, or from 0 without them), p_holm (over the emotions of an arm and level), outside
            (whether the value lies outside of all random directions), reached (the dose), interpreted. Random
            directions are one row, the mean of the draws. P values are NaN where the battery has no head-room.

        Raises
        ------
        ConfigError
            If `by` is unknown.
        """
        if by is None:
            return self._tested()
        if by not in ("group", "kind"):
            raise ConfigError(f"cannot tell effects by '{by}'{suggest(by, ['group', 'kind'])}; by group or kind")
        rows: list[dict[str, Any]] = []
        for name, part in self.cells.groupby(by, sort=False):
            rows += [{by: name, **row} for row in self._means(part)]
        return pd.DataFrame(rows).assign(interpreted=not self.headroom.problem)

    def facts(self) -> dict[str, Any]:
        """The summary for machines."""
        table = self.frame()
        raw = table[table["arm"] != RANDOM]
        moved = raw[(raw["p_holm"] < 0.05) & raw["outside"].eq(True) & raw["reached"]]
        told = {"battery": self.battery, "model": self.model, "form": self.form, "headroom": self.headroom.facts()}
        names = [" ".join(str(row[key]) for key in _CONDITION) for row in moved.to_dict("records")]
        told |= {"moved": names, "outside": self.outside(), "over_emotions": self.over_emotions()}
        return {**told, "effects": table.to_dict("records")}

    def outside(self) -> list[dict[str, Any]]:
        """How many emotions lie outside of all random directions, and how many random ones would.

        One of d + 1 random directions lies outside of the other d with probability 2 / (d + 1).

        Returns
        -------
        list of dict
            arm, level, count, n, expected; nothing without random directions.
        """
        table = self.frame()
        found: list[dict[str, Any]] = []
        for _, part in table[table["outside"].notna()].groupby(["arm", "level"], dropna=False, sort=False):
            arm, level = str(part["arm"].iloc[0]), float(part["level"].iloc[0])
            draws = int(_random(self.cells, level)["draw"].nunique())
            count, expected = int(part["outside"].astype(bool).sum()), len(part) * 2 / (draws + 1)
            found.append({"arm": arm, "level": level, "count": count, "n": len(part), "expected": expected})
        return found

    def over_emotions(self) -> list[dict[str, Any]]:
        """Correlations over emotions: of the vectors' effects with valence, and with the effects of their sign flips.

        Returns
        -------
        list of dict
            quantity, level, value, low, high, p, n; nothing for fewer than three emotions.
        """
        table = self.frame()
        valence = load_norms().set_index("emotion")["valence"]
        found: list[dict[str, Any]] = []
        for level, part in table[table["emotion"].notna()].groupby("level", dropna=False):
            raw = part[part["arm"] == "raw"].set_index("emotion")["value"]
            flip = part[part["arm"] == FLIPPED].set_index("emotion")["value"]
            for name, other in (("effect and valence", valence), ("effect and that of the sign flip", flip)):
                both = pd.concat([raw, other], axis=1, keys=["x", "y"]).dropna()
                if len(both) < _FEWEST or both["x"].nunique() < 2 or both["y"].nunique() < 2:
                    continue
                r = correlation(both["x"].to_numpy(), both["y"].to_numpy(), seed=self.seed)
                found.append({"quantity": name, "level": level, **r.as_dict()})
        return found

    def plot(self) -> alt.TopLevelMixin:
        """Effects by emotion, a panel a level, beside the range of random directions."""
        from emovec_sae.charts import draw

        table = self.frame()
        title = f"{self.battery} under steering: {self.model}"
        problem = self.headroom.problem
        told = f"NOT INTERPRETED, {problem}" if problem else str(self.headroom)
        return draw("behaviour", table[table["arm"] != RANDOM], title=title, subtitle=told)

    def save(self, path: str | Path) -> Path:
        """Write the cells as Parquet, with summary, doses and provenance as JSON beside them."""
        path = Path(path)
        with atomic(path) as part:
            self.cells.to_parquet(part, index=False)
        more = {"doses": self.doses.to_dict("records"), "provenance": self.provenance}
        write_json(path.with_suffix(".json"), {**self.facts(), **more})
        return path

    def _tested(self) -> pd.DataFrame:
        table = pd.DataFrame(self._means(self.cells))
        fine = not self.headroom.problem
        table["p"] = [self._p(row) if fine else np.nan for _, row in table.iterrows()]
        table["p_holm"] = np.nan
        for _, part in table.groupby(["arm", "level"], dropna=False):
            known = part.index[part["p"].notna()]
            if len(known):
                table.loc[known, "p_holm"] = holm(table.loc[known, "p"].to_numpy())
        apart = (table["value"] < table["random_low"]) | (table["value"] > table["random_high"])
        table["outside"] = apart.where(table["random"].notna() & (table["arm"] != RANDOM), np.nan).astype(object)
        return table.assign(interpreted=fine)[list(COLUMNS)]

    def _means(self, cells: pd.DataFrame) -> list[dict[str, Any]]:
        doses = {str(key): one.all() for key, one in self.doses.groupby(_CONDITION, dropna=False)["reached"]}
        rows: list[dict[str, Any]] = []
        for key, part in cells.groupby(_CONDITION, dropna=False, sort=False):
            mean = part.groupby("id", sort=False).agg(effect=("effect", "mean"), group=("group", "first"))
            value = stratified_mean(mean["effect"].to_numpy(), mean["group"].to_numpy(), seed=self.seed)
            named = dict(zip(_CONDITION, key, strict=True))
            draws = _random(cells, float(part["level"].iloc[0])).groupby("draw")["effect"].mean()
            control = (draws.mean(), draws.min(), draws.max()) if len(draws) else (np.nan, np.nan, np.nan)
            ends = {"value": value.value, "low": value.low, "high": value.high, "n": value.n}
            ends |= dict(zip(("random", "random_low", "random_high"), control, strict=True))
            share = {"rate": float((part["log_odds"] > 0).mean()), "reached": bool(doses[str(key)])}
            rows.append({**named, "emotion": named["emotion"] if isinstance(named["emotion"], str) else None}
                        | ends | share)  # fmt: skip
        return rows

    def _p(self, row: pd.Series) -> float:
        """Sign flips of the items' effects, less those of the random directions at that level."""
        cells = self.cells
        if row["arm"] == RANDOM:
            return float("nan")
        own = cells[(cells["arm"] == row["arm"]) & (cells["emotion"] == row["emotion"]) & _at(cells, row["level"])]
        effect = own.set_index("id")["effect"]
        control = _random(cells, row["level"]).groupby("id")["effect"].mean()
        apart = effect - control.reindex(effect.index) if len(control) else effect
        return sign_flip(apart.to_numpy(), permutations=4999, seed=self.seed).p


def _at(cells: pd.DataFrame, level: float) -> pd.Series:
    return cells["level"].isna() if np.isnan(level) else cells["level"] == level


def _random(cells: pd.DataFrame, level: float) -> pd.DataFrame:
    return cells[(cells["arm"] == RANDOM) & _at(cells, level)]
