"""emovec export at the command line: each target, --json, and bad input as one line that leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from memory_store import SITE, plant, planted_coder

from emovec_sae.cli.main import main
from emovec_sae.decomposition.api import decompose
from emovec_sae.directions.files import load_directions
from emovec_sae.directions.fit import fit_directions
from emovec_sae.interventions.edits import Steer
from emovec_sae.testing import tiny_corpus, tiny_folder, tiny_model, tiny_store


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directions of a tiny model with the model and another one, a decomposition, and its SAE."""
    folder = tmp_path_factory.mktemp("work")
    tiny_folder(folder / "one", seed=0)
    tiny_folder(folder / "two", seed=1)
    acts = tiny_store(folder / "acts", model=tiny_model(seed=0), corpus=tiny_corpus())
    fit_directions(acts, site="resid_post.1").save(folder / "d.safetensors")
    fit_directions(acts, site="resid_post.2").save(folder / "d2.safetensors")
    planted = plant(noise=0.3)
    coder = planted_coder(planted)
    vectors = fit_directions(planted.store, site=str(SITE))
    decompose(vectors, coder, planted.store, method="contrast", k=3, nulls=4).save(folder / "p.parquet")
    coder.sae.save_model(folder / "sae")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_every_target(work: Path, tmp_path: Path, capsys) -> None:
    told = run(capsys, "export", work / "d.safetensors", "--to", "safetensors", "--out", tmp_path / "s", "--model",
               work / "one")  # fmt: skip
    assert told == {"to": "safetensors", "files": [str(tmp_path / "s")]}
    assert run(capsys, "export", tmp_path / "s", "--to", "gguf", "--emotions", "e1", "--out", tmp_path / "g")["files"] \
        == [str(tmp_path / "g" / "e1.gguf")]  # fmt: skip
    for suffix in ("csv", "parquet"):
        run(capsys, "export", work / "p.parquet", "--to", suffix, "--out", tmp_path / f"t.{suffix}", "--force")
    run(capsys, "export", work / "sae", "--to", "sae-lens", "--out", tmp_path / "sae")
    told = run(capsys, "export", work / "p.parquet", "--to", "hub", "--repo", "me/parts", "--dry-run")
    assert (told["kind"], told["private"], told["url"], told["dry_run"]) == ("decomposition", True, None, True)
    assert {one["name"] for one in told["files"]} == {
        "README.md", "manifest.json", "decomposition.parquet", "decomposition.safetensors", "decomposition.json",
    }  # fmt: skip
    made = {"s", "g", "t.csv", "t.parquet", "t.units.json", "sae"}
    assert {path.name for path in tmp_path.iterdir()} == made


def test_a_mixture_by_options(work: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "m.gguf"
    run(capsys, "export", work / "d.safetensors", "--to", "gguf", "--mix", "e0=0.3", "--mix", "e2=-.2", "--out", out)
    vectors = load_directions(work / "d.safetensors")
    wanted = Steer(vectors["e0"], strength=0.3).added + Steer(vectors["e2"], strength=-0.2).added
    (tensor,) = GGUFReader(out).tensors
    assert tensor.name == "direction.1"
    np.testing.assert_allclose(tensor.data, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


CASES = {
    "no such file": (["{w}/gone.safetensors", "--to", "gguf", "--out", "{t}/x"], "no file"),
    "no such decomposition": (["{w}/gone.parquet", "--to", "csv", "--out", "{t}/x.csv"], "is missing"),
    "wrong model": (
        ["{w}/d.safetensors", "--to", "gguf", "--out", "{t}/x", "--model", "{w}/two"], "export it for its own model"),
    "several sites": (
        ["{w}/d.safetensors", "{w}/d2.safetensors", "--to", "gguf", "--out", "{t}/x"], "directions is of one site"),
    "unknown emotion": (["{w}/d.safetensors", "--to", "gguf", "--out", "{t}/x", "--emotions", "e9"], "for 'e9'"),
    "bad mixture": (["{w}/d.safetensors", "--to", "gguf", "--out", "{t}/x", "--mix", "e1:2"], "cannot read --mix e1:2"),
    "mixture of an unknown": (["{w}/d.safetensors", "--to", "gguf", "--out", "{t}/x", "--mix", "e9=1"], "for 'e9'"),
    "no out": (["{w}/d.safetensors", "--to", "gguf"], "needs --out"),
    "directions as a table": (["{w}/d.safetensors", "--to", "csv", "--out", "{t}/x.csv"], "is for a decomposition"),
    "decomposition as vectors": (["{w}/p.parquet", "--to", "gguf", "--out", "{t}/x"], "is for directions"),
    "a part of a decomposition": (["{w}/p.safetensors", "--to", "gguf", "--out", "{t}/x"], "name p.parquet"),
    "decomposition as SAE": (["{w}/p.parquet", "--to", "sae-lens", "--out", "{t}/x"], "is for an SAE"),
    "other ending": (["{w}/p.parquet", "--to", "csv", "--out", "{t}/x.txt"], "ends in .csv"),
    "no repository": (["{w}/d.safetensors", "--to", "hub", "--dry-run"], "needs --repo"),
    "no name of a repository": (["{w}/d.safetensors", "--to", "hub", "--repo", "x", "--dry-run"], "write owner/name"),
    "dry run of a file": (["{w}/d.safetensors", "--to", "gguf", "--out", "{t}/x", "--dry-run"], "for --to hub"),
    "several emotions in a list": (["{w}/p.parquet", "--to", "neuronpedia"], "a list is of one emotion"),
    "not on Neuronpedia": (["{w}/p.parquet", "--to", "neuronpedia", "--emotions", "e0"], "is not on Neuronpedia"),
    "no evaluation": (
        ["{w}/d.safetensors", "--to", "safetensors", "--out", "{t}/x", "--evaluation", "{w}/p.json"], "no evaluation"),
    "unknown target": (["{w}/d.safetensors", "--to", "onnx", "--out", "{t}/x"], "onnx"),
    "no SAE": (["{w}/acts", "--to", "sae-lens", "--out", "{t}/x"], "holds no SAE"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_leaves_nothing(work: Path, tmp_path: Path, capsys, name: str) -> None:
    given, said = CASES[name]
    before = sorted(path.name for path in work.iterdir())
    assert main(["export", *(part.format(w=work, t=tmp_path) for part in given)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in lines[0]
    assert not list(tmp_path.iterdir())
    assert sorted(path.name for path in work.iterdir()) == before


def test_existing_files_need_force(work: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "x.csv"
    out.write_text("mine")
    arguments = ["export", str(work / "p.parquet"), "--to", "csv", "--out", str(out)]
    assert main(arguments) == 2
    assert "exists and is not overwritten" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*arguments, "--force"]) == 0
    assert out.read_text().startswith("emotion,rank,latent")


def test_pull_without_a_hub_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["pull", "me/afraid", "--out", str(tmp_path / "x")]) == 2  # the tests switch the hub off
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert "the hub did not answer" in lines[0]
    assert not list(tmp_path.iterdir())
