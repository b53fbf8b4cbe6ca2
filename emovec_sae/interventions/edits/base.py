"""What edits share: a dose that can be changed, and states that are edited at the tokens let through alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.models.positions import Positions
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.directions.direction import Direction


@runtime_checkable
class Dosed(Protocol):
    """An edit whose dose can be changed; `calibrate` takes any.

    Attributes
    ----------
    site, positions
        Where it acts, and at which tokens.
    dose
        How much: the coefficient of a shift or of a clamp, the share of an ablation or of a patch.
    limit
        The largest dose that means something.
    """

    @property
    def site(self) -> Site:
        """Where the edit acts."""
        ...

    @property
    def positions(self) -> str:
        """Which tokens the mask lets through."""
        ...

    @property
    def dose(self) -> float:
        """How much."""
        ...

    @property
    def limit(self) -> float:
        """The largest dose that means something."""
        ...

    def at(self, dose: float) -> Dosed:
        """Return the same edit at another dose."""
        ...

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return new hidden states."""
        ...


class Blend(ABC):
    """An edit that goes a share of the way from the stream to somewhere: ``h + share * delta(h)``, in float32.

    Share 0 gives back the very states, share 1 goes all the way. Only the tokens let through are computed.

    Parameters
    ----------
    site
        Where.
    positions
        At which tokens, as `Positions` reads them.
    share
        How much of the way.
    """

    limit = 1.0

    def __init__(self, site: Site, *, positions: str = "all", share: float = 1.0) -> None:
        if not np.isfinite(share):
            raise ConfigError(f"share is {share}; 0 is nothing, 1 the whole edit")
        self.site = site
        self.positions = str(Positions.parse(positions))
        self.share = float(share)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.site}, dose={self.dose:.4g}, positions={self.positions!r})"

    @property
    def dose(self) -> float:
        """The share."""
        return self.share

    def at(self, dose: float) -> Self:
        """Return the same edit at another share."""
        return self._with(share=float(dose))

    def _with(self, **changed: float) -> Self:
        other = copy(self)
        for name, value in changed.items():
            setattr(other, name, value)
        return other

    def narrowed(self, mask: Tensor) -> Tensor:
        """The tokens that are edited among those let through, (batch, sequence) bool."""
        return mask

    @abstractmethod
    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """What the whole edit adds.

        Parameters
        ----------
        states
            The tokens that are edited, (n, d_model) float32.
        where
            Which tokens of the batch they are, (batch, sequence) bool with n True.

        Returns
        -------
        torch.Tensor
            (n, d_model) float32.
        """

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the edited states where `mask` is True, the very same elsewhere."""
        if self.share == 0.0:
            return hidden
        where = self.narrowed(mask)
        states = hidden[where]
        if not len(states):
            return hidden
        exact = states.float()
        found = hidden.clone()
        found[where] = (exact + self.share * self.delta(exact, where)).to(hidden.dtype)
        return found


def one_dose(strength: float | None, coefficient: float | None, residual_norm: float | None) -> float:
    """Read a dose given as `strength` (in mean residual norms) or as `coefficient` (raw).

    Raises
    ------
    ConfigError
        If none or both are given, or a strength without the norm.
    """
    if (strength is None) == (coefficient is None):
        raise ConfigError("give either strength (in mean residual norms) or coefficient (raw), one of them")
    if coefficient is not None:
        return float(coefficient)
    if residual_norm is None:
        raise ConfigError("strength needs the site's mean residual norm; give residual_norm, or a raw coefficient")
    return float(strength or 0.0) * residual_norm


def span_of(directions: Sequence[Direction]) -> tuple[np.ndarray, Site]:
    """Orthonormal rows that span directions of one site, (rank, d_model) float32, and that site.

    Raises
    ------
    ConfigError
        If they are of several sites, or there are none.
    """
    sites = {direction.site for direction in directions}
    if len(sites) != 1:
        raise ConfigError(f"directions of one site can be edited together, these are of {len(sites)} sites")
    units = np.stack([direction.unit for direction in directions]).astype(np.float64)
    _, sizes, basis = np.linalg.svd(units, full_matrices=False)
    spanned = sizes > 1e-5 * sizes[0]  # directions that depend on each other span less than their number
    return basis[spanned].astype(np.float32), sites.pop()
