"""How far the sliders go: up to where the model's texts break down, as measured, or to a safe default that says why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError
from emovec_sae.provenance import read_json, write_json

if TYPE_CHECKING:
    from emovec_sae.interventions.breakdown import Breakdown
    from emovec_sae.report.app.material import Material

CAUTIOUS = 0.2
"""Longest mix where nothing is known of the model, in mean residual norms: models collapse from 0.3 on."""
FARTHEST = 4.0
"""With the tick, so many times the limit."""
STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2)
PROMPTS, EMOTIONS, TOKENS = 8, 4, 32
FILE = "explorer/breakdown.json"
_SLACK = 1e-6
"""Unit vectors are float32."""


@dataclass(frozen=True)
class Limit:
    """Where the sliders end.

    Attributes
    ----------
    strength
        Longest mix without the tick, in mean residual norms.
    measured
        Whether it is the break-down of this very model, site and directions.
    said
        Where it comes from, in words.
    """

    strength: float
    measured: bool
    said: str

    @property
    def farthest(self) -> float:
        """Longest mix with the tick."""
        return FARTHEST * self.strength

    def check(self, strength: float, *, beyond: bool) -> None:
        """Refuse a mix that is too strong.

        Raises
        ------
        ConfigError
            If it lies beyond the limit without the tick, or beyond what the tick allows.
        """
        if strength > self.farthest + _SLACK:
            raise ConfigError(f"the mix is {strength:.2f} long; even with the tick it ends at {self.farthest:.2f}")
        if strength > self.strength + _SLACK and not beyond:
            raise ConfigError(
                f"the mix is {strength:.2f} long, beyond the limit {self.strength:.2f} ({self.said}); lower it, or "
                "tick 'go beyond the limit'"
            )


def limit_of(material: Material) -> Limit:
    """The measured limit of a run, or a default."""
    path = material.path / FILE
    why = "the break-down was not measured for this run: emovec app RUN --measure does it once"
    if path.is_file():
        try:
            told = read_json(path)
            strength, said = float(told["limit"]), str(told["said"])
            if told["belongs"] == _belongs(material) and math.isfinite(strength) and strength > 0:
                return Limit(strength, measured=True, said=said)
            why = f"{FILE} is of other directions or another model: emovec app RUN --measure measures anew"
        except (ValueError, KeyError, TypeError):
            why = f"{FILE} is damaged: emovec app RUN --measure measures anew"
    raw = material.doses[material.doses["arm"] == "raw"]
    if len(raw):
        strongest = float(raw["strength"].max())
        return Limit(round(strongest, 2), measured=False, said=f"the strongest dose that the run compared; {why}")
    return Limit(CAUTIOUS, measured=False, said=f"a cautious default; {why}")


def measure_limit(material: Material, *, progress: Callable[[int, int], None] | None = None) -> Limit:
    """Measure where texts break down under raw directions, and keep it beside the run.

    Four emotions, eight open prompts, answers of 32 tokens, seven strengths. The limit is the strength at which half of
    the texts are no longer clean; where that already holds near strength 0 (small models repeat themselves), the one at
    which half have collapsed.

    Parameters
    ----------
    material
        The run.
    progress
        Called with (strengths done, in all).
    """
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.interventions.arms import raw_arms
    from emovec_sae.interventions.breakdown import breakdown

    known = [one for one in material.contrast.emotions if one in material.directions]
    compared = material.doses[material.doses["arm"].str.startswith("k=")]["emotion"] if len(material.doses) else []
    emotions = (list(dict.fromkeys(compared)) or known)[:EMOTIONS]
    edits = {str(arm.emotion): arm.edit for arm in raw_arms(material.directions, emotions)}
    prompts = load_prompts(kind="open", use="tune")["text"].tolist()[:PROMPTS]
    found = breakdown(
        material.model, prompts, edits, STRENGTHS, unit=material.norm, max_new_tokens=TOKENS, progress=progress
    )
    return _keep(material, found, len(prompts) * len(emotions))


def _keep(material: Material, found: Breakdown, texts: int) -> Limit:
    points = {row["point"]: row["dose"] for row in found.points().to_dict("records")}
    name = "not clean" if not points["not clean"] < min(STRENGTHS) else "collapsed"
    strength = points[name]
    becomes = "are no longer clean" if name == "not clean" else "have collapsed"
    if math.isnan(strength):
        strength, said = (
            max(STRENGTHS),
            f"measured: texts hold up to the largest strength tried, n = {texts} a strength",
        )
    else:
        said = f"measured: from there on half of the texts {becomes}, n = {texts} a strength"
    path = material.path / FILE
    found.save(path.with_name("breakdown-texts.parquet"))
    strength = math.floor(strength * 100) / 100
    write_json(path, {"limit": strength, "said": said, "belongs": _belongs(material)})
    return Limit(strength, measured=True, said=said)


def _belongs(material: Material) -> dict[str, Any]:
    return {
        "directions": material.directions.fingerprint,
        "model": material.model.fingerprint,
        "dtype": material.model.dtype,
    }
