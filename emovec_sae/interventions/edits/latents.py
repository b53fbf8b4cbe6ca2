"""Edits of chosen latents as deltas, ``h + sum_j (t_j - f_j(h)) d_j``: the SAE's error stays in the stream as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits.base import Blend, one_dose

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.saes.coder import SparseCoder


class Latents(Blend):
    """An edit that needs to know chosen latents of the stream.

    Parameters
    ----------
    coder
        The SAE; the edit acts at its site.
    latents
        Which latents; None for all.
    positions, share
        As `Blend`.
    """

    def __init__(
        self,
        coder: SparseCoder,
        latents: Sequence[int] | np.ndarray | None,
        *,
        positions: str = "all",
        share: float = 1.0,
    ) -> None:
        super().__init__(coder.site, positions=positions, share=share)
        self.coder = coder
        self.latents = tuple(range(coder.d_sae)) if latents is None else chosen(latents, coder.d_sae)
        self._rows = coder.directions[list(self.latents)] if latents is not None else coder.directions

    def amounts(self, states: Tensor) -> Tensor:
        """The chosen latents of states (n, d_model), (n, latents) float32; few tokens are encoded at a time."""
        import torch

        index = list(self.latents)
        parts = [self.coder.encode(part)[:, index] for part in states.split(self.coder.rows_at_once())]
        return torch.cat(parts).to(states.device)

    def summed(self, amounts: Tensor) -> Tensor:
        """Sum of the latents' unit rows, (n, latents) -> (n, d_model)."""
        return amounts @ self._rows.to(amounts.device)


class ClampLatents(Latents):
    """Hold latents at values: ``t_j = coefficient * amount_j``, the amounts scaled so that their sum has norm 1.

    The scaling is that of `AddLatents`, so a coefficient means the same length in both. The dose is the coefficient;
    at 0 the latents are ablated, which is not nothing.

    Parameters
    ----------
    coder
        The SAE.
    latents
        Which latents.
    amounts
        Their coefficients on unit decoder rows, as a `Decomposition` gives them.
    strength, coefficient, residual_norm
        The dose, as in `AddLatents`.
    positions
        At which tokens.
    """

    limit = np.inf

    def __init__(
        self,
        coder: SparseCoder,
        latents: Sequence[int] | np.ndarray,
        amounts: Sequence[float] | np.ndarray,
        *,
        strength: float | None = None,
        coefficient: float | None = None,
        residual_norm: float | None = None,
        positions: str = "all",
    ) -> None:
        super().__init__(coder, latents, positions=positions)
        given = np.asarray(amounts, np.float64)
        if given.shape != (len(self.latents),):
            raise ConfigError(f"{len(self.latents)} latents were given with amounts of shape {given.shape}")
        norm = float(np.linalg.norm(given @ self._rows.double().cpu().numpy()))
        if not np.isfinite(norm) or norm == 0.0:
            raise ConfigError(f"the amounts sum to a vector of norm {norm}; it must be finite and above 0")
        self.targets = (given / norm).astype(np.float32)
        self.coefficient = one_dose(strength, coefficient, residual_norm)

    @property
    def dose(self) -> float:
        """The coefficient."""
        return self.coefficient

    def at(self, dose: float) -> Self:
        """Return the same clamp at another coefficient."""
        return self._with(coefficient=float(dose))

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """What brings the latents to their values."""
        import torch

        wanted = torch.from_numpy(self.targets).to(states.device) * self.coefficient
        return self.summed(wanted - self.amounts(states))


class ScaleLatents(Latents):
    """Multiply latents where they are active: ``t_j = factor * f_j(h)``.

    The dose is ``factor - 1``: 0 is nothing, 1 doubles, -1 ablates.

    Parameters
    ----------
    coder
        The SAE.
    latents
        Which latents.
    factor
        What they are multiplied with.
    positions
        At which tokens.
    """

    limit = np.inf

    def __init__(
        self, coder: SparseCoder, latents: Sequence[int] | np.ndarray, *, factor: float, positions: str = "all"
    ) -> None:
        super().__init__(coder, latents, positions=positions, share=factor - 1.0)

    @property
    def factor(self) -> float:
        """What the latents are multiplied with."""
        return 1.0 + self.share

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """The latents' part of the states."""
        return self.summed(self.amounts(states))


class AblateLatents(Latents):
    """Take latents out: ``t_j = (1 - share) * f_j(h)``.

    Parameters
    ----------
    coder
        The SAE.
    latents
        Which latents.
    positions
        At which tokens.
    share
        1 takes them out whole; the dose.
    """

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """Minus the latents' part of the states."""
        return -self.summed(self.amounts(states))


class SaePassThrough(Latents):
    """Replace the stream by the SAE's reconstruction: the damage that an SAE does by itself.

    Parameters
    ----------
    coder
        The SAE.
    positions
        At which tokens. Position 0 is a sink that most SAEs never saw: ``from:1`` spares it.
    share
        1 replaces the stream whole; the dose.
    """

    def __init__(self, coder: SparseCoder, *, positions: str = "all", share: float = 1.0) -> None:
        super().__init__(coder, (), positions=positions, share=share)

    def delta(self, states: Tensor, where: Tensor) -> Tensor:
        """Minus the SAE's error."""
        import torch

        parts = [self.coder.error(part) for part in states.split(self.coder.rows_at_once())]
        return -torch.cat(parts).to(states.device)


def chosen(latents: Sequence[int] | np.ndarray, d_sae: int) -> tuple[int, ...]:
    """Check latent numbers.

    Raises
    ------
    ConfigError
        If one does not exist or stands twice.
    """
    found = tuple(int(one) for one in latents)
    wrong = [one for one in found if not 0 <= one < d_sae]
    if wrong:
        raise ConfigError(f"latent {wrong[0]} does not exist: the SAE has {d_sae}, 0 to {d_sae - 1}")
    if len(set(found)) != len(found):
        raise ConfigError(f"a latent is named twice among {len(found)}; name each once")
    return found
