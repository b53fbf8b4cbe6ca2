"""A mix of emotions: what it adds to the stream as raw directions, and what it adds as latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    from emovec_sae.interventions.edits import Shift
    from emovec_sae.report.app.material import Material

MOST = 6
"""Emotions of a mix."""


@dataclass(frozen=True)
class Mix:
    """Emotions with strengths; those of strength 0 are there and do nothing.

    Attributes
    ----------
    emotions
        Names.
    strengths
        Of each, in mean residual norms of the site; below 0 steers away.
    """

    emotions: tuple[str, ...]
    strengths: tuple[float, ...]

    @classmethod
    def of(cls, material: Material, emotions: Sequence[str], strengths: Sequence[float]) -> Mix:
        """Check names and numbers.

        Raises
        ------
        ConfigError
            If an emotion is unknown or named twice, a strength is missing or not finite, or there are too many.
        """
        if len(emotions) != len(strengths):
            raise ConfigError(f"{len(emotions)} emotions were given with {len(strengths)} strengths; give one for each")
        if len(emotions) > MOST:
            raise ConfigError(f"a mix holds at most {MOST} emotions, this one has {len(emotions)}")
        for emotion in emotions:
            material.directions.index(emotion)
        if len(set(emotions)) < len(emotions):
            twice = next(one for one in emotions if list(emotions).count(one) > 1)
            raise ConfigError(f"'{twice}' is in the mix twice; name it once, with the strengths added up")
        for emotion, strength in zip(emotions, strengths, strict=True):
            if not math.isfinite(strength):
                raise ConfigError(f"the strength of '{emotion}' is {strength}; it must be a number")
        return cls(tuple(emotions), tuple(map(float, strengths)))

    @property
    def active(self) -> list[tuple[str, float]]:
        """Emotions with a strength other than 0."""
        return [(one, strength) for one, strength in zip(self.emotions, self.strengths, strict=True) if strength]

    def raw(self, material: Material) -> np.ndarray:
        """Sum of the unit directions times their strengths, in mean residual norms, shape (d,)."""
        total = np.zeros(material.model.d_model, np.float64)
        for emotion, strength in self.active:
            total += strength * material.directions[emotion].unit
        return total

    def latents(self, material: Material, k: int) -> np.ndarray:
        """The same sum with each direction replaced by the unit sum of its first k latents, shape (d,).

        Raises
        ------
        ConfigError
            If an emotion was not decomposed, or has not so many latents that are not dense.
        """
        total = np.zeros(material.model.d_model, np.float64)
        for emotion, strength in self.active:
            total += strength * _edit(material, emotion, k).unit
        return total

    def parts(self, material: Material, k: int) -> list[dict[str, Any]]:
        """The latents that `latents` adds, the largest first.

        Returns
        -------
        list of dict
            latent, amount (on its unit decoder row, in mean residual norms, over the emotions that share it), emotions.
        """
        found: dict[int, dict[str, Any]] = {}
        for emotion, strength in self.active:
            numbers, amounts = material.contrast.latents(emotion, k, dense=False)
            rows = material.coder.directions[numbers.tolist()].cpu().numpy()
            scale = strength / float(np.linalg.norm(amounts @ rows))
            for latent, amount in zip(numbers, amounts, strict=True):
                own = found.setdefault(int(latent), {"latent": int(latent), "amount": 0.0, "emotions": []})
                own["amount"] += float(scale * amount)
                own["emotions"].append(emotion)
        return sorted(found.values(), key=lambda one: -abs(one["amount"]))


def length(vector: np.ndarray) -> float:
    """Length of a mix in mean residual norms: its strength as a whole."""
    return float(np.linalg.norm(vector))


def shift(material: Material, vector: np.ndarray) -> Shift | None:
    """The edit that adds a vector given in mean residual norms; None for nothing."""
    from emovec_sae.interventions.edits import Shift

    strength = length(vector)
    if strength == 0.0:
        return None
    return Shift(vector, site=material.directions.site, coefficient=strength * material.norm)


def _edit(material: Material, emotion: str, k: int) -> Any:
    from emovec_sae.interventions.arms import latent_arms

    if emotion not in material.contrast.emotions:
        few = ", ".join(material.contrast.emotions[:6])
        raise ConfigError(f"'{emotion}' was not decomposed in this run, so it has no latents; {few}, ... have")
    return latent_arms(material.contrast, material.coder, [emotion], sizes=(k,))[0].edit
