"""Arms: the vectors that a comparison sets side by side, each a unit vector at one site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emovec_sae.decomposition.result import Decomposition
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.interventions.edits import AddLatents, Shift, Steer
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site


@dataclass(frozen=True)
class Arm:
    """One condition of a comparison.

    Attributes
    ----------
    name
        ``raw``, ``k=16``, ``random``.
    emotion
        Whose arm it is; None for a control that serves every emotion.
    edit
        The shift whose dose is calibrated.
    draw
        Number of the random draw, 0 otherwise.
    """

    name: str
    emotion: str | None
    edit: Shift
    draw: int = 0


def raw_arms(directions: DirectionSet, emotions: list[str]) -> list[Arm]:
    """The emotion vectors themselves."""
    return [Arm("raw", emotion, Steer(directions[emotion], coefficient=1.0)) for emotion in emotions]


def latent_arms(
    decomposition: Decomposition, coder: SparseCoder, emotions: list[str], *, sizes: tuple[int, ...] = (1, 4, 16)
) -> list[Arm]:
    """The k latents with the largest share of each vector, in the amounts in which they compose it.

    Dense latents (active on more than a tenth of the tokens) are left out: they would top every emotion.
    """
    if decomposition.sae_fingerprint != coder.fingerprint:
        raise MismatchError(
            f"the decomposition was made with SAE '{decomposition.sae}' ({decomposition.sae_fingerprint[:8]}), this "
            f"one is '{coder.name}' ({coder.fingerprint[:8]}); its latents have other meanings: decompose with this one"
        )
    rows = coder.directions.cpu().numpy()
    found = []
    for emotion in emotions:
        for k in sizes:
            latents, amounts = _first(decomposition, emotion, k)
            found.append(Arm(f"k={k}", emotion, AddLatents(rows, latents, amounts, site=coder.site, coefficient=1.0)))
    return found


def _first(decomposition: Decomposition, emotion: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    there = len(decomposition.latents(emotion, dense=False)[0])
    if there < k:
        raise ConfigError(
            f"the decomposition of '{emotion}' holds {there} latents that are not dense, an arm wants {k}; "
            f"decompose with a k above {decomposition.k}"
        )
    return decomposition.latents(emotion, k, dense=False)  # a pursuit's amounts are fitted to just these k


def random_arms(site: Site, d_model: int, *, draws: int, seed: int) -> list[Arm]:
    """Isotropic random directions; each is compared with every emotion."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((draws, d_model)).astype(np.float32)
    return [Arm("random", None, Shift(vector, site=site, coefficient=1.0), draw) for draw, vector in enumerate(vectors)]
