"""Direction: one emotion's vector, with the set that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.sites import Site

if TYPE_CHECKING:
    from emovec_sae.directions.direction_set import DirectionSet


@dataclass(frozen=True, eq=False, repr=False)
class Direction:
    """One direction of a set.

    Attributes
    ----------
    set
        The set that it belongs to.
    row
        Its row there.
    """

    set: DirectionSet
    row: int

    def __repr__(self) -> str:
        return f"Direction({self.emotion!r} at {self.site}, norm {self.norm:.3g})"

    @property
    def emotion(self) -> str:
        """Its emotion."""
        return self.set.emotions[self.row]

    @property
    def vector(self) -> np.ndarray:
        """The denoised vector, raw norm kept, shape (d,)."""
        return self.set.vectors[self.row]

    @property
    def unit(self) -> np.ndarray:
        """The unit vector, shape (d,)."""
        return self.set.units[self.row]

    @property
    def norm(self) -> float:
        """L2 norm of the vector."""
        return float(self.set.norms[self.row])

    @property
    def site(self) -> Site:
        """Where it lives."""
        return self.set.site

    def scaled(self, strength: float) -> np.ndarray:
        """The direction at a strength: `strength` times the site's residual norm long, shape (d,)."""
        return self.unit * np.float32(strength * self.set.residual_norm)
