"""What is moved from one text's run into the other's: whole states, their part in a span, or some of their latents."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from emovec_sae.interventions.patches.alignment import AlignedPair
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


class Carrier(Protocol):
    """Makes the states that are put into the target's run.

    Attributes
    ----------
    name
        How frames and figures call it.
    sites
        Where it can be moved.
    """

    @property
    def name(self) -> str:
        """How frames and figures call it."""
        ...

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where it can be moved."""
        ...

    def states(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The target's states with this part of them taken from the source.

        Parameters
        ----------
        pair
            Aligns the tokens.
        site
            Of the states.
        source, target
            States of both plain runs at the site, (tokens, d_model).

        Returns
        -------
        torch.Tensor
            (target tokens, d_model), in the precision of the stream.
        """
        ...


@dataclass(frozen=True)
class WholeState:
    """The whole state of a site: the residual, or what attention or the MLP adds to it."""

    name: str
    sites: tuple[Site, ...]

    def states(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The source's states themselves."""
        return pair.onto_target(source).to(target.dtype)


@dataclass(frozen=True, eq=False)
class InSpan:
    """The component in the span of some directions: ``h + U^T U (h_source - h)`` with orthonormal rows U.

    Attributes
    ----------
    name
        How frames call it.
    bases
        By site and emotion, orthonormal rows (directions, d_model) float32; the emotion None serves every pair.
    other
        Take those of another emotion than the pair's, drawn for each pair and the same at every site (a control).
    seed
        Of that draw.
    """

    name: str
    bases: Mapping[Site, Mapping[str | None, np.ndarray]]
    other: bool = False
    seed: int = 0

    @property
    def sites(self) -> tuple[Site, ...]:
        """Sites with directions."""
        return tuple(sorted(self.bases))

    def moved(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The difference's part in the span."""
        import torch

        own = self.bases[site]
        rows = own[None] if None in own else own[self._another(pair) if self.other else pair.emotion]
        basis = torch.tensor(rows, dtype=torch.float32, device=target.device)
        return (pair.onto_target(source.float() @ basis.T) - target.float() @ basis.T) @ basis

    def states(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The target's states with the source's component."""
        return (target.float() + self.moved(pair, site, source, target)).to(target.dtype)

    def _another(self, pair: AlignedPair) -> str:
        everywhere = set.intersection(*({str(name) for name in own} for own in self.bases.values()))
        return str(_drawn(self.seed, pair.id).choice(sorted(everywhere - {str(pair.emotion)})))


@dataclass(frozen=True, eq=False)
class SomeLatents:
    """Chosen latents of an SAE, as a delta: ``h + sum_j (f_j(h_source) - f_j(h)) d_j``; the SAE's error stays.

    Attributes
    ----------
    name
        How frames call it.
    coders
        The SAE of each site.
    latents
        By site and emotion, the chosen latents; the emotion None serves every pair.
    random
        Draw as many other latents in their place, among those that fire in either text (a control).
    seed
        Of that draw; it differs between pairs and sites.
    """

    name: str
    coders: Mapping[Site, SparseCoder]
    latents: Mapping[Site, Mapping[str | None, np.ndarray]]
    random: bool = False
    seed: int = 0

    @property
    def sites(self) -> tuple[Site, ...]:
        """Sites with an SAE."""
        return tuple(sorted(self.coders))

    def moved(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The difference of the chosen latents on their rows."""
        import torch

        coder = self.coders[site]
        codes = [coder.encode(one.float()) for one in (source, target)]  # per token, before any mean over a span
        own = self.latents[site]
        chosen = own[None] if None in own else own[pair.emotion]
        if self.random:
            chosen = self._others(pair, site, chosen, codes)
        index = torch.tensor(chosen, device=coder.device)
        change = pair.onto_target(codes[0][:, index]) - codes[1][:, index]
        return (change @ coder.directions[index]).to(target.device)

    def states(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The target's states with the source's activations of the chosen latents."""
        return (target.float() + self.moved(pair, site, source, target)).to(target.dtype)

    def _others(self, pair: AlignedPair, site: Site, chosen: np.ndarray, codes: list[Tensor]) -> np.ndarray:
        """Latents that fire from the changed word on in either text and are not chosen; fewer if so few fire."""
        fires = ((codes[0][pair.first :] != 0).any(dim=0) | (codes[1][pair.first :] != 0).any(dim=0)).cpu().numpy()
        there = np.setdiff1d(np.flatnonzero(fires), chosen)
        rng = _drawn(self.seed, f"{pair.id} {site}")
        return rng.choice(there, size=min(len(chosen), len(there)), replace=False)


@dataclass(frozen=True, eq=False)
class AsFar:
    """A fair null of another carrier: every token moves as far as with that one, along one random direction.

    The component along a random direction is small, because the difference of two texts hardly points there; that it
    does little is then no surprise. Here the length is that of the other carrier, and only the direction is random.

    Attributes
    ----------
    name
        How frames call it.
    of
        The carrier whose lengths are kept.
    seed
        Of the direction, isotropic, drawn for each pair and site.
    """

    name: str
    of: InSpan | SomeLatents
    seed: int = 0

    @property
    def sites(self) -> tuple[Site, ...]:
        """Those of the other carrier."""
        return self.of.sites

    def moved(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The other carrier's changes turned: same lengths, and tokens that moved against each other still do."""
        import torch

        real = self.of.moved(pair, site, source, target)
        row = _drawn(self.seed, f"as far {pair.id} {site}").standard_normal(real.shape[1]).astype(np.float32)
        unit = torch.from_numpy(row / np.linalg.norm(row)).to(real.device)
        sign = torch.where(real @ real.sum(dim=0) < 0, -1.0, 1.0)
        return (sign * real.norm(dim=1))[:, None] * unit

    def states(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The target's states moved as far as the other carrier moves them."""
        return (target.float() + self.moved(pair, site, source, target)).to(target.dtype)


def _drawn(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
