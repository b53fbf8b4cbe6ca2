"""Do two SAEs tell the same story? Selected latents that have a partner, and partners that are selected too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.provenance import collect, write_json
from emovec_sae.stats import bootstrap_mean

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.saes.matching import Matching


@dataclass(frozen=True, eq=False, repr=False)
class SelectedMatches:
    """The first k latents of each emotion in one SAE, followed into another.

    Attributes
    ----------
    table
        One row an emotion: emotion, matched (share of its k latents with a partner above the threshold), selected
        (share whose partner is among the k of the other SAE's decomposition), any_latent (share of all live latents
        with such a partner), chance (share that would be selected if partners were drawn at random).
    k, threshold, by
        Latents an emotion, least similarity of a pair, cosine or correlation.
    provenance
        Who made it, from what.
    """

    table: pd.DataFrame
    k: int
    threshold: float
    by: str
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        told = self.summary().set_index("number")["value"]
        return (
            f"SelectedMatches(k = {self.k}, {self.by} >= {self.threshold}: matched {told['matched']:.2f} (of all "
            f"latents {self.table['any_latent'].mean():.2f}), selected too {told['selected']:.2f})"
        )

    def frame(self) -> pd.DataFrame:
        """One row an emotion; see `table`."""
        return self.table.copy()

    def summary(self) -> pd.DataFrame:
        """The means over emotions: number, value, low, high, null (all live latents; partners at random), n."""
        rows = []
        for name, null in (("matched", "any_latent"), ("selected", "chance")):
            found = bootstrap_mean(self.table[name].to_numpy(), seed=0)
            low, high = max(found.low, 0.0), min(found.high, 1.0)
            rows.append((name, found.value, low, high, float(self.table[null].mean()), found.n))
        return pd.DataFrame(rows, columns=["number", "value", "low", "high", "null", "n"])

    def plot(self) -> alt.VConcatChart:
        """Draw both shares with their intervals beside chance."""
        from emovec_sae.charts import draw

        names = {"matched": "has a partner in the other SAE", "selected": "its partner is selected too"}
        told = self.summary().assign(check=f"the first {self.k} latents of an emotion")
        return draw("score_dots", told.assign(number=told["number"].map(names)), title="Selected latents across SAEs")

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable summary."""
        about = {"k": self.k, "threshold": self.threshold, "by": self.by, "emotions": len(self.table)}
        return about | {row["number"]: row for row in self.summary().to_dict("records")}

    def save(self, path: str | Path) -> Path:
        """Write summary, table and provenance as one JSON file, atomically."""
        told = {**self.facts(), "table": self.table.to_dict("records"), "provenance": dict(self.provenance)}
        return write_json(path, told)


def selected_matches(
    matching: Matching,
    first: Decomposition,
    second: Decomposition,
    *,
    k: int | None = None,
    threshold: float = 0.7,
    by: str = "cosine",
) -> SelectedMatches:
    """Follow the selected latents of one SAE into another.

    Parameters
    ----------
    matching
        Latents of the first SAE in the second.
    first, second
        Decompositions with these SAEs, of some of the same emotions.
    k
        Latents an emotion; None means the smaller k of both.
    threshold, by
        From which similarity on a pair counts, and which one.

    Raises
    ------
    MismatchError
        If a decomposition is one of another SAE, or they have no emotion in common.
    ConfigError
        If k is out of reach or `by` unknown.
    """
    common = _common(matching, first, second)
    k = min(first.k, second.k) if k is None else k
    column = {"cosine": "cosine", "correlation": "best_correlation"}.get(by)
    if column is None:
        raise ConfigError(f"latents are matched by cosine or correlation, not by '{by}'")
    reached = (matching.pairs[column] >= threshold).to_numpy()
    kept = matching.pairs[reached]
    partners = dict(zip(kept["latent"].astype(int), kept[f"by_{by}"].astype(int), strict=True))
    rows = []
    for emotion in common:
        own, other = (set(found.latents(emotion, k)[0].tolist()) for found in (first, second))
        there = [partners[latent] for latent in own if latent in partners]
        rows.append(
            {
                "emotion": emotion,
                "matched": len(there) / len(own),
                "selected": float(np.mean([latent in other for latent in there] + [False] * (len(own) - len(there)))),
                "any_latent": float(reached.mean()),
                "chance": len(there) / len(own) * len(other) / matching.live[1],
            }
        )
    made = {"matching": matching.provenance, "first": first.provenance, "second": second.provenance}
    return SelectedMatches(
        table=pd.DataFrame(rows),
        k=k,
        threshold=threshold,
        by=by,
        provenance=collect(**{name: dict(one) for name, one in made.items()}),
    )


def _common(matching: Matching, first: Decomposition, second: Decomposition) -> list[str]:
    """Emotions of both decompositions, which are those of the matched SAEs."""
    names = (matching.first, matching.second)
    for found, known, name in zip((first, second), matching.fingerprints, names, strict=True):
        if found.sae_fingerprint != known:
            raise MismatchError(f"the matching is one of SAE '{name}', a decomposition is by '{found.sae}'")
    common = [emotion for emotion in first.emotions if emotion in second.emotions]
    if not common:
        raise MismatchError("these decompositions have no emotion in common")
    return common
