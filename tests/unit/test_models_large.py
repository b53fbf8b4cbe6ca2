"""Large and distant models: spread over devices, quantised, elsewhere; and parts that a person names."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.schema.request import RequestModel

from emovec_sae.errors import ConfigError, ModelError, StoreError
from emovec_sae.models.load import load_model, wrap
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.recording.record import record
from emovec_sae.sites import STREAMS, Site
from emovec_sae.testing import tiny_corpus, tiny_folder, tiny_tokenizer

SITES = "resid_pre.1,attn_out.1,mlp_out.2,resid_post.1"
SPREAD = dict.fromkeys(("model.embed_tokens", "model.layers.0", "model.layers.2", "model.norm"), "cpu")
SPREAD |= {"model.rotary_emb": "cpu", "lm_head": "cpu", "model.layers.1": "disk"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def plain(folder: str) -> Model:
    return load_model(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model whose rows are whole blocks of 64, as 4-bit weights on a processor need."""
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=160,
        max_position_embeddings=256, bos_token_id=None, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = transformers.LlamaForCausalLM(config)
    path = tmp_path_factory.mktemp("models") / "wide"
    module.save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)


def recorded(model: Model, out: Path, **options: Any) -> Any:
    return record(model, tiny_corpus(groups=1), sites=SITES, offset=5, budget=130, out=out, **options)


@pytest.mark.parametrize("device_map", ["auto", SPREAD])
def test_a_model_spread_over_devices_is_the_same_model(
    folder: str, plain: Model, tmp_path: Path, device_map: Any
) -> None:
    model = load_model(folder, dtype="float32", device_map=device_map)
    assert model.describe() == plain.describe()
    acts = recorded(model, tmp_path / "spread")
    assert acts.fingerprint == recorded(plain, tmp_path / "plain").fingerprint
    if device_map is SPREAD:
        offloaded = model.module.get_submodule("model.layers.1.mlp.up_proj").weight
        assert offloaded.device.type == "meta", "nothing was put on the disk"
        assert acts.provenance["device_map"] == SPREAD


@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
@pytest.mark.parametrize(("quantize", "told"), [("8bit", "bitsandbytes 8bit"), ("4bit", "bitsandbytes 4bit nf4")])
def test_a_quantised_model_says_so_and_is_not_mixed_with_another(
    wide: str, tmp_path: Path, quantize: str, told: str
) -> None:
    exact = load_model(wide, device="cpu", dtype="float32")
    model = load_model(wide, device="cpu", dtype="float32", quantize=quantize)
    assert (model.describe()["quantization"], model.dtype) == (told, "float32")
    assert "quantization" not in exact.describe()
    assert model.fingerprint != exact.fingerprint
    sites = "resid_post.0,mlp_out.1"
    acts = record(model, tiny_corpus(groups=1), sites=sites, offset=5, out=tmp_path / "a")
    right = record(exact, tiny_corpus(groups=1), sites=sites, offset=5, out=tmp_path / "b")
    gap = np.abs(acts.pooled("mlp_out.1") - right.pooled("mlp_out.1")).max()
    assert 0 < gap < 0.5 * np.abs(right.pooled("mlp_out.1")).max()
    with pytest.raises(StoreError, match=rf"model\.quantization: there {told}, now None"):
        record(exact, tiny_corpus(groups=1), sites=sites, offset=5, out=tmp_path / "a")


def test_what_cannot_be_quantised_is_said(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="unknown quantisation '3bit'; choose 8bit or 4bit"):
        load_model(folder, device="cpu", quantize="3bit")
    monkeypatch.setattr("emovec_sae.models.placement.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install 'emovec_sae\[quantize\]'"):
        load_model(folder, device="cpu", quantize="4bit")


def test_a_source_loads_the_same_model_in_another_place(plain: Model) -> None:
    source = pickle.loads(pickle.dumps(plain.source))
    again = source.load()
    assert again.describe() == plain.describe()
    assert again.source == plain.source


def test_a_module_in_memory_has_no_source(tiny: Callable[..., Model]) -> None:
    assert tiny().source is None


class OddBlock(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.think, self.look = torch.nn.Linear(width, width), torch.nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.look(hidden).cumsum(dim=1) / 8
        return hidden + self.think(hidden).tanh()


class Odd(transformers.PreTrainedModel, transformers.GenerationMixin):
    """A causal language model with names of its own."""

    config_class = transformers.LlamaConfig

    def __init__(self, config: transformers.LlamaConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.words = torch.nn.Embedding(config.vocab_size, width)
        self.tower = torch.nn.ModuleDict({"floors": torch.nn.ModuleList(OddBlock(width) for _ in range(3))})
        self.roof = torch.nn.LayerNorm(width)
        self.out = torch.nn.Linear(width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.words

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.out

    def forward(self, input_ids: torch.Tensor, attention_mask: Any = None, **_: Any) -> Any:
        hidden = self.words(input_ids)
        for block in self.tower["floors"]:
            hidden = block(hidden)
        return transformers.modeling_outputs.CausalLMOutput(logits=self.out(self.roof(hidden)))


NAMES = {"blocks": "tower.floors", "attention": "look", "mlp": "think", "norm": "roof"}


def odd() -> Odd:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Odd(transformers.LlamaConfig(vocab_size=160, hidden_size=16, num_hidden_layers=3, num_attention_heads=4))


def test_an_unusual_architecture_works_once_its_parts_are_named() -> None:
    from emovec_sae.models.validate import check_sites

    model = wrap(odd(), tiny_tokenizer(), name="odd", modules=NAMES)
    assert model.blocks.streams() == STREAMS
    check_sites(model)
    batch = pad([[5, 9, 33], [7, 8, 9]], pad_id=0)
    seen: list[torch.Tensor] = []
    model.module.tower["floors"][1].look.register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        model.module(**batch.inputs())
    found = forward(model, batch, read=[Site("attn_out", 1)]).values[Site("attn_out", 1)]
    assert torch.equal(found, seen[0])


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({}, r"no blocks were found in Odd; looked for model\.layers, .* there are tower\.floors; name it: .*--module"),
        (
            {"blocks": "tower.floors"},
            r"no norm after the blocks 'tower\.floors' was found; looked for .*--module norm=",
        ),
        (
            {"blocks": "tower.flors"},
            r"Odd has no module 'tower\.flors' for blocks; below it are words, tower, roof, out",
        ),
        ({"blocks": "roof"}, "'roof' is LayerNorm, not a list of blocks"),
        (NAMES | {"mlp": "thinks"}, "OddBlock has no module 'thinks' for mlp; below it are think, look"),
        ({"layers": "x"}, "unknown part 'layers'; parts are blocks, attention, mlp, norm"),
    ],
)
def test_parts_that_are_not_found_say_what_was_looked_for(modules: dict[str, str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        wrap(odd(), tiny_tokenizer(), name="odd", modules=modules)


def test_a_rehearsal_of_the_remote_trace_gives_the_recorded_values(folder: str, plain: Model, tmp_path: Path) -> None:
    """nnsight packs the request as for NDIF, hides our package, unpacks it and runs it on real weights."""
    model = load_model(folder, remote="local")
    assert model.module.get_submodule("model.norm").weight.device.type == "meta"
    acts = recorded(model, tmp_path / "remote", engine="ndif")
    right = recorded(plain, tmp_path / "plain")
    assert acts.model["fingerprint"].startswith("remote-")
    assert acts.provenance["engine"] == "ndif"
    for site in right.sites:
        np.testing.assert_array_equal(acts.pooled(site), right.pooled(site))


def test_the_request_that_would_be_sent(folder: str, plain: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes over the wire names the model, carries the tokens and the places, and runs on the other side."""
    sent: list[tuple[RequestModel, bytes, str]] = []

    def serve(backend: RemoteBackend, request: RequestModel, tracer: Any) -> Any:
        blob = backend._serialize(tracer)
        sent.append((request, blob, backend.api_key))
        there = RequestModel.deserialize(blob, plain.net._remoteable_persistent_objects(), request.compress)
        there.execute(there.info.code)
        return {"kept": there.info.frame.f_locals["kept"]}

    monkeypatch.setenv("NDIF_API_KEY", "secret")
    monkeypatch.setattr(RemoteBackend, "request", serve)
    monkeypatch.setattr("nnsight.CONFIG.API.APIKEY", "secret")
    key = "nnsight.modeling.transformers.TransformersModel:{}"
    monkeypatch.setattr(type(plain.net), "to_model_key", lambda _: key)
    model = load_model(folder, remote=True)
    batch = pad([[5, 9, 33], [7, 8, 9]], pad_id=0)
    site = Site("mlp_out", 1)
    found = forward(model, batch, read=[site]).values[site]
    assert torch.equal(found, forward(plain, batch, read=[site]).values[site])
    (request, blob, api_key), *others = sent
    assert (request.model_key, api_key, others) == (key, "secret", [])
    assert len(blob) < 100_000, "weights or a tokenizer were packed"
    assert b"secret" not in blob
    assert "secret" not in str(model.describe())


def test_a_service_that_fails_is_one_line(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_backend: RemoteBackend, _request: RequestModel, _tracer: Any) -> Any:
        raise RemoteError("Failed to send request:\nmodel is not deployed")

    monkeypatch.setenv("NDIF_API_KEY", "secret")
    monkeypatch.setattr(RemoteBackend, "request", fail)
    monkeypatch.setattr("nnsight.modeling.transformers.TransformersModel.to_model_key", lambda _: "x:{}")
    model = load_model(folder, remote=True)
    with pytest.raises(ModelError, match="NDIF did not run the pass: Failed to send request: model is not deployed"):
        forward(model, pad([[5, 9, 33]], pad_id=0), read=[Site("mlp_out", 1)])


def test_what_a_distant_model_cannot_do_is_said(
    folder: str, plain: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(folder, remote="local")
    with pytest.raises(ModelError, match="it can be recorded, not edited or scored"):
        forward(model, pad([[5, 9]], pad_id=0), final=True)
    with pytest.raises(ConfigError, match=r"engine 'local' cannot run .*: it is elsewhere; use engine='ndif'"):
        recorded(model, tmp_path / "a")
    with pytest.raises(ConfigError, match=r"engine 'ndif' cannot run .*: it was loaded here"):
        recorded(plain, tmp_path / "a", engine="ndif")
    monkeypatch.delenv("NDIF_API_KEY", raising=False)
    monkeypatch.setattr("nnsight.CONFIG.API.APIKEY", None)
    with pytest.raises(ModelError, match="NDIF needs a key: set the environment variable NDIF_API_KEY"):
        load_model(folder, remote=True)
    with pytest.raises(ModelError, match="cannot read the config and tokenizer of 'tiny/none'"):
        load_model("tiny/none", remote="local")
    assert replace(plain, remote=False) == plain
