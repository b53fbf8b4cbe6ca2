"""emovec behave and check preferences --steer on the embedded model: small, and refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emovec_sae.cli.main import main
from emovec_sae.corpora import load_corpus
from emovec_sae.directions.fit import fit_directions
from emovec_sae.models.model import Model
from emovec_sae.recording.record import record
from emovec_sae.store.reader import Activations
from tests.integration.conftest import SITE


@pytest.fixture(scope="module")
def fitted(stories: Activations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_directions(stories, site=SITE).save(tmp_path_factory.mktemp("behave") / "v.safetensors")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    rows = [
        {"prompt": f"I feel that {one} is the best city. Do you agree?", "answer_a": "Yes, I do.",
         "answer_b": "No, I do not.", "group": "cities"}
        for one in ("Lyon", "Oslo", "Quito", "Kyoto")
    ]  # fmt: skip
    path = tmp_path / "cities.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.usefixtures("smollm")
def test_a_battery_of_ones_own(fitted: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cities.parquet"
    found = told(
        capsys, "behave", str(fitted), "--battery", str(own), "--emotions", "happy", "--level", "0.3",
        "--random", "1", "--no-flip", "--out", str(out),
    )  # fmt: skip
    assert found["battery"] == "cities"
    assert found["form"] == "chat"
    effects = pd.DataFrame(found["effects"])
    assert set(effects["arm"]) == {"raw", "random"}
    assert effects["reached"].all()
    assert (effects["value"].abs() > 0.001).all()
    cells = pd.read_parquet(out)
    assert len(cells) == 4 * (1 + 1)
    doses = pd.DataFrame(json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["doses"])
    assert ((doses["kl"] / 0.3 - 1).abs() < 0.021).all()


def test_preferences_under_steering(
    fitted: Path, smollm: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = load_corpus("activities").head(8)
    acts = record(smollm, some, sites={SITE: ["mean"]}, out=tmp_path / "acts", offset=1)
    assert len(acts.frame) == 8
    found = told(
        capsys, "check", "preferences", str(fitted), str(tmp_path / "acts"), "--pairs", "8", "--steer", "0.3",
        "--emotions", "happy", "--random", "1", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert {row["emotion"] for row in found["emotions"]} == {"happy", None}
    assert "position bias, nats" in found["numbers"]
    assert (tmp_path / "out" / "steered_preferences.json").is_file()
    assert (tmp_path / "out" / "steered_preferences.svg").stat().st_size > 1000


def test_bad_input_is_one_line(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "x.parquet")]
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"prompt": "a", "answer_a": "b"}\n', encoding="utf-8")
    for arguments, said in (
        (["--battery", "sycofancy", *out], "sycophancy"),
        (["--battery", str(empty), *out], "no column 'answer_b'"),
        (["--battery", "advice", "--out", str(tmp_path / "x.csv")], "must end in .parquet"),
        (["--battery", "advice", "--level", "0", *out], "above 0"),
        (["--battery", "advice", "--emotions", "hapy", *out], "happy"),
        (["--battery", "advice", "--sae", "x", *out], "--decomposition"),
    ):
        capsys.readouterr()
        assert main(["behave", str(fitted), *arguments]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1
        assert said in error[0]
    assert not list(tmp_path.glob("x*"))
