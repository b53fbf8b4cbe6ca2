"""The fitness passport: what an SAE explains of the activations at hand, measured before any claim is made with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import MismatchError, StoreError, UnfitError
from emovec_sae.provenance import collect, write_json
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.sinks import sink_limit
from emovec_sae.sites import Site
from emovec_sae.stats import Interval, bootstrap_ratio

if TYPE_CHECKING:
    from emovec_sae.store.reader import Activations
    from emovec_sae.store.site_view import SiteActivations

DENSE = 0.1
"""A latent is dense when it fires on more than this share of the tokens."""

FIT = 0.5
"""Explained variance below which an SAE is refused."""


@dataclass(frozen=True)
class Passport:
    """What an SAE does on given activations.

    Attributes
    ----------
    sae, fingerprint
        Name and fingerprint of the SAE.
    site, model
        Where the activations come from.
    explained_variance
        1 - fvu against the mean over the measured tokens; interval over texts.
    l0
        Mean number of active latents of a token; interval over texts.
    dead_share, dense_share
        Shares of the latents that fire on none, or on more than a tenth, of the measured tokens.
    n_tokens, n_texts
        What was measured.
    n_sinks
        Sink tokens left out (`emovec_sae.saes.sinks`).
    texts_trained_on
        How many of the measured texts the SAE was trained on, by its own list; None if it keeps no list. Anything
        but 0 means that the numbers flatter.
    mean_norm
        Mean L2 norm of the measured tokens.
    provenance
        Who measured it.
    """

    sae: str
    fingerprint: str
    site: Site
    model: Mapping[str, Any]
    explained_variance: Interval
    l0: Interval
    dead_share: float
    dense_share: float
    n_tokens: int
    n_texts: int
    n_sinks: int
    texts_trained_on: int | None
    mean_norm: float
    provenance: Mapping[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row a metric: metric, value, low, high, n (tokens, or latents for the shares of latents)."""
        rows: list[tuple[str, float, float, float, int]] = [
            (name, found.value, found.low, found.high, self.n_tokens)
            for name, found in (("explained_variance", self.explained_variance), ("l0", self.l0))
        ]
        rows += [
            ("dead_share", self.dead_share, np.nan, np.nan, self.n_tokens),
            ("dense_share", self.dense_share, np.nan, np.nan, self.n_tokens),
        ]
        return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])

    def passes(self, threshold: float = FIT) -> bool:
        """Whether the explained variance reaches `threshold`."""
        return self.explained_variance.value >= threshold

    def require(self, threshold: float = FIT) -> None:
        """Raise `UnfitError` unless the explained variance reaches `threshold`."""
        if not self.passes(threshold):
            raise UnfitError(
                f"SAE '{self.sae}' explains {self.explained_variance.value:.2f} of the variance at {self.site}, "
                f"{threshold:.2f} is wanted; train one on these activations, or lower the threshold and say so"
            )

    def facts(self) -> dict[str, Any]:
        """The passport as JSON-serialisable facts."""
        return {
            "sae": self.sae,
            "fingerprint": self.fingerprint,
            "site": str(self.site),
            "model": dict(self.model),
            "explained_variance": self.explained_variance.as_dict(),
            "l0": self.l0.as_dict(),
            "dead_share": self.dead_share,
            "dense_share": self.dense_share,
            "n_tokens": self.n_tokens,
            "n_texts": self.n_texts,
            "n_sinks": self.n_sinks,
            "texts_trained_on": self.texts_trained_on,
            "mean_norm": self.mean_norm,
            "provenance": dict(self.provenance),
        }

    def save(self, path: str | Path) -> Path:
        """Write the facts as JSON, atomically."""
        return write_json(path, self.facts())


def passport(
    coder: SparseCoder,
    acts: Activations | SiteActivations,
    *,
    tokens: int = 100_000,
    seed: int = 0,
) -> Passport:
    """Measure an SAE on recorded tokens; give texts that it was not trained on.

    Parameters
    ----------
    coder
        The SAE.
    acts
        Activations with tokens; of a whole store, the SAE's own site is taken.
    tokens
        About how many tokens to measure; whole texts are drawn at random until they are reached.
    seed
        Of that draw and of the bootstrap.

    Returns
    -------
    Passport

    Raises
    ------
    MismatchError
        If site, width or model are not the SAE's.
    StoreError
        If the tokens of the site were not recorded.
    """
    source = _at_site(coder, acts)
    coder.require(site=source.site, d_model=int(source.activations.model["d_model"]), model=source.activations.model)
    source = _some_texts(source, tokens, seed)
    sums = _measure(coder, source)
    total = sums.sst()
    fvu = bootstrap_ratio(sums.sse, total, seed=seed)
    explained = Interval(
        1 - fvu.value, 1 - fvu.high, 1 - fvu.low, sums.n_tokens, fvu.clusters, fvu.level, f"{fvu.method} (texts)"
    )
    l0 = bootstrap_ratio(sums.active, sums.count, seed=seed)
    trained = coder.facts.get("texts", {}).get("ids")
    ids = source.activations.frame["id"].astype(str)
    return Passport(
        sae=coder.name,
        fingerprint=coder.fingerprint,
        site=source.site,
        model=dict(source.activations.model),
        explained_variance=explained,
        l0=l0,
        dead_share=float((sums.fired == 0).mean()),
        dense_share=float((sums.fired > DENSE * sums.n_tokens).mean()),
        n_tokens=sums.n_tokens,
        n_texts=len(sums.sse),
        n_sinks=sums.n_sinks,
        texts_trained_on=None if trained is None else int(ids.isin(set(trained)).sum()),
        mean_norm=sums.norm / sums.n_tokens,
        provenance=collect(seed=seed, activations=source.activations.fingerprint, sae=coder.fingerprint),
    )


def _at_site(coder: SparseCoder, acts: Activations | SiteActivations) -> SiteActivations:
    from emovec_sae.store.site_view import SiteActivations

    if isinstance(acts, SiteActivations) or hasattr(acts, "activations"):
        return acts  # pyright: ignore[reportReturnType]
    if coder.site not in acts.sites:
        have = ", ".join(map(str, acts.sites))
        raise MismatchError(
            f"SAE '{coder.name}' reads {coder.site}, these activations are {have}. "
            f"Record that site with --sites {coder.site}, or choose an SAE of {have}"
        )
    return acts[coder.site]


def _some_texts(source: SiteActivations, tokens: int, seed: int) -> SiteActivations:
    """A random part of the texts that holds about so many tokens, all of them if they hold fewer."""
    lengths = source.activations.frame["n_tokens"].to_numpy()
    order = np.random.default_rng(seed).permutation(len(lengths))
    wanted = int(np.searchsorted(np.cumsum(lengths[order]), tokens)) + 1
    if wanted >= len(lengths):
        return source
    return source.activations.where(np.sort(order[:wanted]))[source.site]


@dataclass
class _Sums:
    """Sums by text, in one pass; memory grows with the texts measured, not with their tokens."""

    sse: np.ndarray
    squares: np.ndarray
    active: np.ndarray
    count: np.ndarray
    vectors: np.ndarray
    fired: np.ndarray
    norm: float = 0.0
    n_sinks: int = 0

    @property
    def n_tokens(self) -> int:
        """Tokens measured."""
        return int(self.count.sum())

    def sst(self) -> np.ndarray:
        """Squared distance to the mean over all tokens, by text."""
        mean = self.vectors.sum(0) / self.n_tokens
        return self.squares - 2 * self.vectors @ mean + self.count * (mean @ mean)


def _measure(coder: SparseCoder, source: SiteActivations) -> _Sums:
    n, d = len(source.activations.frame), coder.d_in
    sums = _Sums(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros((n, d)), np.zeros(coder.d_sae))
    limit: float | None = coder.facts.get("training", {}).get("sink_limit")
    for chunk in source.tokens():
        limit = sink_limit(chunk.values) if limit is None else limit
        norms = np.linalg.norm(chunk.values, axis=1)
        kept = norms <= limit
        sums.n_sinks += int((~kept).sum())
        values, text = chunk.values[kept], chunk.text[kept]
        sums.norm += float(norms[kept].sum())
        for start in range(0, len(values), coder.rows_at_once()):
            rows = slice(start, start + coder.rows_at_once())
            latents, error = coder.split(values[rows])
            fires = latents != 0
            sums.fired += fires.sum(0).cpu().numpy()
            np.add.at(sums.active, text[rows], fires.sum(1).cpu().numpy())
            np.add.at(sums.sse, text[rows], error.double().square().sum(1).cpu().numpy())
        wide = values.astype(np.float64)
        np.add.at(sums.squares, text, np.square(wide).sum(1))
        np.add.at(sums.vectors, text, wide)
        np.add.at(sums.count, text, 1.0)
    if sums.n_tokens == 0:
        raise StoreError(f"no tokens are left to measure SAE '{coder.name}' on")
    # Texts whose every token is a sink have no part in the sums.
    kept_texts = sums.count > 0
    for name in ("sse", "squares", "active", "count", "vectors"):
        setattr(sums, name, getattr(sums, name)[kept_texts])
    return sums
