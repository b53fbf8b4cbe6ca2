"""Corpus files: three formats agree, and every fault names file, line and column."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae.corpora import COLUMNS, Corpus, load_corpus
from emovec_sae.corpora.readers import read_csv, read_jsonl, read_parquet
from emovec_sae.errors import CorpusError

ROWS = [
    {"id": "a", "text": "One, two.\nThree.", "emotion": "calm", "topic": "walk", "writer": "w1"},
    {"id": "b", "text": 'She said "no".', "emotion": "angry", "topic": "call", "writer": "w2"},
    {"id": "c", "text": "Ça va — 好的", "emotion": None, "topic": "call", "writer": None},
]


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    frame = pd.DataFrame(ROWS)
    paths = {suffix: tmp_path / f"mine.{suffix}" for suffix in ("jsonl", "csv", "parquet")}
    write_jsonl(paths["jsonl"], ROWS)
    frame.to_csv(paths["csv"])  # with the index column that pandas adds
    frame.set_index(pd.Index([5, 6, 9])).to_parquet(paths["parquet"])
    return paths


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_tidy_frame(files: dict[str, Path], suffix: str) -> None:
    corpus = load_corpus(files[suffix])
    assert tuple(corpus.frame.columns) == (*COLUMNS, "writer")
    assert corpus.frame["text"].tolist() == [row["text"] for row in ROWS]
    assert corpus.frame["group"].tolist() == ["walk", "call", "call"]
    assert corpus.frame["emotion"].isna().tolist() == [False, False, True]
    assert corpus.frame["lang"].tolist() == ["en"] * 3
    assert corpus.frame["split"].isna().all()
    assert isinstance(corpus.frame.index, pd.RangeIndex)
    assert corpus.fingerprint == load_corpus(files["jsonl"]).fingerprint
    assert (corpus.name, corpus.path, len(corpus)) == ("mine", files[suffix], 3)


def test_the_fingerprint_sees_texts_order_and_labels(tmp_path: Path) -> None:
    base = Corpus.from_frame(pd.DataFrame(ROWS)).fingerprint
    other = [dict(row) for row in ROWS]
    other[0]["text"] += " "
    assert Corpus.from_frame(pd.DataFrame(other)).fingerprint != base
    assert Corpus.from_frame(pd.DataFrame(ROWS[::-1])).fingerprint != base
    assert Corpus.from_frame(pd.DataFrame(ROWS).assign(lang="fr")).fingerprint != base
    assert Corpus.from_frame(pd.DataFrame(ROWS), name="other name").fingerprint == base


storable = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.lists(st.text(storable, min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=6)


@given(texts=texts)
def test_any_text_survives_every_format(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("texts")
    frame = pd.DataFrame({"text": texts})
    handle = io.StringIO(newline="")
    csv.writer(handle).writerows([["text"], *([text] for text in texts)])
    (folder / "x.csv").write_bytes(handle.getvalue().encode())
    frame.to_parquet(folder / "x.parquet")
    write_jsonl(folder / "x.jsonl", [{"text": text} for text in texts])
    found = [load_corpus(folder / f"x.{suffix}") for suffix in ("csv", "parquet", "jsonl")]
    assert [corpus.frame["text"].tolist() for corpus in found] == [texts] * 3
    assert len({corpus.fingerprint for corpus in found}) == 1
    assert found[0].frame["id"].is_unique


def test_group_wins_over_topic_and_missing_groups_stand_alone(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "x.jsonl", [{"text": "a", "group": 7, "topic": "t"}, {"text": "b", "group": " ", "topic": "t"}]
    )
    frame = load_corpus(path).frame
    assert frame["group"].tolist() == ["7", "text-00002"]
    assert frame["topic"].tolist() == ["t", "t"]


def test_extras_keep_numbers_and_write_the_rest_as_strings() -> None:
    mixed = [3, "x", None]
    frame = Corpus.from_frame(
        pd.DataFrame({"text": list("abc"), "n": [1, 2, None], "ok": [True, False, True], "mixed": mixed})
        .assign(nested=[{"b": 1, "a": "é"}, [1], None], none=None)
    ).frame  # fmt: skip
    assert frame["n"].tolist()[:2] == [1.0, 2.0]
    assert np.isnan(frame["n"][2])
    assert frame["ok"].dtype == bool
    assert frame["mixed"].tolist()[:2] == ["3", "x"]
    assert frame["nested"].tolist()[:2] == ['{"a": "é", "b": 1}', "[1]"]
    assert frame["none"].isna().all()


def test_a_byte_order_mark_and_blank_lines_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbftext,emotion\r\nhello,calm\r\n\r\nyes,sad\r\n")
    assert load_corpus(tmp_path / "x.csv").frame["text"].tolist() == ["hello", "yes"]
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "hello"}\r\n\r\n')
    assert load_corpus(tmp_path / "x.jsonl").frame["text"].tolist() == ["hello"]


FAULTS = {
    "no text column": ("x.jsonl", b'{"txt": "a"}\n', r"x\.jsonl has no column 'text' \(did you mean 'txt'\?\).*txt"),
    "no text at all": ("x.csv", b"id,emotion\n1,calm\n", r"no column 'text'; its columns are id, emotion"),
    "empty jsonl": ("x.jsonl", b"\n", r"x\.jsonl is empty"),
    "empty csv": ("x.csv", b"text,emotion\n", r"x\.csv is empty"),
    "no bytes": ("x.csv", b"", r"x\.csv is empty"),
    "text missing in one row": (
        "x.jsonl", b'{"text": "a"}\n\n{"emotion": "calm"}\n', r"line 3, column 'text' is missing",
    ),
    "blank text": ("x.jsonl", b'{"text": "a"}\n{"text": " \\t"}\n', r"line 2, column 'text' is empty"),
    "blank csv cell": ("x.csv", b'text\n"two\nlines"\n" "\n', r"line 4, column 'text' is empty"),
    "text is a number": ("x.jsonl", b'{"text": 3}\n', r"line 1, column 'text' holds 3 \(int\)"),
    "text is NaN": ("x.jsonl", b'{"text": NaN}\n', r"line 1, column 'text' is missing"),
    "emotion is a list": ("x.jsonl", b'{"text": "a", "emotion": ["b"]}\n', r"line 1, column 'emotion' holds"),
    "bad JSON": ("x.jsonl", b'{"text": "a"}\n{"text": oops}\n', r"line 2, character 10: this is no JSON"),
    "no object": ("x.jsonl", b'["a"]\n', r"line 1: a JSON object is needed, this is a list"),
    "not UTF-8": ("x.jsonl", b'{"text": "a"}\n{"text": "caf\xe9"}\n', r"line 2: byte 0xe9 is not UTF-8"),
    "csv not UTF-8": ("x.csv", b"text\ncaf\xe9\n", r"line 2: byte 0xe9 is not UTF-8"),
    "ids twice": (
        "x.jsonl", b'{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}\n', r"line 2, column 'id': '1' already.*line 1",
    ),
    "id missing": ("x.csv", b"id,text\na,b\n,c\n", r"line 3, column 'id' is empty"),
    "too many cells": ("x.csv", b"text,emotion\na,calm\nb,c,sad\n", r"line 3: 3 cells where the header has 2"),
    "too few cells": ("x.csv", b"text,emotion\na\n", r"line 2: 1 cells where the header has 2"),
    "open quote": ("x.csv", b'text\na\n"b\nc', r"line 3: this cannot be read as CSV"),
    "column twice": ("x.csv", b"text,text\na,b\n", r"column 'text' stands twice"),
    "half a surrogate": ("x.jsonl", b'{"text": "a\\ud800"}\n', r"line 1, column 'text'.*surrogate"),
    "NUL": ("x.jsonl", b'{"text": "a\\u0000b"}\n', r"line 1, column 'text' holds a NUL"),
    "not Parquet": ("x.parquet", b"PAR1 but not really", r"x\.parquet cannot be read as Parquet"),
    "wrong suffix": ("x.json", b"[]", r"ends in '\.json'; .*\.jsonl, \.csv, \.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_clear_line(fault: str, tmp_path: Path) -> None:
    name, content, message = FAULTS[fault]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message) as caught:
        load_corpus(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_parquet_faults_name_the_row(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a", None]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(CorpusError, match=r"x\.parquet, row 2, column 'text' is missing"):
        load_corpus(tmp_path / "x.parquet")
    pd.DataFrame({"text": []}).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(CorpusError, match=r"none\.parquet is empty: it holds no rows"):
        load_corpus(tmp_path / "none.parquet")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"there is no file .*gone\.jsonl"):
        load_corpus(tmp_path / "gone.jsonl")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CorpusError, match=r"folder\.csv is a folder"):
        load_corpus(tmp_path / "folder.csv")


def test_frames_in_memory_are_validated_too_and_left_alone() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "group": pd.array([1, None], dtype="Int64")})
    before = frame.copy(deep=True)
    assert Corpus.from_frame(frame).frame["group"].tolist() == ["1", "text-00002"]
    pd.testing.assert_frame_equal(frame, before)
    with pytest.raises(CorpusError, match="frame, row 2, column 'text'"):
        Corpus.from_frame(pd.DataFrame({"text": ["a", float("nan")]}))
    with pytest.raises(CorpusError, match="needs the column 'id'"):
        Corpus(frame, "raw")


def test_lines_are_where_a_row_begins(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b'text\n"two\nlines"\nlast\n')
    assert list(read_csv(tmp_path / "x.csv").lines) == [2, 4]
    write_jsonl(tmp_path / "x.jsonl", [{"text": "a"}, {"text": "b", "k": 1}])
    table = read_jsonl(tmp_path / "x.jsonl")
    assert (list(table.lines), table.columns) == ([1, 2], ("text", "k"))
    pd.DataFrame({"text": ["a"]}).to_parquet(tmp_path / "x.parquet")
    assert read_parquet(tmp_path / "x.parquet").unit == "row"
