"""The same dose for latents as for raw directions: from the run's calibration where there is one, else measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.report.app.mix import Mix, length, shift

if TYPE_CHECKING:
    from emovec_sae.report.app.material import Material

POSITIONS = 64
"""Neutral positions of a measurement: about 0.2 s a dose on two cores."""
TOLERANCE = 0.05
_KEPT = 128


@dataclass(frozen=True)
class Matched:
    """How strong the latents are to be.

    Attributes
    ----------
    raw, latents
        Lengths of what is added, in mean residual norms.
    kl
        KL of both on neutral text, in nats; None where it was not matched.
    how
        ``run`` (the run's calibration), ``measured`` (just now) or ``length`` (equal lengths, the KL differs).
    said
        The same in words.
    """

    raw: float
    latents: float
    kl: float | None
    how: str
    said: str


def from_run(doses: pd.DataFrame, emotion: str, k: int, strength: float) -> Matched | None:
    """Match by the run's calibrated doses of one emotion; None where they do not reach.

    Between two levels KL is taken along a line of its logarithm against that of the strength.

    Parameters
    ----------
    doses
        Of the run.
    emotion, k, strength
        What is wanted; the strength of the raw direction.
    """
    from emovec_sae.interventions.comparison.names import LatentArm

    own = doses[(doses["emotion"] == emotion) & doses["reached"].astype(bool)]
    raw, latents = (own[own["arm"] == arm].sort_values("strength") for arm in ("raw", str(LatentArm("latents", k))))
    if len(raw) < 2 or len(latents) < 2 or not raw["strength"].min() <= strength <= raw["strength"].max():
        return None
    kl = _along(raw["strength"], raw["kl"], strength)
    if not latents["kl"].min() * 0.98 <= kl <= latents["kl"].max() * 1.02:  # levels were met to 2 %
        return None
    found = _along(latents["kl"], latents["strength"], kl)
    return Matched(strength, found, kl, "run", "matched by the run's calibration on neutral text")


def _along(x: pd.Series, y: pd.Series, at: float) -> float:
    return float(np.exp(np.interp(np.log(at), np.log(x), np.log(y))))


class Matcher:
    """Matches latents to raw directions for any mix; what was measured is remembered.

    Parameters
    ----------
    material
        The run.
    """

    def __init__(self, material: Material) -> None:
        self.material = material
        self._probe: Any = None
        self._measured = lru_cache(_KEPT)(self._measure)

    def match(self, mix: Mix, k: int) -> Matched:
        """Find the length of the latents' sum that moves neutral text as the raw directions do.

        Raises
        ------
        ConfigError
            If an emotion has no (or not so many) latents, or its latents cancel out.
        """
        raw = length(mix.raw(self.material))
        if not raw:
            return Matched(0.0, 0.0, 0.0, "run", "nothing is added")
        if not length(mix.latents(self.material, k)):
            raise ConfigError("the latents of this mix cancel out; change its strengths")
        if len(mix.active) == 1 and mix.active[0][1] > 0:
            found = from_run(self.material.doses, mix.active[0][0], k, raw)
            if found is not None:
                return found
        return self._measured(mix, k)

    def _measure(self, mix: Mix, k: int) -> Matched:
        from emovec_sae.interventions.dose import calibrate

        raw, latents = mix.raw(self.material), mix.latents(self.material, k)
        edits = [shift(self.material, one) for one in (raw, latents)]
        if edits[0] is None or edits[1] is None:
            raise ConfigError("the mix adds nothing")
        probe = self.probe()
        level = probe.kl([edits[0]])
        equal = f"as long as the raw directions, since its KL cannot be brought to {level:.2g} nats"
        if np.isfinite(level) and level > 0:
            found = calibrate(edits[1], probe, level=level, start=edits[0].coefficient, tolerance=TOLERANCE)
            strength = found.coefficient / self.material.norm
            if found.reached:
                said = f"matched just now on {probe.n_positions} neutral positions"
                return Matched(length(raw), strength, level, "measured", said)
        return Matched(length(raw), length(raw), None, "length", equal)

    def probe(self) -> Any:
        """The neutral positions, read when they are first needed."""
        from emovec_sae.corpora.packaged import load_corpus
        from emovec_sae.scoring.damage import KLProbe

        if self._probe is None:
            texts = load_corpus("neutral").frame["text"].tolist()
            self._probe = KLProbe(self.material.model, texts, site=self.material.directions.site, positions=POSITIONS)
        return self._probe
