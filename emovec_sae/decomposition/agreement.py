"""Do the methods select the same latents? Overlap of their supports, beside what chance gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.provenance import collect, write_json
from emovec_sae.stats import bootstrap_mean

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.decomposition.result import Decomposition

Support = Mapping[str, Mapping[int, float]]
"""Emotion -> latent -> sign (or any number of that sign)."""


@dataclass(frozen=True, eq=False, repr=False)
class Agreement:
    """Overlap of the first k latents of several methods.

    Attributes
    ----------
    names
        The methods.
    table
        One row a (emotion, first, second): emotion, first, second, shared (latents), overlap (shared over the smaller
        support), jaccard, same_sign (share of the shared latents; NaN without any), expected (overlap by chance), p
        (hypergeometric: as many shared by chance, or more).
    k, n_latents
        Latents an emotion, and latents that could be selected.
    provenance
        Who made it, from what.
    """

    names: tuple[str, ...]
    table: pd.DataFrame
    k: int
    n_latents: int
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        told = ", ".join(f"{row['first']} and {row['second']} {row['overlap']:.2f}" for row in self._pairs()[:4])
        return f"Agreement(k = {self.k}, chance {self.table['expected'].mean():.4f}: {told})"

    def frame(self) -> pd.DataFrame:
        """One row a pair of methods, over emotions.

        Returns
        -------
        pd.DataFrame
            first, second, overlap, low, high (interval over emotions), jaccard, same_sign, expected, excess (overlap
            less expected), above (share of emotions whose p is at most 0.05), n (emotions).
        """
        return pd.DataFrame(self._pairs())

    def plot(self) -> alt.LayerChart:
        """Draw the mean overlap of each pair as a heat map."""
        from emovec_sae.charts import draw

        return draw("agreement", self.frame(), k=self.k, n_latents=self.n_latents)

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable summary."""
        return {"methods": list(self.names), "k": self.k, "latents": self.n_latents, "pairs": self._pairs()}

    def save(self, path: str | Path) -> Path:
        """Write summary, table and provenance as one JSON file, atomically."""
        told = {**self.facts(), "table": self.table.to_dict("records"), "provenance": dict(self.provenance)}
        return write_json(path, told)

    def _pairs(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for (first, second), part in self.table.groupby(["first", "second"], sort=False):
            found = bootstrap_mean(part["overlap"].to_numpy(), seed=0)
            rows.append(
                {
                    "first": first, "second": second, "overlap": found.value, "low": max(found.low, 0.0),
                    "high": min(found.high, 1.0), "jaccard": float(part["jaccard"].mean()),
                    "same_sign": float(part["same_sign"].mean()), "expected": float(part["expected"].mean()),
                    "excess": found.value - float(part["expected"].mean()),
                    "above": float((part["p"] <= 0.05).mean()), "n": found.n,
                }
            )  # fmt: skip
        return rows


def agreement(
    found: Sequence[Decomposition],
    *,
    k: int | None = None,
    names: Sequence[str] | None = None,
    live: int | None = None,
    supports: Mapping[str, Support] | None = None,
) -> Agreement:
    """Compare the supports of decompositions by one SAE, on the emotions that all of them hold.

    Parameters
    ----------
    found
        Decompositions, two or more (with `supports`, one or more).
    k
        Latents an emotion; None means the smallest k among them.
    names
        What to call them; None means their methods.
    live
        Latents that could be selected: the urn of the chance level. None takes what the decompositions say: the
        latents that fire on the tokens, or all where nobody read tokens.
    supports
        More selections by name, such as `auroc_support`.

    Raises
    ------
    ConfigError
        If there are fewer than two, two have one name, or k is out of reach.
    MismatchError
        If their SAEs differ, or no emotion is common to all.
    """
    called = list(names) if names is not None else _called(found)
    more = dict(supports or {})
    k = _checked(found, called, more, k)
    held = {name: _support(one, k) for name, one in zip(called, found, strict=True)} | more
    common = [name for name in next(iter(held.values())) if all(name in other for other in held.values())]
    if not common:
        raise MismatchError("these decompositions have no emotion in common")
    urn = live or _urn(found)
    rows = [
        {"emotion": emotion, "first": a, "second": b, **_overlap(held[a][emotion], held[b][emotion], urn)}
        for a, b in combinations(held, 2)
        for emotion in common
    ]
    return Agreement(
        names=tuple(held),
        table=pd.DataFrame(rows),
        k=k,
        n_latents=urn,
        provenance=collect(
            inputs=[dict(one.provenance) for one in found], sae=found[0].sae_fingerprint if found else None
        ),
    )


def auroc_support(cells: Cells, k: int) -> Support:
    """The k latents of each emotion whose text means tell it best from the others, either way; sign by the side."""
    live = np.flatnonzero(cells.fired > 0)
    table = cells.texts.aurocs(live, len(cells.emotions)) - 0.5
    order = np.argsort(-np.abs(np.nan_to_num(table)), axis=1, kind="stable")[:, :k]
    return {
        emotion: {int(live[place]): float(table[e, place]) for place in order[e]}
        for e, emotion in enumerate(cells.emotions)
    }


def _checked(found: Sequence[Decomposition], called: Sequence[str], more: Mapping[str, Support], k: int | None) -> int:
    """The k that is compared, after the decompositions were held against each other."""
    if len(called) != len(found) or len({*called, *more}) < len(called) + len(more) or len(called) + len(more) < 2:
        raise ConfigError(
            f"{len(found)} decompositions with the names {', '.join([*called, *more]) or 'none'}: two or more are "
            "compared, each with a name of its own"
        )
    if len({one.sae_fingerprint for one in found}) > 1:
        raise MismatchError(
            f"these decompositions are by different SAEs ({', '.join(dict.fromkeys(one.sae for one in found))}): "
            "latents of one are not those of another; match them first (emovec latents match)"
        )
    smallest = min((one.k for one in found), default=0)
    k = smallest if k is None else k
    if found and not 1 <= k <= smallest:
        raise ConfigError(f"these decompositions hold 1 to {smallest} latents an emotion, got k = {k}")
    return k


def _called(found: Sequence[Decomposition]) -> list[str]:
    """Methods, numbered where one occurs twice."""
    counts, seen, names = Counter(one.method for one in found), Counter[str](), []
    for one in found:
        seen[one.method] += 1
        names.append(one.method if counts[one.method] == 1 else f"{one.method} {seen[one.method]}")
    return names


def _support(found: Decomposition, k: int) -> dict[str, dict[int, float]]:
    own = found.ranks[found.ranks["rank"] <= k]
    return {
        emotion: dict(zip(part["latent"].astype(int), part["coefficient"].astype(float), strict=True))
        for emotion, part in ((name, own[own["emotion"] == name]) for name in found.emotions)
    }


def _urn(found: Sequence[Decomposition]) -> int:
    """How many latents could have been selected, as the decompositions say."""
    for key in ("live", "d_sae"):
        known = [int(one.provenance[key]) for one in found if one.provenance.get(key)]
        if known:
            return max(known)
    raise ConfigError("these decompositions do not say how many latents the SAE has; give it (live)")


def _overlap(first: Mapping[int, float], second: Mapping[int, float], urn: int) -> dict[str, Any]:
    shared = sorted(set(first) & set(second))
    smaller = min(len(first), len(second))
    same = [np.sign(first[latent]) == np.sign(second[latent]) for latent in shared]
    return {
        "shared": len(shared),
        "overlap": len(shared) / max(smaller, 1),
        "jaccard": len(shared) / max(len(set(first) | set(second)), 1),
        "same_sign": float(np.mean(same)) if same else float("nan"),
        "expected": len(first) * len(second) / urn / max(smaller, 1),
        "p": float(stats.hypergeom.sf(len(shared) - 1, urn, len(first), len(second))),
    }
