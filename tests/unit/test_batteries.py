"""Batteries: the packaged ones are whole and balanced, and a file of one's own is read or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emovec_sae.corpora.batteries import BATTERIES, load_battery
from emovec_sae.errors import CorpusError

ROW = {"prompt": "Is it?", "answer_a": "Yes.", "answer_b": "No."}


@pytest.mark.parametrize("name", BATTERIES)
def test_packaged_batteries_are_whole(name: str) -> None:
    frame = load_battery(name)
    assert len(frame) == 40
    assert (frame.groupby("group").size() == 4).all()
    assert frame.groupby("group")["use"].nunique().eq(1).all(), "a family is for tuning or for reporting, never both"
    assert len(load_battery(name, use="report")) == 32
    assert frame["id"].is_unique
    words = frame[["answer_a", "answer_b"]].map(lambda text: len(text.split()))
    assert (words["answer_a"] - words["answer_b"]).abs().max() <= 3, "answers of one item are of like length"


def test_refusal_has_as_many_harmless_look_alikes() -> None:
    kinds = load_battery("refusal", use="report")["kind"].value_counts()
    assert dict(kinds) == {"risky": 16, "benign": 16}


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_file_needs_three_columns(tmp_path: Path, suffix: str) -> None:
    path, frame = tmp_path / f"own.{suffix}", pd.DataFrame([ROW, {**ROW, "prompt": "Are you sure?"}])
    if suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    found = load_battery(path)
    assert list(found["battery"]) == ["own", "own"]
    assert list(found["group"]) == ["all", "all"]
    assert list(found["use"]) == ["report", "report"]
    assert found["id"].is_unique


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "a", "answer_a": "b"}], "no column 'answer_b'"),
        ([{"prompt": "a", "answer_a": "b", "answer_B": "c"}], "did you mean 'answer_B'|no column 'answer_b'"),
        ([ROW, {**ROW, "prompt": " "}], "line 2, column 'prompt' is empty"),
        ([{**ROW, "answer_b": None}], "line 1, column 'answer_b' is missing"),
        ([{**ROW, "answer_b": "Yes. "}], "answer_a and answer_b are the same"),
        ([ROW, ROW], "line 2, column 'prompt' already stands in line 1"),
        ([{**ROW, "use": "train"}], "it should be tune or report"),
        ([{**ROW, "battery": "x"}, {**ROW, "prompt": "p", "battery": "y"}], "holds the batteries x, y"),
        ([{**ROW, "use": "tune"}], "no items of use 'report'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=said):
        load_battery(path, use="report")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"unknown battery 'refusel'.*refusal"):
        load_battery("refusel")
    with pytest.raises(CorpusError, match="unknown use 'rport'"):
        load_battery("advice", use="rport")
