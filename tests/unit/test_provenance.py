"""Provenance: digests, JSON that is read back, files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae import provenance
from emovec_sae.provenance import atomic, collect, digest, file_digest, plain, read_json, write_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), values, min_size=2, max_size=6))
def test_digest_knows_no_order_of_keys_and_sees_every_value(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert digest(backwards) == digest(value)
    first = next(iter(value))
    assert digest({**value, first: [value[first]]}) != digest(value)


def test_digest_is_the_same_in_another_process() -> None:
    code = "from emovec_sae.provenance import digest; print(digest({'b': [1, 'ä'], 'a': None}))"
    root = Path(provenance.__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest({"a": None, "b": [1, "ä"]})


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc" * 10_000)
    assert file_digest(file) == hashlib.sha256(b"abc" * 10_000).hexdigest()


def test_json_comes_back_with_numpy_unpacked_and_nan_as_null(tmp_path: Path) -> None:
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": (1, math.nan), "d": Path("x/y"), 4: "ü", "e": math.inf}
    found = read_json(write_json(tmp_path / "deep" / "x.json", value))
    assert found == {"a": 0.5, "b": [0, 1, 2], "c": [1, None], "d": "x/y", "4": "ü", "e": None}
    assert "ü" in (tmp_path / "deep" / "x.json").read_text(encoding="utf-8")


@given(values)
def test_what_was_made_plain_is_strict_json_and_stays_as_it_is(value: object) -> None:
    found = plain(value)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert plain(found) == found


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("old")

    def half() -> None:
        with atomic(file) as part:
            part.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_temporary_file_stands_beside_with_the_same_suffix(tmp_path: Path) -> None:
    with atomic(tmp_path / "table.parquet") as part:
        assert part.parent == tmp_path
        assert part.suffix == ".parquet"
        assert not (tmp_path / "table.parquet").exists()
        part.write_text("new")
    assert (tmp_path / "table.parquet").read_text() == "new"
    assert list(tmp_path.iterdir()) == [tmp_path / "table.parquet"]
    assert (tmp_path / "table.parquet").stat().st_mode & 0o777 == 0o644


def test_collect_says_who_when_and_with_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/emovec", "record", "stories"])
    found = collect(seed=3)
    assert found["command"] == ["emovec", "record", "stories"]
    assert found["seed"] == 3
    assert found["packages"]["numpy"] == np.__version__
    assert found["made"].endswith("+00:00")
    json.dumps(found)


def test_somebody_elses_repository_is_not_our_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment inside a repository: its commit says nothing about this package."""
    package = tmp_path / "venv" / "emovec_sae"
    package.mkdir(parents=True)
    (package / "provenance.py").write_text("")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = provenance._commit.__wrapped__
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert commit() is None
    (tmp_path / "emovec_sae").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "emovec_sae" / "provenance.py"))
    assert commit()
