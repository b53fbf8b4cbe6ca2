"""What a check leaves behind and says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emovec_sae.cli.output import answer

if TYPE_CHECKING:
    from emovec_sae.directions.checks import Check


def give(name: str, found: Check, out: Path | None, *, json_: bool) -> None:
    """Write a check and its figure if a folder is given, and say its numbers."""
    if out is not None:
        from emovec_sae.charts import save_chart

        caption = found.caption()
        save_chart(found.plot(), out, name, table=found.frame(), provenance=dict(found.provenance), caption=caption)
        found.save(out / f"{name}.json")
    shown = found.numbers[["number", "value", "low", "high", "n", "null", "p"]]
    answer(found.summary(), json_=json_, text=f"{found.title}\n{shown.to_string(index=False, float_format='%.3g')}")
