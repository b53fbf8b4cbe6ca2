"""Latents of one SAE found again in another (another seed, another width): by decoder row, and by activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.provenance import collect, write_json
from emovec_sae.saes.assign import assign, best_columns
from emovec_sae.saes.comoments import CELLS, Moments, correlations, moments
from emovec_sae.saes.sample import at_site, some_texts
from emovec_sae.stats import proportion

if TYPE_CHECKING:
    import altair as alt

    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.reader import Activations
    from emovec_sae.store.site_view import SiteActivations

KINDS = ("cosine", "correlation")
"""By what latents are matched: cosine of unit decoder rows, correlation of activations on the same tokens."""
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
LIVE = 5
"""A latent takes part when it fires on at least so many of the tokens."""
_CANDIDATES = 16
_ROWS = 1024


@dataclass(frozen=True, eq=False, repr=False)
class Matching:
    """Latents of a first SAE with their partners in a second; only latents that fire take part.

    Attributes
    ----------
    first, second
        Names of the SAEs.
    fingerprints
        Theirs.
    pairs
        One row a live latent of the first: latent, fires (share of tokens), by_cosine (partner, -1 for none), cosine,
        correlation (of that pair's activations), by_correlation (partner, -1 for none), best_correlation.
    null_cosine
        Cosines of the matches with the second dictionary rotated at random, shape (draws, n).
    null_correlation
        Correlations of the matches with the second's tokens shuffled, shape (1, n).
    live
        Live latents of both.
    n_tokens
        Tokens on which latents were compared.
    provenance
        Who made it, from what.
    """

    first: str
    second: str
    fingerprints: tuple[str, str]
    pairs: pd.DataFrame
    null_cosine: np.ndarray
    null_correlation: np.ndarray
    live: tuple[int, int]
    n_tokens: int
    provenance: Mapping[str, Any]

    def __repr__(self) -> str:
        told = self.shares((0.7,)).set_index("kind")["value"]
        return (
            f"Matching('{self.first}' in '{self.second}': {self.live[0]} and {self.live[1]} live latents, above 0.7 "
            f"{told['cosine']:.0%} by cosine, {told['correlation']:.0%} by correlation)"
        )

    def frame(self) -> pd.DataFrame:
        """One row a live latent of the first SAE; see `pairs`."""
        return self.pairs.copy()

    def shares(self, thresholds: tuple[float, ...] = THRESHOLDS) -> pd.DataFrame:
        """Share of the first SAE's live latents that are matched above each threshold.

        Returns
        -------
        pd.DataFrame
            kind, threshold, value, low, high (Wilson), n (latents), null (the share that chance gives).
        """
        rows = []
        nulls = {"cosine": self.null_cosine, "correlation": self.null_correlation}
        reached = {"cosine": "cosine", "correlation": "best_correlation"}
        for kind in KINDS:
            values = self.pairs[reached[kind]].fillna(-1.0).to_numpy()
            for threshold in thresholds:
                found = proportion(values >= threshold)
                null = float((nulls[kind] >= threshold).mean())
                rows.append((kind, threshold, found.value, found.low, found.high, found.n, null))
        return pd.DataFrame(rows, columns=["kind", "threshold", "value", "low", "high", "n", "null"])

    def partner(self, latent: int, *, by: str = "cosine", least: float = 0.0) -> int | None:
        """The partner of a latent, or None if it has none that reaches `least`."""
        if by not in KINDS:
            raise ConfigError(f"latents are matched by {' or '.join(KINDS)}, not by '{by}'")
        own = self.pairs[self.pairs["latent"] == latent]
        if not len(own) or own[f"by_{by}"].iloc[0] < 0:
            return None
        reached = own["cosine" if by == "cosine" else "best_correlation"].iloc[0]
        return int(own[f"by_{by}"].iloc[0]) if reached >= least else None

    def plot(self) -> alt.LayerChart:
        """Draw the share of matched latents against the threshold, beside what chance gives."""
        from emovec_sae.charts import draw

        grid = tuple(round(0.05 * step, 2) for step in range(1, 20))
        return draw("matched", self.shares(grid), title=f"Latents of {self.first} found in {self.second}")

    def facts(self) -> dict[str, Any]:
        """JSON-serialisable summary."""
        return {
            "first": self.first, "second": self.second, "live": list(self.live), "n_tokens": self.n_tokens,
            "shares": self.shares().to_dict("records"),
            "agree": float((self.pairs["by_cosine"] == self.pairs["by_correlation"]).mean()),
        }  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write summary, pairs and provenance as one JSON file, atomically."""
        told = {"fingerprints": list(self.fingerprints), "pairs": self.pairs.to_dict("records")}
        return write_json(path, {**self.facts(), **told, "provenance": dict(self.provenance)})


def match_latents(
    first: SparseCoder,
    second: SparseCoder,
    acts: Activations | SiteActivations,
    *,
    tokens: int = 50_000,
    draws: int = 3,
    seed: int = 0,
) -> Matching:
    """Match the live latents of two SAEs of one site, one to one.

    Up to 2,048 latents a side the assignment is the best of all (Hungarian); beyond, the most similar free pair is
    taken in turn. Correlations of all pairs are held up to 11k latents a side; beyond, those of the 16 nearest rows.

    Parameters
    ----------
    first, second
        The SAEs; widths may differ.
    acts
        Activations with tokens at their site.
    tokens
        About how many tokens to compare activations on; whole texts are drawn.
    draws
        Random rotations of the second dictionary.
    seed
        Of all draws.

    Raises
    ------
    MismatchError
        If the SAEs read different sites or models.
    StoreError
        If tokens were not recorded, or too few latents fire.
    """
    source = some_texts(_shared_site(first, second, acts), tokens, seed)
    sums = moments(first, second, source)
    live = (_live(sums[0]), _live(sums[1]))
    rows = [coder.directions[kept].cpu().numpy() for coder, kept in zip((first, second), live, strict=True)]
    full = len(live[0]) * len(live[1]) <= CELLS
    by_rows, cosine, candidates = _by_rows(rows[0], rows[1], full=full)
    given: dict[str, Any] = {"sums": sums, "live": live, "candidates": candidates}
    by_activation, best, along = _by_activation(first, second, source, by_rows, **given)
    null = _by_activation(first, second, source, by_rows, **given, shuffle=seed)[1]
    rng = np.random.default_rng(seed)
    turned = [_by_rows(rows[0], rows[1] @ _rotation(first.d_in, rng), full=full)[1] for _ in range(draws)]
    return Matching(
        first=first.name,
        second=second.name,
        fingerprints=(first.fingerprint, second.fingerprint),
        pairs=pd.DataFrame(
            {
                "latent": live[0],
                "fires": sums[0].fired[live[0]] / sums[2],
                "by_cosine": _named(by_rows, live[1]),
                "cosine": cosine,
                "correlation": along,
                "by_correlation": _named(by_activation, live[1]),
                "best_correlation": best,
            }
        ),
        null_cosine=np.nan_to_num(np.stack(turned), nan=-1.0) if turned else np.zeros((0, len(live[0]))),
        null_correlation=np.nan_to_num(null, nan=-1.0)[None],
        live=(len(live[0]), len(live[1])),
        n_tokens=sums[2],
        provenance=collect(
            seed=seed, first=first.fingerprint, second=second.fingerprint, activations=source.activations.fingerprint,
            pairs="all" if full else f"{_CANDIDATES} nearest rows", draws=draws,
        ),
    )  # fmt: skip


def _shared_site(first: SparseCoder, second: SparseCoder, acts: Activations | SiteActivations) -> SiteActivations:
    """The site that both SAEs read."""
    source = at_site(first, acts)
    facts = source.activations.model
    for coder in (first, second):
        coder.require(site=source.site, d_model=int(facts["d_model"]), model=facts)
    return source


def _live(sums: Moments) -> np.ndarray:
    """Latents that fire often enough to be compared."""
    found = np.flatnonzero(sums.fired >= LIVE)
    if not len(found):
        raise StoreError(f"fewer than {LIVE} tokens fire any latent of one SAE; give more texts")
    return found


def _by_rows(first: np.ndarray, second: np.ndarray, *, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Match unit rows by cosine: partner's place and cosine of each, and the candidates where not all are held."""
    if full:
        table = first @ second.T
        match = assign(table)
        return match, _at(table, None, match), None
    places, values = [], []
    for start in range(0, len(first), _ROWS):
        part = first[start : start + _ROWS] @ second.T
        places.append(best_columns(part, _CANDIDATES))
        values.append(np.take_along_axis(part, places[-1], axis=1))
    candidates, near = np.concatenate(places), np.concatenate(values)
    match = assign(near, candidates, len(second))
    return match, _at(near, candidates, match), candidates


def _by_activation(
    first: SparseCoder, second: SparseCoder, source: SiteActivations, by_rows: np.ndarray, **options: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match by correlation: partner's place and correlation of each, and the correlation with the match `by_rows`."""
    table, candidates = correlations(first, second, source, **options), options["candidates"]
    match = assign(table, candidates, len(options["live"][1]))
    return match, _at(table, candidates, match), _at(table, candidates, by_rows)


def _at(table: np.ndarray, candidates: np.ndarray | None, columns: np.ndarray) -> np.ndarray:
    """The value of each row at a column, shape (n,); NaN where it has none."""
    place = columns if candidates is None else (candidates == columns[:, None]).argmax(axis=1)
    return np.where(columns >= 0, table[np.arange(len(columns)), place].astype(float), np.nan)


def _rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random rotation (or reflection), shape (d, d), float32."""
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


def _named(places: np.ndarray, live: np.ndarray) -> np.ndarray:
    return np.where(places >= 0, live[places], -1)
