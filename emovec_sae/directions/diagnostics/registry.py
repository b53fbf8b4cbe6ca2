"""The register of diagnostics by their codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emovec_sae.directions.diagnostics.case import Case
from emovec_sae.directions.diagnostics.finding import Aspect, Finding, Inapplicable

Measure = Callable[[Case], Sequence[Aspect]]
"""Measures at least one aspect of a case, or raises `Inapplicable` with the reason."""


@dataclass(frozen=True)
class Diagnostic:
    """A question that is asked of every store.

    Attributes
    ----------
    code, name
        ``EV001`` and ``length``.
    asks
        The question.
    measure
        How it is answered.
    """

    code: str
    name: str
    asks: str
    measure: Measure

    def check(self, case: Case) -> Finding:
        """Answer the question."""
        try:
            return Finding.of(self.code, self.name, self.measure(case))
        except Inapplicable as reason:
            return Finding.inapplicable(self.code, self.name, str(reason))


DIAGNOSTICS: dict[str, Diagnostic] = {}
"""All diagnostics by code."""


def diagnostic(code: str, name: str, *, asks: str) -> Callable[[Measure], Measure]:
    """Register a function as a diagnostic.

    Raises
    ------
    ValueError
        If the code is not of the form ``EV001``, or is taken.
    """
    if not re.fullmatch(r"EV\d{3}", code):
        raise ValueError(f"the code '{code}' is not of the form EV001")
    if code in DIAGNOSTICS:
        raise ValueError(f"the code {code} is taken by '{DIAGNOSTICS[code].name}'")

    def _register(measure: Measure) -> Measure:
        DIAGNOSTICS[code] = Diagnostic(code, name, asks, measure)
        return measure

    return _register
