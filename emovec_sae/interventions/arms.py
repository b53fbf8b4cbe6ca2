"""Arms: the vectors that a comparison sets side by side, each a unit vector at one site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emovec_sae.decomposition.result import Decomposition
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.interventions.comparison.names import SHARE, LatentArm
from emovec_sae.interventions.edits import AddLatents, ClampLatents, Dosed, SaePassThrough, Shift, Steer
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.scoring.words import AFTER_FIRST
from emovec_sae.sites import Site

THROUGH = "pass-through"


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
        The edit whose dose is calibrated.
    draw
        Number of the random draw, 0 otherwise.
    fixed
        A dose that is used as it is, whatever KL it gives (the SAE's own damage); None is calibrated.
    fold
        Whose turn it is in a rotation over topics (`emovec_sae.interventions.rotation`); 0 without one.
    """

    name: str
    emotion: str | None
    edit: Dosed
    draw: int = 0
    fixed: float | None = None
    fold: int = 0


def raw_arms(directions: DirectionSet, emotions: list[str]) -> list[Arm]:
    """The emotion vectors themselves."""
    return [Arm("raw", emotion, Steer(directions[emotion], coefficient=1.0)) for emotion in emotions]


class Chosen(Protocol):
    """Latents of emotions with amounts: a `Decomposition`, or a `Selection` by another selector."""

    @property
    def k(self) -> int:
        """The most latents of an emotion."""
        ...

    @property
    def sae(self) -> str:
        """Name of the SAE."""
        ...

    @property
    def sae_fingerprint(self) -> str:
        """What tells the SAE from others."""
        ...

    def latents(self, emotion: str, k: int | None = None, *, dense: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The first k latents of an emotion and their amounts."""
        ...


def latent_arms(
    decomposition: Chosen,
    coder: SparseCoder,
    emotions: list[str],
    *,
    sizes: tuple[int, ...] = (1, 4, 16),
    selector: str = SHARE,
) -> list[Arm]:
    """The first k latents of each vector, in the amounts in which they compose it.

    Dense latents (active on more than a tenth of the tokens) are left out: they would top every emotion.

    Parameters
    ----------
    decomposition
        A decomposition, or a selection from `emovec_sae.interventions.comparison.selectors`.
    coder
        The SAE that it was made with.
    emotions, sizes
        Which emotions, and every k.
    selector
        What the arms are called after: ``k=16`` by Delta share, ``k=16, omp`` otherwise.

    Raises
    ------
    MismatchError
        If the SAE is another one.
    ConfigError
        If an emotion has fewer latents than an arm wants.
    """
    rows = _rows(decomposition, coder)
    found: list[Arm] = []
    for emotion in emotions:
        for k in sizes:
            latents, amounts = _first(decomposition, emotion, k)
            edit = AddLatents(rows, latents, amounts, site=coder.site, coefficient=1.0)
            found.append(Arm(str(LatentArm("latents", k, selector)), emotion, edit))
    return found


def remainder_arms(
    contrast: Decomposition,
    coder: SparseCoder,
    emotions: list[str],
    *,
    sizes: tuple[int, ...] = (1, 4, 16),
    chosen: Chosen | None = None,
    selector: str = SHARE,
    directions: DirectionSet | None = None,
) -> list[Arm]:
    """What is left of each vector without its first k latents: v - v_k, so that the two arms add up to the vector.

    v_k is the sum of the latents' unit decoder rows times their amounts. Amounts are in the units of activations, as
    vectors are, so that v_k is not rescaled to fit a vector of other topics: where v and v_k come from other texts
    (`directions`), v - v_k estimates the same remainder, and neither contains the sampling noise of the other.

    Parameters
    ----------
    contrast
        The decomposition that holds the vectors in full length.
    coder, emotions, sizes, selector
        As in `latent_arms`.
    chosen
        Whose latents are taken away, by default those of `contrast`.
    directions
        Vectors that they are taken away from, by default those of `contrast`; in a rotation the raw vectors of a fold.

    Raises
    ------
    MismatchError, ConfigError
        As `latent_arms`; also if nothing is left.
    """
    rows = _rows(contrast if chosen is None else chosen, coder)
    found: list[Arm] = []
    for emotion in emotions:
        whole = contrast.vectors[contrast.row(emotion)] if directions is None else directions[emotion].vector
        vector = whole.astype(np.float64)
        for k in sizes:
            latents, amounts = _first(contrast if chosen is None else chosen, emotion, k)
            left = vector - np.asarray(amounts, np.float64) @ rows[latents].astype(np.float64)
            edit = Shift(left.astype(np.float32), site=coder.site, coefficient=1.0)
            found.append(Arm(str(LatentArm("remainder", k, selector)), emotion, edit))
    return found


def clamped_arms(
    chosen: Chosen,
    coder: SparseCoder,
    emotions: list[str],
    *,
    sizes: tuple[int, ...] = (1, 4, 16),
    selector: str = SHARE,
) -> list[Arm]:
    """The first k latents held at values in the proportions of their amounts, instead of added to what is there.

    Even at dose 0 such an arm takes the latents out, so that small doses may be out of its reach; the calibration says
    so.

    Parameters
    ----------
    chosen, coder, emotions, sizes, selector
        As in `latent_arms`.

    Raises
    ------
    MismatchError, ConfigError
        As `latent_arms`.
    """
    _rows(chosen, coder)
    found: list[Arm] = []
    for emotion in emotions:
        for k in sizes:
            latents, amounts = _first(chosen, emotion, k)
            edit = ClampLatents(coder, latents, amounts, coefficient=1.0)
            found.append(Arm(str(LatentArm("clamped", k, selector)), emotion, edit))
    return found


def pass_through_arm(coder: SparseCoder) -> Arm:
    """The stream replaced by the SAE's reconstruction from the second token on: the SAE's damage and nothing else.

    Its dose is not matched: the KL that it gives is the result.
    """
    return Arm(THROUGH, None, SaePassThrough(coder, positions=AFTER_FIRST), fixed=1.0)


def _rows(chosen: Chosen, coder: SparseCoder) -> np.ndarray:
    """Unit decoder rows, after a check that they are those that the latents were chosen among."""
    if chosen.sae_fingerprint != coder.fingerprint:
        raise MismatchError(
            f"the decomposition was made with SAE '{chosen.sae}' ({chosen.sae_fingerprint[:8]}), this "
            f"one is '{coder.name}' ({coder.fingerprint[:8]}); its latents have other meanings: decompose with this one"
        )
    return coder.directions.cpu().numpy()


def _first(chosen: Chosen, emotion: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    there = len(chosen.latents(emotion, dense=False)[0])
    if there < k:
        raise ConfigError(
            f"the decomposition of '{emotion}' holds {there} latents that are not dense, an arm wants {k}; "
            f"decompose with a k above {chosen.k}"
        )
    return chosen.latents(emotion, k, dense=False)  # a pursuit's amounts are fitted to just these k


def random_arms(site: Site, d_model: int, *, draws: int, seed: int) -> list[Arm]:
    """Isotropic random directions; each is compared with every emotion."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((draws, d_model)).astype(np.float32)
    return [Arm("random", None, Shift(vector, site=site, coefficient=1.0), draw) for draw, vector in enumerate(vectors)]
