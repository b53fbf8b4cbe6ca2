"""Other people's labels: single or several a text, intensities, ratings of valence and arousal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats
from sklearn.metrics import label_ranking_average_precision_score, roc_auc_score

from emovec_sae.corpora.norms import load_norms
from emovec_sae.directions.checks.reading import own_stats, rows_of, told, values_of
from emovec_sae.directions.checks.result import NUMBERS, Check, number, numbers
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.ranking import own_ranks
from emovec_sae.directions.readouts import ReadoutStats, read
from emovec_sae.directions.source import PooledActivations
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.provenance import collect
from emovec_sae.stats import Interval, bootstrap_mean, correlation

if TYPE_CHECKING:
    import altair as alt

INTENSITY = "intensity."
_LEAST = 10
REFERENCES = ("training", "texts")
"""Whose mean and deviation: those of the texts that the directions were fitted on, or of these texts (transductive)."""


class LabelledTexts(Check):
    """Agreement with given labels; `table` has kind, label, emotion, value, low, high, n, null."""

    title: ClassVar[str] = "Do the directions agree with given labels?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the agreement by label."""
        from emovec_sae.charts import draw

        return draw("score_dots", self.table.rename(columns={"kind": "check", "label": "number"}))


def check_labelled(
    directions: DirectionSet,
    acts: PooledActivations,
    *,
    labels: Mapping[str, str] | None = None,
    pool: str = "mean",
    readout: str = "zscore",
    reference: str = "training",
    seed: int = 0,
) -> LabelledTexts:
    """Hold readings against the labels that texts came with, whatever these are.

    Parameters
    ----------
    directions
        Fitted elsewhere.
    acts
        Recorded texts with any of these columns: `emotion` (one a text), `labels` (a JSON list a text),
        `intensity.<label>` (numbers), `valence`, `arousal` (numbers).
    labels
        Label -> emotion of the directions; None takes labels that are names of directions. Texts whose labels are all
        unmapped are left out and counted.
    pool
        How texts are pooled.
    readout, reference
        How they are read: with statistics of the ``training`` texts, or of these ``texts`` (transductive, and named
        so). `variants` has both.
    seed
        Of the intervals, over texts (over groups where the corpus has groups).

    Returns
    -------
    LabelledTexts
        One label a text: top-1 among the mapped emotions, and AUROC of each. Several: AUROC of each and the label
        ranking average precision. Intensities: Spearman's rho of each. Ratings: Pearson's r with the sum of the scores
        weighted by the emotions' own centred ratings.

    Raises
    ------
    ConfigError
        If there is nothing to compare with, or a mapped emotion has no direction.
    """
    given = {name: name for name in directions.emotions} if labels is None else dict(labels)
    for name in given.values():
        directions.index(name)
    if reference not in REFERENCES:
        raise ConfigError(f"unknown reference '{reference}'{suggest(reference, REFERENCES)}; there are training, texts")
    values = values_of(directions, acts, pool)
    found = {whose: _all(directions, acts.frame, values, given, readout, whose, seed) for whose in REFERENCES}
    rows, table = found[reference]
    if not rows:
        raise ConfigError(
            "these texts have no label of a direction, no intensity and no rating; give a map of labels to emotions"
        )
    variants = [{"variant": f"{whose} reference", **row} for whose in REFERENCES for row in found[whose][0]]
    where = f"{pool} from token {acts.offset}" if pool in ("mean", "max") else pool
    return LabelledTexts(
        numbers=numbers(rows),
        table=pd.DataFrame(table),
        variants=pd.DataFrame(variants, columns=["variant", *NUMBERS]),
        settings=told(directions, readout=readout, reference=reference, position=where, seed=seed,
                      labels={key: value for key, value in given.items() if key != value}),
        provenance=collect(directions=directions.fingerprint, activations=acts.fingerprint, seed=seed),
    )  # fmt: skip


def _all(
    directions: DirectionSet, frame: pd.DataFrame, values: np.ndarray, given: dict[str, str], readout: str, whose: str,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:  # fmt: skip
    """Numbers and table of everything that the texts carry."""
    vectors = directions.vectors.astype(np.float64)
    every = np.arange(len(directions))
    stats = own_stats(directions, every) if whose == "training" else ReadoutStats.fit(values, vectors)
    scores = read(values, vectors, stats, readout=readout)
    groups = frame["group"].to_numpy() if "group" in frame else np.arange(len(frame))
    rows: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    for kind in (_single, _several, _intensities, _ratings):
        told_rows, told_table = kind(directions, frame, scores, given, groups, seed)
        rows, table = rows + told_rows, table + told_table
    return rows, table


def _single(
    directions: DirectionSet,
    frame: pd.DataFrame,
    scores: np.ndarray,
    given: dict[str, str],
    groups: np.ndarray,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if "emotion" not in frame:
        return [], []
    mapped = frame["emotion"].map(given)
    keep = mapped.notna().to_numpy()
    emotions = sorted(set(mapped[keep]))
    if len(emotions) < 2:
        return [], []
    mine = scores[np.ix_(keep, rows_of(directions, emotions))]
    y = np.array([emotions.index(name) for name in mapped[keep]])
    bars = bootstrap_mean((own_ranks(mine, y) <= 1).astype(float), groups[keep], seed=seed)
    most = float(np.bincount(y).max() / len(y))
    note = f"{len(emotions)} emotions; null: the most frequent one; {int((~keep).sum())} texts left out"
    rows = [_row("top-1 of single labels", bars, most, note)]
    names = {emotion: ", ".join(key for key, value in given.items() if value == emotion) for emotion in emotions}
    table = [
        _auroc("AUROC, single label", names[name], name, y == code, mine[:, code], seed)
        for code, name in enumerate(emotions)
    ]
    return [*rows, _macro("AUROC of single labels", table, seed)], table


def _several(
    directions: DirectionSet,
    frame: pd.DataFrame,
    scores: np.ndarray,
    given: dict[str, str],
    groups: np.ndarray,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if "labels" not in frame:
        return [], []
    sets = [{given[one] for one in json.loads(text) if one in given} if text else set() for text in frame["labels"]]
    emotions = sorted(set().union(*sets))
    keep = np.array([bool(one) for one in sets])
    if len(emotions) < 2:
        return [], []
    truth = np.array([[name in one for name in emotions] for one in sets])
    mine = scores[:, rows_of(directions, emotions)]
    table = [
        _auroc("AUROC, several labels", name, name, truth[:, code], mine[:, code], seed)
        for code, name in enumerate(emotions)
    ]
    each = np.array([label_ranking_average_precision_score(truth[[row]], mine[[row]]) for row in np.flatnonzero(keep)])
    bars = bootstrap_mean(each, groups[keep], seed=seed)
    rng = np.random.default_rng(seed)
    null = label_ranking_average_precision_score(truth[keep], rng.permutation(mine[keep]))
    note = f"label ranking average precision; null: scores of other texts; {int((~keep).sum())} texts without a label"
    return [
        _row("ranking of several labels", bars, float(null), note),
        _macro("AUROC of several labels", table, seed),
    ], table


def _intensities(
    directions: DirectionSet,
    frame: pd.DataFrame,
    scores: np.ndarray,
    given: dict[str, str],
    groups: np.ndarray,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    table = []
    for column in (str(name) for name in frame.columns if str(name).startswith(INTENSITY)):
        label = column.removeprefix(INTENSITY)
        known = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
        keep = np.isfinite(known)
        if label not in given or keep.sum() < _LEAST or np.ptp(known[keep]) == 0:
            continue
        mine = scores[keep, directions.index(given[label])]
        found = correlation(mine, known[keep], kind="spearman", permutations=999, seed=seed)
        table.append({"kind": "intensity, Spearman", "label": label, "emotion": given[label], "value": found.value,
                      "low": found.low, "high": found.high, "n": found.n, "null": 0.0})  # fmt: skip
    return ([_macro("intensity, Spearman's rho", table, seed)] if table else []), table


def _ratings(
    directions: DirectionSet,
    frame: pd.DataFrame,
    scores: np.ndarray,
    given: dict[str, str],
    groups: np.ndarray,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    norms = load_norms().set_index("emotion")
    rated = [code for code, name in enumerate(directions.emotions) if name in norms.index]
    rows, table = [], []
    for rating in ("valence", "arousal"):
        if rating not in frame or len(rated) < _LEAST:
            continue
        known = pd.to_numeric(frame[rating], errors="coerce").to_numpy(dtype=float)
        keep = np.isfinite(known)
        if keep.sum() < _LEAST or np.ptp(known[keep]) == 0:
            continue
        weights = scipy_stats.zscore(
            norms.loc[[directions.emotions[code] for code in rated], rating].to_numpy(dtype=float)
        )
        found = correlation(scores[np.ix_(keep, rated)] @ weights, known[keep], seed=seed)
        note = f"scores of {len(rated)} emotions weighted by their own ratings"
        rows.append(number(f"{rating}, r", found.value, low=found.low, high=found.high, n=found.n, null=0.0, p=found.p,
                           note=note))  # fmt: skip
        table.append({"kind": "ratings, Pearson", "label": rating, "emotion": "all", "value": found.value,
                      "low": found.low, "high": found.high, "n": found.n, "null": 0.0})  # fmt: skip
    return rows, table


def _auroc(kind: str, label: str, emotion: str, truth: np.ndarray, scores: np.ndarray, seed: int) -> dict[str, Any]:
    """Area under the ROC curve of one emotion, with an interval over the texts that carry it."""
    low = high = value = np.nan
    if truth.any() and not truth.all():
        value = float(roc_auc_score(truth, scores))
        other = np.sort(scores[~truth])
        below = np.searchsorted(other, scores[truth]) + np.searchsorted(other, scores[truth], side="right")
        bars = bootstrap_mean(below / (2 * len(other)), seed=seed)
        low, high = max(bars.low, 0.0), min(bars.high, 1.0)
    return {"kind": kind, "label": label, "emotion": emotion, "value": value, "low": low, "high": high,
            "n": int(truth.sum()), "null": 0.5}  # fmt: skip


def _macro(name: str, table: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    values = np.array([row["value"] for row in table])
    bars = bootstrap_mean(values[np.isfinite(values)], seed=seed)
    return _row(name, bars, float(table[0]["null"]), f"mean over {bars.n} labels, interval over them")


def _row(name: str, bars: Interval, null: float, note: str) -> dict[str, Any]:
    low, high = max(bars.low, -1.0), min(bars.high, 1.0)
    return number(name, bars.value, low=low, high=high, n=bars.n, null=null, note=note)
