"""Gradient pursuit: the choices of a matching pursuit, coefficients by one exact step along the gradient each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.pursuits.pursuit import Pursuit, pursuit

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.pursuits.dictionary import Dictionary


def _replay(rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The coefficients of `gradient_pursuit` when just these rows (k, d) are chosen, in this order."""
    found, left = np.zeros(len(rows)), target.astype(float).copy()
    for size in range(1, len(rows) + 1):
        own = rows[:size].astype(float)
        gradient = own @ left
        moved = gradient @ own
        step = (left @ moved) / max(float(moved @ moved), 1e-30)
        found[:size] += step * gradient
        left -= step * moved
    return found


@pursuit(
    "gp",
    says="signed gradient pursuit: chosen as by omp from what is left, coefficients by one gradient step a choice",
    refit=_replay,
)
def gradient_pursuit(targets: torch.Tensor, dictionary: Dictionary, k: int) -> Pursuit:
    """Choose k rows a target; after each choice all coefficients move once along their gradient, by the best step.

    A row is chosen once: the step after a choice leaves what is left not orthogonal to the chosen rows, and the
    algorithm of the paper may choose one again; here it is passed over, so that k steps choose k rows.

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
    Blumensath and Davies 2008, Gradient pursuits, IEEE Transactions on Signal Processing 56(6).
    """
    import torch

    n_targets, d = targets.shape
    atoms = targets.new_zeros(n_targets, k, d)
    path = targets.new_zeros(n_targets, k, k)
    support = torch.zeros(n_targets, k, dtype=torch.long, device=targets.device)
    left = targets.clone()
    for step in range(k):
        chosen = dictionary.best(left, support[:, :step])
        support[:, step], atoms[:, step] = chosen, dictionary.rows[chosen]
        own = atoms[:, : step + 1]
        gradient = (own @ left[:, :, None])[:, :, 0]
        moved = (gradient[:, None] @ own)[:, 0]
        length = (left * moved).sum(1) / moved.square().sum(1).clamp_min(1e-30)
        before = path[:, step - 1] if step else path[:, 0]
        path[:, step] = before
        path[:, step, : step + 1] += length[:, None] * gradient
        left = left - length[:, None] * moved
    return Pursuit(support, path)
