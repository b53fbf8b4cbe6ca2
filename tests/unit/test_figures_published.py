"""The published figures are what their stored tables give: the specification is drawn again and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emovec_sae import charts
from emovec_sae.charts.redrawing import read_table
from emovec_sae.charts.save import SUFFIXES, specification
from emovec_sae.provenance import file_digest

FIGURES = Path(__file__).resolve().parents[2] / "figures"
PUBLISHED = sorted(FIGURES.rglob("*.provenance.json"))
MODELS = ("smollm2-135m-instruct", "gemma-3-270m")


def stem(record: Path) -> str:
    return record.name.removesuffix(".provenance.json")


@pytest.mark.parametrize("record", PUBLISHED, ids=[str(path.relative_to(FIGURES)) for path in PUBLISHED])
def test_the_stored_table_gives_the_stored_specification(record: Path) -> None:
    told = json.loads(record.read_text())
    drawing = told["drawing"]
    table = read_table(record.with_name(f"{stem(record)}.parquet"))
    chart = charts.draw(drawing["family"], table, width=drawing["width"], **drawing["options"])
    stored = json.loads(record.with_name(f"{stem(record)}.vl.json").read_text())
    assert json.loads(json.dumps(specification(chart))) == stored
    assert {path.name for path in record.parent.glob(f"{stem(record)}.*")} == {
        f"{stem(record)}.{suffix}" for suffix in SUFFIXES
    }
    assert told["files"] == {name: file_digest(record.with_name(name)) for name in told["files"]}


def test_both_models_are_published() -> None:
    for model in MODELS:
        assert sum(model in str(path) for path in PUBLISHED) >= 10, model
