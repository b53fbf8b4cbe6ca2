from __future__ import annotations

import json
from pathlib import Path

import altair as alt
import pandas as pd
import pytest

from emovec_sae import charts
from emovec_sae.charts.save import SUFFIXES, save_chart
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import file_digest

TABLE = pd.DataFrame(
    [
        {
            "site": f"resid_post.{layer}",
            "layer": layer,
            "recovered": layer / 4,
            "low": 0.0,
            "high": 1.0,
            "n": 5,
            "where": w,
        }
        for layer in range(4)
        for w in ("last", "between")
    ]
)


def save(folder: Path, *, caption: str = "A caption.") -> list[Path]:
    chart = charts.draw("patching", TABLE)
    return save_chart(chart, folder, "patching", table=TABLE, provenance={"seed": 3}, caption=caption)


def test_all_files_are_written_and_agree_with_the_provenance(tmp_path: Path) -> None:
    paths = save(tmp_path / "figures")
    assert [path.name for path in paths] == [f"patching.{suffix}" for suffix in SUFFIXES]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(path.name for path in paths)
    starts = {"svg": b"<svg", "pdf": b"%PDF", "png": b"\x89PNG", "parquet": b"PAR1", "caption.md": b"A caption.\n"}
    for path, suffix in zip(paths, SUFFIXES, strict=True):
        assert path.read_bytes().startswith(starts.get(suffix, b"")), suffix
    record = json.loads(paths[-1].read_text())
    assert record["seed"] == 3
    assert record["table"] == {"rows": 8, "columns": list(TABLE.columns)}
    assert record["files"] == {path.name: file_digest(path) for path in paths[:-1]}


def test_the_tables_read_back(tmp_path: Path) -> None:
    save(tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "patching.csv"), TABLE)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "patching.parquet"), TABLE)


def test_svg_and_spec_are_the_same_byte_for_byte(tmp_path: Path) -> None:
    save(tmp_path / "a")
    with alt.theme.enable("dark"):
        save(tmp_path / "b")
    for name in ("patching.svg", "patching.vl.json", "patching.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_saving_again_replaces_whole_files(tmp_path: Path) -> None:
    save(tmp_path)
    save(tmp_path, caption="Another.")
    assert (tmp_path / "patching.caption.md").read_text() == "Another.\n"
    assert len(list(tmp_path.iterdir())) == len(SUFFIXES)


@pytest.mark.parametrize("name", ["../x", "", "a b", ".hidden", "x.svg"])
def test_a_name_that_is_no_stem_is_refused(tmp_path: Path, name: str) -> None:
    chart = charts.draw("patching", TABLE)
    with pytest.raises(ConfigError, match="cannot be called"):
        save_chart(chart, tmp_path / "out", name, table=TABLE, provenance={}, caption="")
    assert not (tmp_path / "out").exists()


def test_a_failing_chart_leaves_no_half_written_file(tmp_path: Path) -> None:
    broken = alt.Chart(alt.InlineData(values=[{"a": 1}])).mark_point().encode(x="a:Q")
    broken.mark = {"type": "no such mark"}
    with pytest.raises(Exception, match="no such mark"):
        save_chart(broken, tmp_path, "broken", table=TABLE, provenance={}, caption="")
    assert list(tmp_path.iterdir()) == []


def test_letters_are_drawn_in_the_font_that_comes_along(tmp_path: Path) -> None:
    save(tmp_path)
    assert "Liberation Sans" in (tmp_path / "patching.svg").read_text()
