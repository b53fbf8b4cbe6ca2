"""The versions for pages: tooltips, zoom and picking, added without a change of what is printed."""

from __future__ import annotations

import pytest
import vl_convert
from chart_frames import FRAMES

from emovec_sae import charts
from emovec_sae.charts.interactive import PALE
from emovec_sae.charts.save import specification


def units(spec: dict) -> list[dict]:
    if "mark" in spec:
        return [spec]
    inside = [spec["spec"]] if "spec" in spec else []
    for kind in ("layer", "concat", "hconcat", "vconcat"):
        inside += spec.get(kind, [])
    return [unit for part in inside for unit in units(part)]


@pytest.mark.parametrize("name", list(FRAMES))
def test_every_family_explains_its_marks_and_can_be_compiled(name: str) -> None:
    frame = FRAMES[name]()
    printed = specification(charts.draw(name, frame))
    explored = charts.draw(name, frame, interactive=True)
    spec = specification(explored)
    assert type(explored) is type(charts.draw(name, frame))
    told = [unit for unit in units(spec) if "tooltip" in unit["encoding"] or "tooltip" in unit["mark"]]
    assert told
    assert specification(charts.draw(name, frame)) == printed
    vl_convert.vegalite_to_vega(spec)


@pytest.mark.parametrize(("name", "column"), [("frontier", "arm"), ("dose_curves", "arm"), ("k_curves", "series")])
def test_picking_one_fades_the_others(name: str, column: str) -> None:
    spec = specification(charts.draw(name, FRAMES[name](), interactive=True))
    (pick,) = [one for one in spec["params"] if one["name"] == "picked"]
    assert pick["select"]["fields"] == [column]
    faded = [unit for unit in units(spec) if unit.get("encoding", {}).get("opacity", {}).get("value") is not None]
    assert faded
    assert {unit["encoding"]["opacity"]["value"] for unit in faded} == {PALE}
    named = {unit["name"] for unit in faded if "name" in unit}
    assert set(pick["views"]) == named, "one layer of each view listens, and all fade"


def test_a_scatter_can_be_zoomed_and_a_heat_map_cannot() -> None:
    scatter = specification(charts.draw("naming", FRAMES["naming"](), interactive=True))
    assert [one["name"] for one in scatter["params"]] == ["picked", "zoomed"]
    matrix = specification(charts.draw("specificity", FRAMES["specificity"](), interactive=True))
    assert not matrix.get("params")
