"""Finding: what one diagnostic says of a store of activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from emovec_sae.errors import EmovecError

Status = Literal["pass", "warn", "fail", "not applicable"]

STATUSES: tuple[Status, ...] = ("not applicable", "pass", "warn", "fail")
"""What a diagnostic can say, the gravest last."""


class Inapplicable(EmovecError):
    """A diagnostic has nothing to measure here; the message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Aspect:
    """One thing that a diagnostic measured.

    Attributes
    ----------
    status
        What it comes to.
    measure
        What `value` is.
    value, low, high
        The number and its 95 % interval; NaN where a count of the texts at hand needs none.
    n
        Texts (or emotions, groups) that it rests on.
    threshold
        The limit that decided: the one that was reached, or the nearest that was not.
    message
        A sentence for people, with advice where it fired.
    """

    status: Status
    measure: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int
    threshold: float
    message: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a diagnostic says; of several aspects the gravest gives the numbers.

    Attributes
    ----------
    code, name
        Which diagnostic, ``EV001`` and ``length``.
    status
        ``pass``, ``warn``, ``fail`` or ``not applicable``.
    value, low, high, n, threshold
        As in `Aspect`, of the gravest aspect; NaN and 0 where it is not applicable.
    message
        Sentences for people: every aspect, the gravest first; or why it is not applicable.
    measure
        What `value` is.
    """

    code: str
    name: str
    status: Status
    value: float
    low: float
    high: float
    n: int
    threshold: float
    message: str
    measure: str

    @classmethod
    def of(cls, code: str, name: str, aspects: Sequence[Aspect]) -> Finding:
        """Sum aspects up; among equally grave ones the first gives the numbers."""
        ordered = sorted(aspects, key=lambda aspect: -STATUSES.index(aspect.status))
        first = ordered[0]
        message = " ".join(aspect.message for aspect in ordered)
        return cls(
            code=code, name=name, status=first.status, value=first.value, low=first.low, high=first.high, n=first.n,
            threshold=first.threshold, message=message, measure=first.measure,
        )  # fmt: skip

    @classmethod
    def inapplicable(cls, code: str, name: str, reason: str) -> Finding:
        """A finding without numbers."""
        nan = math.nan
        return cls(
            code=code, name=name, status="not applicable", value=nan, low=nan, high=nan, n=0, threshold=nan,
            message=reason, measure="",
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.code} {self.name}: {self.status}. {self.message}"


def grade(value: float, *, warn: float, fail: float = math.inf) -> tuple[Status, float]:
    """Compare a number that is bad when large with its limits.

    Returns
    -------
    status, threshold
        The limit is the one that was reached, or `warn`.
    """
    if value >= fail:
        return "fail", float(fail)
    return ("warn" if value >= warn else "pass"), float(warn)


def grade_below(value: float, *, warn: float, fail: float) -> tuple[Status, float]:
    """As `grade`, for a number that is bad when it lies below its limits."""
    if value < fail:
        return "fail", float(fail)
    return ("warn" if value < warn else "pass"), float(warn)
