"""The identity itself: differences of means written as latents on their decoder rows, plus error."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.targets import project

if TYPE_CHECKING:
    import torch

    from emovec_sae.saes.coder import SparseCoder


@dataclass(frozen=True, eq=False)
class Contrast:
    """``P v = sum_j Delta_j P d_j + P Delta_e`` for every emotion; P takes the removed rows out.

    Attributes
    ----------
    delta
        Differences of mean latents, on unit decoder rows, shape (E, d_sae), float32.
    vectors
        P v, shape (E, d), float32.
    error
        P Delta_e, shape (E, d), float32; measured per token, not as the remainder.
    along
        ``<d_j, P v>``, shape (E, d_sae), float32.
    identity_error
        ``|P v - sum_j Delta_j P d_j - P Delta_e| / |P v|``, shape (E,).
    """

    delta: torch.Tensor
    vectors: torch.Tensor
    error: torch.Tensor
    along: torch.Tensor
    identity_error: np.ndarray

    @cached_property
    def squared(self) -> torch.Tensor:
        """``|P v|^2``, shape (E,)."""
        return self.vectors.square().sum(1)

    def shares(self, e: int) -> torch.Tensor:
        """``Delta_j <P d_j, P v> / |P v|^2`` of an emotion, shape (d_sae,): with its `error_share` they sum to 1."""
        return self.delta[e] * self.along[e] / self.squared[e]

    @cached_property
    def error_share(self) -> np.ndarray:
        """``<P Delta_e, P v> / |P v|^2``, shape (E,)."""
        return ((self.error * self.vectors).sum(1) / self.squared).cpu().numpy().astype(float)


def contrast_of(
    delta: np.ndarray, vectors: np.ndarray, error: np.ndarray, *, coder: SparseCoder, removed: torch.Tensor
) -> Contrast:
    """Make a `Contrast` from differences of means: latents (n, d_sae), residuals (n, d) and errors (n, d)."""
    import torch

    rows = coder.directions
    found = torch.from_numpy(delta.astype(np.float32)).to(rows.device)
    wide = removed.double()
    whole = project(torch.from_numpy(vectors).to(wide), wide)
    left = project(torch.from_numpy(error).to(wide), wide)
    rest = whole - project((found @ rows).double(), wide) - left
    identity = (rest.norm(dim=1) / whole.norm(dim=1).clamp_min(1e-30)).cpu().numpy()
    v = whole.float()
    return Contrast(found, v, left.float(), v @ rows.T, identity)
