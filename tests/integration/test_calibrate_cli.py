"""emovec calibrate on a tiny model: every way to match, the break-down, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emovec_sae.cli.main import main
from emovec_sae.testing import tiny_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and directions of two emotions."""
    folder = tmp_path_factory.mktemp("dose")
    tiny_folder(folder / "model")
    options = ["--model", str(folder / "model"), "--sites", "resid_post.1", "--pool", "mean", "--limit", "24"]
    stories = ["record", "stories", "--emotions", "happy,sad", *options]
    assert main([*stories, "--out", str(folder / "acts")]) == 0
    assert main(["fit", str(folder / "acts"), "--site", "resid_post.1", "--out", str(folder / "d.safetensors")]) == 0
    return folder


def run(work: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    common = ["calibrate", str(work / "d.safetensors"), "--emotion", "happy", "--model", str(work / "model")]
    assert main([*common, *options, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize(("match", "level"), [("norm", 0.2), ("perplexity", 1.1), ("kl", 0.05)])
def test_every_match_reaches_its_level(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], match: str, level: float
) -> None:
    out = tmp_path / "dose.json"
    dose = run(work, capsys, "--match", match, "--level", str(level), "--out", str(out))
    assert dose["match"] == match
    # perplexity may fall at first; where its level is reached is found, or said not to be
    floor = 1 if match == "perplexity" else 0
    assert dose["reached"] == (abs((dose["value"] - floor) / (level - floor) - 1) <= 0.02)
    if match != "perplexity":
        assert dose["reached"]
    if match == "norm":
        assert dose["strength"] == pytest.approx(0.2, rel=0.02)
    assert json.loads(out.read_text())[match] == dose["value"]


def test_breakdown(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "texts.parquet"
    found = run(work, capsys, "--breakdown", "--strengths", "0.1", "--strengths", "30", "--out", str(out))
    assert set(found["points"]) == {"not clean", "collapsed"}
    assert {row["dose"] for row in found["shares"]} == {0, 0.1, 30}
    assert len(pd.read_parquet(out)) == found["shares"][0]["n"] * 3
    assert "provenance" in json.loads(out.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--match", "perplexity", "--level", "0.9"], "must be above 1"),
        (["--match", "kl", "--level", "-1"], "must be above 0"),
        (["--match", "norms"], "norms"),
        (["--breakdown", "--strengths", "-0.2"], "--strengths must be numbers above 0, got -0.2"),
        (["--breakdown", "--out", "x.json"], "name it .parquet"),
    ],
)
def test_bad_input_is_one_line(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    common = ["calibrate", str(work / "d.safetensors"), "--emotion", "happy", "--model", str(work / "model")]
    capsys.readouterr()
    assert main([*common, *options]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert not list(tmp_path.iterdir())
