"""Edits that bring what was recorded elsewhere into the stream: all of it, its part in directions, or latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.interventions.edits.base import Blend, span_of
from emovec_sae.interventions.edits.latents import Latents
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.directions.direction import Direction
    from emovec_sae.saes.coder import SparseCoder


class _Patch(Blend):
    """What patches share: values recorded elsewhere, and the tokens that they replace."""

    values: Tensor
    where: Tensor

    def narrowed(self, mask: Tensor) -> Tensor:
        """Tokens let through that are to be patched."""
        return self.where.to(mask.device) & mask

    def source(self, where: Tensor, width: int) -> Tensor:
        """The recorded values of the tokens that are patched, (n, d_model) float32."""
        return self.values.to(where.device).expand(*where.shape, width)[where].float()


class PatchResidual(_Patch):
    """Put activations recorded elsewhere into the stream.

    Parameters
    ----------
    values
        (batch, sequence, d_model), or broadcastable to it.
    where
        (batch, sequence) bool: the tokens to replace.
    site, positions
        Where; `positions` narrows `where` further.
    share
        1 replaces the stream whole; the dose.
    """

    def __init__(
        self, values: Tensor, where: Tensor, site: Site, positions: str = "all", *, share: float = 1.0
    ) -> None:
        super().__init__(site, positions=positions, share=share)
        self.values, self.where = values, where

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the recorded values (or a share of the way there) at the chosen tokens, the stream elsewhere."""
        import torch

        if self.share != 1.0:
            return super().__call__(hidden, mask)
        return torch.where(self.narrowed(mask)[..., None], self.values.to(hidden.device, hidden.dtype), hidden)

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """Recorded values minus the stream."""
        return self.source(where, states.shape[-1]) - states


class PatchDirection(_Patch):
    """Bring over the part in directions alone: ``h + U^T U (v - h)`` with orthonormal rows U.

    Parameters
    ----------
    basis
        Orthonormal rows, (directions, d_model) float32.
    values, where, site, positions, share
        As `PatchResidual`.
    """

    def __init__(
        self,
        basis: np.ndarray,
        values: Tensor,
        where: Tensor,
        site: Site,
        positions: str = "all",
        *,
        share: float = 1.0,
    ) -> None:
        super().__init__(site, positions=positions, share=share)
        self.basis = np.asarray(basis, np.float32)
        self.values, self.where = values, where

    @classmethod
    def of(
        cls,
        directions: Direction | Sequence[Direction],
        values: Tensor,
        where: Tensor,
        *,
        positions: str = "all",
        share: float = 1.0,
    ) -> PatchDirection:
        """Patch the span of one or more directions of one site."""
        basis, site = span_of(directions if isinstance(directions, Sequence) else [directions])
        return cls(basis, values, where, site, positions, share=share)

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """The difference's part in the span."""
        import torch

        basis = torch.from_numpy(self.basis).to(states.device)
        return ((self.source(where, states.shape[-1]) - states) @ basis.T) @ basis


class PatchLatents(_Patch, Latents):
    """Bring over chosen latents: ``h + sum_j (f_j(v) - f_j(h)) d_j``, both errors left where they are.

    Parameters
    ----------
    coder
        The SAE; the edit acts at its site.
    latents
        Which latents; None for all.
    values, where, positions, share
        As `PatchResidual`.
    """

    def __init__(
        self,
        coder: SparseCoder,
        latents: Sequence[int] | np.ndarray | None,
        values: Tensor,
        where: Tensor,
        *,
        positions: str = "all",
        share: float = 1.0,
    ) -> None:
        Latents.__init__(self, coder, latents, positions=positions, share=share)
        self.values, self.where = values, where

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """The difference of the latents on their rows."""
        return self.summed(self.amounts(self.source(where, states.shape[-1])) - self.amounts(states))
