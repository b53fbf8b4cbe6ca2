"""emovec calibrate on a tiny model: every way to match, the break-down, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from emovec_sae.cli.main import main
from emovec_sae.corpora import load_corpus
from emovec_sae.directions.files import load_directions
from emovec_sae.interventions.edits import Steer
from emovec_sae.interventions.neutral import NeutralProbe
from emovec_sae.models.generate import generate
from emovec_sae.models.load import load_model
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


def run(work: Path, capsys: pytest.CaptureFixture[str], *options: str, emotion: str = "happy") -> dict[str, Any]:
    capsys.readouterr()
    common = ["calibrate", str(work / "d.safetensors"), "--emotion", emotion, "--model", str(work / "model")]
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
    # perplexity may fall at first; where its level is reached is found, or said not to be; what it is, see below
    floor = 1 if match == "perplexity" else 0
    assert dose["reached"] == (abs((dose["value"] - floor) / (level - floor) - 1) <= 0.02)
    if match != "perplexity":
        assert dose["reached"]
    if match == "norm":
        assert dose["strength"] == pytest.approx(0.2, rel=0.02)
    assert json.loads(out.read_text())[match] == dose["value"]


def plain_perplexity(work: Path, coefficient: float) -> float:
    """Perplexity under the edit over that without, by plain transformers at the positions that the probe samples."""
    fitted = load_directions(work / "d.safetensors")
    texts = load_corpus("neutral").frame["text"].tolist()
    probe = NeutralProbe(load_model(str(work / "model")), texts, site=fitted.site, seed=0)
    module: Any = AutoModelForCausalLM.from_pretrained(work / "model", dtype=probe.model.dtype).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(work / "model")
    unit = torch.from_numpy(fitted["sad"].unit)
    found = []
    for size in (0.0, coefficient):
        added = (size * unit).to(module.dtype)

        def move(_: Any, given: Any, out: Any, added: torch.Tensor = added) -> Any:
            return (out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added

        hook = module.model.layers[fitted.site.layer].register_forward_hook(move)
        surprise = []
        for text, places in zip(probe._texts, probe.settings["places"], strict=True):
            ids = tokenizer(text, return_tensors="pt")["input_ids"][:, :32]
            with torch.no_grad():
                log_probs = module(input_ids=ids).logits[0].float().log_softmax(-1)
            surprise += [-float(log_probs[at, ids[0, at + 1]]) for at in places if at < 31]
        hook.remove()
        found.append(np.mean(surprise))
    return float(np.exp(found[1] - found[0]))


@pytest.mark.parametrize("level", [1.01, 1.02])
def test_the_perplexity_is_that_of_plain_transformers(
    work: Path, capsys: pytest.CaptureFixture[str], level: float
) -> None:
    dose = run(work, capsys, "--match", "perplexity", "--level", str(level), emotion="sad")
    assert dose["reached"]  # the other vector, happy, lowers this model's perplexity at first
    # rounding of the stream moves a ratio of perplexities by 1e-4 here, a hundredth of the smaller level
    assert plain_perplexity(work, dose["coefficient"]) == pytest.approx(dose["value"], abs=1e-3)


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


def steer(work: Path, positions: str, *, strength: str = "4") -> list[str]:
    given = ["steer", str(work / "d.safetensors"), "--emotion", "happy", "--model", str(work / "model"), "--plain"]
    return [*given, "--prompt", "The river ran", "--strength", strength, "--positions", positions]


@pytest.mark.parametrize("positions", ["all", "prompt", "generated", "last", "from:3", "span:4-9"])
def test_steer_where_it_is_told(work: Path, capsys: pytest.CaptureFixture[str], positions: str) -> None:
    capsys.readouterr()
    assert main([*steer(work, positions), "--max-new-tokens", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    fitted, model = load_directions(work / "d.safetensors"), load_model(str(work / "model"))
    edit = Steer(fitted["happy"], strength=4, positions=positions)
    assert found["positions"] == positions
    assert found["coefficient"] == pytest.approx(edit.coefficient)
    assert found["steered"] == generate(model, "The river ran", edits=[edit], max_new_tokens=4, chat=False)[0]


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        ("genrated", "did you mean 'generated'"), ("from:-1", "unknown positions 'from:-1'"),
        ("span:9-3", "hold no character"), ("span:4-90", "outside of a prompt of 13 characters"),
        ("role:usr", "did you mean 'user'"), ("role:user", "needs the chat template"),
    ],
)  # fmt: skip
def test_positions_that_the_prompt_has_not(
    work: Path, capsys: pytest.CaptureFixture[str], positions: str, said: str
) -> None:
    capsys.readouterr()
    assert main(steer(work, positions)) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
    assert len(told) == 1
    assert said in told[0]
    if positions != "span:4-90":  # texts that doses are found on are longer
        common = ["calibrate", str(work / "d.safetensors"), "--emotion", "happy", "--model", str(work / "model")]
        assert main([*common, "--positions", positions]) == 2


def test_a_dose_at_some_positions(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everywhere, at_the_end = (
        run(work, capsys, "--match", "norm", "--level", "0.05", "--positions", one)["coefficient"]
        for one in ("all", "from:16")
    )
    assert at_the_end > 1.2 * everywhere  # the length is a mean over places from the eighth token on
    assert main(["calibrate", str(work / "d.safetensors"), "--emotion", "happy", "--model", str(work / "model"),
                 "--positions", "generated"]) == 2  # fmt: skip
    assert "moves nothing in texts that are only read" in capsys.readouterr().err
