"""Preferences: whether a model's choices between activities follow what its emotion directions read on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import expit

from emovec_sae.corpora.norms import load_norms
from emovec_sae.directions.checks.reading import told, values_of
from emovec_sae.directions.checks.result import NUMBERS, Check, number, numbers
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.evaluation import records
from emovec_sae.directions.readouts import ReadoutStats, check_readout, read
from emovec_sae.directions.source import PooledActivations
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.scoring.choices import Choices, forced_choice
from emovec_sae.stats import benjamini_hochberg, bootstrap_mean, max_t_p, permutation_p, permuted_labels, proportion
from emovec_sae.stats.bootstrap import Interval
from emovec_sae.stats.bradley_terry import balanced_pairs, bradley_terry, split_half

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.models.model import Model

PROBES = {"blissful": 0.71, "hostile": -0.74}
"""The two emotions that Sofroniew et al. 2026 report, and their r: chosen beforehand, not by looking."""

_RESAMPLES, _PERMUTATIONS, _DRAWS = 2000, 4999, 2000
_READOUTS = ("zscore", "cosine", "centred_cosine")
"""Those that may correlate otherwise: `dot` and `batch_centred` correlate as `zscore` does."""
_LEAST = 8
"""Activities without which nothing can be said."""


@dataclass(frozen=True, eq=False, repr=False)
class Preferences(Check):
    """Choices and readings; `table` has activity, category, score, low, high, and two emotions' readings.

    Attributes
    ----------
    emotions
        One row an emotion: emotion, r, low, high, p, q (Benjamini-Hochberg), p_max (max-T), valence, n (activities).
    """

    title: ClassVar[str] = "Does the model prefer what its emotion directions read on an activity?"

    emotions: pd.DataFrame = field(default_factory=pd.DataFrame)

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the scores of the activities over the reading of the first emotion of `table`."""
        from emovec_sae.charts import draw

        name = self.settings["shown"][0]
        row = self.emotions.set_index("emotion").loc[name]
        frame = self.table.rename(columns={"activity": "label", name: "x", "score": "y", "category": "group"})
        return draw(
            "scatter", frame[["label", "x", "y", "low", "high", "group"]],
            x_title=f"{name} ({self.settings['readout']})", title=self.title,
            y_title="preference (Bradley-Terry score, nats)",
            subtitle=f"95 % interval of r {row['low']:.2f} to {row['high']:.2f}; whiskers: bootstrap over pairs",
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """The numbers for machines, by name, the settings, and every emotion."""
        return {**super().summary(), "emotions": records(self.emotions)}


@dataclass(frozen=True, eq=False)
class _Link:
    """Correlations of readings with scores, shape (m,), their resamples and their null, shape (B, m)."""

    r: np.ndarray
    boots: np.ndarray
    null: np.ndarray

    def row(self, name: str, code: int, n: int, note: str, *, p: float | None = None) -> dict[str, Any]:
        """One number: the correlation `code` with its interval; without `p`, the share of the null beyond it."""
        low, high = np.quantile(self.boots[:, code], [0.025, 0.975])
        plain = float(permutation_p(self.r[code], self.null[:, code], alternative="two-sided"))
        return number(name, float(self.r[code]), low=float(low), high=float(high), n=n, null=0.0,
                      p=plain if p is None else p, note=note)  # fmt: skip


def check_preferences(
    model: Model,
    directions: DirectionSet,
    acts: PooledActivations,
    *,
    pairs: int = 640,
    readout: str | None = None,
    pool: str = "mean",
    chat: bool | None = None,
    seed: int = 0,
) -> Preferences:
    """Let a model choose between activities, and correlate what it prefers with what its directions read on them.

    Every activity meets as many others; strengths are Bradley-Terry scores of the probabilities of its choices. The
    readings are those of the bare activity texts, never of the questions. P values permute the scores over activities;
    one for valence asks whether pleasant emotions correlate more than unpleasant ones, without picking any.

    Parameters
    ----------
    model
        The model that the directions and activations come from.
    directions
        Fitted on other texts (stories).
    acts
        The recorded corpus "activities"; a column `category` colours the figure and makes a variant.
    pairs
        Most pairs to ask, each in both orders; rounded down to as many for every activity.
    readout, pool
        How the texts are read; None takes the readout of the directions.
    chat
        As in `forced_choice`.
    seed
        Of the pairs, intervals and permutations.

    Raises
    ------
    ConfigError
        If there are fewer than 8 activities, or fewer pairs than activities.
    MismatchError
        If model, directions and activations do not belong together.

    References
    ----------
    Sofroniew et al. 2026 (arXiv 2604.07729), section on preferences between activities.
    """
    directions.check_model({"name": model.name, "fingerprint": model.fingerprint})
    used, values = check_readout(readout or directions.readout), values_of(directions, acts, pool)
    frame, n = acts.frame, len(acts.frame)
    if n < _LEAST or pairs < n:
        raise ConfigError(f"{pairs} pairs of {n} activities; at least {_LEAST} activities and as many pairs are needed")
    first, second = balanced_pairs(n, pairs, seed=seed)
    texts = [str(text) for text in frame["text"]]
    choices = forced_choice(model, [texts[row] for row in first], [texts[row] for row in second], chat=chat)
    category = frame["category"].astype(str).to_numpy() if "category" in frame else np.full(n, "all")
    norms = load_norms().set_index("emotion")["valence"].reindex(list(directions.emotions)).to_numpy(dtype=float)
    with one_thread():
        met, hard = (first, second, expit(choices.log_odds), n), (np.sign(choices.log_odds) + 1) / 2
        fit, halves = bradley_terry(*met, seed=seed), split_half(*met, seed=seed)
        readings = directions.read(values, readout=used)
        link = _link(readings, fit.scores, seed)
        rows = _chosen(link, directions, norms, n) + _strongest(link, directions, n)
        rows += [_random(values, directions.stats.mean, used, fit.scores, seed), *_asked(choices, halves, seed)]
        links = {
            name: _link(directions.read(values, readout=name), fit.scores, seed) for name in _READOUTS if name != used
        }
        links["hard wins"] = _link(readings, bradley_terry(first, second, hard, n, resamples=0, seed=seed).scores, seed)
        if 1 < len(set(category)) < n:
            both = pd.DataFrame(np.column_stack([fit.scores, readings]))
            inside = (both - both.groupby(category).transform("mean")).to_numpy()
            links["within categories"] = _link(inside[:, 1:], inside[:, 0], seed, category)
    variants = [{"variant": name, **row} for name, one in links.items() for row in _chosen(one, directions, norms, n)]
    shown = [name for name in PROBES if name in directions]
    if len(shown) < len(PROBES):
        shown = [directions.emotions[int(code)] for code in dict.fromkeys((link.r.argmax(), link.r.argmin()))]
    table = {"activity": texts, "category": category, "score": fit.scores, "low": fit.low, "high": fit.high}
    return Preferences(
        numbers=numbers(rows),
        table=pd.DataFrame(table | {name: readings[:, directions.index(name)] for name in shown}),
        variants=pd.DataFrame(variants, columns=["variant", *NUMBERS]),
        settings=told(
            directions, readout=used, position=f"{pool} from token {acts.offset}", pairs=len(first), form=choices.form,
            answers=choices.answers, shown=shown, seed=seed, null=f"scores permuted {_PERMUTATIONS} times",
        ),
        provenance=collect(directions=directions.fingerprint, activations=acts.fingerprint, seed=seed),
        emotions=_emotions(link, directions, norms, n),
    )  # fmt: skip


def _link(readings: np.ndarray, scores: np.ndarray, seed: int, blocks: np.ndarray | None = None) -> _Link:
    """Correlate readings (n, m) with scores (n,); activities are resampled, or permuted (within blocks)."""
    x, y, n = _standard(readings), _standard(scores), len(scores)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    orders = np.stack(list(permuted_labels(y, blocks=blocks, permutations=_PERMUTATIONS, seed=seed)))
    return _Link(y @ x / n, _resampled(times, x, y), orders.astype(float) @ x / n)


def _standard(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and deviation 1; a constant one is 0, and correlates with nothing."""
    centred, spread = values - values.mean(axis=0), values.std(axis=0)
    return centred / np.where(spread > 1e-12 * np.abs(values).max(axis=0), spread, np.inf)


def _resampled(times: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson's r of resampled rows, from how often each was drawn (B, n); shape (B, m), 0 where nothing varies."""
    n = len(y)
    mean_x, mean_y = times @ x / n, (times @ y / n)[:, None]
    spread = (times @ x**2 / n - mean_x**2) * ((times @ y**2 / n)[:, None] - mean_y**2)
    return (times @ (x * y[:, None]) / n - mean_x * mean_y) / np.sqrt(np.where(spread > 1e-12, spread, np.inf))


def _chosen(link: _Link, directions: DirectionSet, norms: np.ndarray, n: int) -> list[dict[str, Any]]:
    """What was not picked by looking: the two probes of the paper, and how r goes with valence over all emotions."""
    rows = [
        link.row(f"r of {name}", directions.index(name), n, f"chosen beforehand; r = {paper} in the paper")
        for name, paper in PROBES.items() if name in directions
    ]  # fmt: skip
    known = np.isfinite(norms)
    if known.sum() >= 5:
        valence = _standard(norms[known])
        found = [_standard(one[:, known].T).T @ valence / known.sum() for one in (link.r[None], link.boots, link.null)]
        both = _Link(found[0], found[1][:, None], found[2][:, None])
        note = f"over {known.sum()} emotions, none picked; activities resampled and permuted"
        rows.append(both.row("r of emotions' r with their valence", 0, n, note))
    return rows


def _strongest(link: _Link, directions: DirectionSet, n: int) -> list[dict[str, Any]]:
    p = max_t_p(link.r, link.null)
    ends = {"strongest positive r": int(link.r.argmax()), "strongest negative r": int(link.r.argmin())}
    note = f"picked among {len(directions)}, so r is too large and its interval too hopeful; p is max-T"
    return [link.row(name, at, n, f"{directions.emotions[at]}: {note}", p=float(p[at])) for name, at in ends.items()]


def _random(values: np.ndarray, mean: np.ndarray, readout: str, scores: np.ndarray, seed: int) -> dict[str, Any]:
    """|r| of random unit vectors read in the same way."""
    vectors = np.random.default_rng(seed).normal(size=(_DRAWS, values.shape[1]))
    stats = ReadoutStats(mean, np.zeros(_DRAWS), np.ones(_DRAWS))
    found = np.abs(_standard(scores) @ _standard(read(values, vectors, stats, readout=readout)) / len(scores))
    ends = {"low": float(np.quantile(found, 0.05)), "high": float(np.quantile(found, 0.95))}
    note = f"{_DRAWS} isotropic unit vectors; 5th to 95th percentile"
    return number("|r| of random directions", float(found.mean()), n=len(scores), note=note, **ends)


def _asked(choices: Choices, halves: Interval, seed: int) -> list[dict[str, Any]]:
    """How well the preferences are known, and how the model took the question."""
    bias, mass = (bootstrap_mean(values, seed=seed) for values in (choices.bias, choices.mass))
    tokens = " or ".join(repr(token) for own in choices.answers for token in own)
    rows = [
        ("reliability of the preferences", halves, 0.0,
         f"{halves.method}; expect no r above {np.sqrt(max(halves.value, 0)):.2f}"),
        ("position bias, nats", bias, 0.0, "log-odds of (A), whatever it stands for; cancels in the scores"),
        ("same activity picked in both orders", proportion(choices.consistent), 0.5, "a position bias lowers it"),
        ("probability of an answer", mass, np.nan, f"of {tokens}; {choices.form}"),
    ]  # fmt: skip
    return [number(name, one.value, low=one.low, high=one.high, n=one.n, null=null, note=note)
            for name, one, null, note in rows]  # fmt: skip


def _emotions(link: _Link, directions: DirectionSet, norms: np.ndarray, n: int) -> pd.DataFrame:
    low, high = np.quantile(link.boots, [0.025, 0.975], axis=0)
    p = permutation_p(link.r, link.null, alternative="two-sided")
    columns = {"emotion": directions.emotions, "r": link.r, "low": low, "high": high, "p": p}
    columns |= {"q": benjamini_hochberg(p), "p_max": max_t_p(link.r, link.null), "valence": norms, "n": n}
    return pd.DataFrame(columns)
