"""What the methods share: projection, and how well the first k parts rebuild a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SIZES = (1, 4, 16, 64)
"""Numbers of latents at which curves are drawn."""


def sizes(k: int, d_sae: int) -> tuple[int, ...]:
    """`SIZES` with k among them, as far as there are so many latents."""
    return tuple(sorted({size for size in (*SIZES, k) if size <= d_sae}))


def project(rows: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """Take the span of the orthonormal rows `removed` (m, d) out of `rows` (..., d)."""
    return rows - (rows @ removed.T) @ removed


@dataclass(frozen=True, eq=False)
class Curve:
    """How well the first k parts rebuild B targets.

    Attributes
    ----------
    quantities
        Arrays (B, len(sizes)) by name. ``cosine`` and ``r2`` of the partial sum with the target, ``share``
        ``<v_k, v> / |v|^2``, ``count`` the effective number of parts ``(sum |s_j|)^2 / sum s_j^2`` over the shares s_j
        of the first k; and of methods that refit also ``raw_cosine`` and ``raw_r2``, before the refit.
    """

    quantities: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.quantities["cosine"])

    @property
    def cosine(self) -> np.ndarray:
        """Cosine of the partial sums with their targets, shape (B, len(sizes))."""
        return self.quantities["cosine"]

    @property
    def r2(self) -> np.ndarray:
        """``1 - |v - v_k|^2 / |v|^2``, shape (B, len(sizes))."""
        return self.quantities["r2"]

    def rows(self, which: slice) -> Curve:
        """The curve of some targets."""
        return Curve({name: values[which] for name, values in self.quantities.items()})


def no_curve(at: tuple[int, ...]) -> Curve:
    """A curve of no targets, each array of shape (0, len(at))."""
    return Curve({name: np.zeros((0, len(at))) for name in ("cosine", "r2", "share", "count")})


def joined(curves: list[Curve]) -> Curve:
    """Stack curves of several batches of targets."""
    return Curve({name: np.concatenate([curve.quantities[name] for curve in curves]) for name in curves[0].quantities})


def partial_curve(
    order: torch.Tensor,
    coefficients: torch.Tensor,
    targets: torch.Tensor,
    at: tuple[int, ...],
    *,
    rows: torch.Tensor,
    removed: torch.Tensor,
) -> Curve:
    """Cosine, R^2, share and effective number of the partial sums with their targets.

    Parameters
    ----------
    order
        Rows of the dictionary by rank, shape (B, K); -1 where there is none.
    coefficients
        On these, shape (B, K), or (B, len(at), K) where they depend on how many are taken.
    targets
        Shape (B, d).
    at
        Ranks, 1 to K.
    rows, removed
        The dictionary, shape (n, d), and what is projected out of it, shape (m, d).

    Returns
    -------
    Curve
        R^2 is ``1 - |v - v_k|^2 / |v|^2`` without refitting (it may be negative); the share is ``<v_k, v> / |v|^2``.
    """
    import torch

    # Targets mostly choose the same rows: one product with those in use, not a gather of (B, K, d).
    used, place = order.clamp_min(0).unique(return_inverse=True)
    dictionary = project(rows[used], removed)
    along = (targets @ dictionary.T).gather(1, place)
    there = order >= 0
    squared = targets.square().sum(1).clamp_min(1e-30)
    found: dict[str, list[torch.Tensor]] = {"cosine": [], "r2": [], "share": [], "count": []}
    for column, size in enumerate(at):
        own = (coefficients if coefficients.ndim == 2 else coefficients[:, column])[:, :size] * there[:, :size]
        weights = targets.new_zeros(len(targets), len(used)).scatter_add_(1, place[:, :size], own)
        total = weights @ dictionary
        inner = (total * targets).sum(1)
        shares = (own * along[:, :size]).abs()
        found["cosine"].append(inner / (total.norm(dim=1) * squared.sqrt()).clamp_min(1e-30))
        found["r2"].append(1 - (targets - total).square().sum(1) / squared)
        found["share"].append(inner / squared)
        found["count"].append(shares.sum(1).square() / shares.square().sum(1).clamp_min(1e-30))
    return Curve({name: torch.stack(columns, 1).cpu().numpy().astype(float) for name, columns in found.items()})
