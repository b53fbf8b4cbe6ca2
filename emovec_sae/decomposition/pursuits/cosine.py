"""The rows with the largest cosine: what most people look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emovec_sae.decomposition.pursuits.pursuit import Pursuit, least_squares, pursuit, refitted_path

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.pursuits.dictionary import Dictionary


@pursuit(
    "cosine",
    says="the rows of largest absolute cosine, coefficients by least squares; before the refit: raw_cosine, raw_r2",
    refit=least_squares,
)
def largest_cosines(targets: torch.Tensor, dictionary: Dictionary, k: int) -> Pursuit:
    """Take the k rows of largest absolute cosine with each target, without a look at each other.

    Coefficients are those of least squares on the rows taken; `Pursuit.raw` has the inner products ``<d_j, v>``
    themselves, which count what rows share more than once.

    Parameters
    ----------
    targets
        Shape (B, d).
    dictionary
        Unit rows, n of them.
    k
        How many to take; at most n and d.
    """
    import torch

    along = targets @ dictionary.rows.T
    support = along.abs().topk(k, dim=1).indices
    raw = along.gather(1, support)[:, None].expand(-1, k, -1) * torch.ones(k, k).tril().to(along)
    return Pursuit(support, refitted_path(targets, dictionary, support), raw)
