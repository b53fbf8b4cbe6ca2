"""One self-contained HTML page of a run; it shows tables and figures that other modules made, and computes nothing."""

from __future__ import annotations

from emovec_sae.report.page import write_report

__all__ = ["write_report"]
