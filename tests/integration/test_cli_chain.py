"""The verbs one after another on a tiny model, each reading what the one before wrote; JSON on the last line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emovec_sae.cli.main import main
from emovec_sae.testing import tiny_folder

EMOTIONS = "afraid,angry,happy,sad"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, activations of stories and neutral texts, directions, an SAE, a decomposition."""
    folder = tmp_path_factory.mktemp("chain")
    tiny_folder(folder / "model")
    common = ["--model", str(folder / "model"), "--sites", "resid_post.1", "--pool", "mean", "--pool", "none"]
    stories = ["record", "stories", "--emotions", EMOTIONS, *common]
    assert main([*stories, "--groups", "call,job,train", "--out", str(folder / "acts")]) == 0
    assert main([*stories, "--groups", "attic,walk", "--out", str(folder / "others")]) == 0
    assert main(["record", "neutral", "--limit", "12", *common, "--out", str(folder / "neutral")]) == 0
    acts, neutral, site = str(folder / "acts"), str(folder / "neutral"), ["--site", "resid_post.1"]
    assert main(["fit", acts, "--remove-neutral", neutral, *site, "--out", str(folder / "d.safetensors")]) == 0
    training = ["--d-sae", "64", "--k", "8", "--tokens", "4096", "--held-out", "train", "--out", str(folder / "sae")]
    assert main(["train-sae", acts, *site, *training]) == 0
    parts = ["--activations", acts, "--k", "8", "--out", str(folder / "parts.parquet")]
    assert main(["decompose", str(folder / "d.safetensors"), "--sae", str(folder / "sae"), *parts]) == 0
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a verb answers with --json."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return found


def test_evaluate(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "evaluate", str(chain / "d.safetensors"), str(chain / "others"))
    assert {"top1", "top5", "auroc", "chance", "baseline", "readout", "site"} <= set(found)
    assert {"value", "low", "high", "n"} <= set(found["top1"])
    assert found["seen"] == 0
    assert told(capsys, "evaluate", str(chain / "d.safetensors"), str(chain / "acts"))["seen"] == 12


def test_passport(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "passport", str(chain / "sae"), str(chain / "others"))
    assert found["texts_trained_on"] == 0
    assert found["l0"]["value"] == pytest.approx(8.0, abs=0.5)
    assert told(capsys, "passport", str(chain / "sae"), str(chain / "acts"))["texts_trained_on"] == 8


def parts_of(chain: Path, method: str, out: Path, *more: str) -> list[str]:
    """The arguments of decompose."""
    common = ["--sae", str(chain / "sae"), "--activations", str(chain / "acts"), "--k", "4", "--nulls", "8"]
    return ["decompose", str(chain / "d.safetensors"), *common, "--method", method, "--out", str(out), *more]


@pytest.mark.parametrize("method", ["contrast", "omp", "gp", "nnls", "lasso", "cosine", "encode"])
def test_decompose(method: str, chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--yes-encode"] if method == "encode" else ["--emotions", "happy"]
    found = told(capsys, *parts_of(chain, method, tmp_path / "x.parquet", *more))
    assert {"method", "k", "error_share", "identity_error", "r2", "cosine", "count", "null"} <= set(found)
    assert found["emotions"] == (4 if method == "encode" else 1)
    assert {"value", "low", "high", "n"} <= set(found["r2"])
    nulls = {"random target", "covariance target", "permuted labels", "rotated dictionary"}
    assert set(found["null"]) == nulls | ({"shuffled rows"} if method == "contrast" else set())
    assert {"mean", "excess", "beyond"} <= set(found["null"]["permuted labels"]["r2"])
    assert (found["identity_error"] is not None) == (method == "contrast")
    assert method != "contrast" or found["identity_error"] < 1e-4


@pytest.mark.parametrize(
    ("method", "more", "line"),
    [
        ("encode", [], "refused"),
        ("omq", [], "did you mean 'omp'"),
        ("omp", ["--weights", "groups"], "option of the method 'contrast'"),
        ("contrast", ["--steps", "4"], "option of the method 'attribution'"),
        ("attribution", [], "--model"),
        ("gp", ["--k", "0"], "k must lie between"),
        ("omp", ["--nulls", "-1"], "nulls must be 0 or more"),
    ],
)
def test_decompose_refuses(
    method: str, more: list[str], line: str, chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    options = ["--sae", str(chain / "sae"), "--activations", str(chain / "acts"), "--method", method, *more]
    assert main(["decompose", str(chain / "d.safetensors"), *options, "--out", str(tmp_path / "x.parquet")]) == 2
    told_ = capsys.readouterr().err.strip().splitlines()
    assert line in told_[-1]
    assert "Traceback" not in "".join(told_)
    assert not list(tmp_path.iterdir())


def test_an_id_without_its_release_is_refused(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [str(chain / "d.safetensors"), "--emotion", "happy", "--model", str(chain / "model")]
    assert main(["steer", *common, "--strength", "1", "--prompt", "Once", "--sae-id", "layer_9"]) == 2
    assert "give that with --sae" in capsys.readouterr().err


@pytest.mark.parametrize("latents", [False, True])
def test_steer_and_calibrate(chain: Path, latents: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [str(chain / "d.safetensors"), "--emotion", "happy", "--model", str(chain / "model")]
    if latents:
        common += ["--sae", str(chain / "sae"), "--decomposition", str(chain / "parts.parquet"), "--k", "1"]
    steered = told(capsys, "steer", *common, "--strength", "4", "--prompt", "Once", "--max-new-tokens", "5", "--plain")
    assert steered["base"] != steered["steered"]
    unmoved = told(capsys, "steer", *common, "--strength", "0", "--prompt", "Once", "--max-new-tokens", "5", "--plain")
    assert unmoved["base"] == unmoved["steered"]
    dose = told(capsys, "calibrate", *common, "--level", "0.1", "--out", str(tmp_path / "dose.json"))
    assert dose["reached"]
    assert dose["kl"] == pytest.approx(0.1, rel=0.02)
    assert json.loads((tmp_path / "dose.json").read_text())["coefficient"] == dose["coefficient"]


def test_patch(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": "a", "family": "f", "source": "He was sad and", "target": "He was mad and", "source_answer": "x"}
    row |= {"target_answer": "y", "source_emotion": "sad", "target_emotion": "angry"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    options = ["--model", str(chain / "model"), "--sites", "resid_post.*", "--out", str(tmp_path / "p.parquet")]
    found = told(capsys, "patch", str(tmp_path / "pairs.jsonl"), *options)
    assert found["pairs"] == 1
    assert found["sites"] == ["resid_post.0", "resid_post.1", "resid_post.2"]
    assert {"site", "where", "recovered", "low", "high", "n"} <= set(found["recovered"][0])


def test_inventories(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"stories", "neutral"} <= {row["name"] for row in told(capsys, "corpora")["corpora"]}
    assert told(capsys, "models")["models"][0]["installed"]
    releases = told(capsys, "saes", "--model", "gemma-3-270m")["saes"]
    assert "gemma-scope-2-270m-pt-res" in {row["release"] for row in releases}


def test_verify_a_whole_store(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "verify", str(chain / "acts")) == {
        "complete": True,
        "checked": 1,
        "broken": {},
        "repaired": False,
    }


def test_naming(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["naming", str(chain / "parts.parquet"), "--sae", str(chain / "sae"), "--model", str(chain / "model")]
    found = told(capsys, *arguments, "--k", "3", "--nulls", "30", "--out", str(tmp_path / "out"))
    assert found["latents"] == 12
    assert 0 <= found["kept"] <= 1
    table = json.loads((tmp_path / "out" / "naming.json").read_text())["table"]
    assert len(table) == 12
    assert all(0 <= row["naming_auroc"] <= 1 for row in table)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--emotions", "jolly"], "'jolly' was not decomposed"),
        (["--strength", "-1"], "strength is -1"),
        (["--k", "9"], "1 to 8 latents"),
        (["--prompts", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_naming(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: Any, words: str) -> None:
    arguments = ["naming", str(chain / "parts.parquet"), "--sae", str(chain / "sae"), "--model", str(chain / "model")]
    capsys.readouterr()
    assert main([*arguments, *changed, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("emovec: ")
    assert words in line
    assert not (tmp_path / "out").exists()
