"""emovec patch: all that can be patched, from files; and what it refuses, in one line and with nothing written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from emovec_sae.cli.main import main
from emovec_sae.saes.jump_relu import jump_relu
from emovec_sae.saes.load import load_sae
from emovec_sae.sites import Site
from tests.unit.patching_planted import directions, pair, planted


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The planted model, its directions, SAE and decomposition, and six pairs, all as files."""
    folder, known = tmp_path_factory.mktemp("patch"), planted()
    known.model.module.save_pretrained(str(folder / "model"))
    known.model.tokens.tokenizer.save_pretrained(str(folder / "model"))
    directions(known).save(folder / "d.safetensors")
    known.sae.sae.save_model(str(folder / "sae"))
    known.parts.save(folder / "parts.parquet")
    some = [pair(id=str(i), source=f"the {a}xn ran", target=f"the {a}zn ran") for i, a in enumerate("bcdfg")]
    some.append(pair(id="long", source="the xxn ran", target="the zn ran"))
    pd.DataFrame(some).to_json(folder / "pairs.jsonl", orient="records", lines=True)
    pd.DataFrame(some).to_csv(folder / "pairs.csv", index=False)
    pd.DataFrame(some).to_parquet(folder / "pairs.parquet", index=False)
    return SimpleNamespace(
        folder=folder, pairs=str(folder / "pairs.jsonl"), model=["--model", str(folder / "model")],
        directions=["--directions", str(folder / "d.safetensors")],
        latents=["--sae", str(folder / "sae"), "--decomposition", str(folder / "parts.parquet")],
    )  # fmt: skip


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capsys.readouterr()
    assert main(["patch", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_all_that_can_be_patched_in_one_table(
    work: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whats = ["residual", "direction", "subspace", "latents", "attn", "mlp", "random-direction", "random-latents"]
    options = [part for what in whats for part in ("--what", what)] + ["--k", "3", "--k", "1"]
    out = tmp_path / "p.parquet"
    found = told(capsys, work.pairs, *work.model, *work.directions, *work.latents, *options, "--out", str(out))
    assert found["pairs"] == 5
    assert found["skipped"] == 1
    assert found["what"][:6] == ["residual", "direction", "subspace", "k=3", "k=1", "attn_out"]
    at = {(row["what"], row["where"]): row["recovered"] for row in found["recovered"] if row["layer"] == 1}
    for what in ("residual", "direction", "k=3", "mlp_out"):
        assert at[(what, "changed word")] == pytest.approx(1, abs=1e-3)
    assert len(pd.read_parquet(out)) > 0
    assert json.loads((tmp_path / "p.json").read_text())["skipped"] == [{"pair": "long", "reason": "11 and 10 tokens"}]


def test_what_carries_it_at_several_sites_in_one_command(
    work: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    below = Site("resid_post", 0)  # nothing is written there yet
    directions(planted(), below).save(tmp_path / "d0.safetensors")
    rows = planted().sae.directions.numpy().astype(float)
    early = jump_relu(rows, np.linalg.pinv(rows), np.zeros(len(rows)), threshold=0.05, site=below, name="early")
    early.sae.save_model(str(tmp_path / "sae0"))
    early = load_sae(tmp_path / "sae0")
    replace(planted().parts, site=below, sae_fingerprint=early.fingerprint).save(tmp_path / "parts0.parquet")
    whats = ["residual", "direction", "latents", "matched-direction", "matched-latents", "random-latents"]
    options = [part for what in whats for part in ("--what", what)] + ["--k", "1", "--k", "3", "--positions", "spans"]
    options += ["--directions", str(tmp_path / "d0.safetensors"), "--sae", str(tmp_path / "sae0")]
    options += ["--decomposition", str(tmp_path / "parts0.parquet"), "--sites", "resid_post.0-1"]
    out, figures = tmp_path / "c.parquet", tmp_path / "figures"
    found = told(capsys, work.pairs, *work.model, *work.directions, *work.latents, *options, "--out", str(out),
                 "--figures", str(figures))  # fmt: skip
    at = {(row["what"], row["layer"]): row for row in found["recovered"] if row["where"] == "changed word"}
    whats = {"residual", "direction", "k=1", "k=3", "random, as far as direction", "random, as far as k=1",
             "random, as far as k=3", "random, k=1", "random, k=3"}  # fmt: skip
    assert set(at) == {(what, layer) for what in whats for layer in (0, 1)}
    for what in ("direction", "k=3"):
        assert at[what, 1]["recovered"] == pytest.approx(1, abs=1e-3)
        assert abs(at[what, 0]["recovered"]) < 0.1
    assert {one.name for one in figures.iterdir()} >= {"c.svg", "c.pdf", "c.png", "c.csv", "c.caption.md"}
    drawn = pd.read_parquet(figures / "c.parquet")
    assert set(drawn["what"]) == whats - {"random, as far as k=1", "random, k=1"}  # nulls of the largest k alone
    assert list(pd.read_parquet(out).columns[:8]) == [
        "pair", "family", "what", "site", "layer", "position", "part", "patched",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_pairs_of_any_format_give_the_same(
    work: SimpleNamespace, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*work.model, "--sites", "resid_post.1-2", "--noise", "--method", "both", "--align", "span"]
    found = told(capsys, str(work.folder / f"pairs.{kind}"), *options, "--out", str(tmp_path / "p.parquet"))
    assert (found["pairs"], found["mode"], found["method"]) == (6, "noise", "both")
    assert {row["kind"] for row in found["agreement"]} == {"pearson", "spearman"}
    at = {(row["site"], row["where"]): row["recovered"] for row in found["recovered"]}
    assert at[("resid_post.2", "last token")] == pytest.approx(1, abs=1e-3)


def test_the_table_for_people(work: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*work.model, "--sites", "resid_post.1", "--limit", "3", "--positions", "spans", "--method", "both"]
    assert main(["patch", work.pairs, *options, "--out", str(tmp_path / "p.parquet")]) == 0
    shown = capsys.readouterr()
    assert "changed word" in shown.out
    assert "attribution against exact" in shown.out
    assert "1 pairs skipped" in shown.err


def test_bad_input_is_refused_in_a_line(
    work: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half.jsonl"
    half.write_text(json.dumps({"source": "a b", "target": "a c", "source_answer": "x"}))
    same = tmp_path / "same.jsonl"
    same.write_text(json.dumps(pair(target=pair()["source"])))
    refused = [
        ([work.pairs, "--what", "direction"], "needs directions"),
        ([work.pairs, "--what", "latents"], "needs an SAE"),
        ([work.pairs, "--what", "latents", *work.latents[2:]], "give that with --sae"),
        ([work.pairs, "--sae-id", "layer_1"], "give that with --sae"),
        ([work.pairs, "--what", "latents", *work.latents, "--k", "9"], "k"),
        ([work.pairs, "--what", "direction", *work.directions, "--emotion", "sadd"], "did you mean 'sad'"),
        ([work.pairs, "--what", "direction", *work.directions, "--sites", "resid_post.0"], "resid_post.1"),
        ([work.pairs, "--sites", "resid_post.7"], "3 blocks"),
        ([work.pairs, "--limit", "0"], "limit is 0"),
        ([work.pairs, "--positions", "spns"], "did you mean 'spans'"),
        ([work.pairs, "--positions", "generated"], "patching generates nothing"),
        ([work.pairs, "--positions", "role:user"], "need the chat template"),
        ([work.pairs, "--positions", "span:400-410"], "lie outside of a prompt"),
        (
            [
                work.pairs,
                "--what",
                "latents",
                "--sae",
                "a",
                "--sae",
                "b",
                "--sae-id",
                "1",
                "--sae-id",
                "2",
                "--sae-id",
                "3",
            ],
            "2 --sae and 3 --sae-id",
        ),
        ([str(half)], "no column 'target_answer'"),
        ([str(same)], "are the same"),
        ([str(tmp_path / "none.jsonl")], "none.jsonl"),
    ]
    for arguments, said in refused:
        out = tmp_path / "out" / "p.parquet"
        assert main(["patch", *arguments, *work.model, "--out", str(out)]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
        assert len(lines) == 1
        assert said in lines[0]
        assert "Traceback" not in lines[0]
        assert not out.parent.exists()
    assert main(["patch", work.pairs, *work.model, "--out", str(tmp_path / "p.csv")]) == 2
    assert "must end in .parquet" in capsys.readouterr().err
