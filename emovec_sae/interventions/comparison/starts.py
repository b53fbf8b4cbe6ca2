"""First guesses of doses: what the cells that are done teach about the next one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.cells import Cell
from emovec_sae.interventions.edits import Shift

_USUAL = 2.0
"""KL grows with about this power of the dose."""
_RAW = "raw"

Own = dict[float, float]
"""Level -> coefficient that would give exactly that level."""


@dataclass
class Starts:
    """Coefficients of finished cells, and what they make of the next cell's.

    Attributes
    ----------
    first
        Guess where nothing is known.
    """

    first: float
    _own: dict[tuple[str, str | None, int, int], Own] = field(default_factory=dict)
    _last: dict[tuple[str, float], tuple[Arm, float]] = field(default_factory=dict)
    _any: Own = field(default_factory=dict)
    _slopes: dict[str, float] = field(default_factory=dict)

    def note(self, arm: Arm, level: float, cell: Cell) -> None:
        """Learn from a cell whose level was reached."""
        dose = cell.dose
        if not dose["reached"] or arm.fixed is not None or not dose["coefficient"] > 0:
            return
        own = self._own.setdefault(_key(arm), {})
        exact = dose["coefficient"] * (level / dose["kl"]) ** (1 / self.slope(arm))
        own[level] = exact
        self._last[arm.name, level] = arm, exact
        if isinstance(arm.edit, Shift):  # a clamp's doses are no guide to a shift's
            self._any[level] = exact
        others = [one for one in own if one != level and own[one] != exact]
        if others:
            near = min(others, key=lambda one: abs(math.log(one / level)))
            seen = math.log(level / near) / math.log(exact / own[near])
            self._slopes[arm.name] = min(max(seen, 0.5), 6.0)

    def slope(self, arm: Arm) -> float:
        """Power of the dose by which the KL of such an arm grew when it was last seen."""
        return self._slopes.get(arm.name, self._slopes.get(_RAW, _USUAL))

    def guess(self, arm: Arm, level: float) -> float:
        """First coefficient to try: from the arm's nearest level, else by way of the raw vector of its emotion."""
        own = self._own.get(_key(arm))
        if own:
            nearest = min(own, key=lambda one: abs(math.log(one / level)))
            return own[nearest] * (level / nearest) ** (1 / self.slope(arm))
        if (arm.name, level) in self._last:
            other, before = self._last[arm.name, level]
            now, then = self._raw(arm, level), self._raw(other, level)
            return before if now is None or then is None else before * now / then
        known = self._raw(arm, level) or self._any.get(level)
        return known if known is not None and isinstance(arm.edit, Shift) else self.first

    def _raw(self, arm: Arm, level: float) -> float | None:
        """Coefficient of the raw vector that an arm is set beside."""
        return self._own.get((_RAW, arm.emotion, 0, arm.fold), {}).get(level)


def _key(arm: Arm) -> tuple[str, str | None, int, int]:
    return arm.name, arm.emotion, arm.draw, arm.fold
