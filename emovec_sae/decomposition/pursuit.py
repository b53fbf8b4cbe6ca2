"""Orthogonal matching pursuit on decoder rows: signed, and batched over targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.decomposition.parts import Parts, at_k, curve_frame, frame_of_ranks
from emovec_sae.decomposition.targets import Curve, no_curve, project, random_units, sizes
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from emovec_sae.saes.coder import SparseCoder

BATCH = 256
"""Targets worked on together."""


@dataclass(frozen=True, eq=False)
class Pursuit:
    """What was chosen for B targets in K steps.

    Attributes
    ----------
    support
        Rows of the dictionary in the order in which they were chosen, shape (B, K), int64.
    factor
        Upper Cholesky factor of the Gram matrix of each support, shape (B, K, K).
    weights
        Targets on the orthonormal basis that goes with it, shape (B, K).
    r2
        ``1 - |residual|^2 / |target|^2`` after each choice, shape (B, K).
    """

    support: torch.Tensor
    factor: torch.Tensor
    weights: torch.Tensor
    r2: torch.Tensor

    def coefficients(self, k: int) -> torch.Tensor:
        """Least-squares coefficients of the first k choices, shape (B, k)."""
        import torch

        return torch.linalg.solve_triangular(self.factor[:, :k, :k], self.weights[:, :k, None], upper=True)[:, :, 0]

    def curve(self, at: tuple[int, ...]) -> Curve:
        """Cosine, R^2 and share at the sizes `at`; with least squares the share is R^2 and the cosine its root."""
        r2 = self.r2[:, [size - 1 for size in at]].cpu().numpy().astype(float)
        return Curve(np.sqrt(np.clip(r2, 0, None)), r2, r2)


def orthogonal_pursuit(targets: torch.Tensor, rows: torch.Tensor, *, k: int) -> Pursuit:
    """Choose k rows a target, each time the one most aligned with what is left (by absolute value).

    The Gram matrix of the dictionary is never formed; the Cholesky factor of each support's Gram matrix grows by a row
    a step, as the coefficients of a Gram-Schmidt process (done twice, for float32).

    Parameters
    ----------
    targets
        Shape (B, d).
    rows
        Unit rows of the dictionary, shape (n, d); rows of zeros are never chosen.
    k
        How many to choose; at most n and d.

    Returns
    -------
    Pursuit

    Raises
    ------
    ConfigError
        If k is impossible.

    References
    ----------
    Pati, Rezaiifar and Krishnaprasad 1993, Orthogonal matching pursuit.
    """
    import torch

    if not 1 <= k <= min(rows.shape):
        raise ConfigError(f"pursuit chooses 1 to {min(rows.shape)} of these {len(rows)} latents, got k = {k}")
    n_targets, d = targets.shape
    basis = targets.new_zeros(n_targets, k, d)
    factor = torch.eye(k, device=targets.device, dtype=targets.dtype).repeat(n_targets, 1, 1)
    weights = targets.new_zeros(n_targets, k)
    support = torch.zeros(n_targets, k, dtype=torch.long, device=targets.device)
    r2 = targets.new_zeros(n_targets, k)
    left, squared = targets.clone(), targets.square().sum(1).clamp_min(1e-30)
    for step in range(k):
        alike = (left @ rows.T).abs()
        if step:
            alike.scatter_(1, support[:, :step], -1.0)
        chosen = alike.argmax(1)
        new, before = rows[chosen], basis[:, :step]
        for _ in range(2):
            overlap = torch.einsum("bsd,bd->bs", before, new)
            factor[:, :step, step] += overlap if step else 0
            new = new - torch.einsum("bs,bsd->bd", overlap, before)
        length = new.norm(dim=1).clamp_min(1e-12)
        factor[:, step, step] = length
        basis[:, step] = new / length[:, None]
        weights[:, step] = (left * basis[:, step]).sum(1)
        left = left - weights[:, step, None] * basis[:, step]
        support[:, step] = chosen
        r2[:, step] = 1 - left.square().sum(1) / squared
    return Pursuit(support, factor, weights, r2)


def pursuit_parts(
    emotions: Sequence[str],
    vectors: np.ndarray,
    coder: SparseCoder,
    *,
    removed: torch.Tensor,
    k: int,
    nulls: int,
    seed: int,
    n_texts: np.ndarray,
    firing_rate: np.ndarray | None = None,
) -> Parts:
    """Decompose vectors (n, d) on the decoder rows; see `emovec_sae.decomposition.decompose`.

    Where components were removed from the vectors they are removed from the rows too, so that both lie in one space;
    coefficients are on the unit decoder rows all the same.
    """
    import torch

    at = sizes(k, min(coder.d_sae, coder.d_in - len(removed)))
    rows = project(coder.directions, removed)
    lengths = rows.norm(dim=1)
    unit = rows / lengths.clamp_min(1e-6)[:, None]
    targets = project(torch.from_numpy(vectors.astype(np.float32)).to(rows), removed)
    found = _in_batches(targets, unit, at[-1])
    chance = _in_batches(random_units(nulls, removed, seed=seed), unit, at[-1]) if nulls else None
    scaled = (found.coefficients(k) / lengths[found.support[:, :k]]).cpu().numpy()
    cosines = (targets @ coder.directions.T / targets.norm(dim=1, keepdim=True)).cpu().numpy()
    support, shares = found.support[:, :k].cpu().numpy(), _shares(found, k).cpu().numpy()
    null_shares = _shares(chance, k).cpu().numpy() if chance else np.zeros((0, k))
    rates = np.full(coder.d_sae, np.nan) if firing_rate is None else firing_rate
    nothing = np.full(k, np.nan)
    index = np.unique(support)
    coefficients = np.zeros((len(emotions), len(index)), dtype=np.float32)
    ranks: list[pd.DataFrame] = []
    for e, latents in enumerate(support):
        coefficients[e, np.searchsorted(index, latents)] = scaled[e]
        ranks.append(
            frame_of_ranks(
                emotion=emotions[e],
                latents=latents,
                coefficients=scaled[e],
                shares=shares[e],
                low=nothing,
                high=nothing,
                null_shares=null_shares,
                decoder_cosine=cosines[e, latents],
                firing_rate=rates[latents],
                cohens_d=nothing,
            )
        )
    random = chance.curve(at) if chance else no_curve(at)
    summary, curve = _tables(emotions, found.curve(at), random, at, k=k, n_texts=n_texts)
    frame = pd.concat(ranks, ignore_index=True)
    return Parts(frame, summary, curve, index, coefficients, targets.cpu().numpy())


def _tables(
    emotions: Sequence[str], curve: Curve, random: Curve, at: tuple[int, ...], *, k: int, n_texts: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary and curves: what pursuit does not reach is all error; it has no intervals and no identity to check."""
    nothing, column = no_curve(at), at.index(k)
    unknown = dict.fromkeys(("error_low", "error_high", "other_low", "other_high", "identity_error"), float("nan"))
    summary: list[dict[str, object]] = []
    curves: list[pd.DataFrame] = []
    for e, emotion in enumerate(emotions):
        own = Curve(*(values[e : e + 1] for values in curve.quantities.values()))
        curves.append(curve_frame(emotion, at, own, random, nothing))
        reached = at_k(own, random, nothing, column)
        shares = {"error_share": 1 - reached["r2_k"], "other_share": 0.0, **unknown}
        summary.append({"emotion": emotion, **shares, **reached, "n_texts": int(n_texts[e])})
    return pd.DataFrame(summary), pd.concat(curves, ignore_index=True)


def _in_batches(targets: torch.Tensor, rows: torch.Tensor, k: int) -> Pursuit:
    import torch

    found = [orthogonal_pursuit(part, rows, k=k) for part in targets.split(BATCH)]
    return Pursuit(
        *(torch.cat([getattr(one, name) for one in found]) for name in ("support", "factor", "weights", "r2"))
    )


def _shares(found: Pursuit, k: int) -> torch.Tensor:
    """``c_j <d_j, v> / |v|^2`` by rank, shape (B, k); they sum to R^2.

    With the Cholesky factor F and weights w, ``<d_j, v>`` is ``(F^T w)_j``, and ``|v|^2`` is ``|w|^2 / R^2``.
    """
    import torch

    weights = found.weights[:, :k]
    along = torch.einsum("bij,bi->bj", found.factor[:, :k, :k], weights)
    squared = weights.square().sum(1) / found.r2[:, k - 1].clamp_min(1e-30)
    return found.coefficients(k) * along / squared[:, None]
