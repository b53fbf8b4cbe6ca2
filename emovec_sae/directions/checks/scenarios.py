"""Implicit scenarios: whether the direction of the emotion that a message implies, and never names, stands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.directions.checks.reading import read_apart, rows_of, told, values_of
from emovec_sae.directions.checks.result import NUMBERS, Check, number, numbers
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.ranking import own_ranks
from emovec_sae.directions.source import PooledActivations
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.stats import permutation_p, proportion

if TYPE_CHECKING:
    import altair as alt

VARIANTS = tuple((readout, reference) for reference in ("training", "other") for readout in ("cosine", "zscore"))
_PERMUTATIONS = 9999


class Scenarios(Check):
    """How often the implied emotion is among the first few; `table` has target, read, score, low, high, n."""

    title: ClassVar[str] = "Is the emotion that a message implies read from it?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the mean score of each direction on the texts of each emotion."""
        from emovec_sae.charts import draw

        return draw("scenario_matrix", self.table, readout=str(self.settings["readout"]))


def check_scenarios(
    directions: DirectionSet,
    acts: PooledActivations,
    *,
    top: int = 3,
    pool: str = "mean",
    readout: str = "zscore",
    reference: str = "other",
    position: str | None = None,
    seed: int = 0,
) -> Scenarios:
    """Rank the directions on texts that imply an emotion.

    Sofroniew et al. 2026 (arXiv 2604.07729), section on implicit scenarios.

    Parameters
    ----------
    directions
        Fitted on other texts (stories). Only emotions that the texts imply are ranked among each other.
    acts
        Recorded texts with a column `emotion`, and a column `battery` where there are several.
    top
        A text counts if its emotion is among so many.
    pool
        How texts are pooled.
    readout, reference
        How they are read: ``other`` takes mean and deviation of the other battery's texts, labels unseen;
        ``training`` those of the texts that the directions were fitted on. The other combinations stand in `variants`.
    position
        Words for the reading position; None says pool and offset.
    seed
        Of the permutations of targets.

    Raises
    ------
    ConfigError
        If no text has an emotion, or the directions lack one.
    """
    frame = acts.frame
    keep = frame["emotion"].notna().to_numpy()
    if not keep.any():
        raise ConfigError("none of these texts implies an emotion; scenarios need a column 'emotion'")
    frame = frame[keep].reset_index(drop=True)
    emotions = list(dict.fromkeys(frame["emotion"]))
    y = np.array([emotions.index(name) for name in frame["emotion"]])
    battery = frame["battery"].to_numpy() if "battery" in frame else np.full(len(frame), "all")
    rows, values = rows_of(directions, emotions), values_of(directions, acts, pool)[keep]
    chosen = reference if len(np.unique(battery)) > 1 else "training"

    def _numbers(name: str, whose: str) -> list[dict[str, object]]:
        scores = read_apart(values, directions, rows, battery, readout=name, reference=whose)
        return [
            _battery(scores, y, battery == one, f"battery {one}, top {top}", top, seed) for one in np.unique(battery)
        ]

    tried = [(name, whose) for name, whose in VARIANTS if whose == "training" or chosen == "other"]
    variants = [
        {"variant": f"{name}, {whose} reference", **row} for name, whose in tried for row in _numbers(name, whose)
    ]
    scores = read_apart(values, directions, rows, battery, readout=readout, reference=chosen)
    where = position or f"{pool} from token {acts.offset}" if pool in ("mean", "max") else position or pool
    return Scenarios(
        numbers=numbers(_numbers(readout, chosen)),
        table=_confusion(scores, y, emotions),
        variants=pd.DataFrame(variants, columns=["variant", *NUMBERS]),
        settings=told(directions, readout=readout, reference=chosen, position=where, top=top, seed=seed),
        provenance=collect(directions=directions.fingerprint, activations=acts.fingerprint, seed=seed),
    )


def _battery(scores: np.ndarray, y: np.ndarray, mine: np.ndarray, name: str, top: int, seed: int) -> dict[str, object]:
    """Share of the texts of a battery whose emotion is among the first, and its p over permuted targets."""
    scores, y = scores[mine], y[mine]
    hit = own_ranks(scores, y) <= top
    # Rank of every emotion on every text, ties against it: a permutation of the targets is then a look-up.
    among = (scores[:, :, None] <= scores[:, None, :]).sum(axis=2) <= top
    rng = np.random.default_rng(seed)
    null = np.array([among[np.arange(len(y)), rng.permutation(y)].mean() for _ in range(_PERMUTATIONS)])
    p = float(permutation_p(hit.mean(), null))
    found = proportion(hit, y)
    note = f"targets permuted over texts {_PERMUTATIONS} times; {found.method}"
    return number(name, found.value, low=found.low, high=found.high, n=found.n, null=float(null.mean()), p=p, note=note)


def _confusion(scores: np.ndarray, y: np.ndarray, emotions: list[str]) -> pd.DataFrame:
    """Mean score of each direction on the texts of each emotion: target, read, score, low, high, n."""
    parts = []
    for code, name in enumerate(emotions):
        mine = scores[y == code]
        half = 1.96 * mine.std(axis=0, ddof=1) / np.sqrt(len(mine)) if len(mine) > 1 else np.full(len(emotions), np.nan)
        mean = mine.mean(axis=0)
        parts.append(
            pd.DataFrame(
                {
                    "target": name,
                    "read": emotions,
                    "score": mean,
                    "low": mean - half,
                    "high": mean + half,
                    "n": len(mine),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
