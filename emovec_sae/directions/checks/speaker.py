"""Speakers: vectors of the present speaker's emotion against those of the other speaker's, on the same turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.directions.checks.result import Check, number, numbers
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.folds import DirectionEstimator, FoldedVectors, assign_folds, described
from emovec_sae.directions.ranking import own_ranks
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read, unit_rows
from emovec_sae.directions.source import PooledActivations, values_at
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.sites import Site
from emovec_sae.stats import bootstrap_mean

if TYPE_CHECKING:
    import altair as alt

WHO = ("present", "other")
_COLUMNS = ("emotion", "other_emotion", "group")


class Speaker(Check):
    """Readings by speaker; `table` has vectors, labels (whose), top1, low, high, n, null."""

    title: ClassVar[str] = "Are the present and the other speaker's emotions told apart?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw whose vectors read whose emotion."""
        from emovec_sae.charts import draw

        order = {name: place for place, name in enumerate(WHO)}
        frame = self.table.rename(columns={"vectors": "row", "labels": "column", "top1": "value"})
        frame = frame.assign(row_order=frame["row"].map(order), column_order=frame["column"].map(order))
        told = f"rows: whose vectors; columns: whose emotion; chance {self.table['null'].iloc[0]:.2f}"
        return draw("matrix", frame, title=self.title, legend="held-out top-1", subtitle=told)


def check_speaker(
    acts: PooledActivations,
    site: str | Site,
    *,
    estimator: DirectionEstimator | None = None,
    pool: str = "span",
    readout: str = "zscore",
    seed: int = 0,
) -> Speaker:
    """Fit vectors on the present and on the other speaker's emotion, and read each emotion with each, groups held out.

    Parameters
    ----------
    acts
        A store of dialogues with the columns `emotion` (of who speaks in the pooled tokens), `other_emotion` (of the
        other speaker) and `group`.
    site
        Where.
    estimator
        How vectors are fitted; None means `DiffMean`.
    pool
        ``span`` reads the tokens of the turn that the corpus marks.
    readout
        How turns are read, with statistics of the training groups.
    seed
        Of the intervals, whose clusters are groups.

    Raises
    ------
    ConfigError
        If a column is missing, or the two columns have no two emotions in common.

    References
    ----------
    Sofroniew et al. 2026 (arXiv 2604.07729), section on present-speaker and other-speaker vectors.
    """
    missing = [name for name in _COLUMNS if name not in acts.frame.columns]
    if missing:
        raise ConfigError(
            f"these texts have no column '{missing[0]}'; dialogues need {', '.join(_COLUMNS)}, and a span to be read"
        )
    frame = acts.frame
    emotions = sorted(set(frame["emotion"].dropna()) & set(frame["other_emotion"].dropna()))
    if len(emotions) < 2:
        raise ConfigError(f"both speakers have {len(emotions)} emotions in common; at least two are needed")
    rows = np.flatnonzero((frame["emotion"].isin(emotions) & frame["other_emotion"].isin(emotions)).to_numpy())
    part, place = frame.iloc[rows], Site.parse(site)
    used = DiffMean() if estimator is None else estimator
    values = values_at(acts, place, pool, rows)
    groups = pd.factorize(part["group"])[0]
    folds = assign_folds(groups)
    y = {who: np.array([emotions.index(name) for name in part[column]])
         for who, column in zip(WHO, ("emotion", "other_emotion"), strict=True)}  # fmt: skip
    with one_thread():
        made = {
            who: FoldedVectors(values, y[who], folds, emotions=emotions, estimator=used, groups=groups) for who in WHO
        }
        hits = {(whose, label): _read(made[whose], y[label], readout) for whose in WHO for label in WHO}
        cosines = (unit_rows(made["present"].without([])) * unit_rows(made["other"].without([]))).sum(axis=1)
    table, told = [], []
    for (whose, label), found in hits.items():
        bars = bootstrap_mean(found, groups, seed=seed)
        ends: dict[str, Any] = {"low": max(bars.low, 0.0), "high": min(bars.high, 1.0), "n": bars.n}
        table.append({"vectors": whose, "labels": label, "top1": bars.value, **ends, "null": 1 / len(emotions)})
        name = f"{whose} speaker's vectors read the {label} speaker's emotion"
        told.append(number(name, bars.value, **ends, null=1 / len(emotions), note=f"top-1; {bars.method}"))
    mean = bootstrap_mean(cosines, seed=seed)
    told.append(number("cosine of present and other vectors", mean.value, low=mean.low, high=mean.high, n=mean.n,
                       null=0.0, note="mean over emotions"))  # fmt: skip
    return Speaker(
        numbers=numbers(told),
        table=pd.DataFrame(table),
        settings={
            "model": acts.model.get("name"), "site": str(place), "estimator": described(used), "readout": readout,
            "position": pool, "emotions": len(emotions), "seed": seed,
        },
        provenance=collect(activations=acts.fingerprint, corpus_hash=acts.corpus_hash, seed=seed),
    )  # fmt: skip


def _read(made: FoldedVectors, labels: np.ndarray, readout: str) -> np.ndarray:
    """Whether each turn's label ranks first, by vectors of the other folds, shape (n,)."""
    hits = np.zeros(len(labels))
    for fold in range(int(made.folds.max()) + 1):
        test = made.folds == fold
        vectors = made.without([fold])
        stats = ReadoutStats.fit(made.values[~test], vectors, balanced_weights(made.y[~test]))
        hits[test] = own_ranks(read(made.values[test], vectors, stats, readout=readout), labels[test]) <= 1
    return hits
