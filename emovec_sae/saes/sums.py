"""One pass over recorded tokens: what the passport's numbers are made of, by text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import StoreError
from emovec_sae.saes.sinks import sink_limit
from emovec_sae.stats import Interval, bootstrap_ratio

if TYPE_CHECKING:
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations


@dataclass(frozen=True, eq=False)
class TokenSums:
    """Sums by text; memory grows with the texts measured, not with their tokens.

    Attributes
    ----------
    sse, squares, active, count
        Squared error, squared norm, active latents and tokens of each text, shape (texts,).
    vectors
        Sum of its residuals, shape (texts, d).
    fired
        Tokens on which each latent fired, shape (d_sae,).
    norm
        Sum of the norms of all tokens.
    n_sinks, limit
        Sink tokens left out, and the norm beyond which a token is one.
    """

    sse: np.ndarray
    squares: np.ndarray
    active: np.ndarray
    count: np.ndarray
    vectors: np.ndarray
    fired: np.ndarray
    norm: float
    n_sinks: int
    limit: float

    @property
    def n_tokens(self) -> int:
        """Tokens measured."""
        return int(self.count.sum())

    @property
    def mean(self) -> np.ndarray:
        """Mean residual, shape (d,)."""
        return self.vectors.sum(0) / self.n_tokens

    def sst(self) -> np.ndarray:
        """Squared distance to the mean over all tokens, by text."""
        return total_squares(self.squares, self.vectors, self.count)

    def explained(self, *, seed: int) -> Interval:
        """1 - fvu with its interval over texts."""
        return explained_variance(self.sse, self.sst(), n_tokens=self.n_tokens, seed=seed)


def total_squares(squares: np.ndarray, vectors: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Squared distance to the mean of all rows, by text, from sums of squares, of rows and of their number."""
    mean = vectors.sum(0) / count.sum()
    return squares - 2 * vectors @ mean + count * (mean @ mean)


def explained_variance(sse: np.ndarray, sst: np.ndarray, *, n_tokens: int, seed: int) -> Interval:
    """1 - sum(sse) / sum(sst), both by text, with an interval over texts."""
    fvu = bootstrap_ratio(sse, sst, seed=seed)
    return Interval(
        1 - fvu.value, 1 - fvu.high, 1 - fvu.low, n_tokens, fvu.clusters, fvu.level, f"{fvu.method} (texts)"
    )


def token_sums(coder: SparseCoder, source: SiteActivations) -> TokenSums:
    """Run an SAE over every recorded token of a site but the sinks.

    Raises
    ------
    StoreError
        If tokens were not recorded there, or none is left.
    """
    n, d = len(source.activations.frame), coder.d_in
    sse, squares, active, count = (np.zeros(n) for _ in range(4))
    vectors, fired = np.zeros((n, d)), np.zeros(coder.d_sae)
    norm, n_sinks = 0.0, 0
    # the limit that the SAE was trained with is one of its own site
    limit: float | None = coder.facts.get("training", {}).get("sink_limit") if source.site == coder.site else None
    for chunk in source.tokens():
        limit = sink_limit(chunk.values) if limit is None else limit
        norms = np.linalg.norm(chunk.values, axis=1)
        kept = norms <= limit
        n_sinks += int((~kept).sum())
        values, text = chunk.values[kept], chunk.text[kept]
        norm += float(norms[kept].sum())
        for start in range(0, len(values), coder.rows_at_once()):
            rows = slice(start, start + coder.rows_at_once())
            latents, error = coder.split(values[rows])
            fires = latents != 0
            fired += fires.sum(0).cpu().numpy()
            np.add.at(active, text[rows], fires.sum(1).cpu().numpy())
            np.add.at(sse, text[rows], error.double().square().sum(1).cpu().numpy())
        wide = values.astype(np.float64)
        np.add.at(squares, text, np.square(wide).sum(1))
        np.add.at(vectors, text, wide)
        np.add.at(count, text, 1.0)
    there = count > 0  # texts whose every token is a sink have no part in the sums
    if limit is None or not there.any():
        raise StoreError(f"no tokens are left to measure SAE '{coder.name}' on")
    return TokenSums(
        sse[there], squares[there], active[there], count[there], vectors[there], fired, norm, n_sinks, limit
    )
