"""The score card and the single checks through the command line, on a tiny random model whose numbers mean nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emovec_sae.cli.main import main
from emovec_sae.studies.bench import load_card
from emovec_sae.testing import tiny_folder

CHECKED = ("intensity", "languages", "lens", "preferences", "scenarios", "shape", "topics")
DRAWN = ("_DRAWS", "_MANTEL", "_PERMUTATIONS", "_RESAMPLES")


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Nulls of 99 draws instead of thousands: what they say of a random model is not looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        for room in CHECKED:
            module = import_module(f"emovec_sae.directions.checks.{room}")
            for name in set(DRAWN) & set(vars(module)):
                patch.setattr(module, name, 99)
        yield


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished card."""
    folder = tmp_path_factory.mktemp("bench")
    tiny_folder(folder / "model")
    assert main(["bench", *options(folder)]) == 0
    return folder / "card"


def options(folder: Path) -> list[str]:
    chosen = ["--emotions", "core", "--groups", "demo", "--sites", "resid_post.0-1", "--pairs", "64"]
    return ["--model", str(folder / "model"), "--out", str(folder / "card"), *chosen]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The JSON object of a command that succeeds."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_card_has_every_check_with_interval_null_and_n(card: Path) -> None:
    found = load_card(card)
    checks = set(found.table["check"])
    assert checks >= {
        "topics",
        "scenarios",
        "intensity",
        "lens",
        "shape_read",
        "languages",
        "preferences",
        "diagnostics",
    }
    heads = found.table[found.table["headline"]]
    assert heads["n"].notna().all()
    assert heads[["site", "readout"]].notna().all().all()
    assert heads["low"].notna().mean() > 0.8
    assert "9 Speaker" in found.left_out
    assert pd.read_csv(card / "card.csv")["number"].tolist() == found.table["number"].tolist()
    page = (card / "card.html").read_text(encoding="utf-8")
    assert "Held-out topics" in page
    assert "<script" not in page
    for name in ("card", "topics", "scenarios", "intensity", "lens", "languages", "preferences", "learning_steer"):
        assert (card / "figures" / f"{name}.svg").stat().st_size > 1000


def test_a_random_model_tells_no_emotions_on_held_out_topics(card: Path) -> None:
    """A random network still hashes words: its top-1 stays near chance and below what the words alone give."""
    numbers = load_card(card).table.set_index(["check", "number"])["value"]
    assert numbers["topics", "top-1"] < 0.3


def test_a_finished_card_is_read_and_not_made_again(card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (card / "checks").iterdir()}
    found = told(capsys, "bench", *options(card.parent))
    assert found["checks"]["topics"]["top-1"]["n"] == 192
    assert before == {path: path.stat().st_mtime_ns for path in (card / "checks").iterdir()}


def test_two_cards_stand_side_by_side(card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "both.html"
    found = told(capsys, "bench", "--compare", str(card), str(card / "card.json"), "--out", str(page))
    assert len(found["cards"]) == 2
    assert page.read_text(encoding="utf-8").count('scope="col" class="cell"') >= 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--compare", "nowhere", "--out", "x.html"], "no score card"),
        (["--compare", "CARD"], "--out FILE.html"),
        (["--pairs", "0"], "at least 1"),
        (["--model", "nosuchmodel", "--out", "CARD2"], "nosuchmodel"),
    ],
)
def test_bad_input_is_one_line(
    card: Path, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(card) if one == "CARD" else str(tmp_path / one) if one == "CARD2" else one for one in arguments]
    assert main(["bench", *given]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert said in err[-1]
    assert not any("Traceback" in line for line in err)


def test_every_check_runs_alone(card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acts = next((card / "activations").iterdir())
    read, steer, model = (
        str(card / "directions.safetensors"), str(card / "diff_mean.safetensors"), str(card.parent / "model")
    )  # fmt: skip
    out = ["--out", str(tmp_path)]
    site = ["--site", "resid_post.1"]
    assert "battery a, top 3" in told(capsys, "check", "scenarios", read, str(acts / "scenarios"), *out)["numbers"]
    assert "right sign" in told(capsys, "check", "intensity", read, str(acts / "intensity"), *out)["numbers"]
    assert told(capsys, "check", "lens", steer, "--model", model, *out)["settings"]["top"] == 20
    assert "variance on PC1" in told(capsys, "check", "shape", read, *out)["numbers"]
    assert "mean r between sets" in told(capsys, "check", "similarity", read, steer, *out)["numbers"]
    both = [str(acts / "stories"), str(acts / "multilingual")]
    assert "across languages" in told(capsys, "check", "languages", *both, *site, *out)["numbers"]
    assert told(capsys, "check", "learning", both[0], *site, "--draws", "1", *out)["settings"]["draws"] == 1
    assert len(told(capsys, "check", "diagnose", both[0], *site, *out)["findings"]) >= 9
    prefer = [read, str(acts / "activities"), "--model", model, "--pairs", "64"]
    assert told(capsys, "check", "preferences", *prefer, *out)["numbers"]
    found = told(capsys, "check", "labels", read, both[0], "--map", "auto", *out)
    assert "top-1 of single labels" in found["numbers"]
    names = ("scenarios", "intensity", "lens", "shape", "similarity", "languages", "learning", "preferences", "labels")
    for name in names:
        assert (tmp_path / f"{name}.json").is_file()
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000


def test_checks_refuse_the_wrong_texts_in_one_line(card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acts = next((card / "activations").iterdir())
    for arguments, said in (
        (["check", "intensity", str(card / "directions.safetensors"), str(acts / "scenarios")], "record the corpus"),
        (["check", "speaker", str(acts / "scenarios"), "--site", "resid_post.1"], "other_emotion"),
        (["check", "languages", str(acts / "stories"), "--site", "resid_post.1"], "two languages"),
    ):
        capsys.readouterr()
        assert main(arguments) == 2
        assert said in capsys.readouterr().err


CHECKS = """
title: One check
checks: [lens]
models: [./model/]
emotions: [afraid, angry, happy, sad]
groups: [call, job, train]
sites: resid_post.1
"""


def test_a_study_of_checks_runs_what_it_names_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_folder(tmp_path / "model")
    study = tmp_path / "some.yaml"
    study.write_text(CHECKS)
    found = told(capsys, "run", str(study), "--out", str(tmp_path / "runs" / "some"))
    assert {row["check"] for row in found["numbers"]} == {"lens"}
    assert {row["model"] for row in found["numbers"]} == {"model"}
    assert found["seconds"]["model"] >= 0
    (bench,) = (tmp_path / "runs").glob("bench-model-*")
    assert {one.stem for one in (bench / "checks").iterdir()} == {"topics", "lens"}
    table = pd.read_csv(tmp_path / "runs" / "some" / "numbers.csv")
    assert table["number"].tolist() == [row["number"] for row in found["numbers"]]
    assert (tmp_path / "runs" / "some" / "figures" / "model_lens.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "told_of"),
    [
        ("title: a\nchecks: [shpe_steer]", "did you mean 'shape_steer'"),
        ("title: a\nchecks: [lens]\nacross: true", "name another"),
        ("title: a\nchecks: []", "checks"),
        ("title: a\nchecks: [lens]\nmodel: x", "unknown key 'model'"),
    ],
)
def test_a_wrong_study_of_checks_is_one_line(
    text: str, told_of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "wrong.yaml"
    study.write_text(text)
    assert main(["run", str(study), "--out", str(tmp_path / "runs" / "wrong")]) == 2
    assert told_of in capsys.readouterr().err
    assert not (tmp_path / "runs" / "bench-smollm2-135m-instruct").exists()


def test_compare_refuses_a_study_of_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "checks.yaml"
    study.write_text(CHECKS)
    assert main(["compare", str(study)]) == 2
    assert "emovec run" in capsys.readouterr().err
