"""The catalogue: offline, in any spelling of a model, equal to sae-lens's loaders, unknown where names are silent."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from emovec_sae.cli.main import main
from emovec_sae.errors import ConfigError, MismatchError, UnfitError
from emovec_sae.models.embedded import EMBEDDED
from emovec_sae.saes.catalogue import by_model, by_release, catalogue, listed
from emovec_sae.saes.describe import width_of
from emovec_sae.saes.directory import releases
from emovec_sae.saes.hooks import site_of_hook, site_of_hooks
from emovec_sae.saes.model_names import same_spelling
from emovec_sae.sites import Site


@pytest.fixture(scope="module")
def everything():
    return catalogue()


@pytest.fixture(scope="module")
def config_getters():
    """sae-lens's functions that tell an SAE's configuration from names alone."""
    from sae_lens.loading.pretrained_sae_loaders import NAMED_PRETRAINED_SAE_CONFIG_GETTERS

    names = ("gemma_2", "gemma_2_transcoder", "qwen_scope", "goodfire", "deepseek_r1")
    return {name: NAMED_PRETRAINED_SAE_CONFIG_GETTERS[name] for name in names}


def test_every_sae_of_sae_lens_is_there_once(everything):
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    theirs = {
        (release, str(sae_id), path)
        for release, entry in get_pretrained_saes_directory().items()
        for sae_id, path in entry.saes_map.items()
    }
    assert set(everything[["release", "sae_id", "path"]].itertuples(index=False, name=None)) == theirs
    assert len(everything) == len(theirs)


def test_site_width_and_model_are_those_of_sae_lenss_loaders(everything, config_getters):
    """Every SAE whose configuration sae-lens has without a file: 3,406 of them."""
    rows = everything[everything["layout"].isin(config_getters)]
    assert len(rows) > 3000
    for row in rows.itertuples():
        config = config_getters[row.layout](row.repo, row.path, "cpu")
        assert (row.d_sae, row.model) == (config["d_sae"], config["model_name"]), row
        try:
            site = str(site_of_hook(config["hook_name"]))
        except UnfitError:
            site = None
        assert (None if pd.isna(row.site) else row.site) == site, row
        assert row.usable == (site is not None and "transcoder" not in row.layout), row


def test_l0_is_missing_where_sae_lens_says_nought(everything):
    rows = everything.set_index(["release", "sae_id"])
    assert rows.loc[("gemma-scope-2-270m-it-res", "layer_12_width_16k_l0_medium"), "l0"] == 60
    assert rows.loc[("gemma-scope-2b-pt-res-canonical", "layer_0/width_16k/canonical"), "l0"] == 105  # by its path
    assert pd.isna(rows.loc[("llama-3.1-8b-instruct-andyrdt", "resid_post_layer_11_trainer_1"), "l0"])
    assert pd.isna(rows.loc[("llama-3.1-8b-instruct-andyrdt", "resid_post_layer_11_trainer_1"), "d_sae"])
    assert not (everything["l0"] == 0).any()


@pytest.mark.parametrize(
    ("release", "sae_id", "width"),
    [
        ("gemma-scope-2-270m-pt-res", "layer_12_width_1m_l0_medium", 2**20),
        ("gemma-scope-9b-pt-res", "layer_9/width_1m/average_l0_9", 2**20),
        ("llama_scope_lxr_8x", "l15r_8x", 32768),
        ("llama_scope_lxr_32x", "l15r_32x", 131072),
        ("qwen-scope-3.5-27b-w80k-l50", "layer0", 81920),
        ("gpt2-small-res-jb-feature-splitting", "blocks.8.hook_resid_pre_768", 768),
        ("gpt2-small-mlp-tm", "blocks.0.hook_mlp_out", 24576),
        ("gemma-2b-res-jb", "blocks.6.hook_resid_post", 16384),
        ("gpt2-small-hook-z-kk", "blocks.0.hook_z", 24576),
        ("sae_bench_gemma-2-2b_topk_width-2pow12_date-1109", "blocks.12.hook_resid_post__trainer_0", 4096),
        ("pythia-70m-deduped-res-sm", "blocks.0.hook_resid_post", None),
    ],
)
def test_widths_come_from_names_or_stay_unknown(release, sae_id, width):
    assert width_of(releases()[release], sae_id) == width


@pytest.mark.parametrize(
    ("release", "sae_id", "words"),
    [
        ("gpt2-small-res-jb", "blocks.8.hook_resid_pre", "centred writing weights"),
        ("mistral-7b-res-wg", "blocks.8.hook_resid_pre", "constant_norm_rescale"),
        ("gemma-scope-2-270m-it-att", "layer_12_width_16k_l0_big", "attention heads"),
        ("gemma-scope-2-270m-it-transcoders-all", "layer_0_width_16k_l0_big", "another site"),
        ("gpt2-small-resid-mid-v5-32k", "blocks.0.hook_resid_mid", "between attention and MLP"),
        ("gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6", "embedding"),
        ("temporal-sae-gemma-2-2b", "blocks.12.hook_resid_post", "novel part"),
        ("mwhanna-qwen3-4b-transcoders", "layer_0", "another site"),
    ],
)
def test_what_cannot_be_used_is_said_with_the_reason_and_refused_before_any_download(
    everything, tmp_path, monkeypatch, release, sae_id, words
):
    from emovec_sae.saes.load import load_sae

    row = everything[(everything["release"] == release) & (everything["sae_id"] == sae_id)].iloc[0]
    assert bool(row["usable"]) is False
    assert words in row["reason"]
    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path))
    # sockets are open to the loopback alone and huggingface_hub is offline: a download would be a ModelError
    with pytest.raises(UnfitError, match=words):
        load_sae(release, sae_id)
    assert not list(tmp_path.rglob("*"))


def test_what_only_its_configuration_knows_is_not_known(everything):
    row = everything[everything["release"] == "pythia-70m-deduped-res-sm"].iloc[0]
    assert row["usable"] is pd.NA
    assert everything.loc[everything["release"] == "llama_scope_lxr_8x", "usable"].all()


@pytest.mark.parametrize(
    ("spellings", "model"),
    [
        (("google/gemma-3-270m-it", "gemma-3-270m-it", "GEMMA-3-270m-IT", "models/gemma-3-270m-it/"),
         "google/gemma-3-270m-it"),
        (("gemma-3-270m", "google/gemma-3-270m", "google/gemma-3-270m-pt", "x/gemma-3-270m.gguf"),
         "google/gemma-3-270m"),
        (("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B-Instruct", "llama3.1-8b-it"),
         "meta-llama/Llama-3.1-8B-Instruct"),
        (("meta-llama/Llama-3.1-8B", "llama3.1-8b"), "meta-llama/Llama-3.1-8B"),
        (("gpt2", "openai-community/gpt2", "gpt2-small"), "gpt2-small"),
        (("EleutherAI/pythia-70m-deduped",), "pythia-70m-deduped"),
        (("mistralai/Mistral-7B-v0.1", "mistral-7b"), "mistral-7b"),
        (("google/gemma-2-9b-it",), "gemma-2-9b-it"),
        (("Qwen/Qwen3-1.7B",), "qwen3-1.7b"),
        (("Qwen/Qwen3-1.7B-Base",), "Qwen/Qwen3-1.7B-Base"),
    ],
)  # fmt: skip
def test_a_model_is_found_in_every_spelling(spellings, model):
    for name in spellings:
        assert {one.model for one in listed(name)} == {model}, name


def test_spellings_join_no_two_models_of_the_catalogue():
    """Except as TransformerLens joins them: its aliases are the other implementation."""
    from transformer_lens.supported_models import MODEL_ALIASES

    names = {release.model for release in releases().values()}
    assert len({same_spelling(name) for name in names}) == len(names)
    for official, aliases in MODEL_ALIASES.items():
        for name in names & set(aliases):
            assert same_spelling(official) == same_spelling(name), (official, name)


def test_embedded_gemma_is_the_base_model_and_smollm_has_none():
    assert set(EMBEDDED) == {"smollm2-135m-instruct", "gemma-3-270m"}
    assert {one.release.split("-")[4] for one in listed("gemma-3-270m")} == {"pt"}
    assert listed("smollm2-135m-instruct") == []


def test_site_and_neuronpedia(everything):
    found = listed("google/gemma-3-270m-it", "resid_post.12")
    assert {one.site for one in found} == {"resid_post.12"}
    assert {one.release for one in found} == {"gemma-scope-2-270m-it-res", "gemma-scope-2-270m-it-res-all"}
    known = {one.sae_id: one.url for one in found if one.url}
    assert known["layer_12_width_16k_l0_medium"] == (
        "https://www.neuronpedia.org/gemma-3-270m-it/12-gemmascope-2-res-16k"
    )
    assert all("medium" in sae_id for sae_id in known)
    with pytest.raises(ConfigError, match="cannot read site"):
        listed("gemma-3-270m", "layer 12")
    assert by_model(listed())["saes"].sum() == len(everything)
    summary = by_release(listed("google/gemma-3-270m-it")).set_index("release")
    assert summary.loc["gemma-scope-2-270m-it-res-all", "sites"] == "resid_post.0-17"
    assert summary.loc["gemma-scope-2-270m-it-res", "sites"] == "resid_post.5,9,12,15"
    assert (summary.loc["gemma-scope-2-270m-it-res", "l0"], summary["saes"].sum()) == ("18-150", 556)


@pytest.mark.parametrize(
    ("hook", "model", "site"),
    [
        ("blocks.12.hook_resid_post", None, "resid_post.12"),
        ("model.layers.12.output", None, "resid_post.12"),
        ("model.layers.12", None, "resid_post.12"),
        ("model.language_model.layers.12.output", None, "resid_post.12"),
        ("transformer.h.3.input", None, "resid_pre.3"),
        ("model.layers.12.post_feedforward_layernorm.output", "google/gemma-3-1b-it", "mlp_out.12"),
        ("model.layers.12.post_attention_layernorm.output", "google/gemma-3-1b-it", "attn_out.12"),
        ("model.layers.4.mlp.output", "meta-llama/Llama-3.1-8B", "mlp_out.4"),
        ("model.layers.4.self_attn.o_proj.output", "meta-llama/Llama-3.1-8B", "attn_out.4"),
    ],
)
def test_hook_names_are_sites(hook, model, site):
    assert str(site_of_hook(hook, model=model)) == site


@pytest.mark.parametrize(
    ("hook", "model", "words"),
    [
        ("blocks.3.attn.hook_z", None, "attention heads"),
        ("model.layers.3.self_attn.o_proj.input", None, "attention heads"),
        ("blocks.3.hook_resid_mid", None, "between"),
        ("hook_embed", None, "embedding"),
        ("blocks.3.ln2.hook_normalized", None, "enters the MLP"),
        ("model.layers.3.pre_feedforward_layernorm.output", "gemma-3-1b", "enters the MLP"),
        ("model.layers.3.mlp.output", "gemma-2-2b", "before the norm"),
        ("model.layers.3.post_attention_layernorm.output", "Llama-3.1-8B", "norm before the MLP"),
        ("model.layers.3.self_attn.rotary.output", None, "no site that can be recorded"),
        ("blocks.3.hook_q", None, "no site that can be recorded"),
        ("somewhere", None, "no site that can be recorded"),
    ],
)
def test_other_hooks_are_refused_with_the_reason(hook, model, words):
    with pytest.raises(UnfitError, match=words):
        site_of_hook(hook, model=model)


def test_two_hook_names_must_mean_one_site():
    assert site_of_hooks("blocks.7.hook_resid_post", "model.layers.7") == Site("resid_post", 7)
    with pytest.raises(MismatchError, match="differ"):
        site_of_hooks("blocks.7.hook_resid_post", "model.layers.8")
    with pytest.raises(MismatchError, match="give site="):
        site_of_hooks(None, None)


def test_the_verb_lists_for_people_and_machines(capsys):
    assert main(["saes", "--model", "google/gemma-3-270m-it", "--site", "resid_post.12", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["saes"]
    row = next(one for one in found if one["sae_id"] == "layer_12_width_16k_l0_medium")
    assert (row["release"], row["d_sae"], row["l0"], row["usable"]) == ("gemma-scope-2-270m-it-res", 16384, 60, True)
    assert main(["saes", "--model", "llama3.1-8b-it", "--json"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])["saes"][0]
    assert (row["d_sae"], row["l0"]) == (None, None)
    assert main(["saes", "--model", "gpt2"]) == 0
    out = capsys.readouterr().out
    assert "gpt2-small-res-jb" in out
    assert "no: it was trained on a model with centred writing weights" in out
    assert main(["saes", "--model", "gemma-3-270m", "--site", "resid_post.12"]) == 0
    assert "'gemma-3-270m' is quantised" in capsys.readouterr().out
    assert main(["saes"]) == 0
    assert "google/gemma-3-270m-it" in capsys.readouterr().out
    assert main(["saes", "--model", "gemma-3-270m-itt"]) == 0
    assert "no SAE for 'gemma-3-270m-itt' (did you mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--site", "resid.12"], "unknown stream"),
        (["--sae-id", "x"], "give --fetch"),
        (["--fetch", "gpt2-small-res-jb", "--sae-id", "blocks.8.hook_resid_pre"], "centred writing weights"),
        (["--fetch", "gemma-scope-2b-pt-res", "--sae-id", "layer_0/width_16k/x"], "has no SAE"),
        (["--fetch", "a/b/c", "--sae-id", "x"], "a repository is user/repo"),
        (["--fetch", "user/repo", "--sae-id", "../x"], "no folder of repository"),
        (["--fetch", "user/repo", "--sae-id", ".."], "do not name an SAE"),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path))
    assert main(["saes", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.rglob("*"))


def test_listing_imports_neither_torch_nor_sae_lens():
    code = "import sys; from emovec_sae.saes.catalogue import catalogue; catalogue('gpt2'); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"'torch'", "'sae_lens'"} & set(done.stdout.strip("[]\n").split(", "))
