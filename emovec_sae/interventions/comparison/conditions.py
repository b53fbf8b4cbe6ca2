"""Conditions of generation: which arm writes at which dose, and the instructed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.instruction import WORDING
from emovec_sae.interventions.comparison.names import INSTRUCTION
from emovec_sae.interventions.comparison.result import Comparison

BASE = "base"
"""The model itself."""


@dataclass(frozen=True)
class Condition:
    """Who writes.

    Attributes
    ----------
    name
        Of the arm; `BASE` or `INSTRUCTION` for the model without edits.
    emotion
        Whose; None for the base model and for controls that serve every emotion.
    draw, fold
        Of a random arm; of a rotation over topics, 0 without one.
    level, kl, coefficient
        The dose, from the comparison; None without one.
    reached
        Whether the comparison's calibration reached the level.
    arm
        What is edited; None is nothing.
    """

    name: str
    emotion: str | None = None
    draw: int = 0
    fold: int = 0
    level: float | None = None
    kl: float | None = None
    coefficient: float | None = None
    reached: bool = True
    arm: Arm | None = None

    @property
    def edit(self) -> Any:
        """The edit at its dose, or None."""
        return None if self.arm is None or self.coefficient is None else self.arm.edit.at(self.coefficient)

    def facts(self) -> dict[str, Any]:
        """Columns of a table of texts."""
        return {
            "emotion": self.emotion, "arm": self.name, "draw": self.draw, "fold": self.fold, "level": self.level,
            "kl": self.kl, "coefficient": self.coefficient, "reached": self.reached,
        }  # fmt: skip

    def written(self) -> dict[str, Any]:
        """What decides its texts besides the settings of all, for records."""
        wording = WORDING if self.name == INSTRUCTION else None
        return {"name": self.name, "emotion": self.emotion, "draw": self.draw, "fold": self.fold, "level": self.level,
                "coefficient": self.coefficient, "wording": wording}  # fmt: skip


def conditions_of(
    comparison: Comparison, arms: Sequence[Arm], *, levels: Sequence[float], emotions: Sequence[str], instruction: bool
) -> list[Condition]:
    """The base model, each arm at each level in the comparison's dose, and the instructed model.

    Parameters
    ----------
    comparison
        Finished; it holds the doses.
    arms
        The arms that write; those of other emotions are left out.
    levels
        KL in nats.
    emotions
        Whose arms.
    instruction
        Add the instructed model for each emotion.

    Raises
    ------
    ConfigError
        If the comparison lacks an arm or a level, or an emotion has no arm.
    """
    found = [Condition(BASE)]
    kept = [arm for arm in arms if arm.emotion is None or arm.emotion in emotions]
    lacking = [one for one in emotions if one not in {arm.emotion for arm in kept}]
    if lacking:
        raise ConfigError(f"no arm is that of '{lacking[0]}'{suggest(lacking[0], [a.emotion or '' for a in arms])}")
    for arm in kept:
        found += [_at(comparison, arm, level) for level in levels]
    return found + [Condition(INSTRUCTION, emotion) for emotion in emotions if instruction]


def _at(comparison: Comparison, arm: Arm, level: float) -> Condition:
    doses, fold = comparison.doses, arm.fold
    own = doses[(doses["arm"] == arm.name) & (doses["draw"] == arm.draw)]
    own = own[own["fold"] == fold] if "fold" in own else own
    own = own[own["emotion"].isna()] if arm.emotion is None else own[own["emotion"] == arm.emotion]
    row = own[own["level"] == level]
    if row.empty:
        whose = f" of '{arm.emotion}'" if arm.emotion else ""
        there = ", ".join(f"{one:g}" for one in sorted(own["level"].unique())) or "none"
        raise ConfigError(
            f"the comparison holds no dose of '{arm.name}'{whose} at {level:g} nats (levels of that arm: {there}); "
            "compare it at that level first"
        )
    dose = row.iloc[0]
    return Condition(
        arm.name, arm.emotion, arm.draw, fold, float(level), float(dose["kl"]), float(dose["coefficient"]),
        bool(dose["reached"]), arm,
    )  # fmt: skip
