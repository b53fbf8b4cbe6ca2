"""Held-out topics: the headline of an evaluation beside what words, sentence embeddings and chance give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from emovec_sae.directions.checks.result import NUMBERS, Check, number, numbers
from emovec_sae.directions.encoder import embed
from emovec_sae.directions.estimators import ShrinkageLDA
from emovec_sae.directions.evaluation import Evaluation
from emovec_sae.directions.folds import FoldedVectors, assign_folds
from emovec_sae.directions.ranking import own_ranks
from emovec_sae.directions.readouts import ReadoutStats, balanced_weights, read
from emovec_sae.directions.source import PooledActivations, labelled
from emovec_sae.directions.threads import one_thread
from emovec_sae.stats import bootstrap_mean, permutation_p

if TYPE_CHECKING:
    import altair as alt

_NAMES = {"top1": "top-1", "top5": "top-5", "auroc": "AUROC", "family": "right family"}
_PERMUTATIONS = 1999


class Topics(Check):
    """Emotions told apart on held-out topics; `table` is the sweep over sites of the favoured estimator and readout."""

    title: ClassVar[str] = "Is the emotion read on topics that were held out?"

    def plot(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart:
        """Draw accuracy over sites."""
        from emovec_sae.charts import draw

        return draw("site_sweep", self.table)


def check_topics(evaluation: Evaluation, acts: PooledActivations, *, encoder: bool = False, seed: int = 0) -> Topics:
    """Sum up a cross-validation as a check.

    Parameters
    ----------
    evaluation
        From `cross_validate`.
    acts
        The store that it read.
    encoder
        Whether to add the sentence encoder as a baseline (extra ``judge``): embeddings read by the same discriminants.
    seed
        Of the permutation of labels within topics.
    """
    told = evaluation.summary()
    how = ", ".join(f"{name} in {count}" for name, count in told["chosen"].items())
    note = f"nested choice, folds: {how}" if told["nested"] else how
    p = _permuted(evaluation.texts, seed)
    rows = [
        number(
            _NAMES[row["metric"]], row["value"], low=row["low"], high=row["high"], n=int(row["n"]), null=row["chance"],
            p=p if row["metric"] == "top1" else np.nan, note=note if row["metric"] == "top1" else note.split(",")[0],
        )
        for row in evaluation.headline.to_dict("records")
    ]  # fmt: skip
    rows += [
        number(f"{evaluation.baseline}, {_NAMES[row['metric']]}", row["value"], low=row["low"], high=row["high"],
               n=int(row["n"]), null=row["chance"], note="baseline: words alone")
        for row in evaluation.words.to_dict("records") if row["metric"] in ("top1", "top5")
    ]  # fmt: skip
    if encoder:
        rows += _encoder(acts, seed)
    variants = [
        {"variant": f"{row['estimator']}, {row['readout']}"}
        | number("top-1", row["top1"], low=row["low"], high=row["high"], n=told["texts"], null=told["chance"]["top1"],
                 note=f"at {row['site']}, chosen on these very texts"
                 + ("; transductive" if row["transductive"] else ""))
        for row in evaluation.sensitivity().to_dict("records")
    ]  # fmt: skip
    return Topics(
        numbers=numbers(rows),
        table=evaluation.sweep_frame(),
        variants=pd.DataFrame(variants, columns=["variant", *NUMBERS]),
        settings={
            "model": acts.model.get("name"), "site": told["site"], "estimator": told["estimator"],
            "readout": told["readout"], "position": f"mean from token {acts.offset}", "emotions": told["emotions"],
            "groups": told["groups"], "seed": seed,
        },
        provenance=evaluation.provenance,
    )  # fmt: skip


def _permuted(texts: pd.DataFrame, seed: int) -> float:
    """P of the headline's top-1: labels permuted within topics, predictions as they are."""
    own, predicted = texts["emotion"].to_numpy(), texts["predicted"].to_numpy()
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(texts["group"].to_numpy() == name) for name in texts["group"].unique()]
    null = np.empty(_PERMUTATIONS)
    for draw in range(_PERMUTATIONS):
        null[draw] = sum((own[rng.permutation(mine)] == predicted[mine]).sum() for mine in rows) / len(texts)
    return float(permutation_p((texts["rank"] <= 1).mean(), null))


def _encoder(acts: PooledActivations, seed: int) -> list[dict[str, Any]]:
    """Top-1 and top-5 of discriminants on sentence embeddings, the same folds."""
    part = labelled(acts, least=2)
    values, folds = embed(list(part.frame["text"])), assign_folds(part.groups)
    ranks = np.zeros(len(part), dtype=np.int64)
    with one_thread():
        made = FoldedVectors(values, part.y, folds, emotions=part.emotions, estimator=ShrinkageLDA())
        for fold in range(int(folds.max()) + 1):
            test, vectors = folds == fold, made.without([fold])
            stats = ReadoutStats.fit(values[~test], vectors, balanced_weights(part.y[~test]))
            ranks[test] = own_ranks(read(values[test], vectors, stats, readout="zscore"), part.y[test])
    rows = []
    for top in (1, 5):
        bars = bootstrap_mean((ranks <= top).astype(float), part.groups, seed=seed)
        rows.append(number(f"sentence encoder, top-{top}", bars.value, low=bars.low, high=bars.high, n=bars.n,
                           null=min(1.0, top / len(part.emotions)),
                           note="baseline: all-MiniLM-L6-v2, ShrinkageLDA, zscore"))  # fmt: skip
    return rows
