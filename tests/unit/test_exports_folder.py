"""Exported folders of directions: what the card says, that its lines run, hashes, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from directions_planted import planted, some

import emovec_sae as ev
from emovec_sae.corpora import load_corpus
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.evaluate import text_digest
from emovec_sae.directions.files import load_directions
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.exports.artefact import export_directions, open_artefact
from emovec_sae.exports.folders import MANIFEST, check_files, filled_folder, read_manifest
from emovec_sae.interventions.edits import Steer
from emovec_sae.models.hooks import edited
from emovec_sae.models.positions import locate
from emovec_sae.models.tokens import pad
from emovec_sae.provenance import file_digest, write_json
from emovec_sae.recording.record import record
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_corpus, tiny_folder


@pytest.fixture(scope="module")
def acts():
    return planted(groups=6)[0]


@pytest.fixture(scope="module")
def vectors(acts) -> DirectionSet:
    return fit_directions(
        some(acts, acts.frame["group"].isin(["g0", "g1", "g2", "g3"]).to_numpy()), site="resid_post.2"
    )


@pytest.fixture(scope="module")
def evaluated(acts, vectors):
    return vectors.evaluate(some(acts, acts.frame["group"].isin(["g4", "g5"]).to_numpy()))


@pytest.fixture(scope="module")
def evaluation(evaluated, tmp_path_factory) -> Path:
    return evaluated.save(tmp_path_factory.mktemp("evaluation") / "e.json")


def head(folder: Path) -> dict:
    """The fields of a card that the hub reads."""
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", (folder / "README.md").read_text(), re.DOTALL)[1])


def test_the_folder_holds_the_set_and_lists_itself(vectors, evaluation, tmp_path: Path) -> None:
    out = export_directions(vectors, tmp_path / "out", evaluation=evaluation)
    names = ["README.md", "directions.json", "directions.safetensors", "evaluation.json"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, MANIFEST])
    assert load_directions(out / "directions.safetensors").fingerprint == vectors.fingerprint
    assert open_artefact(out).fingerprint == vectors.fingerprint
    manifest = read_manifest(out / MANIFEST, source="here")
    assert (manifest.kind, sorted(manifest.names)) == ("directions", names)
    for one in manifest.files:
        assert (one.size, one.sha256) == ((out / one.name).stat().st_size, file_digest(out / one.name))
    check_files(out, manifest, source="here")
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


def test_the_card_says_the_numbers_that_were_measured(vectors, evaluation, tmp_path: Path) -> None:
    out = export_directions(vectors, tmp_path / "out", evaluation=evaluation, corpus="my diaries", licence="mit")
    card = (out / "README.md").read_text()
    top1 = json.loads(evaluation.read_text())["summary"]["top1"]
    assert f"| top1 | {top1['value']:.2f} [{top1['low']:.2f}, {top1['high']:.2f}], n = {top1['n']} |" in card
    assert "these directions on texts of their own; 0 texts seen in fitting" in card
    for said in ("`planted`", "`resid_post.2`", "blocks.2.hook_resid_post", "`DiffMean`", "`zscore`", "my diaries",
                 "24 of my diaries, 4 groups", "licence mit", "mean from token 5 on", vectors.fingerprint[:16],
                 f"{vectors.residual_norm:.6g}", ", ".join(vectors.emotions)):  # fmt: skip
        assert said in card, said
    assert head(out)["license"] == "mit"
    assert "base_model" not in head(out)  # 'planted' is no name of the hub


def test_an_evaluation_serves_as_it_is_as_its_file_and_as_its_content(vectors, evaluated, evaluation, tmp_path) -> None:
    told = json.loads(evaluation.read_text())
    folders = [export_directions(vectors, tmp_path / str(n), evaluation=one) for n, one in
               enumerate((evaluated, evaluation, str(evaluation), told))]  # fmt: skip
    assert {json.dumps(json.loads((one / "evaluation.json").read_text())) for one in folders} == {json.dumps(told)}
    assert len({(one / "README.md").read_text() for one in folders}) == 1


def test_what_nobody_said_is_said_to_be_unknown(vectors, tmp_path: Path) -> None:
    out = export_directions(vectors, tmp_path / "out")
    card = (out / "README.md").read_text()
    assert "None was given to the export." in card
    assert "written by not stated; licence not stated" in card
    assert head(out)["license"] == "other"
    assert not (out / "evaluation.json").exists()


def test_packaged_texts_are_known_by_their_hashes_whatever_they_are_called(vectors, tmp_path: Path) -> None:
    frame = load_corpus("stories").frame
    chosen = frame[frame["emotion"] == "afraid"]
    ours = replace(vectors, provenance={**vectors.provenance, "texts": sorted(map(text_digest, chosen["text"]))})
    card = (export_directions(ours, tmp_path / "ours", licence="mit") / "README.md").read_text()
    assert "stories (packaged with emovec_sae)" in card
    assert "a large language model" in card
    assert str(chosen["writer"].iloc[0]) in card
    assert head(tmp_path / "ours")["license"] == "mit"  # of the directions; the texts keep theirs
    assert "licence cc-by-4.0" in card
    mixed = replace(ours, provenance={**ours.provenance, "texts": [*ours.provenance["texts"], text_digest("mine")]})
    theirs = (export_directions(mixed, tmp_path / "mixed") / "README.md").read_text()
    assert "packaged" not in theirs
    assert "licence not stated" in theirs


def test_a_name_of_the_hub_is_the_base_model(vectors, tmp_path: Path) -> None:
    named = replace(vectors, model={**vectors.model, "name": "owner/some-model"})
    assert head(export_directions(named, tmp_path / "a"))["base_model"] == "owner/some-model"
    path = replace(vectors, model={**vectors.model, "name": "/home/me/model"})
    assert "base_model" not in head(export_directions(path, tmp_path / "b"))


@pytest.fixture(scope="module")
def steerable(tmp_path_factory):
    """A model on disk and directions of it, at both streams that the plain lines cover."""
    folder = tmp_path_factory.mktemp("tiny")
    model = ev.load_model(tiny_folder(folder / "model"), device="cpu", dtype="float32")
    sites = {"resid_post.1": ("mean",), "resid_pre.2": ("mean",)}
    return model, record(model, tiny_corpus(), sites=sites, out=folder / "acts", offset=5)


def code(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)\n```", (folder / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("site", ["resid_post.1", "resid_pre.2"])
def test_the_plain_lines_of_the_card_do_what_steer_does(steerable, tmp_path: Path, monkeypatch, site: str) -> None:
    model, acts = steerable
    vectors = fit_directions(acts, site=site)
    monkeypatch.chdir(export_directions(vectors, tmp_path / "out"))
    lines = code(Path())[1]
    assert len([line for line in lines.splitlines() if line and not line.startswith(("#", "import", "from"))]) <= 4
    assert len([line for line in lines.splitlines() if line and not line.startswith("#")]) <= 6
    ids, _ = locate(model.tokens, ["a river and a lamp"], ["all"], chat=False)
    batch = pad(ids, pad_id=model.tokens.pad_id)
    with torch.no_grad(), edited(model, batch, [Steer(vectors[vectors.emotions[0]], strength=0.1)]):
        ours = model.module(**batch.inputs()).logits
    blocks = model.module.model.layers
    exec(lines, {"blocks": blocks})
    try:
        with torch.no_grad():
            theirs = model.module(**batch.inputs()).logits
    finally:
        for block in blocks:
            block._forward_hooks.clear()
    # The lines divide by the norm in torch, Steer in NumPy: one unit in the last place of the added vector.
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(model.module(**batch.inputs()).logits, ours, atol=1e-2)


def test_the_package_s_own_lines_of_the_card_run(steerable, tmp_path: Path, monkeypatch, capsys) -> None:
    _, acts = steerable
    monkeypatch.chdir(export_directions(fit_directions(acts, site="resid_post.1"), tmp_path / "out"))
    exec(code(Path())[0], {})
    assert capsys.readouterr().out.strip()


def test_streams_inside_a_block_are_told_in_words(vectors, tmp_path: Path) -> None:
    inside = replace(vectors, site=Site("mlp_out", 2))
    assert "# add it to mlp_out of block 2" in code(export_directions(inside, tmp_path / "out"))[1]


def other(path: Path, evaluation: Path, **changes: object) -> Path:
    told = json.loads(evaluation.read_text())
    for place, value in changes.items():
        part, name = place.split("__")
        told[part][name] = value
    return write_json(path, told)


def test_an_evaluation_of_something_else_is_refused(vectors, evaluation, tmp_path: Path) -> None:
    cases = [
        ({"provenance__model": {"name": "x", "fingerprint": "y"}}, "not from 'x'"),
        ({"provenance__directions": "0" * 64}, "the evaluation is of directions 000000000000"),
        ({"summary__site": "resid_post.3"}, r"of resid_post.3, these directions are of resid_post.2"),
    ]
    for changes, said in cases:
        with pytest.raises(MismatchError, match=said):
            export_directions(vectors, tmp_path / "out", evaluation=other(tmp_path / "o.json", evaluation, **changes))
    (tmp_path / "o.json").write_text("{")
    with pytest.raises(ConfigError, match="is no JSON"):
        export_directions(vectors, tmp_path / "out", evaluation=tmp_path / "o.json")
    (tmp_path / "o.json").write_text("[]")
    with pytest.raises(ConfigError, match="no evaluation of directions"):
        export_directions(vectors, tmp_path / "out", evaluation=tmp_path / "o.json")
    with pytest.raises(StoreError, match="no file"):
        export_directions(vectors, tmp_path / "out", evaluation=tmp_path / "gone.json")
    assert [path.name for path in tmp_path.iterdir()] == ["o.json"]


def test_existing_files_stay_unless_told(vectors, tmp_path: Path) -> None:
    out = export_directions(vectors, tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        export_directions(vectors, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    export_directions(vectors, out, overwrite=True, corpus="other")
    assert (out / "notes.txt").read_text() == "mine"
    check_files(out, read_manifest(out / MANIFEST, source="here"), source="here")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; a folder is written"):
        export_directions(vectors, tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


def test_a_failure_leaves_no_trace(tmp_path: Path) -> None:
    def fail() -> None:
        with filled_folder(tmp_path / "out") as part:
            (part / "half").write_text("x")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert not list(tmp_path.iterdir())


TWICE = json.dumps(
    {"encoding-type": "emovec-export", "encoding-version": "1", "kind": "sae",
     "files": [{"name": "a.json", "size": 1, "sha256": ""}] * 2}
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["../x.json", "/etc/x.json", "a/b.json", "x.pkl", "x.bin", "x.pt", ".x.json", "", "x", "manifest.json",
             "a\\..\\b.json", "x.json\n", "x.py"]
)  # fmt: skip
def test_a_manifest_that_names_what_does_not_belong_is_refused(vectors, tmp_path: Path, name: str) -> None:
    out = export_directions(vectors, tmp_path / "out")
    told = json.loads((out / MANIFEST).read_text())
    told["files"].append({"name": name, "size": 1, "sha256": "0"})
    write_json(out / MANIFEST, told)
    with pytest.raises(StoreError, match="plain names that end in"):
        read_manifest(out / MANIFEST, source="there")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no list of exported files"),
        ("[]", "no list of exported files"),
        ('{"encoding-type": "x", "encoding-version": "1"}', "'x' version 1, wanted 'emovec-export'"),
        ('{"encoding-type": "emovec-export", "encoding-version": "1", "kind": "code", "files": []}', "holds 'code'"),
        ('{"encoding-type": "emovec-export", "encoding-version": "1", "kind": "sae", "files": [3]}', "no list"),
        (TWICE, "a file twice"),
    ],
)
def test_what_is_no_manifest_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(StoreError, match=said) as caught:
        read_manifest(tmp_path / MANIFEST, source="there")
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_noticed(vectors, tmp_path: Path) -> None:
    out = export_directions(vectors, tmp_path / "out")
    manifest = read_manifest(out / MANIFEST, source="there")
    data = np.frombuffer((out / "directions.safetensors").read_bytes(), np.uint8).copy()
    data[-1] ^= 1
    (out / "directions.safetensors").write_bytes(data.tobytes())
    with pytest.raises(MismatchError, match=r"there: directions.safetensors is not the file"):
        check_files(out, manifest, source="there")
    (out / "README.md").unlink()
    with pytest.raises(StoreError, match=r"lacks README.md"):
        check_files(out, manifest, source="there")
