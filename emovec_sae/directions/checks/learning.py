"""How many texts are enough: held-out accuracy and stability of directions against the number of topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.directions.checks.result import Check, number, numbers
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.folds import DirectionEstimator, FoldedVectors, assign_folds, described
from emovec_sae.directions.ranking import own_ranks
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read_projections, unit_rows
from emovec_sae.directions.source import PooledActivations, labelled, values_at
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.sites import Site
from emovec_sae.stats import bootstrap_mean

if TYPE_CHECKING:
    import altair as alt


class LearningCurve(Check):
    """Accuracy and stability by topics; `table` has measure, topics, value, low, high, n, null."""

    title: ClassVar[str] = "How many topics are enough?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the measures over the number of topics."""
        from emovec_sae.charts import draw

        return draw(
            "learning_curve", self.table, subtitle=f"{self.settings['estimator']['name']} at {self.settings['site']}"
        )


def learning_curve(
    acts: PooledActivations,
    site: str | Site,
    *,
    estimator: DirectionEstimator | None = None,
    sizes: Sequence[int] | None = None,
    draws: int = 4,
    pool: str = "mean",
    readout: str = "zscore",
    seed: int = 0,
) -> LearningCurve:
    """Fit on 2, 4, 8, ... topics and read the others; fit on two disjoint sets of topics and compare.

    Parameters
    ----------
    acts
        A store whose texts have emotions and groups (topics).
    site, pool
        Where and how.
    estimator
        How directions are fitted; None means `DiffMean`.
    sizes
        Numbers of training topics; None takes powers of two and all but one.
    draws
        Random sets of training topics for each held-out topic, and random halvings.
    readout
        How texts are read.
    seed
        Of the sets, and of intervals (over held-out topics, and over emotions for cosines).

    Returns
    -------
    LearningCurve
        ``top-1`` and ``top-5`` of held-out texts against the topics fitted on; ``split-half cosine``, the median over
        emotions of the cosine between vectors of two disjoint sets of so many topics. The numbers give the split-half
        at half of the topics, its Spearman-Brown value 2 r / (1 + r) for all of them, and how much top-1 still rose
        from half of the topics to all but one.

    Raises
    ------
    ConfigError
        If there are fewer than four topics.
    """
    place, part = Site.parse(site), labelled(acts, least=2)
    n_topics = len(part.group_names)
    if n_topics < 4:
        raise ConfigError(f"{n_topics} topics are too few for a learning curve; at least four are needed")
    used = DiffMean() if estimator is None else estimator
    values, folds = values_at(acts, place, pool, part.rows), assign_folds(part.groups)
    wanted = sorted({*(2**power for power in range(1, 12) if 2**power < n_topics - 1), n_topics - 1})
    counts = wanted if sizes is None else sorted(set(sizes))
    if counts[0] < 1 or counts[-1] > n_topics - 1:
        raise ConfigError(f"sizes are {counts}; with {n_topics} topics they lie between 1 and {n_topics - 1}")
    with one_thread():
        made = FoldedVectors(values, part.y, folds, emotions=part.emotions, estimator=used, groups=part.groups)
        rng = np.random.default_rng(seed)
        rows = _accuracy(made, counts, draws=draws, readout=readout, rng=rng, seed=seed)
        halves = {m: _halves(made, m, draws=draws, rng=rng) for m in counts if 2 * m <= n_topics}
        half = n_topics // 2
        if half not in halves:
            halves[half] = _halves(made, half, draws=draws, rng=rng)
    for m, cosines in sorted(halves.items()):
        rows.append({"measure": "split-half cosine", "topics": m, **_median(cosines, seed), "null": 0.0})
    table = pd.DataFrame(rows)
    return LearningCurve(
        numbers=numbers(_numbers(table, halves[half], half, counts, seed)),
        table=table,
        settings={
            "model": acts.model.get("name"), "site": str(place), "estimator": described(used), "readout": readout,
            "position": f"{pool} from token {acts.offset}", "draws": draws, "seed": seed,
        },
        provenance=collect(activations=acts.fingerprint, corpus_hash=acts.corpus_hash, seed=seed),
    )  # fmt: skip


def _accuracy(
    made: FoldedVectors, counts: Sequence[int], *, draws: int, readout: str, rng: np.random.Generator, seed: int
) -> list[dict[str, object]]:
    n_folds = int(made.folds.max()) + 1
    rows: list[dict[str, object]] = []
    for m in counts:
        hits: dict[int, list[float]] = {1: [], 5: []}
        groups: list[int] = []
        for held in range(n_folds):
            others = np.delete(np.arange(n_folds), held)
            test = made.folds == held
            for _ in range(1 if m == n_folds - 1 else draws):
                train = rng.choice(others, size=m, replace=False)
                rank = _ranks(made, train, test, readout)
                groups += [held] * len(rank)
                for top in hits:
                    hits[top] += (rank <= top).astype(float).tolist()
        for top, found in hits.items():
            bars = bootstrap_mean(found, groups, seed=seed)
            low, high = max(bars.low, 0.0), min(bars.high, 1.0)
            null = min(1.0, top / len(made.emotions))
            row = {"measure": f"top-{top}", "topics": m, "value": bars.value, "low": low, "high": high, "null": null}
            rows.append({**row, "n": len(made.folds)})
    return rows


def _ranks(made: FoldedVectors, train: np.ndarray, test: np.ndarray, readout: str) -> np.ndarray:
    """Rank of the own emotion of the test rows, by vectors and statistics of the training topics."""
    keep = np.isin(made.folds, train)
    units = unit_rows(made.only(train)).astype(made.values.dtype)
    known, new = made.values[keep], made.values[test]
    stats = ReadoutStats.of_projections(known, known @ units.T, balanced_weights(made.y[keep]))
    return own_ranks(read_projections(new, new @ units.T, units, stats, readout=readout), made.y[test])


def _halves(made: FoldedVectors, m: int, *, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Cosine of each emotion's vectors of two disjoint sets of m topics, mean over draws, shape (n_emotions,)."""
    n_folds = int(made.folds.max()) + 1
    found = []
    for _ in range(draws):
        order = rng.permutation(n_folds)
        one, other = (unit_rows(made.only(part)) for part in (order[:m], order[m : 2 * m]))
        found.append((one * other).sum(axis=1))
    return np.mean(found, axis=0)


def _median(values: np.ndarray, seed: int) -> dict[str, Any]:
    """Median over emotions with a percentile bootstrap."""
    rng = np.random.default_rng(seed)
    drawn = np.median(values[rng.integers(len(values), size=(2000, len(values)))], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": float(np.median(values)), "low": float(low), "high": float(high), "n": len(values)}


def _numbers(
    table: pd.DataFrame, cosines: np.ndarray, half: int, counts: Sequence[int], seed: int
) -> list[dict[str, object]]:
    brown = 2 * cosines / (1 + np.clip(cosines, -0.99, None))
    rows = [
        number(f"split-half cosine, {half} topics against {half}", **_median(cosines, seed), null=0.0,
               note="median over emotions, bootstrap over them"),
        number(f"Spearman-Brown for {2 * half} topics", **_median(brown, seed), null=0.0,
               note="2 r / (1 + r), median over emotions"),
    ]  # fmt: skip
    top1 = table[table["measure"] == "top-1"].set_index("topics")
    for m in sorted({min(counts, key=lambda one: abs(one - half)), counts[-1]}):
        found: dict[str, Any] = {
            str(key): value for key, value in top1.loc[m, ["value", "low", "high", "n", "null"]].items()
        }
        rows.append(number(f"top-1 from {m} topics", **found, note="held-out topics"))
    return rows
