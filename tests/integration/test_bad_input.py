"""Bad input at the command line: exit code 2, one clear line on standard error, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emovec_sae.cli.main import main
from emovec_sae.testing import tiny_folder

STORY = "The whole long evening went by and nobody in the house said a single word about it. "


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tiny models, a corpus, its activations and directions, and a small SAE."""
    folder = tmp_path_factory.mktemp("work")
    tiny_folder(folder / "one", seed=0)
    tiny_folder(folder / "two", seed=1)
    rows = [
        {"id": f"{emotion}.{group}", "text": f"{STORY}{word} {group}", "emotion": emotion, "group": group}
        for emotion, word in (("afraid", "Dark."), ("happy", "Sun!"), ("sad", "Rain?"))
        for group in ("g1", "g2", "g3")
    ]
    (folder / "texts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    options = ["--model", str(folder / "one"), "--sites", "resid_post.1", "--pool", "mean", "--pool", "none"]
    assert main(["record", str(folder / "texts.jsonl"), *options, "--out", str(folder / "acts")]) == 0
    assert main(["fit", str(folder / "acts"), "--site", "resid_post.1", "--out", str(folder / "d.safetensors")]) == 0
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused; returns its one line."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]


def record(corpus: Path, out: Path, model: Path | str) -> list[str]:
    return ["record", str(corpus), "--model", str(model), "--sites", "resid_post.1", "--out", str(out)]


def test_unknown_model(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *record(work / "texts.jsonl", tmp_path / "a", "smollm2-135-instruct"))
    assert "did you mean 'smollm2-135m-instruct'" in line
    assert not (tmp_path / "a").exists()


def test_unknown_emotion(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--emotion", "hapy", "--prompt", "Hi", "--strength", "0.1", "--model", str(work / "one")]
    line = refused(capsys, "steer", str(work / "d.safetensors"), *options)
    assert "hapy" in line
    assert "did you mean 'happy'" in line


def test_corpus_without_text(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.csv").write_text("id,txt\n1,hello\n")
    line = refused(capsys, *record(tmp_path / "c.csv", tmp_path / "a", work / "one"))
    assert "c.csv" in line
    assert "text" in line
    assert not (tmp_path / "a").exists()


def test_empty_corpus(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.jsonl").write_text("")
    line = refused(capsys, *record(tmp_path / "c.jsonl", tmp_path / "a", work / "one"))
    assert "c.jsonl" in line
    assert not (tmp_path / "a").exists()


def test_text_without_tokens_to_pool(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"id": "short", "text": "Hi."}))
    line = refused(capsys, *record(tmp_path / "c.jsonl", tmp_path / "a", work / "one"))
    assert "'short'" in line
    assert "no token left" in line
    assert not (tmp_path / "a").exists()


def test_directions_of_another_model(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--emotion", "happy", "--prompt", "Hi", "--strength", "0.1", "--model", str(work / "two")]
    line = refused(capsys, "steer", str(work / "d.safetensors"), *options)
    assert "one" in line
    assert "two" in line


def test_truncated_shard(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acts = shutil.copytree(work / "acts", tmp_path / "acts")
    shard = acts / "shard-00000.h5"
    shard.write_bytes(shard.read_bytes()[:-100])
    line = refused(capsys, "fit", str(acts), "--site", "resid_post.1", "--out", str(tmp_path / "d.safetensors"))
    assert "shard-00000.h5" in line
    assert "verify" in line
    assert not list(tmp_path.glob("d.*"))
    assert "1 of 1" in refused(capsys, "verify", str(acts))


def test_misspelt_key_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text("seed: 1\nrecording:\n  sitez: resid_post.1\n")
    line = refused(capsys, "run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"))
    assert "s.yaml, line 3" in line
    assert "did you mean 'sites'" in line
    assert not (tmp_path / "run").exists()


def test_a_second_recording_into_the_same_folder_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *record(work / "texts.jsonl", work / "acts", work / "two"))
    assert "another recording" in line


def test_a_site_that_does_not_exist(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", str(work / "one"), "--sites", "resid_post.7", "--out", str(tmp_path / "a")]
    assert "3 blocks" in refused(capsys, "record", str(work / "texts.jsonl"), *options)


def test_a_folder_without_an_sae_is_refused(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no").mkdir()
    options = ["--sae", str(tmp_path / "no"), "--activations", str(work / "acts"), "--out", str(tmp_path / "x.parquet")]
    assert "holds no SAE" in refused(capsys, "decompose", str(work / "d.safetensors"), *options)
    assert not list(tmp_path.glob("x.*"))


def test_unknown_verb_and_missing_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert "record" in refused(capsys, "recrod")
    assert "--sites" in refused(capsys, "record", "stories", "--out", "nowhere")
