"""A stored figure is drawn again from its table alone, without torch on the machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from chart_frames import FRAMES

from emovec_sae import charts
from emovec_sae.charts.redrawing import redraw
from emovec_sae.cli.main import main
from emovec_sae.errors import ConfigError, StoreError

WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "nnsight", "sae_lens", "h5py"}:
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Refuse())
from emovec_sae.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""A machine that has none of the heavy packages."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "figures"
    for name, place, options in (("specificity", "a", {"arm": "raw", "level": 0.1}), ("curves", "b", {"title": "T"})):
        frame = FRAMES[name]()
        chart = charts.draw(name, frame, **options)
        facts = {"seed": 3, "run": "some run"}
        words = f"Caption of {name}, written by hand."
        charts.save_chart(chart, folder / place, f"my_{name}", table=frame, provenance=facts, caption=words)
    return folder


def test_without_torch_the_command_draws_the_same_picture(stored: Path, tmp_path: Path) -> None:
    asked = ["figures", "--from", str(stored / "a" / "my_specificity.parquet"), "--out", str(tmp_path), "--json"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])["figures"]) == 8
    for kind in ("svg", "vl.json", "caption.md", "csv"):
        before = (stored / "a" / f"my_specificity.{kind}").read_bytes()
        assert (tmp_path / f"my_specificity.{kind}").read_bytes() == before, kind
    told = json.loads((tmp_path / "my_specificity.provenance.json").read_text())
    assert told["drawing"] == {"family": "specificity", "options": {"arm": "raw", "level": 0.1}, "width": "double"}
    assert (told["seed"], told["run"]) == (3, "some run")


def test_a_table_by_itself_needs_its_family_and_gets_a_caption_from_its_numbers(stored: Path, tmp_path: Path) -> None:
    alone = tmp_path / "table.csv"
    shutil.copy(stored / "a" / "my_specificity.csv", alone)
    with pytest.raises(ConfigError, match="--family"):
        redraw(alone, tmp_path / "out")
    redraw(alone, tmp_path / "out", family="specificity")
    assert (tmp_path / "out" / "table.caption.md").read_text().startswith("Mean change of the log-odds")
    record = json.loads((tmp_path / "out" / "table.provenance.json").read_text())
    assert record["redrawn"]["table"] == "table.csv"


def test_a_changed_table_gets_another_caption_and_says_what_it_was(stored: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(stored / "a", tmp_path / "a")
    frame = pd.read_parquet(copy / "my_specificity.parquet")
    frame["effect"] *= 2
    frame.to_parquet(copy / "my_specificity.parquet", index=False)
    redraw(copy / "my_specificity.parquet", tmp_path / "out")
    assert "3.00 nats" in (tmp_path / "out" / "my_specificity.caption.md").read_text()
    record = json.loads((tmp_path / "out" / "my_specificity.provenance.json").read_text())
    assert record["before"]["seed"] == 3


def test_a_folder_is_drawn_in_its_places(stored: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    files = redraw(stored, tmp_path / "out", width="single", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert {path.parent.name for path in files} == {"a", "b"}
    record = json.loads((tmp_path / "out" / "b" / "my_curves.provenance.json").read_text())
    assert record["drawing"]["width"] == "single"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["figures"], "nothing to draw"),
        (["figures", "--from", "no.parquet", "--out", "x"], "there is no table no.parquet"),
        (["figures", "--from", "a.txt", "--out", "x"], "NAME.parquet or NAME.csv"),
        (["figures", "--from", "no.parquet"], "--out"),
        (["figures", "run", "--from", "no.parquet", "--out", "x"], "not both"),
        (["figures", "run", "--family", "curves"], "--family goes with --from"),
        (["figures", "nowhere"], "is no run"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in told
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_table_or_lacks_a_column_is_refused(stored: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match="cannot be read as a table"):
        redraw(broken, tmp_path / "out", family="curves")
    with pytest.raises(ConfigError, match="chart 'k90' needs"):
        redraw(stored / "b" / "my_curves.csv", tmp_path / "out", family="k90")
    with pytest.raises(StoreError, match="holds no figure"):
        redraw(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
