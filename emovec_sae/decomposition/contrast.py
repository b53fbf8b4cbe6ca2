"""The contrast method: latents ranked by their share in the exact identity, with intervals and nulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.decomposition.contrast_nulls import ContrastNulls, best_latents
from emovec_sae.decomposition.identity import Contrast, contrast_of
from emovec_sae.decomposition.intervals import group_intervals
from emovec_sae.decomposition.parts import Parts, at_k, curve_frame, frame_of_ranks
from emovec_sae.decomposition.targets import sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.saes.coder import SparseCoder


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
    chance = ContrastNulls(cells, whole, coder, removed=removed, wanted=wanted, nulls=nulls, at=at, k=k, seed=seed)
    levels = tuple(cells.group_means(table) for table in (cells.latents, cells.residual, cells.error))
    work = _Work(cells, coder, whole, removed, k=k, at=at, seed=seed, spread=_within_spread(cells), levels=levels)
    done = [_decompose_one(work, e, chance) for e in wanted]
    frame = pd.concat([one.ranks for one in done], ignore_index=True)
    index = np.unique(frame["latent"].to_numpy())
    picked = list(wanted)
    return Parts(
        frame=frame,
        summary=pd.DataFrame([one.summary for one in done]),
        curve=pd.concat([one.curve for one in done], ignore_index=True),
        index=index,
        coefficients=whole.delta[picked][:, index].cpu().numpy(),
        vectors=whole.vectors[picked].cpu().numpy(),
    )


@dataclass(frozen=True, eq=False)
class _Work:
    """What the decomposition of every emotion needs."""

    cells: Cells
    coder: SparseCoder
    whole: Contrast
    removed: torch.Tensor
    k: int
    at: tuple[int, ...]
    seed: int
    spread: np.ndarray
    levels: tuple[np.ndarray, ...]
    """Group means of latents, residuals and errors."""


@dataclass(frozen=True, eq=False)
class _Done:
    """The tables of one emotion."""

    ranks: pd.DataFrame
    curve: pd.DataFrame
    summary: dict[str, object]


def _decompose_one(work: _Work, e: int, chance: ContrastNulls) -> _Done:
    cells, whole, k, at = work.cells, work.whole, work.k, work.at
    one = slice(e, e + 1)
    order, curve = best_latents(whole.delta[one], whole.along[one], whole.vectors[one], work.coder, work.removed, at)
    nulls, null_shares = chance.of(e)
    top = order[0, :k].cpu().numpy()
    delta, shares = whole.delta[e, top].cpu().numpy(), whole.shares(e)[top].cpu().numpy()
    intervals = _intervals(work, e, top)
    ranks = frame_of_ranks(
        emotion=cells.emotions[e],
        latents=top,
        coefficients=delta,
        shares=shares,
        low=intervals.latents[0],
        high=intervals.latents[1],
        null_shares=null_shares,
        decoder_cosine=(whole.along[e, top] / whole.squared[e].sqrt()).cpu().numpy(),
        firing_rate=cells.firing_rate[top],
        cohens_d=delta / work.spread[top],
    )
    summary: dict[str, object] = {
        "emotion": cells.emotions[e],
        "error_share": float(whole.error_share[e]),
        "error_low": intervals.error[0],
        "error_high": intervals.error[1],
        "other_share": float(1 - whole.error_share[e] - shares.sum()),
        "other_low": intervals.other[0],
        "other_high": intervals.other[1],
        "identity_error": float(whole.identity_error[e]),
        **at_k(curve, nulls, at.index(k)),
        "n_texts": int(cells.n_texts[e].sum()),
    }
    return _Done(ranks, curve_frame(cells.emotions[e], at, curve, nulls), summary)


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


def _intervals(work: _Work, e: int, top: np.ndarray) -> _Intervals:
    """Intervals over groups of the shares of an emotion; v and the choice of latents are held as they are.

    The share of a latent is the mean over groups of (its mean for the emotion there minus that over all emotions
    there), times what its row holds of v: the topic's own level, which all emotions share, does not widen it.
    """
    cells, whole = work.cells, work.whole
    v = whole.vectors[e].cpu().numpy().astype(float)
    squared = float(v @ v)
    weight = whole.along[e, top].cpu().numpy().astype(float) / squared
    latents = (cells.within_groups(cells.latents, work.levels[0], e, columns=top) * weight).T
    residual = cells.within_groups(cells.residual, work.levels[1], e) @ v / squared
    error = cells.within_groups(cells.error, work.levels[2], e) @ v / squared
    other = residual - error - latents.sum(0)
    point = np.append(whole.shares(e)[top].cpu().numpy(), [whole.error_share[e], 0.0]).astype(float)
    point[-1] = 1 - point[:-1].sum()
    low, high = group_intervals(np.vstack([latents, error, other]), point, seed=work.seed)
    return _Intervals((low[:-2], high[:-2]), (float(low[-2]), float(high[-2])), (float(low[-1]), float(high[-1])))
