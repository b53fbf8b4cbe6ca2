"""The verbs about latents and SAEs on a tiny model, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emovec_sae.cli.main import main
from emovec_sae.testing import tiny_folder

SITE = ["--site", "resid_post.1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, tokens of stories, directions, two SAEs that differ in their seeds, decompositions."""
    folder = tmp_path_factory.mktemp("latents")
    tiny_folder(folder / "model")
    where = ["--model", str(folder / "model"), "--sites", "resid_post.1", "--pool", "mean", "--pool", "none"]
    chosen = ["--emotions", "afraid,angry,happy,sad", "--groups", "call,job,train,attic"]
    assert main(["record", "stories", *chosen, *where, "--out", str(folder / "acts")]) == 0
    acts = str(folder / "acts")
    assert main(["fit", acts, *SITE, "--out", str(folder / "d.safetensors")]) == 0
    for seed in ("0", "1"):
        training = [
            "--d-sae",
            "48",
            "--k",
            "8",
            "--tokens",
            "4096",
            "--seed",
            seed,
            "--out",
            str(folder / f"sae{seed}"),
        ]
        assert main(["train-sae", acts, *SITE, *training]) == 0
        for method in ("contrast", "omp"):
            out = ["--method", method, "--k", "6", "--nulls", "2", "--out", str(folder / f"{method}{seed}.parquet")]
            options = ["--sae", str(folder / f"sae{seed}"), "--activations", acts, "--override-passport"]
            assert main(["decompose", str(folder / "d.safetensors"), *options, *out]) == 0
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a verb answers with --json."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused; returns its one line."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err + captured.out
    return lines[0]


def source(made: Path) -> list[str]:
    return ["--sae", str(made / "sae0"), "--activations", str(made / "acts")]


def test_passport_with_the_model(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", str(made / "model"), "--texts", "6", "--out", str(tmp_path / "p.json")]
    found = told(capsys, "passport", str(made / "sae0"), str(made / "acts"), *options)
    assert {"kl", "ce", "ce_recovered", "kl_recovered"} <= set(found["splice"])
    assert found["splice"]["kl"]["zero ablation"]["value"] > 0
    assert found["splice"]["n_texts"] == 6
    assert json.loads((tmp_path / "p.json").read_text())["splice"] == found["splice"]


def test_an_unfit_sae_is_refused_or_marked(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["decompose", str(made / "d.safetensors"), *source(made), "--k", "4", "--nulls", "0"]
    command += ["--permutations", "0", "--min-explained", "0.9999", "--out", str(tmp_path / "x.parquet")]
    assert "1.00 is wanted" in refused(capsys, *command)
    assert not list(tmp_path.iterdir())
    assert told(capsys, *command, "--override-passport")["unfit"] is True
    assert (tmp_path / "x.parquet").is_file()


def test_show(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.json").write_text('{"3": "dread"}')
    command = ["latents", "show", str(made / "sae0"), str(made / "acts"), "--latent", "3", "--latent", "9"]
    command += ["--labels", str(tmp_path / "labels.json")]
    found = told(capsys, *command, "--model", str(made / "model"), "--out", str(tmp_path / "l.json"))
    assert [card["latent"] for card in found["latents"]] == [3, 9]
    assert found["latents"][0]["label"] == "dread"
    assert len(found["latents"][0]["tokens"]["up"]) == 10
    assert len(found["latents"][0]["emotions"]) == 4
    assert json.loads((tmp_path / "l.json").read_text())["latents"] == found["latents"]
    assert told(capsys, *command)["latents"][0]["tokens"] == {"up": [], "down": []}


def test_show_refuses(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["latents", "show", str(made / "sae0"), str(made / "acts")]
    assert "some of 0 to 47" in refused(capsys, *command, "--latent", "48", "--out", str(tmp_path / "l.json"))
    assert "no file of labels" in refused(capsys, *command, "--latent", "1", "--labels", str(tmp_path / "no.json"))
    tiny_folder(tmp_path / "other", seed=5)
    line = refused(capsys, *command, "--latent", "1", "--model", str(tmp_path / "other"))
    assert "the model given is" in line
    assert not (tmp_path / "l.json").exists()


def test_probe(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["latents", "probe", str(made / "sae0"), str(made / "acts"), "--folds", "2"]
    found = told(capsys, *command, "--out", str(tmp_path / "p.json"))
    names = {row["features"] for row in found["auroc"]}
    assert {"latents", "random latents", "residual dimensions", "whole residual"} <= names
    assert (tmp_path / "p.json").is_file()
    assert "did you mean 'happy'" in refused(capsys, *command, "--emotions", "hapy")


def test_agreement(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(made / "contrast0.parquet"), str(made / "omp0.parquet")]
    found = told(capsys, "latents", "agreement", *files, "--auroc", "--directions", str(made / "d.safetensors"),
                 *source(made))  # fmt: skip
    assert found["methods"] == ["contrast", "omp", "AUROC"]
    assert len(found["pairs"]) == 3
    assert found["latents"] <= 48
    assert "different SAEs" in refused(capsys, "latents", "agreement", files[0], str(made / "omp1.parquet"))
    assert "wanted together" in refused(capsys, "latents", "agreement", *files, "--auroc")


def test_stability(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["latents", "stability", str(made / "d.safetensors"), *source(made), "--resamples", "20"]
    found = told(capsys, *command, "--k", "4", "--out", str(tmp_path / "s.json"))
    assert found["groups"] == 4
    assert 0 <= found["halves"] <= 1
    assert found["expected"] == pytest.approx(4 / found["latents"])
    assert len(json.loads((tmp_path / "s.json").read_text())["summary"]) == 4
    assert "may be selected, got 400" in refused(capsys, *command, "--k", "400")


def test_match(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [str(made / "sae0"), str(made / "sae1"), "--activations", str(made / "acts")]
    parts = ["--decompositions", str(made / "contrast0.parquet"), str(made / "contrast1.parquet")]
    found = told(capsys, "latents", "match", *both, *parts, "--out", str(tmp_path / "m.json"))
    assert found["live"][0] <= 48
    assert {row["kind"] for row in found["shares"]} == {"cosine", "correlation"}
    assert 0 <= found["selected"]["matched"]["value"] <= 1
    assert (tmp_path / "m.json").is_file()
    same = told(capsys, "latents", "match", both[0], both[0], *both[2:])
    assert all(row["value"] == 1 for row in same["shares"])


def test_shared(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["latents", "shared", str(made / "contrast0.parquet"), "--draws", "4"]
    found = told(capsys, *command, "--out", str(tmp_path / "s.json"))
    assert "coefficients permuted" in found["null"]
    whole = told(capsys, *command, "--directions", str(made / "d.safetensors"), *source(made))
    assert "labels permuted" in whole["null"]
    values = [{row["number"]: row["value"] for row in one["numbers"]} for one in (found, whole)]
    assert values[0] == values[1]
    assert "wanted together" in refused(capsys, *command, "--sae", str(made / "sae0"))
