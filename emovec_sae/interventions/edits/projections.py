"""Edits of the stream's part in a direction or a subspace: take it out, or hold it at a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits.base import Blend, one_dose, span_of
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.directions.direction import Direction


class Ablate(Blend):
    """Project directions out of the stream: ``h - share * U^T U h`` with orthonormal rows U.

    Parameters
    ----------
    basis
        Orthonormal rows, (directions, d_model) float32.
    site, positions
        Where, and at which tokens.
    share
        1 takes the part out whole; the dose.
    """

    def __init__(self, basis: np.ndarray, site: Site, positions: str = "all", *, share: float = 1.0) -> None:
        super().__init__(site, positions=positions, share=share)
        self.basis = np.asarray(basis, np.float32)
        if self.basis.ndim != 2 or not np.allclose(self.basis @ self.basis.T, np.eye(len(self.basis)), atol=1e-3):
            raise ConfigError("an ablation needs orthonormal rows (directions, d_model); Ablate.of makes them")

    @classmethod
    def of(cls, *directions: Direction, positions: str = "all", share: float = 1.0) -> Ablate:
        """Ablate the span of one or more directions of one site."""
        basis, site = span_of(directions)
        return cls(basis, site, positions, share=share)

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """Minus the part in the span."""
        import torch

        basis = torch.from_numpy(self.basis).to(states.device)
        return -(states @ basis.T) @ basis


class ClampProjection(Blend):
    """Hold the stream's projection on a direction at a value: ``h + (value - <h, u>) u``.

    The dose is the value; value 0 is an ablation, not nothing.

    Parameters
    ----------
    direction
        One direction of a `DirectionSet`.
    strength
        The value in mean residual norms at the site.
    coefficient
        The value in the units of the stream instead.
    positions
        At which tokens.
    """

    limit = np.inf

    def __init__(
        self,
        direction: Direction,
        *,
        strength: float | None = None,
        coefficient: float | None = None,
        positions: str = "all",
    ) -> None:
        super().__init__(direction.site, positions=positions)
        self.unit = np.asarray(direction.unit, np.float32)
        self.coefficient = one_dose(strength, coefficient, direction.set.residual_norm)

    @property
    def dose(self) -> float:
        """The value."""
        return self.coefficient

    def at(self, dose: float) -> Self:
        """Return the same clamp at another value."""
        return self._with(coefficient=float(dose))

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """What brings the projection to the value."""
        import torch

        unit = torch.from_numpy(self.unit).to(states.device)
        return (self.coefficient - states @ unit)[:, None] * unit
