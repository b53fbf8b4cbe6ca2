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
    """

    name: str
    bases: Mapping[Site, Mapping[str | None, np.ndarray]]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Sites with directions."""
        return tuple(sorted(self.bases))

    def states(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The target's states with the source's component."""
        import torch

        own = self.bases[site]
        rows = own[None] if None in own else own[pair.emotion]
        basis = torch.tensor(rows, dtype=torch.float32, device=target.device)
        moved = pair.onto_target(source.float() @ basis.T) - target.float() @ basis.T
        return (target.float() + moved @ basis).to(target.dtype)


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

    def states(self, pair: AlignedPair, site: Site, source: Tensor, target: Tensor) -> Tensor:
        """The target's states with the source's activations of the chosen latents."""
        import torch

        coder = self.coders[site]
        codes = [coder.encode(one.float()) for one in (source, target)]  # per token, before any mean over a span
        own = self.latents[site]
        chosen = own[None] if None in own else own[pair.emotion]
        if self.random:
            chosen = self._others(pair, site, chosen, codes)
        index = torch.tensor(chosen, device=coder.device)
        moved = pair.onto_target(codes[0][:, index]) - codes[1][:, index]
        return (target.float() + (moved @ coder.directions[index]).to(target.device)).to(target.dtype)

    def _others(self, pair: AlignedPair, site: Site, chosen: np.ndarray, codes: list[Tensor]) -> np.ndarray:
        """Latents that fire from the changed word on in either text and are not chosen; fewer if so few fire."""
        fires = ((codes[0][pair.first :] != 0).any(dim=0) | (codes[1][pair.first :] != 0).any(dim=0)).cpu().numpy()
        there = np.setdiff1d(np.flatnonzero(fires), chosen)
        rng = np.random.default_rng([self.seed, zlib.crc32(f"{pair.id} {site}".encode())])
        return rng.choice(there, size=min(len(chosen), len(there)), replace=False)
