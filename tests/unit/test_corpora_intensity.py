"""Templates of numeric intensity, packaged and one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emovec_sae.corpora.intensity import load_intensity
from emovec_sae.corpora.packaged import load_corpus
from emovec_sae.errors import CorpusError

GOOD: dict[str, Any] = {
    "id": "rain",
    "template": "It rained for {x} days.",
    "values": [9, 5, 1],
    "expected": {"sad": "up"},
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "own.jsonl"
    path.write_text(json.dumps({**GOOD, **changes}) + "\n", encoding="utf-8")
    return path


def test_packaged_templates_become_one_text_a_value() -> None:
    frame = load_intensity().frame
    assert len(frame) == 128
    assert frame.groupby("template")["step"].apply(list).map(lambda steps: steps == list(range(1, 9))).all()
    assert not frame["text"].str.contains("{x}", regex=False).any()
    assert frame["group"].equals(frame["template"])
    assert load_corpus("intensity").fingerprint == load_intensity().fingerprint


def test_values_are_sorted_so_that_steps_rise(tmp_path: Path) -> None:
    frame = load_intensity(written(tmp_path)).frame
    assert frame["value"].tolist() == [1.0, 5.0, 9.0]
    assert frame["text"].iloc[0] == "It rained for 1 days."
    assert json.loads(frame["expected"].iloc[0]) == {"sad": "up"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"template": "It rained."}, "has no {x}"),
        ({"values": [1, 2]}, "at least three"),
        ({"values": [1, 3, 2]}, "neither rise nor fall"),
        ({"values": [1, "two", 3]}, "holds 'two'"),
        ({"expected": {"sad": "more"}}, "should be up or down"),
        ({"expected": {}}, "up or down are wanted"),
    ],
)
def test_bad_templates_are_named_with_file_and_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CorpusError, match=r"own\.jsonl, line 1") as caught:
        load_intensity(written(tmp_path, **changes))
    assert said in str(caught.value)
