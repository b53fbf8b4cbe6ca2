"""Diagnosis: all findings on a store, at one site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.directions.diagnostics.finding import STATUSES, Finding, Status
from emovec_sae.provenance import write_json


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What the diagnostics say.

    Attributes
    ----------
    findings
        One a diagnostic, in the order of their codes.
    settings
        Site, pool, offset, estimator, readout, seed; numbers of texts, emotions and groups.
    provenance
        Who made it, from what.
    """

    findings: tuple[Finding, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        fired = ", ".join(f"{found.code} {found.status}" for found in self.findings if found.status in ("warn", "fail"))
        return f"Diagnosis({len(self.findings)} diagnostics at {self.settings.get('site')}: {fired or 'none fired'})"

    def __str__(self) -> str:
        return "\n".join(str(found) for found in self.findings)

    @property
    def worst(self) -> Status:
        """The gravest status."""
        return STATUSES[max((STATUSES.index(found.status) for found in self.findings), default=0)]

    def frame(self) -> pd.DataFrame:
        """One row a finding: code, name, status, value, low, high, n, threshold, message, measure."""
        return pd.DataFrame([asdict(found) for found in self.findings], columns=list(Finding.__dataclass_fields__))

    def summary(self) -> dict[str, Any]:
        """The findings by code, how many there are of each status, the gravest status, and the settings."""
        counts = {status: sum(found.status == status for found in self.findings) for status in STATUSES}
        findings = {found.code: asdict(found) for found in self.findings}
        return {"worst": self.worst, "counts": counts, "findings": findings, "settings": dict(self.settings)}

    def save(self, path: str | Path) -> Path:
        """Write everything as one JSON file, atomically."""
        return write_json(path, {**self.summary(), "provenance": dict(self.provenance)})
