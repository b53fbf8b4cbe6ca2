"""Numeric intensity: whether a larger number in an otherwise equal message moves emotions the right way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from emovec_sae.directions.checks.reading import told, values_of
from emovec_sae.directions.checks.result import NUMBERS, Check, number, numbers
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.readouts import unit_rows
from emovec_sae.directions.source import PooledActivations
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.stats import bootstrap_mean, permutation_p, proportion

if TYPE_CHECKING:
    import altair as alt

_DRAWS = 1999
_COLUMNS = ("template", "step", "value", "expected")


class Intensity(Check):
    """Trends over numbers; `table` has template, emotion, expected, step, value, score (standardised in a template)."""

    title: ClassVar[str] = "Do larger numbers move the emotions the way that they should?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the readings over the values, a panel a template."""
        from emovec_sae.charts import draw

        return draw("trends", self.table)


def check_intensity(
    directions: DirectionSet, acts: PooledActivations, *, pool: str = "mean", seed: int = 0
) -> Intensity:
    """Correlate readings with the numbers of templates, and judge the signs.

    A trend is Spearman's correlation between the steps of a template and the projection on a direction (cosine of the
    text's activation or z-score give the same order within a template, but for the length of the activation). On six or
    eight points even a random direction often reaches 1, so trends are judged by their signs over all templates,
    against random mixtures of the set's own vectors: a null that lies where the emotions lie.

    Parameters
    ----------
    directions
        Directions with the emotions that the templates name; others are left out and counted.
    acts
        Recorded texts with the columns `template`, `step`, `value` and `expected`, as
        `emovec_sae.corpora.intensity.load_intensity` makes them.
    pool
        How texts are pooled.
    seed
        Of the null and the intervals, whose clusters are templates.

    Raises
    ------
    ConfigError
        If a column is missing, or the directions have none of the emotions.
    """
    frame = acts.frame
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise ConfigError(f"these texts have no column '{missing[0]}'; record the corpus 'intensity'")
    expected = _expected(frame)
    known = expected[expected["emotion"].isin(directions.emotions)].reset_index(drop=True)
    if known.empty:
        raise ConfigError("the directions have none of the emotions that the templates are about")
    values = values_of(directions, acts, pool)
    emotions = sorted(set(known["emotion"]))
    units = unit_rows(directions.vectors.astype(np.float64))
    steps = {
        str(name): rows.index.to_numpy()[np.argsort(rows["step"].to_numpy())]
        for name, rows in frame.groupby("template")
    }
    trends = _trends(values, units[[directions.index(name) for name in emotions]], steps)
    signed = _signed(known, trends, emotions)
    null = np.empty((_DRAWS, len(known)))
    rng = np.random.default_rng(seed)
    centred = units - units.mean(axis=0)
    for draw in range(_DRAWS):
        mixed = unit_rows(rng.normal(size=(len(emotions), len(units))) @ centred)
        null[draw] = _signed(known, _trends(values, mixed, steps), emotions)
    return Intensity(
        numbers=numbers(_overall(known, signed, null, seed)),
        table=_table(frame, values, units, directions, known, steps),
        variants=_by_emotion(known, signed, null),
        settings=told(
            directions, readout="dot", position=f"{pool} from token {acts.offset}", seed=seed,
            left_out=len(expected) - len(known), null=f"{_DRAWS} random mixtures of the set's vectors",
        ),
        provenance=collect(directions=directions.fingerprint, activations=acts.fingerprint, seed=seed),
    )  # fmt: skip


def _expected(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a (template, emotion): template, emotion, expected (up or down)."""
    rows = []
    for name, text in frame.groupby("template", sort=False)["expected"].first().items():
        rows += [{"template": name, "emotion": emotion, "expected": way} for emotion, way in json.loads(text).items()]
    return pd.DataFrame(rows, columns=["template", "emotion", "expected"])


def _trends(values: np.ndarray, units: np.ndarray, steps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Spearman's correlation of the steps with each direction, by template, (n_directions,)."""
    found = {}
    for name, rows in steps.items():
        ranks = scipy_stats.rankdata(values[rows] @ units.T, axis=0)
        order = np.arange(len(rows)) - (len(rows) - 1) / 2
        centred = ranks - ranks.mean(axis=0)
        found[name] = (order @ centred) / (np.linalg.norm(order) * np.linalg.norm(centred, axis=0))
    return found


def _signed(known: pd.DataFrame, trends: dict[str, np.ndarray], emotions: list[str]) -> np.ndarray:
    """The trend of each (template, emotion), positive where it goes as expected."""
    place = {name: code for code, name in enumerate(emotions)}
    return np.array(
        [
            trends[str(row.template)][place[str(row.emotion)]] * (1 if row.expected == "up" else -1)
            for row in known.itertuples()
        ]
    )


def _overall(known: pd.DataFrame, signed: np.ndarray, null: np.ndarray, seed: int) -> list[dict[str, object]]:
    groups = known["template"].to_numpy()
    right, mean = proportion(signed > 0, groups), bootstrap_mean(signed, groups, seed=seed)
    note = f"{len(np.unique(groups))} templates; random mixtures of the vectors"
    rights = (null > 0).mean(axis=1)
    return [
        number("right sign", right.value, low=right.low, high=right.high, n=right.n, null=float(rights.mean()),
               p=float(permutation_p(right.value, rights)), note=note),
        number("mean signed trend", mean.value, low=mean.low, high=mean.high, n=mean.n,
               null=float(null.mean()), p=float(permutation_p(mean.value, null.mean(axis=1))), note=note),
    ]  # fmt: skip


def _by_emotion(known: pd.DataFrame, signed: np.ndarray, null: np.ndarray) -> pd.DataFrame:
    """The right signs of each emotion over its templates."""
    rows = []
    for name in dict.fromkeys(known["emotion"]):
        mine = (known["emotion"] == name).to_numpy()
        found = proportion(signed[mine] > 0)
        rights = (null[:, mine] > 0).mean(axis=1)
        note = "templates with the right sign"
        rows.append(
            {"variant": name}
            | number("right sign", found.value, low=found.low, high=found.high, n=found.n,
                     null=float(rights.mean()), p=float(permutation_p(found.value, rights)), note=note)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["variant", *NUMBERS])


def _table(
    frame: pd.DataFrame, values: np.ndarray, units: np.ndarray, directions: DirectionSet, known: pd.DataFrame,
    steps: dict[str, np.ndarray],
) -> pd.DataFrame:  # fmt: skip
    parts = []
    for row in known.itertuples():
        mine = steps[str(row.template)]
        read = values[mine] @ units[directions.index(str(row.emotion))]
        spread = read.std()
        parts.append(
            pd.DataFrame(
                {
                    "template": row.template, "emotion": row.emotion, "expected": row.expected,
                    "step": frame["step"].to_numpy()[mine], "value": frame["value"].to_numpy()[mine],
                    "score": (read - read.mean()) / (spread if spread > 0 else 1),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)
