"""Push and pull over the loopback: what goes up comes down the same, and what was tampered with is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
from directions_planted import planted
from loopback_hub import COMMIT, Hub
from memory_store import SITE, plant, planted_coder

from emovec_sae.decomposition.api import decompose
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.exports.artefact import export_directions
from emovec_sae.exports.folders import MANIFEST
from emovec_sae.exports.hub import pull, push
from emovec_sae.provenance import file_digest

REPO = "me/afraid"


@cache
def directions():
    return fit_directions(planted()[0], site="resid_post.2")


@cache
def others():
    made = plant(noise=0.3)
    coder = planted_coder(made)
    vectors = fit_directions(made.store, site=str(SITE))
    return coder, decompose(vectors, coder, made.store, method="contrast", k=3, nulls=4)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hub").mkdir()
    found = Hub(tmp_path / "hub")
    found.use(monkeypatch, tmp_path / "cache")
    yield found
    found.close()


def test_directions_go_up_and_come_down_the_same(hub, tmp_path: Path) -> None:
    done = push(directions(), REPO, corpus="diaries", licence="mit")
    assert done.url == f"{hub.endpoint}/{REPO}/commit/{COMMIT}"
    there = hub.folder / REPO
    names = ["README.md", "directions.json", "directions.safetensors", MANIFEST]
    assert sorted(path.name for path in there.iterdir()) == sorted(names)
    assert {row["name"]: row["sha256"] for _, row in done.frame().iterrows()} == {
        name: file_digest(there / name) for name in names
    }
    assert f'ev.pull("{REPO}")' in (there / "README.md").read_text()
    (made,) = hub.made
    assert (made["name"], made["organization"]) == ("afraid", "me")
    assert (made.get("private"), made.get("visibility")) in ((True, None), (None, "private"))
    found = pull(REPO, out=tmp_path / "out")
    assert found.fingerprint == directions().fingerprint
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert pull(REPO).fingerprint == directions().fingerprint  # from the client's own cache
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        pull(REPO, out=tmp_path / "out")
    assert pull(REPO, out=tmp_path / "out", overwrite=True, revision=COMMIT).emotions == directions().emotions


def test_decompositions_and_saes_too(hub, tmp_path: Path) -> None:
    coder, parts = others()
    assert push(parts, "me/parts").kind == "decomposition"
    assert push(coder, "me/sae").kind == "sae"
    again = pull("me/parts", out=tmp_path / "parts")
    assert again.ranks.equals(parts.ranks)
    assert pull("me/sae").fingerprint == coder.fingerprint
    for repo, said in (("me/parts", "`contrast`, 3 latents an emotion"), ("me/sae", "`jumprelu`, 16 latents")):
        assert said in (hub.folder / repo / "README.md").read_text()
    with pytest.raises(ConfigError, match="an evaluation is of directions"):
        push(parts, "me/third", evaluation="x.json")
    assert not (hub.folder / "me" / "third").exists()


def test_a_dry_run_asks_nobody_and_needs_no_client(hub, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    told = push(directions(), REPO, dry_run=True)
    assert told.url is None
    assert told.private
    assert set(told.frame()["name"]) == {"README.md", "directions.json", "directions.safetensors", MANIFEST}
    assert (told.frame()["size"] > 0).all()
    assert not list(hub.folder.iterdir())
    assert hub.made == []
    with pytest.raises(ConfigError, match=r"pip install 'emovec_sae\[hub\]'"):
        push(directions(), REPO)
    with pytest.raises(ConfigError, match=r"pip install 'emovec_sae\[hub\]'"):
        pull(REPO)


def test_a_dry_run_lists_what_an_upload_uploads(hub) -> None:
    dry, wet = (push(directions(), REPO, dry_run=one).frame() for one in (True, False))
    # safetensors writes its metadata in any order, and the manifest carries the time: names and sizes are the same
    assert dry[["name", "size"]].equals(wet[["name", "size"]])
    assert dry["sha256"][0] == wet["sha256"][0]
    assert dry["name"][0] == "README.md"


def test_a_repository_that_holds_something_is_not_overwritten_unasked(hub) -> None:
    hub.put(REPO, ".gitattributes").write_text("")  # which the hub makes itself
    push(directions(), REPO, private=False)
    before = (hub.folder / REPO / MANIFEST).read_bytes()
    with pytest.raises(ConfigError, match=r"holds 4 files, such as README.md; .*--force"):
        push(others()[1], REPO)
    assert (hub.folder / REPO / MANIFEST).read_bytes() == before
    assert push(others()[1], REPO, overwrite=True).kind == "decomposition"
    assert pull(REPO).method == "contrast"


@pytest.mark.parametrize("repo", ["me", "me/", "/x", "me/x/y", "../x", "me/..", "me/a--b", "hf:me/x", "me/x y"])
def test_what_is_no_repository_is_refused_before_anything(hub, repo: str) -> None:
    for act in (lambda: push(directions(), repo, dry_run=True), lambda: pull(repo)):
        with pytest.raises(ConfigError, match="write owner/name"):
            act()
    assert hub.asked == []


def exported(hub, **changed: object) -> dict:
    """An export on the hub, with a manifest that can be changed."""
    export_directions(directions(), hub.folder / REPO, overwrite=True)
    path = hub.folder / REPO / MANIFEST
    told = json.loads(path.read_text()) | changed
    path.write_text(json.dumps(told))
    return told


class Bomb:
    """What a pickle can do to whoever reads it."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_nothing_of_a_stranger_s_is_run_and_nothing_leaves_the_folder(hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub.put(REPO, "x.pkl").write_bytes(pickle.dumps(Bomb()))
    listed = exported(hub)["files"]
    for name in ("x.pkl", "../../../evil.json", "/tmp/evil.json", "sub/evil.json"):
        hub.asked.clear()
        exported(hub, files=[*listed, {"name": name, "size": 1, "sha256": "0"}])
        with pytest.raises(StoreError, match="plain names that end in"):
            pull(REPO, out=tmp_path / "out")
        assert {path for _, path, _ in hub.asked} == {f"{REPO}/{MANIFEST}"}  # it was not even fetched
        shutil.rmtree(tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("damage", ["bit", "cut", "size", "gone", "kind", "pair"])
def test_what_was_tampered_with_is_refused(hub, tmp_path: Path, damage: str) -> None:
    told = exported(hub)
    path = hub.folder / REPO / "directions.safetensors"
    data = path.read_bytes()
    error, said = MismatchError, "directions.safetensors is not the file"
    if damage == "bit":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(data[:-9])
    elif damage == "size":
        files = [one | {"size": one["size"] + 1} for one in told["files"]]
        exported_again(hub, told | {"files": files})
        said = "is not the file"
    elif damage == "gone":
        path.unlink()
        error, said = StoreError, f"has no directions.safetensors: its {MANIFEST} lists it"
    elif damage == "kind":
        exported_again(hub, told | {"kind": "decomposition"})
        error, said = StoreError, "is missing; a decomposition is"
    else:  # both hashes are right, but the numbers are of another set than the words
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        changed = {"size": len(data), "sha256": file_digest(path)}
        files = [one | changed if one["name"] == path.name else one for one in told["files"]]
        exported_again(hub, told | {"files": files})
        said = "not of one pair"
    with pytest.raises(error, match=said) as caught:
        pull(REPO, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


def exported_again(hub, told: dict) -> None:
    (hub.folder / REPO / MANIFEST).write_text(json.dumps(told))


def test_what_is_not_there_is_one_clear_line(hub, monkeypatch) -> None:
    from huggingface_hub import constants

    hub.put("me/other", "README.md").write_text("# a model")
    with pytest.raises(StoreError, match=f"has no {MANIFEST}: it holds no export of this package"):
        pull("me/other")
    with monkeypatch.context() as cut:
        cut.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(StoreError, match="the hub did not answer") as caught:
            pull(REPO)
        assert "\n" not in str(caught.value)
        with pytest.raises(StoreError, match="could not be uploaded"):
            push(directions(), REPO)


def test_what_was_pulled_once_is_read_again_without_the_hub(hub, monkeypatch) -> None:
    from huggingface_hub import constants

    push(directions(), REPO)
    pull(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert pull(REPO).fingerprint == directions().fingerprint
    assert hub.asked == []
