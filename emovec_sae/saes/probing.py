"""k-sparse probing: how well a few latents tell an emotion, beside as many residual dimensions and all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.provenance import collect, write_json
from emovec_sae.saes.sample import at_site
from emovec_sae.saes.text_latents import TextLatents, text_latents
from emovec_sae.stats import bootstrap_mean, rank_aurocs

if TYPE_CHECKING:
    import altair as alt
    from scipy import sparse

    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.reader import Activations
    from emovec_sae.store.site_view import SiteActivations

SIZES = (1, 2, 4, 8, 16)
"""Numbers of latents (or dimensions) of a probe."""
LATENTS, RANDOM, DIMENSIONS, WHOLE = "latents", "random latents", "residual dimensions", "whole residual"
GAIN = "latents minus residual dimensions"
_DRAWS, _RIDGE, _RIDGE_WHOLE = 3, 1.0, 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Probing:
    """How well probes of few features tell emotions in texts of groups that they were not fitted on.

    Attributes
    ----------
    table
        One row a (features, k, emotion): features (latents, random latents, residual dimensions, whole residual), k,
        emotion, auroc (mean over held-out folds), n (texts of the emotion).
    chosen
        One row a (emotion, fold, rank): the latents that the training groups chose.
    folds
        Number of folds of groups.
    provenance
        Who made it, from what.
    """

    table: pd.DataFrame
    chosen: pd.DataFrame
    folds: int
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        told = self.frame().set_index(["features", "k"])["value"]
        most = int(self.table.loc[self.table["features"] == LATENTS, "k"].max())
        numbers = ", ".join(f"{name} {told[(name, most)]:.2f}" for name in (LATENTS, DIMENSIONS, RANDOM))
        return f"Probing(AUROC at k = {most}: {numbers}; whole residual {told[WHOLE].iloc[0]:.2f})"

    def frame(self) -> pd.DataFrame:
        """One row a (features, k): features, k, value (mean AUROC), low, high (over emotions), n (emotions).

        ``latents minus residual dimensions`` is the paired difference.
        """
        rows = []
        wide = self.table.pivot(index="emotion", columns=["features", "k"], values="auroc")
        named = {(str(name), int(k)): wide[name, k] for name, k in wide.columns}
        named |= {(GAIN, k): wide[LATENTS, k] - wide[DIMENSIONS, k] for name, k in list(named) if name == LATENTS}
        for (name, k), values in named.items():
            found = bootstrap_mean(values.to_numpy(), seed=0)
            low, high = (found.low, found.high) if name == GAIN else (max(found.low, 0.0), min(found.high, 1.0))
            rows.append((name, k, found.value, low, high, found.n))
        return pd.DataFrame(rows, columns=["features", "k", "value", "low", "high", "n"])

    def plot(self) -> alt.LayerChart:
        """Draw the means against k, the whole residual as the ceiling."""
        from emovec_sae.charts import draw

        return draw("probing", self.frame())

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable summary."""
        return {"folds": self.folds, "auroc": self.frame().to_dict("records")}

    def save(self, path: str | Path) -> Path:
        """Write summary, table, choices and provenance as one JSON file, atomically."""
        told = {name: getattr(self, name).to_dict("records") for name in ("table", "chosen")}
        return write_json(path, {**self.facts(), **told, "provenance": dict(self.provenance)})


def probe_latents(
    coder: SparseCoder,
    acts: Activations | SiteActivations,
    *,
    emotions: Sequence[str] | None = None,
    sizes: Sequence[int] = SIZES,
    folds: int = 4,
    seed: int = 0,
) -> Probing:
    """Choose k latents an emotion on training groups, fit a logistic regression on them, test it on the other groups.

    Latents are chosen by the difference of their means (coefficients on unit decoder rows) between texts of the
    emotion and all others; residual dimensions in the same way, after each was divided by its deviation, because a
    few of them have thousands of times the variance of the others. Random latents are drawn from those that fire.

    Parameters
    ----------
    coder
        The SAE.
    acts
        Activations with tokens, emotions and groups.
    emotions
        Which emotions are probed, each against the texts of all others; None means the core ones that are there, or
        all if those are fewer than two.
    sizes
        Numbers of features.
    folds
        Folds of groups, each held out in turn.
    seed
        Of the random latents.

    Raises
    ------
    ConfigError
        If an emotion is unknown or has texts in too few groups, or sizes are impossible.
    MismatchError, StoreError
        If site or model are not the SAE's, or tokens were not recorded.

    References
    ----------
    Gurnee et al. 2023 (arXiv 2305.01610), Finding neurons in a haystack; Karvonen et al. 2025 (arXiv 2503.09532).
    """
    from threadpoolctl import threadpool_limits

    source = at_site(coder, acts)
    facts = source.activations.model
    coder.require(site=source.site, d_model=int(facts["d_model"]), model=facts)
    labelled = source.activations.where(source.activations.frame["emotion"].notna().to_numpy())
    frame = labelled.frame
    wanted = _emotions(frame, emotions)
    sizes = sorted(set(sizes))
    if not sizes or sizes[0] < 1 or sizes[-1] > min(coder.d_sae, coder.d_in):
        raise ConfigError(f"sizes must lie between 1 and {min(coder.d_sae, coder.d_in)}, got {sizes or 'none'}")
    fold = _folds(frame, wanted, folds)
    found = text_latents(coder, labelled[source.site])
    with threadpool_limits(1, user_api="blas"):
        table, chosen = _tables(found, frame["emotion"].astype(str).to_numpy(), wanted, fold, sizes=sizes, seed=seed)
    return Probing(
        table=table,
        chosen=chosen,
        folds=len(np.unique(fold)),
        provenance=collect(
            seed=seed, sae=coder.fingerprint, activations=labelled.fingerprint, sizes=sizes, site=str(source.site)
        ),
    )


def _tables(
    found: TextLatents, labels: np.ndarray, wanted: Sequence[str], fold: np.ndarray, *, sizes: Sequence[int], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """AUROC by features, k and emotion (folds weigh by the emotion's texts), and the chosen latents."""
    rows: list[dict[str, Any]] = []
    chosen: list[tuple[str, int, int, int]] = []
    for held in np.unique(fold):
        split = _Split(found, fold != held, sizes, np.random.default_rng([seed, int(held)]))
        for emotion in wanted:
            truth = labels == emotion
            picked = split.latents(truth)
            chosen += [(emotion, int(held), rank, int(one)) for rank, one in enumerate(picked, start=1)]
            weight = int(truth[fold == held].sum())
            rows += [{"emotion": emotion, "weight": weight, **row} for row in split.scores(truth, picked)]
    table = pd.DataFrame(rows)
    table = table.assign(part=table["auroc"] * table["weight"]).groupby(["features", "k", "emotion"], sort=False)
    sums = table[["part", "weight"]].sum().reset_index()
    sums = sums.assign(auroc=sums["part"] / sums["weight"], n=sums["weight"])
    return (
        sums[["features", "k", "emotion", "auroc", "n"]],
        pd.DataFrame(chosen, columns=["emotion", "fold", "rank", "latent"]),
    )


class _Split:
    """One fold held out: features of training and test texts, and probes on them."""

    def __init__(self, found: TextLatents, train: np.ndarray, sizes: Sequence[int], rng: np.random.Generator) -> None:
        self.train, self.sizes = train, sizes
        self.table = found.latents
        mean, spread = found.residual[train].mean(0), found.residual[train].std(0)
        self.residual = (found.residual - mean) / np.maximum(spread, 1e-12)
        live = np.unique(found.latents[np.flatnonzero(train)].indices)
        self.random = [rng.permutation(live)[: sizes[-1]] for _ in range(_DRAWS)]

    def latents(self, truth: np.ndarray) -> np.ndarray:
        """Latents by falling difference of means in the training texts."""
        difference = _mean(self.table, self.train & truth) - _mean(self.table, self.train & ~truth)
        return np.argsort(-np.abs(difference), kind="stable")[: self.sizes[-1]]

    def scores(self, truth: np.ndarray, picked: np.ndarray) -> Iterator[dict[str, Any]]:
        """AUROC on the held-out texts by kind and number of features."""
        values = self.residual
        difference = values[self.train & truth].mean(0) - values[self.train & ~truth].mean(0)
        best = np.argsort(-np.abs(difference), kind="stable")[: self.sizes[-1]]
        kinds = [(LATENTS, [self._columns(picked)]), (DIMENSIONS, [values[:, best]])]
        kinds.append((RANDOM, [self._columns(some) for some in self.random]))
        for name, draws in kinds:
            for k in self.sizes:
                tried = [self._auroc(draw[:, :k], truth, _RIDGE) for draw in draws]
                yield {"features": name, "k": k, "auroc": float(np.mean(tried))}
        whole = self._auroc(values, truth, _RIDGE_WHOLE)
        yield {"features": WHOLE, "k": values.shape[1], "auroc": whole}

    def _columns(self, latents: np.ndarray) -> np.ndarray:
        return self.table[:, latents].toarray()

    def _auroc(self, values: np.ndarray, truth: np.ndarray, ridge: float) -> float:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        probe = make_pipeline(StandardScaler(), LogisticRegression(C=ridge, class_weight="balanced", max_iter=2000))
        probe.fit(values[self.train], truth[self.train])
        told = probe.decision_function(values[~self.train])
        return float(rank_aurocs(told[:, None], truth[~self.train].astype(int), 2)[1, 0])


def _mean(table: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    return np.asarray(table[np.flatnonzero(rows)].mean(axis=0)).ravel()


def _emotions(frame: pd.DataFrame, emotions: Sequence[str] | None) -> list[str]:
    there = sorted(frame["emotion"].astype(str).unique())
    if len(there) < 2:
        raise ConfigError(f"probing tells emotions apart, these texts have {len(there)}: record a corpus with emotions")
    if emotions is None:
        core = [name for name in load_emotions().core if name in there]
        return core if len(core) > 1 else there
    for name in emotions:
        if name not in there:
            raise ConfigError(f"no text is labelled '{name}'{suggest(name, there)}")
    return list(dict.fromkeys(emotions))


def _folds(frame: pd.DataFrame, wanted: Sequence[str], folds: int) -> np.ndarray:
    """Fold of each text; every emotion has texts in each."""
    from sklearn.model_selection import GroupKFold

    group = frame["group"].astype(str)
    if folds < 2 or group.nunique() < folds:
        raise ConfigError(f"{group.nunique()} groups cannot be held out in {folds} folds; 2 folds or more are needed")
    fold = np.zeros(len(frame), dtype=np.int64)
    for number, (_, test) in enumerate(GroupKFold(folds).split(fold, groups=group)):
        fold[test] = number
    for name in wanted:
        if len(np.unique(fold[(frame["emotion"] == name).to_numpy()])) < folds:
            raise ConfigError(
                f"'{name}' has no text in one of the {folds} folds of groups; leave it out, or ask for fewer folds"
            )
    return fold
