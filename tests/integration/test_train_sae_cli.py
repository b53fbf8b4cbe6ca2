"""emovec train-sae at the command line: what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planted_stores import BARE, SITE, plant

from emovec_sae.cli.main import main
from emovec_sae.saes.load import load_sae

SMALL = ["--d-sae", "12", "--k", "2", "--batch", "16"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    plant(folder / "one")
    plant(folder / "two", texts=9, seed=1)
    plant(folder / "wide", d=8)
    return folder


def train(folder: Path, out: Path, *options: str, stores: tuple[str, ...] = ("one",), site: str = SITE) -> int:
    places = [str(folder / name) for name in stores]
    return main(["train-sae", *places, "--site", site, *SMALL, "--out", str(out), *options])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return found


def test_two_stores_two_seeds_and_the_same_command_again(
    stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--seed", "0", "--seed", "3", "--arch", "matryoshka", "--held-out", "g1", "--json"]
    assert train(stores, tmp_path / "saes", *options, stores=("one", "two")) == 0
    found = told(capsys)
    assert [(one["site"], one["seed"], one["architecture"]) for one in found["saes"]] == [
        (SITE, 0, "jumprelu"),
        (SITE, 3, "jumprelu"),
    ]
    for one in found["saes"]:
        assert one["l0"]["asked"] == 2
        assert one["l0"]["on"] == "held-out"
        # Two passes, rounded to whole batches.
        assert one["epochs"] == pytest.approx(2, abs=16 / one["unique_tokens"])
        assert {row["metric"] for row in one["held_out"]} >= {"explained_variance", "l0"}
        assert load_sae(one["out"]).facts["l0"] == one["l0"]
    assert train(stores, tmp_path / "saes", *options, stores=("one", "two")) == 0
    spoken = capsys.readouterr()
    assert "nothing to do" in " ".join(spoken.err.split())
    assert json.loads(spoken.out.strip().splitlines()[-1]) == found


def test_for_people_it_says_l0_and_passes(stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(stores, tmp_path / "sae", "--tokens", "160", "--lr", "0.001") == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert f"{tmp_path / 'sae'}: 12 latents (topk) at {SITE}, l0 2.0, 2 asked, EV" in line
    assert "unique tokens" in line
    assert line.endswith("passes")


@pytest.mark.parametrize(
    ("options", "given", "words"),
    [
        (["--arch", "topkk"], {}, "did you mean 'topk'"),
        (["--dead-after", "-1"], {}, "dead_after counts steps"),
        (["--held-out", "g77"], {}, "no text has the group 'g77'"),
        (["--tokens", "0"], {}, "must be positive"),
        (["--warm-up", "0.9"], {}, "together at most 1"),
        (["--precision", "half"], {}, "unknown precision 'half'"),
        (["--seed", "1", "--seed", "1"], {}, "can be named once"),
        ([], {"site": BARE}, "holds pooled values only"),
        ([], {"site": "resid_post.7"}, "has no site 'resid_post.7'"),
        ([], {"stores": ()}, "at least one store"),
        ([], {"stores": ("one", "wide")}, "cannot be mixed: d_model is 6 in the first store, 8 in another"),
        ([], {"stores": ("one", "three")}, "there are no activations at"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], given: Any, words: str
) -> None:
    assert train(stores, tmp_path / "sae", *options, **given) == 2
    spoken = capsys.readouterr()
    lines = [line for line in spoken.err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in spoken.err
    assert not list(tmp_path.iterdir())


def test_other_settings_are_refused_with_the_difference(
    stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(stores, tmp_path / "sae") == 0
    capsys.readouterr()
    assert train(stores, tmp_path / "sae", "--lr", "0.01") == 2
    assert "trained with other settings (lr 0.003 there, 0.01 asked)" in capsys.readouterr().err
    assert train(stores, tmp_path / "sae", "--lr", "0.01", "--overwrite") == 0
    assert load_sae(tmp_path / "sae").facts["training"]["lr"] == 0.01
