"""What chance gives: the contrast's own selection on random targets and on permuted labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.identity import Contrast, contrast_of
from emovec_sae.decomposition.targets import Curve, joined, no_curve, partial_curve

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.saes.coder import SparseCoder

_VALUES = 2**25
"""Numbers held at once while random targets are worked through in blocks."""


def best_latents(
    delta: torch.Tensor,
    along: torch.Tensor,
    targets: torch.Tensor,
    coder: SparseCoder,
    removed: torch.Tensor,
    at: tuple[int, ...],
) -> tuple[torch.Tensor, Curve]:
    """Order latents by falling share of their targets, and follow their partial sums; inputs (B, ...)."""
    order = (delta * along).topk(at[-1], dim=1).indices
    coefficients = delta.gather(1, order)
    return order, partial_curve(order, coefficients, targets, at, rows=coder.directions, removed=removed)


def random_curve(
    whole: Contrast,
    e: int,
    units: torch.Tensor,
    coder: SparseCoder,
    *,
    removed: torch.Tensor,
    at: tuple[int, ...],
    k: int,
) -> tuple[Curve, np.ndarray]:
    """The same selection against random targets of the same norm, with the emotion's own Deltas.

    Parameters
    ----------
    whole, e
        The identity, and which emotion of it.
    units
        Random unit targets, shape (R, d).
    coder, removed
        The SAE, and the rows that were projected out, shape (m, d).
    at, k
        Sizes of the curve, and how many ranks of shares to return.

    Returns
    -------
    curve, shares
        (R, len(at)), and (R, k): the r-th largest share that chance selects.
    """
    norm = whole.squared[e].sqrt()
    curves: list[Curve] = []
    shares: list[np.ndarray] = []
    for block in units.split(max(1, _VALUES // coder.d_sae)):
        along = block @ coder.directions.T * norm
        delta = whole.delta[e].expand(len(block), -1)
        order, curve = best_latents(delta, along, block * norm, coder, removed, at)
        curves.append(curve)
        ranked = (delta * along).gather(1, order[:, :k]) / norm.square()
        shares.append(ranked.cpu().numpy())
    if not curves:
        return no_curve(at), np.zeros((0, k))
    return joined(curves), np.concatenate(shares)


def permuted_curve(
    cells: Cells, coder: SparseCoder, *, removed: torch.Tensor, nulls: int, at: tuple[int, ...], seed: int
) -> Curve:
    """The whole pipeline on `nulls` pseudo-emotions: in each group a random emotion's texts: groups stay balanced."""
    n_groups = len(cells.groups)
    there = [np.flatnonzero(cells.n_texts[:, g] > 0) for g in range(n_groups)]
    counts = cells.n_texts.reshape(-1)
    grand = [cells.emotion_means(table).mean(0) for table in (cells.latents, cells.residual, cells.error)]
    rng = np.random.default_rng(seed + 1)
    curves: list[Curve] = []
    for _ in range(nulls):
        picked = np.array([rng.choice(there[g]) * n_groups + g for g in range(n_groups) if len(there[g])])
        means = [
            (table[picked] / counts[picked, None]).mean(0, dtype=np.float64)[None]
            for table in (cells.latents, cells.residual, cells.error)
        ]
        delta, v, error = (own - mean for own, mean in zip(means, grand, strict=True))
        pseudo = contrast_of(delta, v, error, coder=coder, removed=removed)
        curves.append(best_latents(pseudo.delta, pseudo.along, pseudo.vectors, coder, removed, at)[1])
    return joined(curves) if curves else no_curve(at)
