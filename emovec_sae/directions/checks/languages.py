"""Languages: whether directions fitted in one language read the emotion of texts in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.directions.checks.result import NUMBERS, Check, number, numbers
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.folds import DirectionEstimator, described, fit_vectors, fresh
from emovec_sae.directions.ranking import own_ranks
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read
from emovec_sae.directions.source import PooledActivations, labelled, values_at
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.provenance import collect
from emovec_sae.sites import Site
from emovec_sae.stats import bootstrap_mean, permutation_p

if TYPE_CHECKING:
    import altair as alt

_PERMUTATIONS = 1999
REFERENCES = ("target", "training")
"""Whose mean and deviation are used: the other topics of the language that is read (labels unseen), or the language
that the directions were fitted in."""


class Languages(Check):
    """The transfer matrix; `table` has fit, read (languages), top1, low, high, n, null, p."""

    title: ClassVar[str] = "Do directions of one language read another?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw the matrix of top-1 by language of fit and of reading."""
        from emovec_sae.charts import draw

        return draw("language_transfer", self.table)


@dataclass(frozen=True)
class _Design:
    """Texts of the emotions and topics that every language has: `y` are codes of emotions."""

    values: np.ndarray
    y: np.ndarray
    group: np.ndarray
    lang: np.ndarray
    emotions: list[str]
    topics: list[str]
    langs: list[str]


def check_languages(
    stores: Sequence[PooledActivations],
    site: str | Site,
    *,
    estimator: DirectionEstimator | None = None,
    pool: str = "mean",
    readout: str = "zscore",
    reference: str = "target",
    seed: int = 0,
) -> Languages:
    """Fit in each language, read in each, topics held out in turn.

    Emotions and topics are those that every language has, so that all cells rest on the same design; the topic that is
    read is left out of the fit, whatever the language.

    Parameters
    ----------
    stores
        Stores of one model whose texts have `emotion`, `group` (the topic) and `lang`.
    site, pool
        Where and how.
    estimator
        How directions are fitted; None means `DiffMean`.
    readout, reference
        How texts are read; ``target`` takes mean and deviation of the other topics in the language that is read,
        labels unseen, because a language shifts all activations; ``training`` those of the fit. `variants` has both.
    seed
        Of intervals (clusters are topics) and of the permutation of labels within topics.

    Raises
    ------
    ConfigError
        If there are fewer than two languages, or they share fewer than two emotions or three topics.
    MismatchError
        If the stores are of different models.
    """
    place = Site.parse(site)
    texts, values = _gather(stores, place, pool)
    langs = list(dict.fromkeys(texts["lang"]))
    texts, values, emotions, topics = _shared(texts, values, langs)
    y = np.array([emotions.index(name) for name in texts["emotion"]])
    design = _Design(values, y, texts["group"].to_numpy(), texts["lang"].to_numpy(), emotions, topics, langs)
    used = DiffMean() if estimator is None else estimator
    ranks, among = _read_across(design, used, readout)
    tables = {whose: _cells(design, ranks[whose], among[whose], seed) for whose in REFERENCES}
    main = tables[reference]
    off = main[main["fit"] != main["read"]]
    rows = [_mean("within a language", main[main["fit"] == main["read"]]), _mean("across languages", off)]
    if "en" in langs:
        rows.append(_mean("fitted in English, read elsewhere", off[off["fit"] == "en"]))
    variants = [
        {"variant": f"{whose} reference", **_mean(name, part)}
        for whose, table in tables.items()
        for name, part in (
            ("within a language", table[table["fit"] == table["read"]]),
            ("across languages", table[table["fit"] != table["read"]]),
        )
    ]
    store = stores[0]
    return Languages(
        numbers=numbers(rows),
        table=main,
        variants=pd.DataFrame(variants, columns=["variant", *NUMBERS]),
        settings={
            "model": store.model.get("name"), "site": str(place), "estimator": described(used), "readout": readout,
            "reference": reference, "position": f"{pool} from token {store.offset}", "emotions": len(emotions),
            "topics": len(topics), "seed": seed,
        },
        provenance=collect(activations=[one.fingerprint for one in stores], seed=seed),
    )  # fmt: skip


def _gather(stores: Sequence[PooledActivations], site: Site, pool: str) -> tuple[pd.DataFrame, np.ndarray]:
    frames, parts = [], []
    for store in stores:
        if store.model.get("fingerprint") != stores[0].model.get("fingerprint"):
            raise MismatchError(f"{store.model.get('name')} and {stores[0].model.get('name')} are two models; use one")
        part = labelled(store)
        frames.append(part.frame[["emotion", "group", "lang"]])
        parts.append(values_at(store, site, pool, part.rows).astype(np.float64))
    return pd.concat(frames, ignore_index=True), np.concatenate(parts)


def _shared(
    texts: pd.DataFrame, values: np.ndarray, langs: list[str]
) -> tuple[pd.DataFrame, np.ndarray, list[str], list[str]]:
    """Texts of the emotions and topics that every language has."""
    if len(langs) < 2:
        raise ConfigError(f"these texts are all in '{langs[0]}'; transfer needs two languages at least")
    by_lang = [texts[texts["lang"] == lang] for lang in langs]
    emotions = sorted(set.intersection(*[set(part["emotion"]) for part in by_lang]))
    topics = sorted(set.intersection(*[set(part["group"]) for part in by_lang]))
    if len(emotions) < 2 or len(topics) < 3:
        raise ConfigError(
            f"the languages {', '.join(langs)} share {len(emotions)} emotions and {len(topics)} topics; two emotions "
            "and three topics at least are needed"
        )
    keep = (texts["emotion"].isin(emotions) & texts["group"].isin(topics)).to_numpy()
    return texts[keep].reset_index(drop=True), values[keep], emotions, topics


def _read_across(
    design: _Design, estimator: DirectionEstimator, readout: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read every topic in every language by directions of each language's other topics.

    Returns
    -------
    ranks
        Reference -> rank of the text's own emotion, shape (languages of the fit, texts).
    among
        Reference -> which emotions would be read first if they were the text's own, shape (languages of the fit, texts,
        emotions).
    """
    values, y, group, lang = design.values, design.y, design.group, design.lang
    shape = (len(design.langs), len(y))
    ranks = {whose: np.zeros(shape, dtype=np.int64) for whose in REFERENCES}
    among = {whose: np.zeros((*shape, len(design.emotions)), dtype=bool) for whose in REFERENCES}
    with one_thread():
        for row, source in enumerate(design.langs):
            for topic in design.topics:
                train = (lang == source) & (group != topic)
                vectors = fit_vectors(fresh(estimator), values[train], y[train], group[train]).vectors_
                own = ReadoutStats.fit(values[train], vectors, balanced_weights(y[train]))
                for target in design.langs:
                    test = (lang == target) & (group == topic)
                    others = ReadoutStats.fit(values[(lang == target) & (group != topic)], vectors)
                    for whose, stats in (("target", others), ("training", own)):
                        scores = read(values[test], vectors, stats, readout=readout)
                        ranks[whose][row, test] = own_ranks(scores, y[test])
                        among[whose][row, test] = (scores[:, :, None] <= scores[:, None, :]).sum(axis=2) <= 1
    return ranks, among


def _cells(design: _Design, ranks: np.ndarray, among: np.ndarray, seed: int) -> pd.DataFrame:
    """One row a (fit, read): top1 with its interval over topics and its p over labels permuted within topics."""
    rows = []
    y, group = design.y, design.group
    rng = np.random.default_rng(seed)
    for row, source in enumerate(design.langs):
        for target in design.langs:
            mine = np.flatnonzero(design.lang == target)
            hits = ranks[row, mine] <= 1
            found = bootstrap_mean(hits.astype(float), group[mine], seed=seed)
            null = np.empty(_PERMUTATIONS)
            for draw in range(_PERMUTATIONS):
                labels = _within(y[mine], group[mine], rng)
                null[draw] = among[row, mine, labels].mean()
            rows.append(
                {
                    "fit": source, "read": target, "top1": found.value, "low": max(found.low, 0.0),
                    "high": min(found.high, 1.0), "n": found.n, "null": float(null.mean()),
                    "p": float(permutation_p(found.value, null)),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _within(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels permuted within groups."""
    mixed = labels.copy()
    for name in np.unique(groups):
        mine = np.flatnonzero(groups == name)
        mixed[mine] = labels[rng.permutation(mine)]
    return mixed


def _mean(name: str, cells: pd.DataFrame) -> dict[str, object]:
    """Mean top-1 over cells, with the t interval over the languages that are read."""
    found = bootstrap_mean(cells["top1"], cells["read"], seed=0)
    worst = float(cells["p"].max())
    note = f"mean of {len(cells)} cells, {found.method}; p is the largest of the cells"
    return number(
        name, found.value, low=found.low, high=found.high, n=int(cells["n"].sum()), null=float(cells["null"].mean()),
        p=worst, note=note,
    )  # fmt: skip
