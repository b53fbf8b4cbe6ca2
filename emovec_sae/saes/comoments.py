"""Correlations between the latents of two SAEs on the same tokens, in one streaming pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations

CELLS = 2**27
"""Pairs of latents up to which all correlations are held (512 MiB); beyond, only those of candidates."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the same tokens for one SAE.

    Attributes
    ----------
    fired, total, squares
        Tokens on which each latent fires, its sum and sum of squares, shape (d_sae,).
    """

    fired: np.ndarray
    total: np.ndarray
    squares: np.ndarray


def moments(first: SparseCoder, second: SparseCoder, acts: SiteActivations) -> tuple[Moments, Moments, int]:
    """Sums of both SAEs, and the number of pooled tokens."""
    sums = [[np.zeros(coder.d_sae) for _ in range(3)] for coder in (first, second)]
    n_tokens = 0
    for latents in _pairs(first, second, acts):
        n_tokens += latents[0].indptr.size - 1
        for own, table in zip(sums, latents, strict=True):
            for total, values in zip(own, (table.data != 0, table.data, np.square(table.data)), strict=True):
                total += np.bincount(table.indices, weights=values, minlength=len(total))
    return Moments(*sums[0]), Moments(*sums[1]), n_tokens


def correlations(
    first: SparseCoder,
    second: SparseCoder,
    acts: SiteActivations,
    *,
    sums: tuple[Moments, Moments, int],
    live: tuple[np.ndarray, np.ndarray],
    candidates: np.ndarray | None,
    shuffle: int | None = None,
) -> np.ndarray:
    """Pearson correlations over the pooled tokens between live latents.

    Parameters
    ----------
    first, second, acts
        Two SAEs of one site, and its tokens.
    sums
        What `moments` gave.
    live
        Latents of each that take part, shapes (n,) and (m,).
    candidates
        Places among the second's live latents for each of the first's, shape (n, c); None means all pairs.
    shuffle
        A seed: tokens of the second are permuted within each chunk, which is what chance gives.

    Returns
    -------
    numpy.ndarray
        Shape (n, m), or (n, c), float32.
    """
    rng = None if shuffle is None else np.random.default_rng(shuffle)
    shape = (len(live[0]), len(live[1])) if candidates is None else candidates.shape
    found = np.zeros(shape, dtype=np.float32)
    for one, other in _pairs(first, second, acts):
        left, right = one[:, live[0]], other[:, live[1]]
        if rng is not None:
            right = right[rng.permutation(right.shape[0])]
        if candidates is None:
            product = sparse.coo_array(left.T @ right)
            found[product.coords] += product.data
            continue
        dense, wide = left.toarray(), right.toarray()
        for column in range(candidates.shape[1]):
            found[:, column] += (dense * wide[:, candidates[:, column]]).sum(0)
    (means, spreads), (others, their) = (_scale(part, kept, sums[2]) for part, kept in zip(sums[:2], live, strict=True))
    for row in range(len(found)):
        columns = slice(None) if candidates is None else candidates[row]
        found[row] = (found[row] / sums[2] - means[row] * others[columns]) / (spreads[row] * their[columns])
    return found


def _scale(part: Moments, kept: np.ndarray, n_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    mean = part.total[kept] / n_tokens
    return mean, np.sqrt(np.maximum(part.squares[kept] / n_tokens - np.square(mean), 1e-30))


def _pairs(
    first: SparseCoder, second: SparseCoder, acts: SiteActivations
) -> Iterator[tuple[sparse.csr_array, sparse.csr_array]]:
    """Latents of both on the same tokens, sparse, chunk by chunk."""
    for chunk in acts.tokens():
        values = chunk.values[chunk.pooled]
        if len(values):
            yield _sparse(first, values), _sparse(second, values)


def _sparse(coder: SparseCoder, values: np.ndarray) -> sparse.csr_array:
    step = coder.rows_at_once()
    parts = [sparse.csr_array(coder.encode(values[at : at + step]).cpu().numpy()) for at in range(0, len(values), step)]
    return sparse.csr_array(sparse.vstack(parts, format="csr"))
