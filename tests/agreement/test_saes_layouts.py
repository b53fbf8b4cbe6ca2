"""Each layout of pretrained SAEs, through sae-lens's own loaders, from files that we made, against plain NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from loopback_hub import Hub
from safetensors.numpy import save_file

from emovec_sae.cli.main import main
from emovec_sae.errors import ConfigError, MismatchError, ModelError, UnfitError
from emovec_sae.saes.directory import Release, releases
from emovec_sae.saes.load import load_sae
from emovec_sae.sites import Site

D, M, K = 8, 24, 4
# float32 sums over 8 and 24 terms of size one, in another order
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path / "ours"))
    served = Hub(tmp_path / "hub")
    served.use(monkeypatch, tmp_path / "theirs")
    yield served
    served.close()


@pytest.fixture
def listed(monkeypatch):
    """Add a release to sae-lens's catalogue and to ours: some loaders have the widths of real models built in."""

    def add(name, layout, repo, sae_id, path, *, scale=None, **overrides):
        from sae_lens.loading.pretrained_saes_directory import PretrainedSAELookup, get_pretrained_saes_directory

        entry = {"id": sae_id, "path": path} | ({"norm_scaling_factor": scale} if scale else {})
        ours = Release(name, repo, "tiny", layout, {sae_id: entry}, overrides)
        theirs = PretrainedSAELookup(
            name, repo, "tiny", layout, {sae_id: path}, {sae_id: 1.0}, {sae_id: 0.0}, {sae_id: None},
            {sae_id: scale} if scale else {}, overrides,
        )  # fmt: skip
        monkeypatch.setitem(releases(), name, ours)
        monkeypatch.setitem(get_pretrained_saes_directory(), name, theirs)

    return add


def weights(seed, *, d=D):
    rng = np.random.default_rng(seed)
    return {
        "enc": rng.normal(size=(d, M)).astype(np.float32),
        "dec": (rng.normal(size=(M, d)) * rng.uniform(0.3, 3, size=(M, 1))).astype(np.float32),
        "b_enc": rng.normal(size=M).astype(np.float32) * 0.3,
        "b_dec": rng.normal(size=d).astype(np.float32),
        "threshold": rng.uniform(0.2, 2, size=M).astype(np.float32),
    }


def inputs(d=D):
    return np.random.default_rng(9).normal(size=(50, d)).astype(np.float32) * 2


def jump(x, w, *, centre=False):
    before = (x - w["b_dec"] if centre else x) @ w["enc"] + w["b_enc"]
    return np.where(before > w["threshold"], np.maximum(before, 0), 0)


def top(x, w, *, centre=False):
    before = (x - w["b_dec"] if centre else x) @ w["enc"] + w["b_enc"]
    least = np.sort(before, axis=1)[:, -K, None]
    return np.where(before >= least, np.maximum(before, 0), 0)


def gemma_2(hub, listed):
    w = weights(2)
    repo, path = "google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_9"
    names = {"w_enc": "enc", "w_dec": "dec", "b_enc": "b_enc", "b_dec": "b_dec", "threshold": "threshold"}
    np.savez(hub.put(repo, f"{path}/params.npz"), **{theirs: w[ours] for theirs, ours in names.items()})
    listed("tiny-gemma-2", "gemma_2", repo, "one", path, d_in=D, d_sae=M)
    return "tiny-gemma-2", "one", w, jump(inputs(), w), Site("resid_post", 12)


def gemma_3(hub, listed, *, config=True, stream="resid_post", end="output"):
    w = weights(3)
    folder = f"{stream}/layer_12_width_16k_l0_medium"
    repo = "google/gemma-scope-2-270m-it"
    names = {"w_enc": "enc", "w_dec": "dec", "b_enc": "b_enc", "b_dec": "b_dec", "threshold": "threshold"}
    save_file({theirs: w[ours] for theirs, ours in names.items()}, str(hub.put(repo, f"{folder}/params.safetensors")))
    if config:
        known = {"architecture": "jump_relu", "model_name": "gemma-v3-270m-it", "width": M, "l0": 60}
        known |= {"hf_hook_point_in": f"model.layers.12.{end}"}
        hub.put(repo, f"{folder}/config.json").write_text(json.dumps(known))
    kind = {"resid_post": "res", "mlp_out": "mlp", "attn_out": "att"}[stream]
    return (
        f"gemma-scope-2-270m-it-{kind}", "layer_12_width_16k_l0_medium", w, jump(inputs(), w),
        Site("resid_post" if stream == "resid_post" else "mlp_out", 12),
    )  # fmt: skip


def gemma_3_without_config(hub, listed):
    return gemma_3(hub, listed, config=False)


def gemma_3_mlp(hub, listed):
    return gemma_3(hub, listed, stream="mlp_out", end="post_feedforward_layernorm.output")


def llama_scope(hub, listed):
    """The SAE was trained on activations times `scale`; sae-lens scales its one threshold by the same number."""
    w, norm, threshold = weights(4), 5.0, 0.7
    scale = D**0.5 / norm
    repo, path = "fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L15R-8x"
    known = {"d_model": D, "d_sae": M, "jump_relu_threshold": threshold, "hook_point_in": "blocks.15.hook_resid_post"}
    known |= {"dataset_average_activation_norm": {"in": norm, "out": norm}}
    hub.put(repo, f"{path}/hyperparams.json").write_text(json.dumps(known))
    tensors = {"encoder.weight": w["enc"].T, "decoder.weight": w["dec"].T, "encoder.bias": w["b_enc"]}
    tensors = {name: np.ascontiguousarray(value) for name, value in (tensors | {"decoder.bias": w["b_dec"]}).items()}
    save_file(tensors, str(hub.put(repo, f"{path}/checkpoints/final.safetensors")))
    listed("tiny-llama-scope", "llama_scope", repo, "l15r_8x", path, scale=scale)
    latents = jump(scale * inputs(), w | {"threshold": np.full(M, threshold * scale)})
    unscaled = w | {"dec": w["dec"] / scale, "b_dec": w["b_dec"] / scale}
    return "tiny-llama-scope", "l15r_8x", unscaled, latents, Site("resid_post", 15)


def qwen_scope(hub, listed):
    w = weights(5)
    repo = f"Qwen/SAE-Res-Qwen3-1.7B-Base-W1K-L0_{K}"
    tensors = {"W_enc": w["enc"].T, "W_dec": w["dec"].T, "b_enc": w["b_enc"], "b_dec": w["b_dec"]}
    torch.save(
        {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}, hub.put(repo, "layer7.sae.pt")
    )
    listed("tiny-qwen-scope", "qwen_scope", repo, "layer7", "layer7.sae.pt", d_in=D, d_sae=M)
    return "tiny-qwen-scope", "layer7", w, top(inputs(), w), Site("resid_post", 7)


def dictionary_learning(hub, listed, *, kind="AutoEncoderTopK", extra=None):
    w = weights(6)
    repo, path = "andyrdt/saes-llama-3.1-8b-instruct", "resid_post_layer_11/trainer_1"
    trainer = {"dict_class": kind, "k": K, "layer": 11, "activation_dim": D, "dict_size": M, "lm_name": "a/tiny"}
    hub.put(repo, f"{path}/config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
    tensors = {"encoder.weight": w["enc"].T, "decoder.weight": w["dec"].T, "encoder.bias": w["b_enc"]}
    tensors |= {"b_dec": w["b_dec"], "threshold": np.float32(0.8), "k": np.int64(K)}
    saved = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    torch.save(saved | (extra or {}), hub.put(repo, f"{path}/ae.pt"))
    whole = w | {"threshold": np.full(M, 0.8)}
    latents = top(inputs(), w, centre=True) if kind == "AutoEncoderTopK" else jump(inputs(), whole, centre=True)
    release, sae_id = "llama-3.1-8b-instruct-andyrdt", "resid_post_layer_11_trainer_1"
    return release, sae_id, w, latents, Site("resid_post", 11)


def dictionary_learning_batchtopk(hub, listed):
    return dictionary_learning(hub, listed, kind="BatchTopKSAE")


def llama_scope_r1_distill(hub, listed):
    w, scale = weights(8), 0.6
    repo, path = "fnlp/Llama-Scope-R1-Distill", "400M-Slimpajama-400M-OpenR1-Math-220k/L15R"
    known = {"d_model": D, "expansion_factor": M // D, "hook_point_in": "blocks.15.hook_resid_post"}
    hub.put(repo, f"{path}/config.json").write_text(json.dumps(known))
    tensors = {"encoder.weight": w["enc"].T, "decoder.weight": w["dec"].T, "encoder.bias": w["b_enc"]}
    tensors |= {"decoder.bias": w["b_dec"], "log_jumprelu_threshold": np.log(w["threshold"])}
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(tensors, str(hub.put(repo, f"{path}/sae_weights.safetensors")))
    listed("tiny-r1", "llama_scope_r1_distill", repo, "l15r_400m", path, scale=scale)
    unscaled = w | {"dec": w["dec"] / scale, "b_dec": w["b_dec"] / scale}
    return "tiny-r1", "l15r_400m", unscaled, jump(scale * inputs(), w), Site("resid_post", 15)


def deepseek_r1(hub, listed):
    w = weights(10)
    repo, path = "qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19", "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"
    tensors = {"encoder.weight": w["enc"].T, "decoder.weight": w["dec"].T, "encoder.bias": w["b_enc"]}
    tensors |= {"decoder.bias": w["b_dec"]}
    # the release is bfloat16: rounded first, so that both sides read the same numbers
    saved = {name: torch.from_numpy(value.copy()).bfloat16() for name, value in tensors.items()}
    torch.save(saved, hub.put(repo, path))
    listed("tiny-deepseek", "deepseek_r1", repo, "blocks.19.hook_resid_post", path, d_in=D, d_sae=M)
    read = {name: value.float().numpy() for name, value in saved.items()}
    w = {"enc": read["encoder.weight"].T, "dec": read["decoder.weight"].T, "b_enc": read["encoder.bias"]}
    w |= {"b_dec": read["decoder.bias"], "threshold": np.zeros(M)}
    return "tiny-deepseek", "blocks.19.hook_resid_post", w, jump(inputs(), w), Site("resid_post", 19)


def goodfire(hub, listed):
    w = weights(11) | {"threshold": np.zeros(M)}
    repo, path = "Goodfire/Llama-3.1-8B-Instruct-SAE-l19", "Llama-3.1-8B-Instruct-SAE-l19.pth"
    tensors = {"encoder_linear.weight": w["enc"].T, "decoder_linear.weight": w["dec"].T}
    tensors |= {"encoder_linear.bias": w["b_enc"], "decoder_linear.bias": w["b_dec"]}
    torch.save({name: torch.from_numpy(value.copy()) for name, value in tensors.items()}, hub.put(repo, path))
    listed("tiny-goodfire", "goodfire", repo, "layer_19", path, d_in=D, d_sae=M)
    return "tiny-goodfire", "layer_19", w, jump(inputs(), w), Site("resid_post", 19)


def sae_lens(hub, listed, *, d=D, **settings):
    w = weights(7, d=d)
    known = {"d_in": d, "d_sae": M, "dtype": "float32", "device": "cpu", "architecture": "standard"}
    known |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none"}
    about = {"hook_name": "blocks.3.hook_resid_pre", "model_name": "tiny", "sae_lens_version": "6.0.0"}
    known |= {"metadata": about | settings.pop("metadata", {})} | settings
    hub.put("me/mine", "layer3/cfg.json").write_text(json.dumps(known))
    tensors = {"W_enc": w["enc"], "W_dec": w["dec"], "b_enc": w["b_enc"], "b_dec": w["b_dec"]}
    save_file(tensors, str(hub.put("me/mine", "layer3/sae_weights.safetensors")))
    latents = jump(inputs(d), w | {"threshold": np.zeros(M)}, centre=True)
    return "me/mine", "layer3", w, latents, Site("resid_pre", 3)


LAYOUTS = (
    gemma_2, gemma_3, gemma_3_without_config, gemma_3_mlp, llama_scope, llama_scope_r1_distill, qwen_scope,
    dictionary_learning, dictionary_learning_batchtopk, deepseek_r1, goodfire, sae_lens,
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_latents_are_those_of_the_raw_tensors_and_a_second_load_needs_no_network(
    layout, hub, listed, tmp_path, monkeypatch
):
    release, sae_id, w, latents, site = layout(hub, listed)
    norms = np.linalg.norm(w["dec"], axis=1)
    coder = load_sae(release, sae_id)
    for _ in range(2):
        np.testing.assert_allclose(coder.encode(inputs()), latents * norms, **CLOSE)
        np.testing.assert_allclose(coder.reconstruct(inputs()), latents @ w["dec"] + w["b_dec"], **CLOSE)
        np.testing.assert_allclose(coder.decoder_norms, norms, rtol=1e-5)
        assert (coder.site, coder.d_in, coder.d_sae) == (site, D, M)
        assert {value.dtype for value in coder.sae.state_dict().values()} == {torch.float32}
        assert coder.name == f"{release}/{sae_id}"
        fingerprint = coder.fingerprint
        hub.close()
        hub.use(monkeypatch, tmp_path / "another")
        coder = load_sae(release, sae_id)
        assert coder.fingerprint == fingerprint
    assert (latents > 0).any(axis=0).mean() > 0.5  # the planted SAE is alive, or nothing was compared


def test_a_folder_of_the_hubs_own_cache_is_read_offline(hub, listed, tmp_path, monkeypatch):
    """Blobs, refs and snapshots as huggingface_hub lays them out, and no network: layouts that can, load from it."""
    from huggingface_hub import constants

    release, sae_id, w, latents, _ = dictionary_learning(hub, listed)
    store = tmp_path / "theirs" / "models--andyrdt--saes-llama-3.1-8b-instruct"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("d" * 40)
    (store / "blobs").mkdir()
    for name in ("config.json", "ae.pt"):
        made = hub.folder / "andyrdt/saes-llama-3.1-8b-instruct/resid_post_layer_11/trainer_1" / name
        link = store / "snapshots" / ("d" * 40) / "resid_post_layer_11/trainer_1" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        made.rename(store / "blobs" / name)
        link.symlink_to(store / "blobs" / name)
    hub.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    coder = load_sae(release, sae_id)
    np.testing.assert_allclose(coder.reconstruct(inputs()), latents @ w["dec"] + w["b_dec"], **CLOSE)


def test_a_repository_of_the_catalogue_is_read_as_its_release(hub, listed):
    release, sae_id, *_ = gemma_3(hub, listed)
    coder = load_sae("google/gemma-scope-2-270m-it", "resid_post/layer_12_width_16k_l0_medium")
    assert (coder.facts["release"], coder.facts["sae_id"]) == (release, sae_id)
    assert coder.facts["neuronpedia"] == "gemma-3-270m-it/12-gemmascope-2-res-16k"
    assert (coder.facts["l0_stated"], coder.model) == (60, {"name": "google/gemma-3-270m-it"})
    with pytest.raises(ConfigError, match="did you mean 'resid_post/layer_12_width_16k_l0_medium'"):
        load_sae("google/gemma-scope-2-270m-it", "resid_post/layer_12_width_16k_l0_mediumm")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"normalize_activations": "layer_norm"}, "normalises each activation"),
        ({"normalize_activations": "expected_average_only_in"}, "scale is not folded"),
        ({"metadata": {"model_from_pretrained_kwargs": {"center_writing_weights": True}}}, "centred writing weights"),
        ({"metadata": {"hook_name": "blocks.3.attn.hook_z"}}, "attention heads"),
        ({"architecture": "transcoder", "d_out": D}, "another site"),
    ],
)
def test_what_the_configuration_rules_out_is_refused_before_the_weights_are_fetched(hub, listed, settings, words):
    sae_lens(hub, listed, **settings)
    with pytest.raises(UnfitError, match=words) as caught:
        load_sae("me/mine", "layer3")
    assert "SAE 'me/mine/layer3'" in str(caught.value)
    assert {name for _, name, _ in hub.asked} == {"me/mine/layer3/cfg.json"}


def test_folded_norms_of_the_model_are_no_reason_to_refuse(hub, listed):
    sae_lens(hub, listed, metadata={"model_from_pretrained_kwargs": {"fold_ln": True}})
    assert load_sae("me/mine", "layer3").site == Site("resid_pre", 3)


def test_a_site_may_be_given_where_the_sae_says_none_or_another(hub, listed):
    sae_lens(hub, listed, metadata={"hook_name": None})
    with pytest.raises(MismatchError, match=r"does not say where it reads .*give site="):
        load_sae("me/mine", "layer3")
    assert load_sae("me/mine", "layer3", site="mlp_out.2").site == Site("mlp_out", 2)
    gemma_3(hub, listed, end="input")
    with pytest.raises(MismatchError, match=r"resid_post\.12.* and .*resid_pre\.12.*differ"):
        load_sae("gemma-scope-2-270m-it-res", "layer_12_width_16k_l0_medium")


def test_a_catalogue_that_says_another_site_than_the_sae_is_told(hub, listed):
    sae_lens(hub, listed)
    listed("tiny-wrong", "sae_lens", "me/mine", "blocks.4.hook_resid_pre", "layer3")
    with pytest.raises(MismatchError, match=r"resid_pre\.3, .*catalogue says resid_pre\.4"):
        load_sae("tiny-wrong", "blocks.4.hook_resid_pre")


def test_verbs_take_a_repository_and_its_folder(hub, listed, recorded, tmp_path, capsys):
    recorded(tmp_path / "acts")
    sae_lens(hub, listed, d=32, metadata={"hook_name": "blocks.1.hook_resid_post"})
    assert main(["passport", "me/mine", str(tmp_path / "acts"), "--sae-id", "layer3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sae"] == "me/mine/layer3"
    assert main(["passport", "me/mine", str(tmp_path / "acts"), "--sae-id", "layer4"]) == 2
    said = capsys.readouterr().err
    assert "cannot be fetched from https://huggingface.co/me/mine (layer4)" in said
    assert len(said.splitlines()) == 1


class Runs:
    """Unpickled, it makes a file: what a stranger's pickle could do."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_holds_code_is_refused_unless_it_is_trusted(hub, listed, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    release, sae_id, w, latents, _ = dictionary_learning(hub, listed, extra={"more": Runs(ran)})
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(ModelError, match=r"would run posix.mkdir from .*trust_pickle=True") as caught:
        load_sae(release, sae_id)
    assert "\n" not in str(caught.value)
    assert not ran.exists()
    coder = load_sae(release, sae_id, trust_pickle=True)
    assert ran.exists()
    np.testing.assert_allclose(coder.reconstruct(inputs()), latents @ w["dec"] + w["b_dec"], **CLOSE)
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "empty", "other shapes"])
def test_files_that_are_no_sae_are_one_clear_error_and_leave_nothing(hub, listed, tmp_path, damage):
    release, sae_id, *_ = dictionary_learning(hub, listed)
    path = hub.folder / "andyrdt/saes-llama-3.1-8b-instruct/resid_post_layer_11/trainer_1/ae.pt"
    words = "cannot be read as layout 'dictionary_learning_1'"
    if damage == "missing":
        path.unlink()
        words = "cannot be fetched from https://huggingface.co/andyrdt/saes-llama-3.1-8b-instruct"
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif damage in {"garbage", "empty"}:
        path.write_bytes(b"garbage" * 50 if damage == "garbage" else b"")
    else:
        torch.save({"encoder.weight": torch.zeros(3, 2), "decoder.weight": torch.zeros(2, 3)}, path)
    with pytest.raises(ModelError, match=words) as caught:
        load_sae(release, sae_id)
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "ours").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_two_processes_at_once_convert_once(hub, listed, tmp_path, monkeypatch):
    """This process fetches and is held back; the other one, at the command line, waits for it and asks for nothing."""
    release, sae_id, *_ = gemma_3(hub, listed)
    load_sae(release, sae_id)
    once = len(hub.asked)
    hub.asked.clear()
    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path / "fresh"))
    hub.use(monkeypatch, tmp_path / "another")
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
    command = [sys.executable, "-c", "import sys; from emovec_sae.cli.main import main; sys.exit(main())"]
    command += ["saes", "--fetch", release, "--sae-id", sae_id, "--json"]
    hub.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        here = pool.submit(load_sae, release, sae_id)
        there = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said = next((line for line in there.stderr if "another process" in line), None)
        finally:
            hub.gate.set()
        out, more = there.communicate(timeout=120)
        assert said is not None, more
        assert there.returncode == 0, more
        facts = json.loads(out.splitlines()[-1])
        assert facts["fingerprint"] == here.result().fingerprint
    assert (facts["site"], facts["d_sae"], facts["architecture"]) == ("resid_post.12", M, "jumprelu")
    assert len(hub.asked) == once
