"""The exact contrast identity: an emotion vector is the differences of mean latents on their decoder rows, plus error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.decomposition.intervals import group_intervals
from emovec_sae.decomposition.nulls import best_latents, permuted_curve, random_curve
from emovec_sae.decomposition.identity import Contrast, contrast_of
from emovec_sae.decomposition.parts import Parts, at_k, curve_frame, frame_of_ranks
from emovec_sae.decomposition.targets import random_units, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.saes import SparseCoder


def contrast_parts(
    cells: Cells,
    coder: SparseCoder,
    *,
    removed: torch.Tensor,
    wanted: Sequence[int],
    k: int,
    nulls: int,
    seed: int,
) -> Parts:
    """Decompose the emotions numbered `wanted`; see `emovec_sae.decomposition.decompose`."""
    whole = contrast_of(
        cells.contrast(cells.latents),
        cells.contrast(cells.residual),
        cells.contrast(cells.error),
        coder=coder,
        removed=removed,
    )
    at = sizes(k, coder.d_sae)
    units = random_units(nulls, removed, seed=seed)
    permuted = permuted_curve(cells, coder, removed=removed, nulls=nulls, at=at, seed=seed)
    spread = _within_spread(cells)
    ranks: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    summary: list[dict[str, object]] = []
    chosen: list[np.ndarray] = []
    for e in wanted:
        order, curve = best_latents(
            whole.delta[e : e + 1], whole.along[e : e + 1], whole.vectors[e : e + 1], coder, removed, at
        )
        random, null_shares = random_curve(whole, e, units, coder, removed=removed, at=at, k=k)
        top = order[0, :k].cpu().numpy()
        intervals = _intervals(cells, whole, e, top, seed=seed)
        chosen.append(top)
        ranks.append(
            frame_of_ranks(
                emotion=cells.emotions[e],
                latents=top,
                coefficients=whole.delta[e, top].cpu().numpy(),
                shares=whole.shares[e, top].cpu().numpy(),
                low=intervals.latents[0],
                high=intervals.latents[1],
                null_shares=null_shares,
                decoder_cosine=(whole.along[e, top] / whole.squared[e].sqrt()).cpu().numpy(),
                firing_rate=cells.firing_rate[top],
                cohens_d=whole.delta[e, top].cpu().numpy() / spread[top],
            )
        )
        curves.append(curve_frame(cells.emotions[e], at, curve, random, permuted))
        summary.append(
            {
                "emotion": cells.emotions[e],
                "error_share": float(whole.error_share[e]),
                "error_low": intervals.error[0],
                "error_high": intervals.error[1],
                "other_share": float(1 - whole.error_share[e] - whole.shares[e, top].sum().item()),
                "other_low": intervals.other[0],
                "other_high": intervals.other[1],
                "identity_error": float(whole.identity_error[e]),
                **at_k(curve, random, permuted, at.index(k)),
                "n_texts": int(cells.n_texts[e].sum()),
                "n_groups": int((cells.n_texts[e] > 0).sum()),
            }
        )
    index = np.unique(np.concatenate(chosen))
    picked = list(wanted)
    return Parts(
        frame=pd.concat(ranks, ignore_index=True),
        summary=pd.DataFrame(summary),
        curve=pd.concat(curves, ignore_index=True),
        index=index,
        coefficients=whole.delta[picked][:, index].cpu().numpy(),
        vectors=whole.vectors[picked].cpu().numpy(),
    )


def _within_spread(cells: Cells) -> np.ndarray:
    """Pooled standard deviation of the per-text means within emotions, shape (d_sae,); NaN where it is zero."""
    n = cells.n_texts.sum(1).astype(float)
    means = cells.emotion_means(cells.latents)
    free = max(n.sum() - len(n), 1.0)
    variance = np.clip(cells.squares - (n[:, None] * np.square(means)).sum(0), 0, None) / free
    return np.sqrt(np.where(variance > 1e-12 * np.maximum(cells.squares, 1e-300), variance, np.nan))


@dataclass(frozen=True)
class _Intervals:
    latents: tuple[np.ndarray, np.ndarray]
    error: tuple[float, float]
    other: tuple[float, float]


def _intervals(cells: Cells, whole: Contrast, e: int, top: np.ndarray, *, seed: int) -> _Intervals:
    """Intervals over groups of the shares of an emotion; v and the choice of latents are held as they are.

    The share of a latent is the mean over groups of (its mean for the emotion there minus that over all emotions
    there), times what its row holds of v: the topic's own level, which all emotions share, does not widen it.
    """
    v = whole.vectors[e].cpu().numpy().astype(float)
    squared = float(v @ v)
    weight = whole.along[e, top].cpu().numpy().astype(float) / squared
    latents = (cells.within_groups(np.asarray(cells.latents[:, top], dtype=float), e) * weight).T
    error = cells.within_groups(cells.error @ v[:, None], e)[:, 0] / squared
    all_latents = cells.within_groups((cells.residual - cells.error) @ v[:, None], e)[:, 0] / squared
    other = all_latents - latents.sum(0)
    point = np.append(whole.shares[e, top].cpu().numpy(), [whole.error_share[e], 0.0]).astype(float)
    point[-1] = 1 - point[:-1].sum()
    low, high = group_intervals(np.vstack([latents, error, other]), point, seed=seed)
    return _Intervals((low[:-2], high[:-2]), (float(low[-2]), float(high[-2])), (float(low[-1]), float(high[-1])))
