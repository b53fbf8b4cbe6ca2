"""Edits that add one vector: a direction, or a sum of latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits.base import one_dose
from emovec_sae.interventions.edits.latents import chosen
from emovec_sae.models.positions import Positions
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.directions.direction import Direction


class Shift:
    """Add one vector at every token let through; the common part of `Steer` and `AddLatents`.

    Attributes
    ----------
    unit
        Unit vector, (d_model,) float32.
    coefficient
        Its multiple, in the units of the residual stream; the dose.
    site, positions
        Where, and at which tokens.
    """

    limit = np.inf

    def __init__(self, vector: np.ndarray, *, site: Site, coefficient: float, positions: str = "all") -> None:
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0.0:
            raise ConfigError(f"a direction of norm {norm} cannot be added; it needs a finite norm above 0")
        self.unit = np.asarray(vector, np.float32) / np.float32(norm)
        self.coefficient = float(coefficient)
        self.site = site
        self.positions = str(Positions.parse(positions))
        self._ready: dict[Any, Tensor] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.site}, coefficient={self.coefficient:.4g}, positions={self.positions!r})"

    @property
    def dose(self) -> float:
        """The coefficient."""
        return self.coefficient

    @property
    def added(self) -> np.ndarray:
        """What is added, (d_model,) float32."""
        return self.unit * np.float32(self.coefficient)

    def at(self, dose: float) -> Shift:
        """Return the same shift at another coefficient."""
        return Shift(self.unit, site=self.site, coefficient=dose, positions=self.positions)

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return ``hidden + coefficient * unit`` where `mask` is True; coefficient 0 returns equal bits."""
        import torch

        if self.coefficient == 0.0:
            return hidden
        key = (hidden.device, hidden.dtype)
        if key not in self._ready:  # the stream may be bfloat16: an unlike dtype would crash the next block
            self._ready[key] = torch.from_numpy(self.added).to(*key)
        return torch.where(mask[..., None], hidden + self._ready[key], hidden)


class Steer(Shift):
    """Add a multiple of a direction.

    Parameters
    ----------
    direction
        One direction of a `DirectionSet`.
    strength
        Multiple of the mean residual norm at the site (dimensionless), as the direction's activations measured it.
    coefficient
        Multiple of the unit vector instead, in the units of the stream.
    positions
        ``all``, ``prompt``, ``generated``, ``last``, ``from:N``, ``span:FIRST-LAST`` or ``role:user``.
    """

    def __init__(
        self,
        direction: Direction,
        *,
        strength: float | None = None,
        coefficient: float | None = None,
        positions: str = "all",
    ) -> None:
        super().__init__(
            direction.vector,
            site=direction.site,
            coefficient=one_dose(strength, coefficient, direction.set.residual_norm),
            positions=positions,
        )


class AddLatents(Shift):
    """Add amounts of chosen latents: ``h + sum_j t_j d_j``, as a delta, so the SAE's error stays in the stream.

    Parameters
    ----------
    directions
        Unit decoder rows, (latents of the SAE, d_model).
    latents
        Which latents.
    amounts
        Their coefficients on the unit rows; the sum is normalised, then multiplied by the dose.
    site
        The SAE's site.
    strength, coefficient
        The dose, as in `Steer`; `strength` needs `residual_norm`.
    residual_norm
        Mean residual norm at the site.
    positions
        As in `Steer`.
    """

    def __init__(
        self,
        directions: np.ndarray,
        latents: Sequence[int] | np.ndarray,
        amounts: Sequence[float] | np.ndarray,
        *,
        site: Site,
        strength: float | None = None,
        coefficient: float | None = None,
        residual_norm: float | None = None,
        positions: str = "all",
    ) -> None:
        self.latents = chosen(latents, len(directions))
        total = np.asarray(amounts, np.float32) @ np.asarray(directions, np.float32)[list(self.latents)]
        super().__init__(
            total, site=site, coefficient=one_dose(strength, coefficient, residual_norm), positions=positions
        )
