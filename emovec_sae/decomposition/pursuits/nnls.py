"""Non-negative orthogonal matching pursuit: latents cannot fire below zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import nnls

from emovec_sae.decomposition.pursuits.pursuit import Pursuit, pursuit

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.pursuits.dictionary import Dictionary

_TINY = {4: 1e-5, 8: 1e-10}
"""By bytes a number: what is left of a target, relative to it, that counts as zero."""


def _refit(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    return nnls(rows.T.astype(float), target.astype(float))[0] if len(rows) else np.zeros(0)


@pursuit(
    "nnls",
    says="non-negative orthogonal matching pursuit: the row most positively aligned, refitted with no negative ones",
    refit=_refit,
)
def nonnegative_pursuit(targets: torch.Tensor, dictionary: Dictionary, k: int) -> Pursuit:
    """Choose up to k rows a target, each time the one with the largest positive product with what is left.

    After each choice the coefficients are those of non-negative least squares on all rows chosen so far, exactly. A
    coefficient may fall back to zero by that; its row keeps its place, so that supports are nested. The method ends
    early for a target to which no row is positively aligned any more: then this is the non-negative least squares
    of the whole dictionary.

    Parameters
    ----------
    targets
        Shape (B, d).
    dictionary
        Unit rows, n of them.
    k
        How many to choose; at most n and d.

    References
    ----------
    Bruckstein, Elad and Zibulevsky 2008, On the uniqueness of nonnegative sparse solutions to underdetermined systems
    of equations. Lawson and Hanson 1974, Solving least squares problems, chapter 23.
    """
    import torch

    n_targets, d = targets.shape
    norm = targets.norm(dim=1)
    atoms = targets.new_zeros(n_targets, k, d)
    gram = torch.zeros(n_targets, k, k, dtype=torch.float64, device=targets.device)
    along = torch.zeros(n_targets, k, dtype=torch.float64, device=targets.device)
    path = targets.new_zeros(n_targets, k, k)
    support = torch.full((n_targets, k), -1, dtype=torch.long, device=targets.device)
    found = torch.zeros_like(along)
    left, going = targets.clone(), torch.ones(n_targets, dtype=torch.bool, device=targets.device)
    for step in range(k):
        chosen = dictionary.best(left, support[:, :step], signed=False)
        new = dictionary.rows[chosen]
        going &= (new * left).sum(1) > _TINY[targets.element_size()] * norm
        support[:, step] = torch.where(going, chosen, -1)
        atoms[:, step] = new * going[:, None]
        own = atoms[:, : step + 1]
        inner = (own @ new[:, :, None])[:, :, 0].double() * going[:, None]
        gram[:, step, : step + 1], gram[:, : step + 1, step] = inner, inner
        along[:, step] = (atoms[:, step] * targets).sum(1).double()
        found = _solve(gram[:, : step + 1, : step + 1], along[:, : step + 1], found[:, : step + 1])
        path[:, step, : step + 1] = found.to(path)
        left = targets - (path[:, step, None, : step + 1] @ own)[:, 0]
        found = torch.nn.functional.pad(found, (0, 1))
    return Pursuit(support, path)


def _solve(gram: torch.Tensor, along: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Non-negative least squares of each problem by active sets (Lawson and Hanson), from a feasible start (B, s).

    Rows of zeros in `gram` stand for no row; their coefficients stay 0.
    """
    import torch

    found, inside = start.clone(), start > 0
    tiny = 1e-10 * along.abs().amax(1).clamp_min(1e-30)
    there = gram.diagonal(dim1=1, dim2=2) > 0
    for _ in range(3 * gram.shape[1] + 3):
        slope = along - (gram @ found[:, :, None])[:, :, 0]
        outside = torch.where(there & ~inside, slope, -torch.inf)
        most, which = outside.max(1)
        enter = most > tiny
        if not bool(enter.any()):
            break
        inside[enter, which[enter]] = True
        found, inside = _step_inside(gram, along, found, inside)
    return found


def _step_inside(
    gram: torch.Tensor, along: torch.Tensor, found: torch.Tensor, inside: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move to the least squares of the rows inside; rows that would turn negative on the way leave at zero."""
    import torch

    for _ in range(gram.shape[1] + 1):
        both = inside[:, :, None] & inside[:, None, :]
        masked = torch.where(both, gram, 0.0) + torch.diag_embed((~inside).to(gram))
        wanted = torch.linalg.solve(masked, (along * inside)[:, :, None])[:, :, 0]
        bad = inside & (wanted <= 0)
        if not bool(bad.any()):
            return wanted * inside, inside
        ratio = torch.where(bad, found / (found - wanted).clamp_min(1e-300), torch.inf)
        share = ratio.amin(1).clamp(max=1.0)
        found = found + share[:, None] * (wanted - found)
        inside = inside & ~(bad & (ratio <= share[:, None]))
        found = torch.where(inside, found, 0.0)
    return found, inside
