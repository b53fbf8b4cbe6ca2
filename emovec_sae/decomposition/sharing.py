"""Shared against specific latents: how many emotions a latent serves, and what the shared ones hold of each vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.sharing_numbers import NUMBERS, Profile, profile_of, pseudo_profiles, shuffled_profiles
from emovec_sae.decomposition.tables import heat_rows
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect, write_json
from emovec_sae.stats import bootstrap_mean

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.decomposition.resampled import Resampler
    from emovec_sae.decomposition.result import Decomposition


@dataclass(frozen=True, eq=False, repr=False)
class Sharing:
    """The latents x emotions matrix of a decomposition, and what is generic in it.

    Attributes
    ----------
    emotions, latents
        Rows and columns of `matrix`.
    matrix
        Coefficient on the unit decoder row over |v|, shape (n, m).
    table
        One row a latent: latent, participation (effective number of emotions: exp of the entropy of its squared
        coefficients), served (emotions that have it among their first k), generic, cluster, emotion (where it is
        largest), delta (there).
    by_emotion
        One row an emotion: emotion, generic, specific (shares of |v|^2 held by these latents of the matrix), rest (all
        else: other latents and the error), span (share of |v|^2 in the span of the generic rows).
    numbers
        One row a number: number, value, null (mean), null_low, null_high, p (two-sided: few clusters say as
        much as many generic latents).
    null
        What the null is.
    generic
        Share of the emotions from which on a latent counts as generic.
    provenance
        Who made it, from what.
    """

    emotions: tuple[str, ...]
    latents: np.ndarray
    matrix: np.ndarray
    table: pd.DataFrame
    by_emotion: pd.DataFrame
    numbers: pd.DataFrame
    null: str
    generic: float
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        told = self.numbers.set_index("number")["value"]
        return (
            f"Sharing({len(self.latents)} latents of {len(self.emotions)} emotions: {told['generic latents']:.0f} are "
            f"generic and hold {told['generic share']:.2f} of |v|^2, {told['clusters']:.0f} clusters; "
            f"null: {self.null})"
        )

    def frame(self) -> pd.DataFrame:
        """One row a latent, the most shared first; see `table`."""
        return self.table.sort_values("participation", ascending=False, ignore_index=True)

    def cells(self, *, n: int | None = None, labels: Mapping[int, str] | None = None) -> pd.DataFrame:
        """Rows of `emovec_sae.charts.latents_by_emotion`: the n most shared latents (None: all), clustered."""
        order = np.argsort(-self.table["participation"].to_numpy(), kind="stable")
        kept = np.sort(order[: len(order) if n is None else n])
        rows = heat_rows(self.matrix[:, kept], self.emotions, self.latents[kept], labels)
        return rows.merge(self.table[["latent", "participation", "generic"]], on="latent", how="left")

    def plot(self, *, n: int = 24, labels: Mapping[int, str] | None = None) -> alt.LayerChart:
        """Draw the most shared latents as a heat map of their parts in the emotions."""
        from emovec_sae.charts import draw

        return draw("latents_by_emotion", self.cells(n=n, labels=labels))

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable summary."""
        return {
            "emotions": len(self.emotions), "latents": len(self.latents), "generic_from": self.generic,
            "null": self.null, "numbers": self.numbers.to_dict("records"),
        }  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write summary, both tables, the matrix and provenance as one JSON file, atomically."""
        told = {"table": self.frame().to_dict("records"), "by_emotion": self.by_emotion.to_dict("records")}
        told |= {"matrix": {"emotions": list(self.emotions), "latents": self.latents, "delta": self.matrix}}
        return write_json(path, {**self.facts(), **told, "provenance": dict(self.provenance)})


def sharing(
    found: Decomposition,
    *,
    cells: Resampler | None = None,
    generic: float = 0.25,
    draws: int | None = None,
    seed: int = 0,
) -> Sharing:
    """Measure how latents are shared between the emotions of a decomposition.

    Parameters
    ----------
    found
        A decomposition of three emotions or more; ``contrast`` has the coefficient of every emotion on every latent,
        the pursuits only those that they chose.
    cells
        For the full null (a contrast only): labels are permuted within groups, and vectors, coefficients and selection
        are made anew. Without it each latent's coefficients are permuted over the emotions.
    generic
        A latent is generic when its effective number of emotions is at least this share of them.
    draws
        Permutations; None takes 20 with `cells` and 100 without.
    seed
        Of the permutations.

    Raises
    ------
    ConfigError
        If there are fewer than three emotions, or `cells` is given for a method other than the contrast.
    """
    if len(found) < 3:
        raise ConfigError(f"sharing is between emotions; this decomposition holds {len(found)}, three are needed")
    if not 0 < generic <= 1:
        raise ConfigError(f"generic is a share of the emotions, above 0 and at most 1; got {generic}")
    if cells is not None and found.method != "contrast":
        raise ConfigError(f"labels are permuted for the contrast; this decomposition was made by '{found.method}'")
    rows = found.rows - (found.rows @ found.removed.T) @ found.removed
    own = profile_of(found.coefficients, rows, found.vectors, generic=generic, served=_served(found))
    if cells is None:
        null, count = "each latent's coefficients permuted over the emotions", 100 if draws is None else draws
        made = shuffled_profiles(own, rows, found.vectors, draws=count, seed=seed)
    else:
        null, count = "labels permuted within groups, all made anew", 20 if draws is None else draws
        made = pseudo_profiles(cells, len(found), k=found.k, generic=generic, draws=count, seed=seed)
    return Sharing(
        emotions=found.emotions,
        latents=found.index,
        matrix=own.matrix,
        table=_latents(found, own),
        by_emotion=_emotions(found, own),
        numbers=_numbers(own, list(made), seed),
        null=null,
        generic=generic,
        provenance=collect(seed=seed, draws=count, decomposition=dict(found.provenance), sae=found.sae_fingerprint),
    )


def _latents(found: Decomposition, own: Profile) -> pd.DataFrame:
    best = np.abs(own.matrix).argmax(axis=0)
    return pd.DataFrame(
        {
            "latent": found.index, "participation": own.participation, "served": own.served, "generic": own.generic,
            "cluster": own.clusters, "emotion": [found.emotions[e] for e in best],
            "delta": own.matrix[best, np.arange(len(best))],
        }
    )  # fmt: skip


def _emotions(found: Decomposition, own: Profile) -> pd.DataFrame:
    rest = 1 - own.held - own.specific
    return pd.DataFrame(
        {"emotion": found.emotions, "generic": own.held, "specific": own.specific, "rest": rest, "span": own.span}
    )


def _served(found: Decomposition) -> np.ndarray:
    counts = found.ranks.groupby("latent")["emotion"].nunique()
    return counts.reindex(found.index, fill_value=0).to_numpy()


def _numbers(own: Profile, null: list[Profile], seed: int) -> pd.DataFrame:
    """Each number beside its null; means over emotions with their intervals."""
    rows = []
    for name in NUMBERS:
        value = own.numbers[name]
        drawn = np.array([one.numbers[name] for one in null])
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
        reached = min(int((drawn >= value).sum()), int((drawn <= value).sum()))
        p = min(1.0, 2 * (1 + reached) / (1 + len(drawn))) if len(drawn) else np.nan
        bars = bootstrap_mean(own.by_emotion[name], seed=seed) if name in own.by_emotion else None
        ends = (np.nan, np.nan) if bars is None else (bars.low, bars.high)
        mean = float(drawn.mean()) if len(drawn) else np.nan
        rows.append((name, value, *ends, mean, float(low), float(high), p))
    return pd.DataFrame(rows, columns=["number", "value", "low", "high", "null", "null_low", "null_high", "p"])
