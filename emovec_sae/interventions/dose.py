"""Dose: how much of an edit moves the model by a wanted amount on neutral text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.interventions.edits import Dosed

MATCHES = {
    "kl": "KL(base || edited) of the next token, in nats",
    "norm": "mean length of the change at the site, in mean residual norms",
    "perplexity": "perplexity of the texts under the edit over that of the model itself",
}
"""What a dose can be matched by; each is a method of `NeutralProbe`."""
_MOST = 18
_FARTHEST = 64.0


@dataclass(frozen=True)
class Dose:
    """The end of a search.

    Attributes
    ----------
    match
        What was measured, a key of `MATCHES`.
    level
        The value that was asked for.
    value
        The value that was reached.
    coefficient
        The edit's dose: the multiple of the unit vector for shifts and clamps, the share for ablations and patches.
    reached
        Whether `value` is within the tolerance; if not, the edit cannot reach this level, which is a result.
    monotone
        Whether larger doses always gave larger values during the search.
    evaluations
        Forward evaluations that it took.
    """

    match: str
    level: float
    value: float
    coefficient: float
    reached: bool
    monotone: bool
    evaluations: int

    @property
    def kl(self) -> float:
        """The KL that was reached, in nats; NaN if something else was matched."""
        return self.value if self.match == "kl" else math.nan


def calibrate(
    edit: Dosed,
    probe: Any,
    *,
    level: float,
    start: float | None = None,
    match: str = "kl",
    tolerance: float = 0.02,
    slope: float = 2.0,
) -> Dose:
    """Find the dose at which an edit moves the model on neutral text by `level`.

    KL grows with about the square of the dose, so the search steps on a log-log line, keeps a bracket and halves it
    now and then. It never goes beyond the edit's `limit` (an ablation is whole at 1), nor 64 times the start.

    Parameters
    ----------
    edit
        Any edit with `at`; the dose that it has does not count.
    probe
        The fixed sample of neutral positions: `NeutralProbe`, or `KLProbe` where ``kl`` is matched.
    level
        Wanted value: nats above 0 (kl), mean residual norms above 0 (norm), a ratio above 1 (perplexity).
    start
        First dose to try, such as a tenth of the residual norm; by default a tenth of what has a limit.
    match
        ``kl``, ``norm`` or ``perplexity``.
    tolerance
        Relative error allowed: of the value, and for perplexity of what it lies above 1.
    slope
        Power of the dose by which the value is taken to grow until two doses were tried.

    Raises
    ------
    ConfigError
        If `level` or `start` is out of range, `match` is unknown, or the probe does not measure it.
    """
    floor = 1.0 if match == "perplexity" else 0.0
    first = _start(edit, level, start, floor)
    measure = _measure(probe, match)
    most = min(edit.limit, first * _FARTHEST)
    wanted = level - floor
    tried: dict[float, float] = {}
    dose = min(first, most)
    while len(tried) < _MOST:
        value = measure([edit.at(dose)]) - floor
        tried[dose] = max(value, 1e-12) if math.isfinite(value) else math.inf  # too far: the model has overflowed
        if abs(tried[dose] / wanted - 1) <= tolerance:
            break
        following = _next(tried, wanted, slope)
        if following > edit.limit:
            following = edit.limit  # what has a limit is tried there before it is given up
        if following > most or following in tried or not math.isfinite(following):
            break
        dose = following
    best = min(tried, key=lambda one: abs(math.log(tried[one] / wanted)))
    ordered = [tried[one] for one in sorted(tried)]
    return Dose(
        match=match,
        level=level,
        value=tried[best] + floor,
        coefficient=best,
        reached=abs(tried[best] / wanted - 1) <= tolerance,
        monotone=all(a <= b for a, b in pairwise(ordered)),
        evaluations=len(tried),
    )


def _start(edit: Dosed, level: float, start: float | None, floor: float) -> float:
    first = 0.1 * edit.limit if start is None else start
    if not (level > floor and math.isfinite(level) and first > 0):
        raise ConfigError(f"level must be above {floor:g} and start above 0, got {level} and {first}")
    if not math.isfinite(first):
        raise ConfigError(f"{edit!r} has no largest dose to begin from; give start, a tenth of the residual norm")
    return first


def _measure(probe: Any, match: str) -> Callable[[Sequence[Dosed]], float]:
    if match not in MATCHES:
        raise ConfigError(f"cannot match by '{match}'{suggest(match, MATCHES)}; there are {', '.join(MATCHES)}")
    found = getattr(probe, match, None)
    if found is None:
        raise ConfigError(f"a {type(probe).__name__} does not measure {match}; give a NeutralProbe")
    return found


def _next(tried: dict[float, float], level: float, usual: float) -> float:
    """Next coefficient: between the two that bracket the level on the log-log line, or outward along its slope."""
    under = max((one for one in tried if tried[one] < level), default=None)
    over = min((one for one in tried if tried[one] >= level and (under is None or one > under)), default=None)
    if under is None or over is None:
        return _outward(tried, level, usual)
    if len(tried) % 3 == 0:  # a steep or a flat end holds the line's other end in place: halve now and then
        return math.sqrt(under * over)
    slope = math.log(over / under) / math.log(tried[over] / tried[under])
    guess = under * math.exp(slope * math.log(level / tried[under]))
    inside = 0.05 * (over - under)
    return min(max(guess, under + inside), over - inside)


def _outward(tried: dict[float, float], level: float, slope: float) -> float:
    """A step down from the smallest coefficient or up from the largest: by the usual slope, then by the one seen."""
    nearest = sorted(tried, reverse=tried[max(tried)] < level)
    near = nearest[0]
    if len(nearest) > 1 and math.isfinite(tried[near]) and math.isfinite(tried[nearest[1]]):
        seen = math.log(tried[nearest[1]] / tried[near]) / math.log(nearest[1] / near)
        slope = min(max(seen, 0.1), 8.0)
    return near * min(max((level / tried[near]) ** (1 / slope), 0.1), 4.0)
