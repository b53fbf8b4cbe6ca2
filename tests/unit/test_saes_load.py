"""Loading: folders, releases that are converted once, and every way in which it fails."""

from __future__ import annotations

import json

import pytest
import torch
from memory_store import SITE, plant, planted_coder

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.saes.load import load_sae
from emovec_sae.sites import Site

RELEASE, SAE_ID = "gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical"


@pytest.fixture
def folder(tmp_path):
    planted_coder(plant()).sae.save_model(tmp_path / "mine")
    return tmp_path / "mine"


def test_a_folder_gives_the_sae_that_was_saved(folder):
    coder, planted = load_sae(folder), plant()
    x = torch.from_numpy(planted.store.texts[0])
    torch.testing.assert_close(coder.encode(x), planted_coder(planted).encode(x))
    assert (coder.name, coder.site, coder.facts) == ("mine", SITE, {})
    assert coder.fingerprint == planted_coder(planted).fingerprint
    assert load_sae(str(folder), site="resid_post.9").site == Site("resid_post", 9)


def test_our_facts_beside_it_are_read(folder):
    (folder / "emovec.json").write_text(json.dumps({"model": {"name": "m", "fingerprint": "9" * 64}}))
    assert load_sae(folder).model == {"name": "m", "fingerprint": "9" * 64}


@pytest.mark.parametrize("damage", ["truncated", "empty", "no weights", "other shape", "no json"])
def test_a_damaged_folder_is_one_clear_error(folder, damage):
    weights, config = folder / "sae_weights.safetensors", folder / "cfg.json"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-40])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "no weights":
        weights.unlink()
    elif damage == "other shape":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"d_sae": 17}))
    else:
        config.write_text("{")
    with pytest.raises(ModelError, match="cannot read the SAE in") as caught:
        load_sae(folder)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_told_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'gpt2-small-res-jb'"):
        load_sae("gpt2-small-res-jbb")
    with pytest.raises(ConfigError, match=r"is a release of \d+ SAEs; name one .*such as"):
        load_sae("gpt2-small-res-jb")
    with pytest.raises(ConfigError, match=r"knows no release 'gemma-scope-2b-pt-res-canonica'.*did you mean"):
        load_sae("gemma-scope-2b-pt-res-canonica", SAE_ID)
    with pytest.raises(ConfigError, match=r"has no SAE 'layer_12/width_16k/canonica'.*did you mean 'layer_1"):
        load_sae(RELEASE, "layer_12/width_16k/canonica")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no SAE"):
        load_sae(tmp_path / "empty")


@pytest.fixture
def served(tmp_path, monkeypatch):
    """sae-lens's two functions that reach the network, replaced; what was asked of them, and a cache of our own."""
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders

    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path / "cache"))
    asked = []
    about = {"hook_name": "blocks.12.hook_resid_post", "model_name": "gemma-2-2b"}

    def settings(release, sae_id, **_):
        return {"architecture": "jumprelu", "normalize_activations": "none", "metadata": about}

    def from_pretrained(release, sae_id, **_):
        asked.append((release, sae_id))
        sae = planted_coder(plant()).sae
        sae.cfg.metadata.hook_name = about["hook_name"]
        return sae

    monkeypatch.setattr(pretrained_sae_loaders, "load_sae_config_from_huggingface", settings)
    monkeypatch.setattr(SAE, "from_pretrained", from_pretrained)
    return asked


def test_a_release_is_fetched_once(served):
    first, second = load_sae(RELEASE, SAE_ID), load_sae(RELEASE, SAE_ID)
    assert served == [(RELEASE, SAE_ID)]
    assert first.fingerprint == second.fingerprint
    assert second.name == f"{RELEASE}/{SAE_ID}"
    assert second.facts["repo"] == "google/gemma-scope-2b-pt-res"
    assert second.facts["neuronpedia"] == "gemma-2-2b/12-gemmascope-res-16k"
    assert second.facts["provenance"]["packages"]["sae-lens"]
    assert second.model == {"name": "gemma-2-2b"}
    assert second.site == Site("resid_post", 12)


@pytest.mark.parametrize("damage", ["bit", "truncated", "config", "no weights", "facts", "other facts", "no files"])
def test_a_damaged_copy_is_noticed_and_made_again(served, tmp_path, caplog, damage):
    whole = load_sae(RELEASE, SAE_ID).fingerprint
    (folder,) = (path.parent for path in (tmp_path / "cache").rglob("cfg.json"))
    weights, facts = folder / "sae_weights.safetensors", folder / "emovec.json"
    data = weights.read_bytes()
    if damage == "bit":
        weights.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif damage == "truncated":
        weights.write_bytes(data[:-40])
    elif damage == "config":
        (folder / "cfg.json").write_text((folder / "cfg.json").read_text() + " ")
    elif damage == "no weights":
        weights.unlink()
    elif damage == "facts":
        facts.write_text("{")
    elif damage == "other facts":
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"sae_id": "layer_12/width_16k--canonical"}))
    else:
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"files": {}}))
    assert load_sae(RELEASE, SAE_ID).fingerprint == whole
    assert len(served) == 2
    assert "is damaged" in caplog.text
    caplog.clear()
    load_sae(RELEASE, SAE_ID)
    assert (len(served), caplog.text) == (2, "")


def test_what_a_killed_conversion_left_is_cleared(served, tmp_path):
    folder = tmp_path / "cache" / "saes" / RELEASE
    left = folder / ".layer_12--width_16k--canonical.killed"
    left.mkdir(parents=True)
    (left / "cfg.json").write_text("{")
    load_sae(RELEASE, SAE_ID)
    assert {path.name for path in folder.iterdir()} == {
        "layer_12--width_16k--canonical",
        "layer_12--width_16k--canonical.lock",
    }


def test_a_copy_is_read_where_nothing_can_be_written(served, tmp_path):
    """A cache shared read-only, as on a cluster: no lock is taken for a copy that is whole."""
    load_sae(RELEASE, SAE_ID)
    (lock,) = (tmp_path / "cache").rglob("*.lock")
    lock.unlink()
    load_sae(RELEASE, SAE_ID)
    assert not list((tmp_path / "cache").rglob("*.lock"))


@pytest.mark.parametrize("kind", ["os", "httpx"])
def test_without_network_it_says_where_it_would_come_from(served, tmp_path, monkeypatch, kind):
    import httpx
    from sae_lens import SAE

    def from_pretrained(*_, **__):
        raise OSError("no route\nto host") if kind == "os" else httpx.ConnectError("no route")

    monkeypatch.setattr(SAE, "from_pretrained", from_pretrained)
    with pytest.raises(ModelError, match=r"https://huggingface\.co/google/gemma-scope-2b-pt-res .*no route") as caught:
        load_sae(RELEASE, SAE_ID)
    assert "\n" not in str(caught.value)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]


def test_a_disk_that_fails_is_no_network_that_fails(served, monkeypatch):
    from emovec_sae.saes import convert

    def full(*_, **__):
        raise OSError(28, "No space left on device", "sae_weights.safetensors")

    monkeypatch.setattr(convert, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        load_sae(RELEASE, SAE_ID)


def test_a_repository_without_a_folder_is_told():
    with pytest.raises(ConfigError, match=r"no SAE folder 'user/repo'.*--sae-id"):
        load_sae("user/repo")
