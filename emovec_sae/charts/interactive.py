"""Make a chart explorable on a page: what a mark says, zoom, and picking one thing out of many; print has none."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import altair as alt

PALE = 0.12
"""Opacity of what is not picked."""

_PICK, _ZOOM = "picked", "zoomed"
_MET = ("point", "circle", "square", "bar", "rect")
"""Marks that a pointer meets easily."""


def explorable(chart: alt.TopLevelMixin, family: ModuleType) -> Any:
    """Return a copy of `chart` with tooltips on every mark that has data, and what the family offers.

    Parameters
    ----------
    chart
        A chart of the family; it is not changed.
    family
        The family's module. ``PICK`` names a column: a click on a mark or in the legend leaves only what has the same
        value strong (a double click brings all back). ``ZOOM = True`` lets both axes be dragged and scrolled.

    Returns
    -------
    altair.TopLevelMixin
        A chart of the same kind.
    """
    spec = chart.to_dict(validate=False)
    pick: str | None = getattr(family, "PICK", None)
    views: list[str] = []
    for group in _groups(spec):
        for unit in group:
            _explain(unit)
        picked = [unit for unit in group if pick is not None and _has(unit, pick, spec)]
        for unit in picked:
            _fade(unit)
        if picked:  # layers share their signals, so that one of them alone may listen: the one whose marks are met best
            best = min(picked, key=lambda unit: unit["mark"]["type"] not in _MET)
            views.append(best.setdefault("name", f"view_{len(views)}"))
    params: list[dict[str, Any]] = []
    if views:
        select = {"type": "point", "fields": [pick]}
        legend = any(_legend(unit, str(pick)) for unit in _units(spec))
        params.append({"name": _PICK, "select": select, "views": views} | ({"bind": "legend"} if legend else {}))
    if getattr(family, "ZOOM", False):
        target = next(unit for unit in _units(spec) if {"x", "y"} <= unit.get("encoding", {}).keys())
        name = target.setdefault("name", "view_zoom")
        params.append({"name": _ZOOM, "select": "interval", "bind": "scales", "views": [name]})
    if params:
        spec["params"] = [*spec.get("params", []), *params]
    made: Any = type(chart)
    return made.from_dict(spec, validate=False)


def _groups(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The single views that lie over each other, by place."""
    if "mark" in spec:
        return [[spec]]
    if "layer" in spec:
        return [_units(spec)]
    inside = [spec["spec"]] if isinstance(spec.get("spec"), dict) else []
    for kind in ("concat", "hconcat", "vconcat"):
        inside += spec.get(kind, [])
    return [group for part in inside for group in _groups(part)]


def _units(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Every single view inside a specification."""
    if "mark" in spec:
        return [spec]
    inside = [spec["spec"]] if isinstance(spec.get("spec"), dict) else []
    for kind in ("layer", "concat", "hconcat", "vconcat"):
        inside += spec.get(kind, [])
    return [unit for part in inside for unit in _units(part)]


def _explain(unit: dict[str, Any]) -> None:
    """What a mark shows is told when one points at it, unless the family says something closer."""
    mark = unit["mark"] if isinstance(unit["mark"], dict) else {"type": unit["mark"]}
    unit["mark"] = mark
    if "tooltip" not in unit.get("encoding", {}) and mark["type"] not in ("rule", "text", "area"):
        mark["tooltip"] = {"content": "encoding"}


def _has(unit: dict[str, Any], column: str, spec: dict[str, Any]) -> bool:
    """Whether the rows of a view have the column; in a facet the data stand outside the view."""
    data = unit.get("data") or spec.get("data") or {}
    rows = data.get("values") or spec.get("datasets", {}).get(data.get("name"), [])
    return bool(rows) and column in rows[0] and bool(unit.get("encoding"))


def _fade(unit: dict[str, Any]) -> None:
    mark = unit["mark"]
    strong = mark.pop("opacity", 1)
    unit["encoding"]["opacity"] = {
        "condition": {"param": _PICK, "value": strong},
        "value": min(PALE, strong),
    }


def _legend(unit: dict[str, Any], column: str) -> bool:
    encoding = unit.get("encoding", {})
    return any(
        isinstance(encoding.get(channel), dict)
        and encoding[channel].get("field") == column
        and encoding[channel].get("legend", True) is not None
        for channel in ("color", "shape", "strokeDash", "fill")
    )
