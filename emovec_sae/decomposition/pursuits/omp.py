"""Orthogonal matching pursuit: signed, and batched over targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emovec_sae.decomposition.pursuits.pursuit import Pursuit, least_squares, path_of, pursuit

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.pursuits.dictionary import Dictionary

_TWICE = 0.5
"""A row of which less than this is left by Gram-Schmidt is taken through it once more ("twice is enough")."""


@pursuit(
    "omp",
    says="signed orthogonal matching pursuit: the row most aligned with what is left, all coefficients refitted",
    refit=least_squares,
)
def orthogonal_pursuit(targets: torch.Tensor, dictionary: Dictionary, k: int) -> Pursuit:
    """Choose k rows a target, each time the one most aligned with what is left (by absolute value).

    The Gram matrix of the dictionary is never formed; the triangular factor of each support's Gram matrix grows by a
    row a step, as the coefficients of a Gram-Schmidt process.

    Parameters
    ----------
    targets
        Shape (B, d).
    dictionary
        Unit rows, n of them; rows of zeros are never chosen.
    k
        How many to choose; at most n and d.

    References
    ----------
    Pati, Rezaiifar and Krishnaprasad 1993, Orthogonal matching pursuit. Giraud, Langou and Rozloznik 2005, The loss of
    orthogonality in the Gram-Schmidt orthogonalization process.
    """
    import torch

    n_targets, d = targets.shape
    basis = targets.new_zeros(n_targets, k, d)
    factor = targets.new_zeros(n_targets, k, k)
    weights = targets.new_zeros(n_targets, k)
    support = torch.zeros(n_targets, k, dtype=torch.long, device=targets.device)
    left = targets.clone()
    for step in range(k):
        chosen = dictionary.best(left, support[:, :step])
        new, before = dictionary.rows[chosen], basis[:, :step]
        overlap = (before @ new[:, :, None])[:, :, 0]
        new = new - (overlap[:, None] @ before)[:, 0]
        again = (new.norm(dim=1) < _TWICE).nonzero()[:, 0]
        if len(again):
            more = (before[again] @ new[again, :, None])[:, :, 0]
            new[again] -= (more[:, None] @ before[again])[:, 0]
            overlap[again] += more
        length = new.norm(dim=1).clamp_min(1e-12)
        factor[:, :step, step], factor[:, step, step] = overlap, length
        basis[:, step] = new / length[:, None]
        weights[:, step] = (left * basis[:, step]).sum(1)
        left = left - weights[:, step, None] * basis[:, step]
        support[:, step] = chosen
    return Pursuit(support, path_of(factor, weights))
