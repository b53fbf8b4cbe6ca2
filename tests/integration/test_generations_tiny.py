"""Generations of a study through the command line, on a tiny model: tables, JSON and the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import write_tiny_study

from emovec_sae.cli.main import main

SECTION = """
generations: {arms: [raw, "k=2", "remainder of k=2", pass-through, random, instruction], levels: [0.2], prompts: 2,
  seeds: 2, new_tokens: 6, probe_site: resid_post.2}
"""


def write(folder: Path, section: str = SECTION) -> Path:
    study = write_tiny_study(folder)
    text = study.read_text().replace("selectors: [share, omp, output score, matched]", "instruction: true")
    text = text.replace("controls: [covariance, permuted, other, flipped, pass-through]", "controls: [pass-through]")
    study.write_text(text + section)
    return study


def test_a_study_lets_its_arms_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, out = write(tmp_path), tmp_path / "run"
    assert main(["compare", str(study), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    arms = {"raw", "k=2", "remainder of k=2", "pass-through", "random", "instruction"}
    # base, pass-through and one random draw write once, the other arms for each of two emotions; two texts a prompt
    assert told["generations"]["texts"] == (3 + 2 * 4) * 2 * 2
    assert {row["arm"] for row in told["generations"]["means"]} == arms
    assert {row["outcome"] for row in told["generations"]["ratios"]} == {"valence", "probe"}
    assert {"instruction", "k=2", "random"} <= set(told["arms"])
    assert 0 <= told["wrong_way"]["instruction"] <= 1
    matrix = pd.read_parquet(out / "tables" / "generation_specificity.parquet")
    assert set(matrix["emotion"]) == {"afraid", "happy"}
    assert set(matrix["scored"]) == {"afraid", "angry", "happy", "sad"}
    for name in ("generations", "generation_ratios", "generation_damage", "generation_samples"):
        assert len(pd.read_parquet(out / "tables" / f"{name}.parquet"))
    assert (out / "figures" / "generations.svg").stat().st_size > 0
    made = json.loads((out / "comparison.json").read_text())["provenance"]["instruction"]
    assert all(row["prompt_kl"] > 0 for row in made["prompt_kl"])
    before = {path: path.stat().st_mtime_ns for path in (out / "texts").rglob("*.parquet")}
    assert len(before) == 3 + 2 * 4
    (out / "tables" / "generations.parquet").unlink()
    assert main(["compare", str(study), "--out", str(out), "--json"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (out / "texts").rglob("*.parquet")}
    again = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert again["generations"] == told["generations"]
