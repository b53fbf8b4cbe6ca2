"""Loading: folders, releases that are converted once, and every way in which it fails."""

from __future__ import annotations

import json

import pytest
import torch
from memory_store import SITE, plant, planted_coder

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.saes.load import catalogue, load_sae
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
    with pytest.raises(ConfigError, match=r"is a release of \d+ SAEs; name one, such as"):
        load_sae("gpt2-small-res-jb")
    with pytest.raises(ConfigError, match=r"knows no release 'gemma-scope-2b-pt-res-canonica'.*did you mean"):
        load_sae("gemma-scope-2b-pt-res-canonica", SAE_ID)
    with pytest.raises(ConfigError, match=r"has no SAE 'layer_12/width_16k/canonica'.*did you mean 'layer_1"):
        load_sae(RELEASE, "layer_12/width_16k/canonica")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no SAE"):
        load_sae(tmp_path / "empty")


def test_a_release_is_fetched_once(tmp_path, monkeypatch):
    from sae_lens import SAE

    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path / "cache"))
    asked = []

    def from_pretrained(release, sae_id, **_):
        asked.append((release, sae_id))
        return planted_coder(plant()).sae

    monkeypatch.setattr(SAE, "from_pretrained", from_pretrained)
    first, second = load_sae(RELEASE, SAE_ID), load_sae(RELEASE, SAE_ID)
    assert asked == [(RELEASE, SAE_ID)]
    assert first.fingerprint == second.fingerprint
    assert second.name == f"{RELEASE}/{SAE_ID}"
    assert second.facts["repo"] == "google/gemma-scope-2b-pt-res"


@pytest.mark.parametrize("kind", ["os", "httpx"])
def test_without_network_it_says_where_it_would_come_from(tmp_path, monkeypatch, kind):
    import httpx
    from sae_lens import SAE

    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path))

    def from_pretrained(*_, **__):
        raise OSError("no route\nto host") if kind == "os" else httpx.ConnectError("no route")

    monkeypatch.setattr(SAE, "from_pretrained", from_pretrained)
    with pytest.raises(ModelError, match=r"https://huggingface\.co/google/gemma-scope-2b-pt-res .*no route") as caught:
        load_sae(RELEASE, SAE_ID)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*"))


def test_the_catalogue_lists_releases_offline():
    table = catalogue()
    assert {"release", "sae_id", "model", "repo"} == set(table.columns)
    assert ((table["release"] == RELEASE) & (table["sae_id"] == SAE_ID)).sum() == 1
    assert len(table) > 1000
