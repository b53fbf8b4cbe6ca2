"""Models: what is refused when one is loaded, what is checked, and what is derived from its weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emovec_sae.errors import CorpusError, ModelError
from emovec_sae.models.blocks import Blocks, resolve
from emovec_sae.models.load import choose_dtype, load_model, wrap
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.models.validate import check_sites
from emovec_sae.sites import STREAMS, Site
from emovec_sae.testing import ARCHITECTURES, tiny_folder, tiny_model, tiny_tokenizer


def refused(name: str | Path, **options: Any) -> str:
    """The one line that a model is refused with, and quickly."""
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        load_model(name, **options)
    assert time.monotonic() - began < 20
    said = str(caught.value)
    assert "\n" not in said
    assert "  " not in said
    return said


def test_an_unknown_name_says_what_there_is() -> None:
    said = refused("smollm2-135m-instuct")
    assert "unknown model 'smollm2-135m-instuct' (did you mean 'smollm2-135m-instruct'?)" in said
    assert "nor a Hugging Face id that can be reached" in said
    assert "unknown model 'nobody/has-this'" in refused("nobody/has-this")


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "~/none-such-model", "a/b/c", "/no/such/file.gguf"])
def test_a_place_where_nothing_is(name: str) -> None:
    assert "there is no" in refused(name)


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    assert f"the folder {tmp_path} holds no model: it has no config.json" in refused(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model")


def test_a_folder_gives_the_model_that_was_saved(folder: Path, tiny: Callable[..., Model]) -> None:
    model = load_model(folder, device="cpu", dtype="float32")
    assert model.fingerprint == tiny("llama").fingerprint
    assert (model.n_layers, model.d_model, model.dtype, model.context) == (3, 32, "float32", 2048)
    assert model.describe()["architecture"] == "LlamaForCausalLM"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 200),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "nosuch"}'),
        lambda folder: (folder / "config.json").write_text('{"model_type": "t5"}'),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "tokenizer.json").unlink(),
    ],
    ids=["cut", "noise", "no weights", "no JSON", "unknown type", "no causal model", "tokenizer", "no tokenizer"],
)
def test_a_damaged_folder_is_one_line(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    assert f"cannot load a causal language model from {folder}: " in refused(folder)


def test_weights_that_are_missing_are_not_made_up(folder: Path) -> None:
    """transformers would fill them with random numbers and say so in a log only."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert "1 of its weights are missing, such as model.layers.1.mlp.up_proj.weight" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"hello", b"GGUF" + b"\x00" * 60, b"GGUF\x03\x00\x00\x00" + b"\xff" * 99])
def test_a_file_that_is_no_gguf_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.gguf").write_bytes(content)
    assert "cannot read" in refused(tmp_path / "x.gguf")
    assert [one.suffix for one in (tmp_path / "cache" / "models").iterdir()] == [".lock"], "something half-made is left"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "bfloat"}, "unknown dtype 'bfloat' (did you mean 'bfloat16'?)"),
        ({"dtype": "int8"}, "dtypes are auto, bfloat16, float32, float16"),
        ({"device": "gpu"}, "device 'gpu' is not available here"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available here"),
    ],
)
def test_devices_and_precisions_that_do_not_exist(options: dict[str, str], said: str) -> None:
    assert said in refused("smollm2-135m-instruct", **options)


def test_the_automatic_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    place = torch.device("cpu")
    for found, right in (({"avx512_bf16": True}, torch.bfloat16), ({}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert choose_dtype("auto", place) == right
    assert choose_dtype("float16", place) == torch.float16


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_all_streams_and_passes_its_check(tiny: Callable[..., Model], architecture: str) -> None:
    model = tiny(architecture)
    assert model.blocks.streams() == STREAMS
    assert model.n_layers == 3
    check_sites(model)


def test_a_module_without_blocks_says_what_was_looked_for() -> None:
    with pytest.raises(
        ModelError, match=r"no blocks were found in Sequential; looked for model\.layers, transformer\.h"
    ):
        resolve(torch.nn.Sequential(torch.nn.Linear(3, 3)))
    bare = torch.nn.Module()
    bare.layers = torch.nn.ModuleList([torch.nn.ModuleDict({"mlp": torch.nn.Linear(3, 3)}) for _ in range(2)])
    with pytest.raises(ModelError, match="no norm after the blocks 'layers' was found; looked for norm, ln_f"):
        resolve(bare)
    bare.norm_f = torch.nn.LayerNorm(3)
    assert resolve(bare) == Blocks(("layers.0", "layers.1"), None, "mlp", "norm_f")


def wired(model: Model, **changes: Any) -> Model:
    """A tiny model of one's own whose blocks are described wrongly."""
    right = {"layers": model.blocks.layers, "attention": "self_attn", "mlp": "mlp", "norm": "model.norm"}
    blocks = Blocks(**(right | changes))
    return Model(name="wrong", module=model.module, net=model.net, tokens=model.tokens, blocks=blocks)


def test_the_check_finds_a_site_of_another_width() -> None:
    with pytest.raises(ModelError, match=r"site 'mlp_out\.0' of 'wrong' \(module '.*up_proj'\) gives shape .* not"):
        check_sites(wired(tiny_model(), mlp="mlp.up_proj"))


def test_the_check_finds_a_write_that_changes_nothing() -> None:
    import transformers

    module = transformers.LlamaForCausalLM(transformers.LlamaConfig(**ARCHITECTURES["llama"][1]))
    part = module.get_submodule("model.layers.1.self_attn")
    part.idle = torch.nn.Identity()
    plain = part.forward

    def forward_with_idle(hidden_states: torch.Tensor, *args: Any, **options: Any) -> Any:
        part.idle(hidden_states)
        return plain(hidden_states, *args, **options)

    part.forward = forward_with_idle
    again = wrap(module, tiny_tokenizer(), name="x")
    with pytest.raises(ModelError, match=r"a write at site 'attn_out\.1' .*idle.* changes no logits"):
        check_sites(wired(again, attention="self_attn.idle"), [Site("attn_out", 1)])


def test_the_check_finds_a_wrong_last_norm() -> None:
    with pytest.raises(ModelError, match="the head of 'wrong' does not give its logits from the state after"):
        check_sites(wired(tiny_model(), norm="model.layers.2.post_attention_layernorm"))


def test_sites_that_a_model_lacks_are_named(tiny: Callable[..., Model]) -> None:
    model = tiny()
    batch = pad([[5, 6, 7]], pad_id=0)
    with pytest.raises(ModelError, match=r"site 'resid_post\.3' does not exist: the model has 3 blocks, 0 to 2"):
        forward(model, batch, read=[Site("resid_post", 3)])
    bare = wired(tiny_model(), attention=None)
    with pytest.raises(ModelError, match=r"site 'attn_out\.0' cannot be read: .*resid_pre, mlp_out, resid_post"):
        forward(bare, batch, read=[Site("attn_out", 0)])
    prefix = run_prefix(model, batch, Site("resid_post", 1))
    with pytest.raises(ModelError, match=r"sites mlp_out\.1, resid_pre\.0 lie below block 1"):
        forward(model, batch, read=[Site("resid_pre", 0), Site("mlp_out", 1), Site("resid_post", 2)], prefix=prefix)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_fingerprint_knows_weights_and_not_precision(architecture: str) -> None:
    exact = tiny_model(architecture, dtype="bfloat16")
    wide = tiny_model(architecture, dtype="bfloat16")
    wide.module.float()
    assert wide.dtype == "float32"
    assert exact.fingerprint == wide.fingerprint
    assert exact.fingerprint != tiny_model(architecture, seed=1, dtype="bfloat16").fingerprint
    changed = tiny_model(architecture, dtype="bfloat16")
    next(part for part in reversed(list(changed.module.parameters())) if part.ndim == 1).data[0] += 1
    assert changed.fingerprint != exact.fingerprint


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_head_gives_the_models_own_logits(tiny: Callable[..., Model], architecture: str, dtype: str) -> None:
    model = tiny(architecture, dtype=dtype)
    batch = pad(model.tokens.encode(["a river", "paper and lamp"]), pad_id=0)
    got = model.head(forward(model, batch, final=True).final)
    assert got.dtype == torch.float32
    own = model.module(**batch.inputs()).logits.float()
    # the cap of Gemma 2 is computed in float32 here and in the model's precision there
    atol = 0.02 * float(own.abs().max()) if dtype == "bfloat16" else 1e-5
    torch.testing.assert_close(got, own, rtol=0, atol=atol)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_the_unembedding_is_the_linear_part_of_norm_and_head(tiny: Callable[..., Model], architecture: str) -> None:
    model = tiny_model(architecture)
    norm = model.module.get_submodule(model.blocks.norm)
    norm.weight.data += torch.linspace(-0.5, 0.5, model.d_model)  # a gain that is not all the same
    state = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    if isinstance(norm, torch.nn.LayerNorm):
        state, centred = state - state.mean(), state - state.mean()
    else:
        centred = state
    scale = centred.square().mean().sqrt()
    got = model.unembedding() @ (centred / scale)
    with torch.no_grad():
        offset = model.head(norm.bias) if getattr(norm, "bias", None) is not None else torch.zeros(())
        right = model.head(norm(state)) - offset
    assert got.shape == (model.config.vocab_size,)
    torch.testing.assert_close(got, right, rtol=1e-3, atol=1e-3)


def test_special_and_first_tokens_do_not_count(tiny: Callable[..., Model]) -> None:
    tokens = tiny().tokens
    (ids,) = tokens.encode(["abc<eos>de<pad>f"])
    assert tokens.counted(ids).tolist() == [False, True, True, False, True, True, False, True]
    assert tokens.counted(np.array([])).tolist() == []
    assert tokens.strings(ids)[:4] == ["a", "b", "c", "<eos>"]
    assert tokens.decode(ids) == "abcdef"


def test_padding_stands_on_the_side_that_was_asked_for() -> None:
    right, left = (pad([[5, 6, 7], [8]], pad_id=0, side=side) for side in ("right", "left"))
    assert right.input_ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert left.input_ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert left.mask.tolist() == [[True] * 3, [False, False, True]]
    assert len(left) == 2


def test_texts_without_tokens_and_models_without_a_template(tiny: Callable[..., Model]) -> None:
    tokens = tiny().tokens
    assert tokens.encode([]) == []
    with pytest.raises(CorpusError, match="text 1 has no tokens: ''"):
        tokens.encode(["a", ""])
    with pytest.raises(ModelError, match="no chat template"):
        tokens.chat_prompt("hello")
