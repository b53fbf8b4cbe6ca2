"""Does the contrast select the same latents on other texts? Bootstrap over groups, and disjoint halves of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.resampled import Resampler
from emovec_sae.decomposition.sources import cells_of, check_same_texts
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect, write_json

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.reader import Activations


@dataclass(frozen=True, eq=False, repr=False)
class Stability:
    """How often latents are selected when the texts are drawn anew.

    Attributes
    ----------
    table
        One row a (emotion, latent) that is selected on all texts, or in at least half of the resamples: emotion, rank
        (on all texts; 0 if not among the first k), latent, frequency (share of bootstrap resamples of the groups that
        select it), expected (k over the latents that may be selected).
    summary
        One row an emotion: emotion, bootstrap, bootstrap_low, bootstrap_high (share of the k latents that a resample
        selects again: mean and 95 % of the resamples; resamples share two thirds of their groups, so this flatters),
        halves, halves_low, halves_high (shared by disjoint halves of the groups: nothing is shared but the truth),
        null, null_high (halves of pseudo-emotions from permuted labels), expected (k over the latents that may be
        selected), n (resamples and splits that had texts).
    k, n_latents, groups
        Latents an emotion, latents that may be selected, groups.
    provenance
        Who made it, from what.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    k: int
    n_latents: int
    groups: int
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        means = self.summary[["bootstrap", "halves", "null", "expected"]].mean()
        return (
            f"Stability(k = {self.k}, {len(self.summary)} emotions, {self.groups} groups: selected again "
            f"{means['bootstrap']:.2f} in resamples, {means['halves']:.2f} in halves, permuted labels "
            f"{means['null']:.2f}, chance {means['expected']:.4f})"
        )

    def frame(self) -> pd.DataFrame:
        """One row a (emotion, latent); see `table`."""
        return self.table.copy()

    def plot(self, emotion: str | None = None) -> alt.VConcatChart:
        """Draw how often the latents of an emotion (by default of the first) are selected."""
        from emovec_sae.charts import draw

        name = emotion or str(self.table["emotion"].iloc[0])
        if name not in set(self.table["emotion"]):
            raise ConfigError(f"'{name}' is none of the emotions; there are {', '.join(self.summary['emotion'])}")
        return draw("stability", self.table, emotion=name, draws=int(self.summary["n"].iloc[0]))

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable summary."""
        means = {str(name): value for name, value in self.summary.drop(columns=["emotion", "n"]).mean().items()}
        return {"k": self.k, "latents": self.n_latents, "groups": self.groups, "emotions": len(self.summary), **means}

    def save(self, path: str | Path) -> Path:
        """Write summary, table and provenance as one JSON file, atomically."""
        told = {name: getattr(self, name).to_dict("records") for name in ("summary", "table")}
        return write_json(path, {**self.facts(), **told, "provenance": dict(self.provenance)})


def stability(
    directions: DirectionSet,
    sae: SparseCoder,
    acts: Activations,
    *,
    emotions: Sequence[str] | None = None,
    k: int = 16,
    dense: str = "keep",
    resamples: int = 200,
    splits: int = 20,
    nulls: int = 4,
    seed: int = 0,
) -> Stability:
    """Draw the groups anew, contrast again and count the latents that are selected again; nothing is encoded twice.

    Parameters
    ----------
    directions, sae, acts
        As in `decompose` with the method ``contrast``.
    emotions
        Which emotions are told; None means all (the mean over emotions is always over all of them).
    k
        Latents an emotion.
    dense
        ``keep``, or ``drop`` to select none that fires on more than a tenth of the tokens.
    resamples
        Bootstrap resamples of the groups.
    splits
        Random splits of the groups into halves.
    nulls
        Permutations of the labels within groups, each on those splits.
    seed
        Of all draws.

    Raises
    ------
    ConfigError
        If k is out of reach, or there are fewer than four groups.
    MismatchError, StoreError
        As in `decompose`.
    """
    import torch

    cells = cells_of(directions, sae, acts)
    removed = np.array(directions.removed, dtype=np.float32)
    check_same_texts(directions, cells, torch.from_numpy(removed).to(sae.device))
    wanted = [directions[name].row for name in emotions or directions.emotions]
    work = Resampler(cells, sae, removed, dense=dense)
    table, summary, allowed = selection(
        cells, work, wanted=wanted, k=k, resamples=resamples, splits=splits, nulls=nulls, seed=seed
    )
    return Stability(
        table,
        summary,
        k=k,
        n_latents=allowed,
        groups=len(cells.groups),
        provenance=collect(
            seed=seed, resamples=resamples, splits=splits, nulls=nulls, dense=dense, sae=sae.fingerprint,
            directions=directions.fingerprint, activations=acts.fingerprint,
        ),
    )  # fmt: skip


def selection(
    cells: Cells, work: Resampler, *, wanted: Sequence[int], k: int, resamples: int, splits: int, nulls: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """The tables of `Stability`, and how many latents may be selected."""
    groups = len(cells.groups)
    work.check(k)
    if groups < 4 or resamples < 1 or splits < 1:
        raise ConfigError(f"{groups} groups, {resamples} resamples, {splits} splits: 4 groups and 1 of each are needed")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(float)
    halves = np.stack([_half(groups, rng) for _ in range(splits)])
    weights = np.concatenate([np.ones((1, groups)), drawn, halves, 1 - halves])
    chance = [
        [_shared_halves(work.top(*found, k), k) for found in work.contrasts(
            np.concatenate([halves, 1 - halves]), work.permuted(rng), wanted=wanted)]
        for _ in range(nulls)
    ]  # fmt: skip
    expected = k / len(work.allowed)
    rows, summary = [], []
    for place, (e, found) in enumerate(zip(wanted, work.contrasts(weights, wanted=wanted), strict=True)):
        top = work.top(*found, k)
        whole, again = top[0], top[1 : 1 + resamples]
        again = again[again[:, 0] >= 0]
        counts = np.bincount(again.ravel(), minlength=len(work.directions)) / max(len(again), 1)
        rank = {int(latent): number for number, latent in enumerate(whole, start=1)}
        listed = [*rank, *(int(j) for j in np.flatnonzero(counts >= 0.5) if int(j) not in rank)]
        rows += [(cells.emotions[e], rank.get(j, 0), j, float(counts[j]), expected) for j in listed]
        boot = np.isin(again, whole).mean(axis=1)
        half = _shared_halves(top[1 + resamples :], k)
        null = np.concatenate([draw[place] for draw in chance]) if chance else np.full(1, np.nan)
        summary.append(
            (cells.emotions[e], *_band(boot), *_band(half), _band(null)[0], _band(null)[2], expected,
             len(again) + len(half))
        )  # fmt: skip
    columns = ["emotion", "bootstrap", "bootstrap_low", "bootstrap_high", "halves", "halves_low", "halves_high",
               "null", "null_high", "expected", "n"]  # fmt: skip
    return (
        pd.DataFrame(rows, columns=["emotion", "rank", "latent", "frequency", "expected"]),
        pd.DataFrame(summary, columns=columns),
        len(work.allowed),
    )


def _half(groups: int, rng: np.random.Generator) -> np.ndarray:
    """Ones for a random half of the groups."""
    found = np.zeros(groups)
    found[rng.permutation(groups)[: groups // 2]] = 1
    return found


def _shared_halves(top: np.ndarray, k: int) -> np.ndarray:
    """Share of k latents that both halves of a split select; splits without texts on one side are left out."""
    first, second = np.split(top, 2)
    both = [len(np.intersect1d(a, b)) / k for a, b in zip(first, second, strict=True) if a[0] >= 0 and b[0] >= 0]
    return np.array(both)


def _band(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % of draws; NaN of none."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)
