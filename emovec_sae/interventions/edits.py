"""Edits: small functions (hidden states, mask) -> hidden states; generation, scoring and patching share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.directions.direction_set import Direction
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.models.seam import POSITIONS
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


class Shift:
    """Add one vector at every token let through; the common part of `Steer` and `AddLatents`.

    Attributes
    ----------
    unit
        Unit vector, (d_model,) float32.
    coefficient
        Its multiple, in the units of the residual stream.
    site, positions
        Where, and at which tokens.
    """

    def __init__(self, vector: np.ndarray, *, site: Site, coefficient: float, positions: str = "all") -> None:
        if positions not in POSITIONS:
            raise ConfigError(
                f"unknown positions '{positions}'{suggest(positions, POSITIONS)}; there are {', '.join(POSITIONS)}"
            )
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0.0:
            raise ConfigError(f"a direction of norm {norm} cannot be added; it needs a finite norm above 0")
        self.unit = np.asarray(vector, np.float32) / np.float32(norm)
        self.coefficient = float(coefficient)
        self.site = site
        self.positions = positions
        self._ready: dict[Any, Tensor] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.site}, coefficient={self.coefficient:.4g}, positions={self.positions!r})"

    def at(self, coefficient: float) -> Shift:
        """Return the same shift at another coefficient."""
        return Shift(self.unit, site=self.site, coefficient=coefficient, positions=self.positions)

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return ``hidden + coefficient * unit`` where `mask` is True; coefficient 0 returns equal bits."""
        import torch

        key = (hidden.device, hidden.dtype)
        if key not in self._ready:  # the stream may be bfloat16: an unlike dtype would crash the next block
            self._ready[key] = torch.from_numpy(self.unit * np.float32(self.coefficient)).to(*key)
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
        ``all``, ``prompt``, ``generated`` or ``last``.
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
            coefficient=_one_dose(strength, coefficient, direction.set.residual_norm),
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
        self.latents = tuple(int(one) for one in latents)
        total = np.asarray(amounts, np.float32) @ np.asarray(directions, np.float32)[list(self.latents)]
        super().__init__(
            total, site=site, coefficient=_one_dose(strength, coefficient, residual_norm), positions=positions
        )


@dataclass(frozen=True)
class Ablate:
    """Project directions out of the stream: ``h - U^T U h`` with orthonormal rows U.

    Attributes
    ----------
    basis
        Orthonormal rows, (directions, d_model) float32.
    site, positions
        Where, and at which tokens.
    """

    basis: np.ndarray
    site: Site
    positions: str = "all"

    @classmethod
    def of(cls, *directions: Direction, positions: str = "all") -> Ablate:
        """Ablate the span of one or more directions of one site."""
        sites = {direction.site for direction in directions}
        if len(sites) != 1:
            raise ConfigError(f"directions of one site can be ablated together, these are of {len(sites)} sites")
        units = np.stack([direction.unit for direction in directions]).astype(np.float64)
        _, sizes, basis = np.linalg.svd(units, full_matrices=False)
        spanned = sizes > 1e-5 * sizes[0]  # directions that depend on each other span less than their number
        return cls(basis[spanned].astype(np.float32), sites.pop(), positions)

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the states without their part in the span, where `mask` is True (computed in float32)."""
        import torch

        basis = torch.from_numpy(self.basis).to(hidden.device)
        exact = hidden.float()
        found = exact - (exact @ basis.T) @ basis
        return torch.where(mask[..., None], found.to(hidden.dtype), hidden)


@dataclass(frozen=True)
class PatchResidual:
    """Put activations recorded elsewhere into the stream.

    Attributes
    ----------
    values
        (batch, sequence, d_model), or broadcastable to it.
    where
        (batch, sequence) bool: the tokens to replace.
    site, positions
        Where; `positions` narrows `where` further.
    """

    values: Tensor
    where: Tensor
    site: Site
    positions: str = "all"

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the recorded values at the chosen tokens, the stream elsewhere."""
        import torch

        return torch.where((self.where & mask)[..., None], self.values.to(hidden.dtype), hidden)


@dataclass(frozen=True)
class ByRow:
    """A different edit for each row of a batch, so that conditions share a forward pass.

    Attributes
    ----------
    edits
        One for each row; None leaves the row as it is. All act at one site and on the same positions.
    site, positions
        Theirs.
    """

    edits: tuple[Shift | Ablate | None, ...]
    site: Site
    positions: str = "all"

    def __post_init__(self) -> None:
        for edit in self.edits:
            if edit is not None and (edit.site, edit.positions) != (self.site, self.positions):
                raise ConfigError(
                    f"the edits of one batch act at one place: this is {self.site} at '{self.positions}', "
                    f"one of them is {edit.site} at '{edit.positions}'"
                )

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the states, each row edited by its own edit."""
        import torch

        if len(hidden) != len(self.edits):
            raise ConfigError(
                f"{len(self.edits)} edits were given for a batch of {len(hidden)} rows; give one for each"
            )
        rows = [hidden[row : row + 1] for row in range(len(hidden))]
        rows = [
            one if edit is None else edit(one, mask[row : row + 1])
            for row, (one, edit) in enumerate(zip(rows, self.edits, strict=True))
        ]
        return torch.cat(rows)


def _one_dose(strength: float | None, coefficient: float | None, residual_norm: float | None) -> float:
    if (strength is None) == (coefficient is None):
        raise ConfigError("give either strength (in mean residual norms) or coefficient (raw), one of them")
    if coefficient is not None:
        return coefficient
    if residual_norm is None:
        raise ConfigError("strength needs the site's mean residual norm; give residual_norm, or a raw coefficient")
    return float(strength or 0.0) * residual_norm
