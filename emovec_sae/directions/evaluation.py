"""The result of an evaluation: scores with intervals beside chance and the words-only baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from emovec_sae.corpora.emotions import family_codes
from emovec_sae.directions.ranking import METRICS, Ranked, chance
from emovec_sae.directions.readouts import TRANSDUCTIVE, check_readout
from emovec_sae.directions.source import Labelled
from emovec_sae.provenance import write_json
from emovec_sae.sites import Site
from emovec_sae.stats import Interval, bootstrap_mean, proportion

if TYPE_CHECKING:
    import altair as alt

_NUMBER = ("value", "low", "high", "n")
_HEADLINE = ["metric", *_NUMBER, "clusters", "method", "chance"]
_SWEEP = ("site", "layer", "metric", "value", "low", "high", "n", "chance", "baseline")


class Way(NamedTuple):
    """How texts were read: the estimator by its short name, the site and the readout."""

    estimator: str
    site: Site
    readout: str


@dataclass(frozen=True)
class Bars:
    """How intervals are made: level, bootstrap resamples and seed; clusters are groups."""

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0

    def over(self, values: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
        """Mean of values with its interval: value, low, high, n (of values), clusters, method."""
        known = np.isfinite(values)
        values, groups = values[known], groups[known]
        if len(values) == 0:
            return {"value": np.nan, "low": np.nan, "high": np.nan, "n": 0, "clusters": 0, "method": "none: no texts"}
        found = bootstrap_mean(values, groups, level=self.level, resamples=self.resamples, seed=self.seed)
        # A share of texts or an area has no business outside 0 to 1, where a t interval can reach; NaN stays NaN.
        low, high = np.clip([found.low, found.high], 0, 1)
        return _row(found) | {"low": float(low), "high": float(high)}

    def share(self, hits: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
        """As `over` for few texts that are each right or wrong: keeps a width where all are right, or none."""
        return _row(proportion(hits, groups, level=self.level))


def _row(found: Interval) -> dict[str, Any]:
    return {
        "value": found.value, "low": found.low, "high": found.high,
        "n": found.n, "clusters": found.clusters, "method": found.method,
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well texts are read by directions that were fitted on other texts.

    Attributes
    ----------
    scores
        One row a (estimator, site, readout, metric): estimator, site, layer, readout, metric (top1, top5, auroc,
        family), value, low, high, n (texts), clusters (groups), method (of the interval), chance, baseline (TF-IDF),
        transductive. ``family`` is the share of texts of which the predicted emotion is one of the right family.
    headline
        One row a metric: value, low, high, n, clusters, method, chance. After a cross-validation over several
        estimators, sites or readouts it is nested: each held-out fold is read in the way that its training folds chose.
    words
        As `headline`, by the words alone; without rows where there is no baseline.
    by_emotion
        One row a (emotion, metric) of the headline readings: emotion, metric, value, low, high, n, clusters, method.
    texts
        One row a text of the headline readings: id, emotion, group, estimator, site, readout, rank (of its own
        emotion), predicted, auroc.
    way
        The way (estimator, site, readout) that all texts together favour.
    baseline
        What the baseline is, or None.
    emotions
        The emotions that were told apart.
    provenance
        Who made this, from what; `seen` counts texts that the directions had been fitted on.
    """

    scores: pd.DataFrame
    headline: pd.DataFrame
    words: pd.DataFrame
    by_emotion: pd.DataFrame
    texts: pd.DataFrame
    way: Way
    baseline: str | None
    emotions: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def readout(self) -> str:
        """The readout that all texts together favour."""
        return self.way.readout

    @property
    def site(self) -> Site:
        """The site that all texts together favour."""
        return self.way.site

    def __repr__(self) -> str:
        numbers = self.headline.set_index("metric")["value"]
        return (
            f"Evaluation({len(self.texts)} texts, {len(self.emotions)} emotions, {self.readout} at {self.site}: "
            f"top-1 {numbers['top1']:.2f}, top-5 {numbers['top5']:.2f}, AUROC {numbers['auroc']:.2f})"
        )

    def frame(self) -> pd.DataFrame:
        """The scores, a row each (site, readout, metric)."""
        return self.scores.copy()

    def sweep_frame(self, *, readout: str | None = None, estimator: str | None = None) -> pd.DataFrame:
        """What `plot` draws of one readout and estimator: site, layer, metric (top1, top5), value, low, high, n, ..."""
        name = self.readout if readout is None else check_readout(readout)
        made = self.way.estimator if estimator is None else estimator
        wanted = (self.scores["readout"] == name) & (self.scores["estimator"] == made)
        wanted &= self.scores["metric"].isin(["top1", "top5"])
        return self.scores.loc[wanted, list(_SWEEP)].reset_index(drop=True)

    def plot(self) -> alt.LayerChart | alt.VConcatChart:
        """Draw held-out accuracy over sites from `sweep_frame`."""
        from emovec_sae.charts import draw

        return draw("site_sweep", self.sweep_frame())

    def summary(self) -> dict[str, Any]:
        """Headline numbers for machines; each with an interval is ``{"value", "low", "high", "n"}``.

        Returns
        -------
        dict
            top1, top5, auroc, family; chance and baseline (each by metric; the baseline None where there is none);
            estimator, site, readout, transductive, emotions, texts, groups, seen, and for a cross-validation nested
            and chosen (in how many folds each way was).
        """
        clusters = int(self.headline["clusters"].max())
        return {
            **_numbers(self.headline),
            "chance": dict(zip(self.headline["metric"], self.headline["chance"], strict=True)),
            "baseline": {"name": self.baseline, **_numbers(self.words)} if self.baseline else None,
            "estimator": self.way.estimator,
            "site": str(self.site),
            "readout": self.readout,
            "transductive": self.readout in TRANSDUCTIVE,
            "emotions": len(self.emotions),
            "texts": len(self.texts),
            "groups": clusters,
            "seen": int(self.provenance.get("seen", 0)),
            "nested": bool(self.provenance.get("nested", False)),
            "chosen": self._chosen(),
        }

    def _chosen(self) -> dict[str, int]:
        ways = self.texts[["group", "estimator", "site", "readout"]].drop_duplicates()
        names = ways["estimator"] + ", " + ways["site"] + ", " + ways["readout"]
        return {str(name): int(count) for name, count in names.value_counts().items()}

    def sensitivity(self) -> pd.DataFrame:
        """What would be concluded with each estimator and readout, at the site that is best with it.

        Returns
        -------
        pandas.DataFrame
            estimator, readout, site (best by top-1 then top-5, chosen on these very texts), top1, low, high, top5,
            auroc, above_baseline (whether the interval of top-1 lies above TF-IDF's value), same_site (as the
            headline's), transductive.
        """
        rows = []
        for (made, name), part in self.scores.groupby(["estimator", "readout"], sort=False):
            table = part.pivot_table(index="site", columns="metric", values="value", sort=False)
            best = str(table.sort_values(["top1", "top5"], ascending=False, kind="stable").index[0])
            first = part[(part["site"] == best) & (part["metric"] == "top1")].iloc[0]
            rows.append(
                {
                    "estimator": made, "readout": name, "site": best, "top1": first["value"], "low": first["low"],
                    "high": first["high"], "top5": table.loc[best, "top5"], "auroc": table.loc[best, "auroc"],
                    "above_baseline": bool(first["low"] > first["baseline"]), "same_site": best == str(self.site),
                    "transductive": bool(first["transductive"]),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def save(self, path: str | Path) -> Path:
        """Write everything as one JSON file, atomically."""
        tables = {"scores": self.scores, "by_emotion": self.by_emotion, "texts": self.texts}
        rows = {name: records(table) for name, table in tables.items()}
        return write_json(path, {"summary": self.summary(), **rows, "provenance": dict(self.provenance)})


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read of n texts, before anything is summed up.

    Attributes
    ----------
    part
        The texts.
    emotions
        The emotions that were told apart, in the order of the codes.
    table
        Way -> readings of the n texts.
    headline, headline_ways
        Readings of the headline, and the way in which each text was read.
    words
        Readings by the baseline, or None.
    """

    part: Labelled
    emotions: tuple[str, ...]
    table: Mapping[Way, Ranked]
    headline: Ranked
    headline_ways: Sequence[Way]
    words: Ranked | None


def tabulate(
    read: Readings,
    *,
    way: Way,
    baseline: str | None,
    bars: Bars,
    provenance: Mapping[str, Any],
) -> Evaluation:
    """Turn readings into an `Evaluation`, whose attributes the arguments are; `bars` says how intervals are made."""
    part, found = read.part, read.headline
    words = pd.DataFrame([] if read.words is None else _rows(read, read.words, bars), columns=_HEADLINE)
    base = dict(zip(words["metric"], words["value"], strict=True))
    scores = [
        {"estimator": made, "site": str(place), "layer": place.layer, "readout": name, **row}
        | {"baseline": base.get(row["metric"], np.nan), "transductive": name in TRANSDUCTIVE}
        for (made, place, name), ranked in read.table.items()
        for row in _rows(read, ranked, bars)
    ]
    texts = part.frame[["id", "emotion", "group"]].assign(
        estimator=[one.estimator for one in read.headline_ways],
        site=[str(one.site) for one in read.headline_ways],
        readout=[one.readout for one in read.headline_ways],
        rank=found.rank,
        predicted=[read.emotions[code] for code in found.predicted],
        auroc=found.auroc,
    )
    return Evaluation(
        scores=pd.DataFrame(scores),
        headline=pd.DataFrame(_rows(read, found, bars), columns=_HEADLINE),
        words=words,
        by_emotion=_by_emotion(part, found, bars),
        texts=texts,
        way=way,
        baseline=baseline,
        emotions=read.emotions,
        provenance=provenance,
    )


def _rows(read: Readings, found: Ranked, bars: Bars) -> list[dict[str, Any]]:
    """One row a metric, with interval and chance."""
    rows = [
        {"metric": name, **bars.over(found.metric(name), read.part.groups), "chance": chance(name, len(read.emotions))}
        for name in METRICS
    ]
    families = family_codes(read.emotions)
    if families is None:
        return rows
    own = families[[read.emotions.index(name) for name in read.part.frame["emotion"]]]
    hits = (families[found.predicted] == own).astype(float)
    by_chance = float((families[:, None] == own).mean())
    return [*rows, {"metric": "family", **bars.over(hits, read.part.groups), "chance": by_chance}]


def _by_emotion(part: Labelled, found: Ranked, bars: Bars) -> pd.DataFrame:
    rows = []
    for code, name in enumerate(part.emotions):
        mine = part.y == code
        for metric in METRICS:
            interval = bars.over if metric == "auroc" else bars.share
            rows.append({"emotion": name, "metric": metric, **interval(found.metric(metric)[mine], part.groups[mine])})
    return pd.DataFrame(rows)


def _numbers(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(row["metric"]): {key: _plain(row[key]) for key in _NUMBER} for row in table.to_dict("records")}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON knows them: plain numbers and texts, None for what is not finite."""
    return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """A Python number or text; what is not finite becomes None, which JSON knows."""
    item = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(item, float) and not np.isfinite(item) else item
