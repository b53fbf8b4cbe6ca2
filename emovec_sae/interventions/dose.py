"""Dose: the coefficient at which an edit moves the model by a wanted divergence on neutral text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits import Shift
from emovec_sae.scoring.damage import KLProbe

_MOST = 18
_FARTHEST = 64.0


@dataclass(frozen=True)
class Dose:
    """The end of a search.

    Attributes
    ----------
    level
        The KL that was asked for, in nats.
    kl
        The KL that was reached.
    coefficient
        The multiple of the unit vector.
    reached
        Whether `kl` is within the tolerance; if not, the arm cannot reach this dose, which is a result.
    monotone
        Whether larger coefficients always gave larger KL during the search.
    evaluations
        Forward evaluations that it took.
    """

    level: float
    kl: float
    coefficient: float
    reached: bool
    monotone: bool
    evaluations: int


def calibrate(edit: Shift, probe: KLProbe, *, level: float, start: float, tolerance: float = 0.02) -> Dose:
    """Find the coefficient at which an edit's KL on neutral text is `level`.

    KL grows with about the square of the coefficient, so the search steps on a log-log line and keeps a bracket.

    Parameters
    ----------
    edit
        Its direction and site count, its coefficient does not.
    probe
        The fixed sample of neutral positions.
    level
        Wanted KL(base || edited), nats, above 0.
    start
        First coefficient to try, such as a tenth of the residual norm.
    tolerance
        Relative error allowed.

    Raises
    ------
    ConfigError
        If `level` or `start` is not positive.
    """
    if not (level > 0 and start > 0):
        raise ConfigError(f"level and start must be above 0, got {level} and {start}")
    tried: dict[float, float] = {}
    coefficient = start
    while len(tried) < _MOST:
        kl = probe.kl([edit.at(coefficient)])
        tried[coefficient] = max(kl, 1e-12) if math.isfinite(kl) else math.inf  # too far: the model has overflowed
        if abs(tried[coefficient] / level - 1) <= tolerance:
            break
        following = _next(tried, level)
        if following > start * _FARTHEST or following in tried or not math.isfinite(following):
            break
        coefficient = following
    best = min(tried, key=lambda one: abs(math.log(tried[one] / level)))
    ordered = [tried[one] for one in sorted(tried)]
    return Dose(
        level=level,
        kl=tried[best],
        coefficient=best,
        reached=abs(tried[best] / level - 1) <= tolerance,
        monotone=all(a <= b for a, b in pairwise(ordered)),
        evaluations=len(tried),
    )


def _next(tried: dict[float, float], level: float) -> float:
    """Next coefficient: between the two that bracket the level on the log-log line, or outward along its slope."""
    under = max((one for one in tried if tried[one] < level), default=None)
    over = min((one for one in tried if tried[one] >= level and (under is None or one > under)), default=None)
    if under is None or over is None:
        return _outward(tried, level)
    if len(tried) % 3 == 0:  # a steep or a flat end holds the line's other end in place: halve now and then
        return math.sqrt(under * over)
    slope = math.log(over / under) / math.log(tried[over] / tried[under])
    guess = under * math.exp(slope * math.log(level / tried[under]))
    inside = 0.05 * (over - under)
    return min(max(guess, under + inside), over - inside)


def _outward(tried: dict[float, float], level: float) -> float:
    """A step down from the smallest coefficient or up from the largest: slope 2, then the slope that was seen."""
    nearest = sorted(tried, reverse=tried[max(tried)] < level)
    near, slope = nearest[0], 2.0
    if len(nearest) > 1 and math.isfinite(tried[near]) and math.isfinite(tried[nearest[1]]):
        seen = math.log(tried[nearest[1]] / tried[near]) / math.log(nearest[1] / near)
        slope = min(max(seen, 0.1), 8.0)
    return near * min(max((level / tried[near]) ** (1 / slope), 0.1), 4.0)
