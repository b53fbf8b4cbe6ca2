"""A study that rotates over topics and asks for a grid of arms, through the command line on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import write_tiny_study

from emovec_sae.cli.main import main
from emovec_sae.decomposition.files import load_decomposition
from emovec_sae.directions.files import load_directions
from emovec_sae.interventions.comparison.result import load_comparison

INTERVENTIONS = """
interventions: {emotions: [afraid, angry, happy], arms_for: [afraid, happy], sizes: [1], random_draws: 1, level: 0.1,
  levels: [0.1], positions: 32, per_text: 8, prompts: 2, new_tokens: 4, selectors: [share, matched],
  remainders: [2], folds: 2,
  controls: [permuted, topics], fidelity: true,
  grid: [{emotions: [happy], selectors: [share, omp], sizes: [1, 2], levels: [0.2]},
    {emotions: [afraid], sizes: [2], turns: 1}]}
patching:"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file."""
    file = write_tiny_study(tmp_path_factory.mktemp("rotated"))
    text = file.read_text().replace("groups: [call, job, train]", "groups: [call, job, train, walk]")
    first, rest = text.split("interventions:")
    file.write_text(first + INTERVENTIONS.strip() + rest.split("patching:")[1])
    return file


def test_a_rotated_study_keeps_topics_apart_and_runs_its_grid(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = study.parent / "run"
    assert main(["compare", str(study), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    found = load_comparison(out / "comparison.parquet")
    kept = found.doses.assign(emotion=found.doses["emotion"].fillna("all"))
    runs = {(str(row["arm"]), str(row["emotion"]), row["level"]) for row in kept.to_dict("records")}
    arms = ("k=1", "k=1, matched", "remainder of k=2", "permuted labels", "raw, other topics")
    right = {("raw", emotion, 0.1) for emotion in ("afraid", "angry", "happy")} | {("raw", "happy", 0.2)}
    right |= {(arm, emotion, 0.1) for arm in arms for emotion in ("afraid", "happy")}
    right |= {(arm, "happy", 0.2) for arm in ("k=1", "k=2", "k=1, omp", "k=2, omp")}
    right |= {("random", "all", 0.1), ("random", "all", 0.2), ("k=2", "afraid", 0.1)}
    assert runs == right
    folds = kept[kept["arm"] != "random"].groupby(["arm", "emotion", "level"])["fold"].agg(list)
    assert folds.pop(("k=2", "afraid", 0.1)) == [0]
    assert set(folds.map(tuple)) == {(0, 1)}, "something was run twice, or not in both turns"
    assert set(told["arms"]) == {*arms, "k=2", "random"} - {"raw, other topics"}, "over both turns it is raw itself"
    assert found.effects["prompt"].nunique() == 4, "two prompts of each of two kinds"
    topics = [set(load_directions(out / "folds" / fold / "directions.safetensors").groups) for fold in "01"]
    assert topics[0] | topics[1] == {"call", "job", "train", "walk"}
    assert not topics[0] & topics[1]
    for fold, raw in zip("01", topics, strict=True):
        own = set(load_directions(out / "folds" / fold / "decomposed.safetensors").groups)
        assert own == {"call", "job", "train", "walk"} - raw
        assert load_decomposition(out / "folds" / fold / "contrast.parquet").method == "contrast"
    table = pd.read_parquet(out / "tables" / "ratios_by_fold.parquet")
    assert table[table["arm"] != "k=2"].groupby("arm")["fold"].nunique().eq(2).all()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("folds: 2", "folds: 3", "3 folds need at least 6 groups"),
        ("folds: 2", "folds: 1", "names 'topics', which needs a rotation: set interventions.folds to 2"),
        ("{emotions: [happy]", "{emotions: [sad]", "interventions.grid names 'sad', which interventions.emotions"),
        ("[share, omp]", "[share, opm]", "names 'opm' (did you mean 'omp'?)"),
        ("sizes: [1, 2], levels", "sizes: [1, 99], levels", "asks for 99 latents of an emotion"),
        ("per_text: 8", "per_text: 0", "per_text"),
    ],
)
def test_a_rotation_or_grid_that_cannot_be_run_is_refused_at_once(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    text = study.read_text()
    assert old in text
    other = study.with_name("other.yaml")
    other.write_text(text.replace(old, new))
    assert main(["compare", str(other), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert told in " ".join(error.split())
    assert not (tmp_path / "run" / "activations").exists()
