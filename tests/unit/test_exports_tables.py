"""Decompositions as tables with units, SAEs as sae-lens reads them, and lists on Neuronpedia."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
import torch
from memory_store import SITE, plant, planted_coder

from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.pursuits import PURSUITS
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.exports.neuronpedia import neuronpedia_id, neuronpedia_list
from emovec_sae.exports.sae import export_sae_lens
from emovec_sae.exports.table import export_table
from emovec_sae.provenance import file_digest
from emovec_sae.saes.load import load_sae

KNOWN = "gemma-scope-2b-pt-res-canonical/layer_12/width_16k/canonical"


@cache
def found(method: str = "contrast"):
    planted = plant(noise=0.3, emotions=3, groups=4)
    vectors = fit_directions(planted.store, site=str(SITE))
    return decompose(vectors, planted_coder(planted), planted.store, method=method, k=4, nulls=4)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("method", ["contrast", *PURSUITS])
def test_a_table_says_all_and_in_which_units(tmp_path: Path, method: str, suffix: str) -> None:
    parts = found(method)
    path = export_table(parts, tmp_path / f"t{suffix}")
    read = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    pd.testing.assert_frame_equal(read, parts.frame(), check_dtype=False, check_exact=True)
    told = json.loads((tmp_path / "t.units.json").read_text())
    assert list(told["columns"]) == list(read.columns)
    assert all(one["unit"] and one["meaning"] for one in told["columns"].values())
    assert told["sha256"] == file_digest(path)
    assert (told["method"], told["k"], told["site"], told["interval"]) == (method, 4, str(SITE), parts.interval)
    assert told["sae"]["fingerprint"] == parts.sae_fingerprint


def test_a_saved_decomposition_is_never_torn_apart(tmp_path: Path) -> None:
    parts = found()
    saved = parts.save(tmp_path / "d.parquet")
    for force in (False, True):
        with pytest.raises(ConfigError, match="belongs to a saved decomposition"):
            export_table(parts, saved, overwrite=force)
    export_table(parts, tmp_path / "d.csv")  # beside it is fine: the sidecar has another name
    with pytest.raises(ConfigError, match=r"d.csv' exists"):
        export_table(parts, tmp_path / "d.csv")
    export_table(parts, tmp_path / "d.csv", overwrite=True)
    with pytest.raises(ConfigError, match=r"ends in .parquet or .csv, got 'd.xlsx'"):
        export_table(parts, tmp_path / "d.xlsx")


def test_sae_lens_reads_the_copy_and_computes_the_same(tmp_path: Path) -> None:
    from sae_lens import SAE

    planted = plant(noise=0.3)
    ours = planted_coder(planted, facts={"model": {"name": "planted", "fingerprint": "9" * 64}, "files": {"x": "y"}})
    out = export_sae_lens(ours, tmp_path / "out", model_name="owner/planted")
    theirs = SAE.load_from_disk(out, device="cpu")
    x = torch.from_numpy(planted.store.texts[0])
    with torch.no_grad():
        latents = theirs.encode(x)
        assert torch.equal(latents, ours.sae.encode(x))
        assert (latents > 0).any()
        assert torch.equal(theirs.decode(latents), ours.sae.decode(latents))
    assert theirs.cfg.metadata.hook_name == SITE.hook_name
    assert theirs.cfg.metadata.model_name == "owner/planted"
    assert theirs.cfg.normalize_activations == "none"
    again = load_sae(out)
    assert (again.fingerprint, again.site) == (ours.fingerprint, SITE)
    assert again.model["fingerprint"] == "9" * 64
    assert "files" not in again.facts  # hashes of other files than these
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


def test_a_copy_that_computes_otherwise_is_refused(tmp_path: Path, monkeypatch) -> None:
    from emovec_sae.exports import sae as room

    def off(folder, **options):
        coder = load_sae(folder, **options)
        coder.sae.b_dec.data[0] += 1
        return coder

    monkeypatch.setattr(room, "load_sae", off)
    with pytest.raises(MismatchError, match=r"does not encode as it does; nothing was written"):
        export_sae_lens(planted_coder(plant()), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_existing_files_stay(tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text("mine")
    with pytest.raises(ConfigError, match=r"cfg.json' exists"):
        export_sae_lens(planted_coder(plant()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cfg.json"]


def features(url: str) -> tuple[str, list[dict[str, str]]]:
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "www.neuronpedia.org", "/quick-list/")
    told = parse_qs(parts.query)
    return told["name"][0], json.loads(told["features"][0])


def test_a_list_on_neuronpedia_names_the_latents_by_rank() -> None:
    parts = replace(found(), sae=KNOWN)
    name, listed = features(neuronpedia_list(parts, "e1", k=3))
    assert name == f"e1: contrast at {SITE}"
    ranks = parts.ranks.query("emotion == 'e1' and rank <= 3").sort_values("rank")
    assert [one["index"] for one in listed] == [str(latent) for latent in ranks["latent"]]
    assert {(one["modelId"], one["layer"]) for one in listed} == {("gemma-2-2b", "12-gemmascope-res-16k")}
    assert features(neuronpedia_list(parts, "e1", title="a & b = c #1"))[0] == "a & b = c #1"


def test_the_list_is_sae_lens_s_own(monkeypatch) -> None:
    """Its helper opens a browser and returns the address; model and spaces in the JSON are the only differences."""
    import sys
    import types

    monkeypatch.setitem(sys.modules, "webbrowser", types.SimpleNamespace(open=lambda _: None))
    from sae_lens.analysis import neuronpedia_integration as theirs

    monkeypatch.setattr(theirs, "webbrowser", types.SimpleNamespace(open=lambda _: None))
    parts = replace(found(), sae=KNOWN)
    latents, _ = parts.latents("e1")
    metadata = types.SimpleNamespace(neuronpedia_id=neuronpedia_id(KNOWN), model_name="gemma-2-2b")
    sae = types.SimpleNamespace(cfg=types.SimpleNamespace(metadata=metadata))
    url = theirs.get_neuronpedia_quick_list(sae, [int(one) for one in latents], name="x")
    assert urlsplit(url).path == "/quick-list/"
    assert json.loads(parse_qs(urlsplit(url).query)["features"][0]) == features(neuronpedia_list(parts, "e1"))[1]


def test_every_page_of_the_catalogue_has_a_model_and_a_source() -> None:
    from emovec_sae.saes.directory import releases

    known = {(one.name, name): entry["neuronpedia"] for one in releases().values() for name, entry in one.saes.items()
             if entry.get("neuronpedia")}  # fmt: skip
    assert len(known) > 2000
    assert all(told.count("/") == 1 for told in known.values())
    assert all(neuronpedia_id(f"{release}/{name}") == told for (release, name), told in known.items())
    one = releases()["gemma-scope-2b-pt-res-canonical"]
    path = one.path("layer_12/width_16k/canonical")
    assert neuronpedia_id(f"{one.repo}/{path}") == neuronpedia_id(KNOWN)  # the same by its repository
    assert neuronpedia_id(f"{one.repo}/no/such/folder") is None
    assert neuronpedia_id("nobody/repo") is None


def test_an_sae_that_is_not_there_has_no_list() -> None:
    parts = found()
    assert neuronpedia_id(parts.sae) is None
    assert neuronpedia_id("gpt2-small-res-jb/no-such-id") is None
    with pytest.raises(ConfigError, match="SAE 'planted' is not on Neuronpedia"):
        neuronpedia_list(parts, "e1")
    with pytest.raises(ConfigError, match="'e9' was not decomposed"):
        neuronpedia_list(replace(parts, sae=KNOWN), "e9")


def test_an_sae_under_another_name_says_itself_where_it_is() -> None:
    parts = found()
    planted = plant(noise=0.3, emotions=3, groups=4)
    coder = planted_coder(planted, facts={"neuronpedia": "m/0-res"})
    assert {one["modelId"] for one in features(neuronpedia_list(parts, "e0", sae=coder))[1]} == {"m"}
    with pytest.raises(MismatchError, match="not the SAE of this decomposition"):
        neuronpedia_list(parts, "e0", sae=planted_coder(plant(seed=5)))
