"""Attributions of one emotion made into tables: ranks, shares with intervals over prompts, curve, nulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.decomposition.draws import random_units
from emovec_sae.decomposition.intervals import group_intervals
from emovec_sae.decomposition.parts import at_k, curve_frame, frame_of_ranks
from emovec_sae.decomposition.targets import Curve, partial_curve, project
from emovec_sae.stats.clusters import FEW

if TYPE_CHECKING:
    import torch

    from emovec_sae.saes.coder import SparseCoder


@dataclass(frozen=True, eq=False)
class Attributed:
    """One emotion's attributions by prompt.

    Attributes
    ----------
    latents, error
        Shapes (P, d_sae) and (P,).
    reached, start
        Scores at the activations and at the baseline, shape (P,).
    weight, error_weight
        ``sum_t (f_tj - f'_j) |g_t| / P``, shape (d_sae,), and ``sum_t (e_t - e') |g_t| / P``, shape (d,): what random
        gradients of the same norms make attributions of.
    """

    latents: torch.Tensor
    error: torch.Tensor
    reached: np.ndarray
    start: np.ndarray
    weight: torch.Tensor
    error_weight: torch.Tensor


@dataclass(frozen=True, eq=False)
class One:
    """What ranking the latents of one emotion needs; see `attribution_parts`."""

    emotion: str
    vector: np.ndarray
    n_texts: int
    coder: SparseCoder
    removed: torch.Tensor
    k: int
    at: tuple[int, ...]
    nulls: int
    seed: int
    firing_rate: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Ranked:
    """Tables of one emotion: its ranks, its curve, and its row of the summary."""

    ranks: pd.DataFrame
    curve: pd.DataFrame
    summary: dict[str, object]


def rank_one(one: One, found: Attributed, *, exact: bool) -> Ranked:
    """Rank the latents of one emotion; `exact` says whether its attributions should add up to the change of score."""
    k, coder = one.k, one.coder
    mean, error = found.latents.mean(0), float(found.error.mean())
    gross = max(float(mean.abs().sum()) + abs(error), 1e-30)
    order = mean.topk(one.at[-1]).indices
    target = in_space(one.vector[None], coder, one.removed)
    curve, solved = _rebuilt(order[None], target, one)
    coefficients = solved[0, one.at.index(k), :k].cpu().numpy()
    chance, null_shares = _random(one, found, target)
    top = order[:k].cpu().numpy()
    by_prompt = found.latents[:, order[:k]].cpu().numpy().astype(float)
    errors, total = found.error.cpu().numpy().astype(float), (found.latents.sum(1) + found.error).cpu().numpy()
    values = np.vstack([by_prompt.T, errors, total - errors - by_prompt.sum(1)]) / gross
    point = values.mean(1)
    low, high = group_intervals(values, point, seed=one.seed)
    rates = np.full(coder.d_sae, np.nan) if one.firing_rate is None else one.firing_rate
    ranks = frame_of_ranks(
        emotion=one.emotion, latents=top, coefficients=coefficients, shares=point[:-2], low=low[:-2], high=high[:-2],
        null_shares=null_shares, decoder_cosine=_cosines(target, coder)[top], firing_rate=rates[top],
        cohens_d=np.full(k, np.nan),
    ).assign(attribution=by_prompt.mean(0))  # fmt: skip
    change = found.reached - found.start
    effect = group_intervals(change[None], change.mean(keepdims=True), seed=one.seed)
    summary: dict[str, object] = {
        "emotion": one.emotion,
        "error_share": point[-2], "error_low": low[-2], "error_high": high[-2],
        "other_share": point[-1], "other_low": low[-1], "other_high": high[-1],
        "identity_error": _incompleteness(total, change) if exact else float("nan"),
        **at_k(curve, chance, one.at.index(k)),
        "n_texts": one.n_texts, "n_prompts": len(change), "net": float(total.mean() / gross),
        "attributed": float(total.mean()), "effect": float(change.mean()),
        "effect_low": float(effect[0][0]), "effect_high": float(effect[1][0]),
    }  # fmt: skip
    return Ranked(ranks, curve_frame(one.emotion, one.at, curve, chance), summary)


def _incompleteness(total: np.ndarray, change: np.ndarray) -> float:
    """How far the attributions of prompts are from adding up to the change of their scores, relative to it."""
    return float(np.linalg.norm(total - change) / max(np.linalg.norm(change), 1e-30))


def in_space(vectors: np.ndarray, coder: SparseCoder, removed: torch.Tensor) -> torch.Tensor:
    """Vectors (n, d) as tensors beside the decoder, with the removed rows taken out."""
    import torch

    return project(torch.from_numpy(np.array(vectors, dtype=np.float32)).to(coder.directions), removed)


def _cosines(target: torch.Tensor, coder: SparseCoder) -> np.ndarray:
    return (coder.directions @ target[0] / target[0].norm()).cpu().numpy()


def _random(one: One, found: Attributed, target: torch.Tensor) -> tuple[dict[str, Curve], np.ndarray]:
    """The same selection under random gradients: how well it rebuilds the vector, and its shares by rank."""
    import torch

    if not one.nulls:
        return {}, np.zeros((0, one.k))
    none = torch.zeros(0, one.coder.d_in, device=one.coder.device)
    units = random_units(one.nulls, none, seed=one.seed)
    drawn = (units @ one.coder.directions.T) * found.weight
    gross = drawn.abs().sum(1) + (units @ found.error_weight).abs()
    best = drawn.topk(one.at[-1], dim=1)
    shares = (best.values[:, : one.k] / gross.clamp_min(1e-30)[:, None]).cpu().numpy()
    return {"null": _rebuilt(best.indices, target.expand(one.nulls, -1), one)[0]}, shares


def _rebuilt(order: torch.Tensor, targets: torch.Tensor, one: One) -> tuple[Curve, torch.Tensor]:
    """Least-squares fit of targets (B, d) to the first latents of their orders (B, K).

    Returns
    -------
    curve, coefficients
        The latter of every size, shape (B, len(at), K).
    """
    import torch

    rows = project(one.coder.directions[order], one.removed)
    basis, factor = torch.linalg.qr(rows.mT)
    weights = (basis.mT @ targets[..., None])[..., 0]
    # A row that lies in the span of those before it adds nothing, and has no coefficient.
    spare = factor.diagonal(dim1=-2, dim2=-1).abs() < 1e-5
    weights = weights.masked_fill(spare, 0.0)
    factor = factor.masked_fill(spare[..., None] & spare[..., None, :], 0.0) + torch.diag_embed(spare.float())
    solved = targets.new_zeros(len(order), len(one.at), order.shape[1])
    for column, size in enumerate(one.at):
        part = torch.linalg.solve_triangular(factor[:, :size, :size], weights[:, :size, None], upper=True)
        solved[:, column, :size] = part[..., 0]
    curve = partial_curve(order, solved, targets, one.at, rows=one.coder.directions, removed=one.removed)
    return curve, solved


def prompt_interval(n_prompts: int) -> str:
    """What an interval over so many prompts is, for a caption."""
    if n_prompts < 2:
        return "no interval: one prompt"
    kind = "t intervals" if n_prompts < FEW else "bootstrap"
    return f"95 % {kind} over {n_prompts} prompts"
