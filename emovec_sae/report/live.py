"""Figures that answer the reader: their specifications inside the page, and the only two scripts that it may run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emovec_sae.charts import FAMILIES, draw
from emovec_sae.errors import EmovecError
from emovec_sae.provenance import read_json

MOST_SPEC = 1_000_000
"""Bytes of a specification above which only the picture is carried along."""

DRAWER = Path(__file__).parent / "templates" / "live.js"


@dataclass(frozen=True)
class Live:
    """The version of a figure that answers the reader.

    Attributes
    ----------
    spec
        Vega-Lite as JSON that may stand in an HTML element; empty where there is none.
    hint
        What the reader can do with it.
    why
        Why there is none.
    """

    spec: str = ""
    hint: str = ""
    why: str = ""


def live(table: Path, name: str) -> Live:
    """Draw the figure whose table lies at `table` (``NAME.parquet``, provenance beside it) for a page.

    What cannot be drawn again, such as a figure of an earlier version, stays a picture; `Live.why` says so.
    """
    from emovec_sae.charts.redrawing import read_table
    from emovec_sae.charts.save import specification

    if not table.is_file():
        return Live(why=f"{table.name} is missing")
    record = table.with_name(f"{table.stem}.provenance.json")
    told = (read_json(record).get("drawing") or {}) if record.is_file() else {}
    family = told.get("family", name)
    if family not in FAMILIES:
        return Live(why=f"'{family}' is no family of charts")
    try:
        chart = draw(
            family, read_table(table), width=told.get("width", "double"), interactive=True, **told.get("options", {})
        )
    except (EmovecError, TypeError) as error:  # columns or options of another version
        return Live(why=str(error).splitlines()[0])
    spec = specification(chart)
    _calm(spec)
    text = safe_json(spec)
    if len(text.encode()) > MOST_SPEC:
        return Live(why="it has too many marks to be carried along")
    return Live(spec=text, hint=_hint(spec))


def safe_json(value: Any) -> str:
    """Return JSON that cannot end the element it stands in, nor begin another or a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def drawer() -> str:
    """Return the page's own script."""
    return DRAWER.read_bytes().decode()


def policy(scripts: list[str]) -> str:
    """Return the page's Content-Security-Policy: it loads nothing, and of scripts runs exactly these.

    No ``unsafe-eval``: Vega reads its expressions with an interpreter.
    """
    allowed = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _params(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every parameter of a specification, of its views too."""
    yield from spec.get("params", [])
    for kind in ("layer", "concat", "hconcat", "vconcat"):
        for part in spec.get(kind, []):
            yield from _params(part)
    if isinstance(spec.get("spec"), dict):
        yield from _params(spec["spec"])


def _zooms(param: dict[str, Any]) -> bool:
    return param.get("bind") == "scales"


def _calm(spec: dict[str, Any]) -> None:
    """Zoom takes the Shift key: the wheel belongs to the page, which could not be scrolled past a figure otherwise."""
    for param in _params(spec):
        if _zooms(param):
            given = param["select"] if isinstance(param["select"], dict) else {"type": param["select"]}
            param["select"] = {**given, "zoom": "wheel![event.shiftKey]"}


def _hint(spec: dict[str, Any]) -> str:
    params = list(_params(spec))
    hints = ["Point at a mark to read its numbers."]
    if any(isinstance(one.get("select"), dict) and one["select"].get("type") == "point" for one in params):
        hints.append("Click a mark or a name in the legend to see it alone; double-click to see all.")
    if any(_zooms(one) for one in params):
        hints.append("Drag to move, Shift and wheel to zoom, double-click to go back.")
    return " ".join(hints)
