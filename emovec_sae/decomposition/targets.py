"""What both methods share: random targets, projection, and how well the first k parts rebuild a target."""

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


def random_units(n: int, removed: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Isotropic random unit targets, shape (n, d), with `removed` (m, d) taken out as it was of the vectors."""
    import torch

    draws = np.random.default_rng(seed).standard_normal((n, removed.shape[1]), dtype=np.float32)
    targets = project(torch.from_numpy(draws).to(removed), removed)
    return targets / targets.norm(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Curve:
    """How well the first k parts rebuild targets: each of shape (B, len(sizes))."""

    cosine: np.ndarray
    r2: np.ndarray
    share: np.ndarray

    @property
    def quantities(self) -> dict[str, np.ndarray]:
        """The three by name."""
        return {"cosine": self.cosine, "r2": self.r2, "share": self.share}


def no_curve(at: tuple[int, ...]) -> Curve:
    """A curve of no targets, each array of shape (0, len(at))."""
    return Curve(*(np.zeros((0, len(at))) for _ in range(3)))


def joined(curves: list[Curve]) -> Curve:
    """Stack curves of several batches of targets."""
    return Curve(*(np.concatenate([getattr(curve, name) for curve in curves]) for name in ("cosine", "r2", "share")))


def partial_curve(
    order: torch.Tensor,
    coefficients: torch.Tensor,
    targets: torch.Tensor,
    at: tuple[int, ...],
    *,
    rows: torch.Tensor,
    removed: torch.Tensor,
) -> Curve:
    """Cosine, R^2 and share of the partial sums with their targets.

    Parameters
    ----------
    order
        Rows of the dictionary by rank, shape (B, K).
    coefficients
        On these, shape (B, K).
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
    used, place = order.unique(return_inverse=True)
    dictionary = project(rows[used], removed)
    weights = targets.new_zeros(len(targets), len(used))
    found: dict[str, list[torch.Tensor]] = {"cosine": [], "r2": [], "share": []}
    squared = targets.square().sum(1).clamp_min(1e-30)
    for before, size in zip((0, *at), at, strict=False):
        weights.scatter_(1, place[:, before:size], coefficients[:, before:size])
        total = weights @ dictionary
        inner = (total * targets).sum(1)
        found["cosine"].append(inner / (total.norm(dim=1) * squared.sqrt()).clamp_min(1e-30))
        found["r2"].append(1 - (targets - total).square().sum(1) / squared)
        found["share"].append(inner / squared)
    return Curve(**{name: torch.stack(columns, 1).cpu().numpy().astype(float) for name, columns in found.items()})


def null_columns(values: np.ndarray, prefix: str) -> dict[str, float]:
    """Mean and 95 % band of null draws (n,), as the columns PREFIX_mean, PREFIX_low, PREFIX_high; NaN without draws."""
    if len(values) == 0:
        return {f"{prefix}_{name}": float("nan") for name in ("mean", "low", "high")}
    low, high = np.quantile(values, [0.025, 0.975])
    return {f"{prefix}_mean": float(values.mean()), f"{prefix}_low": float(low), f"{prefix}_high": float(high)}
