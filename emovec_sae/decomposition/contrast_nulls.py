"""What chance gives the contrast: its own selection on random targets, permuted labels and rows dealt out anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.draws import covariance_units, random_units, rotated
from emovec_sae.decomposition.identity import Contrast, contrast_of
from emovec_sae.decomposition.targets import Curve, joined, no_curve, partial_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.saes.coder import SparseCoder

_VALUES = 2**25
"""Numbers held at once while random targets are worked through in blocks."""


class ContrastNulls:
    """The nulls of every emotion of a contrast; see `emovec_sae.decomposition.nulls.NULLS`.

    Parameters
    ----------
    cells, whole
        The cells, and the identity made of them.
    coder, removed
        The SAE, and the rows that were projected out, shape (m, d).
    wanted
        Which emotions will be asked for: one rotation turns them together.
    nulls
        Draws of each null.
    at, k
        Sizes of the curves, and ranks whose shares are kept.
    seed
        Of the draws.

    Attributes
    ----------
    permuted_shares
        Shares that permuted labels give the first k ranks, shape (nulls, k).
    """

    def __init__(
        self,
        cells: Cells,
        whole: Contrast,
        coder: SparseCoder,
        *,
        removed: torch.Tensor,
        wanted: Sequence[int],
        nulls: int,
        at: tuple[int, ...],
        k: int,
        seed: int,
    ) -> None:
        import torch

        self._whole, self._coder, self._removed = whole, coder, removed
        self._at, self._k, self._n = at, k, nulls
        vectors = whole.vectors[list(wanted)]
        units = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)
        there = cells.n_texts.reshape(-1) > 0
        means = cells.residual[there] / cells.n_texts.reshape(-1)[there, None]
        self._isotropic = random_units(nulls, removed, seed=seed)
        self._covariance = covariance_units(means, nulls, removed, seed=seed + 2)
        self._turned = rotated(units, removed, n=nulls, seed=seed + 3)
        self._place = {e: row for row, e in enumerate(wanted)}
        self._permuted, self.permuted_shares = permuted_labels(
            cells, coder, removed=removed, nulls=nulls, at=at, k=k, seed=seed
        )
        live = np.flatnonzero(cells.fired > 0)
        rng = np.random.default_rng(seed + 4)
        self._live = torch.from_numpy(live).to(removed.device)
        self._dealt = torch.from_numpy(np.array([rng.permutation(live) for _ in range(nulls)])).to(removed.device)

    def of(self, e: int) -> tuple[dict[str, Curve], np.ndarray]:
        """Curves of an emotion's nulls by prefix, and the shares (R, k) that random targets give the first k ranks."""
        if self._n == 0:
            return {}, np.zeros((0, self._k))
        turned = self._turned[:, self._place[e]]
        random, shares = self._on(e, self._isotropic)
        return {
            "null": random,
            "covariance": self._on(e, self._covariance)[0],
            "permuted": self._permuted,
            "rotated": self._on(e, turned)[0],
            "shuffled": self._shuffled(e),
        }, shares

    def _on(self, e: int, units: torch.Tensor) -> tuple[Curve, np.ndarray]:
        """The same selection against other targets (R, d) of the same norm, with the emotion's own Deltas."""
        whole, coder = self._whole, self._coder
        norm = whole.squared[e].sqrt()
        curves: list[Curve] = []
        shares: list[np.ndarray] = []
        for block in units.split(max(1, _VALUES // coder.d_sae)):
            along = block @ coder.directions.T * norm
            delta = whole.delta[e].expand(len(block), -1)
            order, curve = best_latents(delta, along, block * norm, coder, self._removed, self._at)
            curves.append(curve)
            ranked = (delta * along).gather(1, order[:, : self._k]) / norm.square()
            shares.append(ranked.cpu().numpy())
        return joined(curves), np.concatenate(shares)

    def _shuffled(self, e: int) -> Curve:
        """The same selection when live latent j has the row of another live latent, with the emotion's own Deltas."""
        whole, coder = self._whole, self._coder
        curves: list[Curve] = []
        for block in self._dealt.split(max(1, _VALUES // coder.d_sae)):
            # Rows stay where they are and Deltas move: the same pairs.
            delta = whole.delta[e].repeat(len(block), 1)
            delta[:, self._live] = 0
            delta.scatter_(1, block, whole.delta[e][self._live].expand(len(block), -1))
            size = len(block)
            along, target = whole.along[e].expand(size, -1), whole.vectors[e].expand(size, -1)
            curves.append(best_latents(delta, along, target, coder, self._removed, self._at)[1])
        return joined(curves)


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


def permuted_labels(
    cells: Cells, coder: SparseCoder, *, removed: torch.Tensor, nulls: int, at: tuple[int, ...], k: int, seed: int
) -> tuple[Curve, np.ndarray]:
    """The whole pipeline on `nulls` pseudo-emotions: in each group a random emotion's texts: groups stay balanced.

    Returns the curves, and the shares of the first k ranks, shape (nulls, k).
    """
    n_groups = len(cells.groups)
    there = [np.flatnonzero(cells.n_texts[:, g] > 0) for g in range(n_groups)]
    counts = cells.n_texts.reshape(-1)
    grand = [cells.emotion_means(table).mean(0) for table in (cells.latents, cells.residual, cells.error)]
    rng = np.random.default_rng(seed + 1)
    curves: list[Curve] = []
    shares: list[np.ndarray] = []
    for _ in range(nulls):
        picked = np.array([rng.choice(there[g]) * n_groups + g for g in range(n_groups) if len(there[g])])
        means = [
            (table[picked] / counts[picked, None]).mean(0, dtype=np.float64)[None]
            for table in (cells.latents, cells.residual, cells.error)
        ]
        delta, v, error = (own - mean for own, mean in zip(means, grand, strict=True))
        pseudo = contrast_of(delta, v, error, coder=coder, removed=removed)
        order, curve = best_latents(pseudo.delta, pseudo.along, pseudo.vectors, coder, removed, at)
        curves.append(curve)
        shares.append(pseudo.shares(0)[order[0, :k]].cpu().numpy())
    return (joined(curves), np.stack(shares)) if curves else (no_curve(at), np.zeros((0, k)))
