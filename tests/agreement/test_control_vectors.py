"""Control vectors against the rule of llama.cpp, written down here anew, and against repeng's reading of a file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader

from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.exports.control_vector import export_gguf, hint_of, layer_of
from emovec_sae.interventions.edits import Steer
from emovec_sae.models.hooks import edited
from emovec_sae.models.model import Model
from emovec_sae.models.positions import locate
from emovec_sae.models.tokens import pad
from emovec_sae.recording.record import record
from emovec_sae.sites import Site
from emovec_sae.testing import ARCHITECTURES, tiny_corpus, tiny_model

TEXTS = ["a river and a lamp", "paper", "the garden table"]
BLOCKS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory):
    """Directions of a tiny model at a site, made once each."""
    made: dict[tuple[str, str], tuple[Model, DirectionSet]] = {}

    def make(architecture: str = "llama", site: str = "resid_post.1") -> tuple[Model, DirectionSet]:
        if (architecture, site) not in made:
            model = tiny_model(architecture, seed=3)
            folder = tmp_path_factory.mktemp("acts") / "a"
            acts = record(model, tiny_corpus(), sites={site: ("mean",)}, out=folder, offset=5)
            made[architecture, site] = model, fit_directions(acts, site=site)
        return made[architecture, site]

    return make


def loaded(path: Path, *, n_embd: int, n_layer: int, scale: float = 1.0) -> list[np.ndarray | None]:
    """llama.cpp's reading of a file: what is added to the output of each block.

    ``common_control_vector_load``: direction.N, N at least 1, float32, one-dimensional, is added times the scale at
    ``(N - 1) * n_embd`` of a buffer. ``llama_adapter_cvec::apply``: block il, from 1 on, takes ``(il - 1) * n_embd``.
    """
    buffer = np.zeros(0, np.float32)
    for tensor in GGUFReader(path).tensors:
        word, _, number = tensor.name.partition(".")
        assert word == "direction"
        layer = int(number)
        assert layer >= 1
        assert tensor.tensor_type == GGMLQuantizationType.F32
        assert list(tensor.shape) == [n_embd]
        buffer = np.pad(buffer, (0, max(0, n_embd * layer - len(buffer))))
        buffer[n_embd * (layer - 1) : n_embd * layer] += np.asarray(tensor.data) * np.float32(scale)
    blocks: list[np.ndarray | None] = [None]
    for il in range(1, n_layer):
        part = buffer[n_embd * (il - 1) : n_embd * il]
        blocks.append(part if len(part) == n_embd else None)
    return blocks


def logits_of_llama_cpp(model: Model, blocks: list[np.ndarray | None], batch) -> torch.Tensor:
    """``build_cvec`` at the end of each block, as plain hooks."""
    layers = model.module.get_submodule(BLOCKS.get(model.name.removeprefix("tiny-"), "model.layers"))
    with ExitStack() as stack, torch.no_grad():
        for il, added in enumerate(blocks):
            if added is not None:
                stack.callback(layers[il].register_forward_hook(adding(torch.from_numpy(added.copy()))).remove)
        return model.module(**batch.inputs()).logits


def adding(vector: torch.Tensor):
    def hook(_module, _given, output):
        if isinstance(output, tuple):
            return (output[0] + vector.to(output[0].dtype), *output[1:])
        return output + vector.to(output.dtype)

    return hook


def steered(model: Model, edits, batch) -> torch.Tensor:
    with torch.no_grad(), edited(model, batch, edits):
        return model.module(**batch.inputs()).logits


def batch_of(model: Model):
    ids, _ = locate(model.tokens, TEXTS, ["all"], chat=False)
    return pad(ids, pad_id=model.tokens.pad_id, device=model.device, side="left")


@pytest.mark.parametrize("site", ["resid_post.1", "resid_post.2", "resid_pre.2"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "gpt_neox"])
def test_llama_cpp_s_rule_gives_the_very_logits_of_steer(fitted, tmp_path: Path, architecture: str, site: str) -> None:
    model, vectors = fitted(architecture, site)
    (path,) = export_gguf(vectors, tmp_path / "e1.gguf", emotions=["e1"], strength=0.4)
    blocks = loaded(path, n_embd=model.d_model, n_layer=model.n_layers)
    batch = batch_of(model)
    ours = steered(model, [Steer(vectors["e1"], strength=0.4)], batch)
    real = batch.mask  # Steer leaves pad tokens alone, llama.cpp has none
    theirs = logits_of_llama_cpp(model, blocks, batch)
    assert torch.equal(ours[real], theirs[real])
    assert not torch.equal(ours[real], steered(model, [], batch)[real])
    shifted = [None, *blocks[:-1]] if blocks[-1] is None else [*blocks[1:], None]
    assert not torch.equal(ours[real], logits_of_llama_cpp(model, shifted, batch)[real])


def test_a_scale_is_a_share_of_the_strength(fitted, tmp_path: Path) -> None:
    model, vectors = fitted()
    (path,) = export_gguf(vectors, tmp_path / "e1.gguf", emotions=["e1"], strength=0.4)
    batch = batch_of(model)
    half = logits_of_llama_cpp(model, loaded(path, n_embd=32, n_layer=3, scale=0.5), batch)
    assert torch.equal(half, logits_of_llama_cpp(model, [None, Steer(vectors["e1"], strength=0.2).added, None], batch))


def test_a_mixture_is_the_sum_of_its_parts(fitted, tmp_path: Path) -> None:
    model, vectors = fitted()
    mix = {"e0": 0.3, "e2": -0.2}
    (path,) = export_gguf(vectors, tmp_path / "m.gguf", mix=mix)
    batch = batch_of(model)
    theirs = logits_of_llama_cpp(model, loaded(path, n_embd=32, n_layer=3), batch)
    ours = steered(model, [Steer(vectors[name], strength=size) for name, size in mix.items()], batch)
    real = batch.mask
    # Two additions to the stream are rounded twice, their sum once: measured 2e-7 of the largest logit.
    torch.testing.assert_close(theirs[real], ours[real], rtol=0, atol=2e-6 * float(ours.abs().max()))


def test_repeng_reads_the_file(fitted, tmp_path: Path) -> None:
    """`ControlVector.import_gguf`: the last part of two fields as text, and directions by the number in their name."""
    _, vectors = fitted()
    (path,) = export_gguf(vectors, tmp_path / "e1.gguf", emotions=["e1"], strength=0.4)
    reader = GGUFReader(path)
    fields = {name: bytes(reader.get_field(name).parts[-1]).decode() for name in
              ("general.architecture", "controlvector.model_hint")}  # fmt: skip
    assert fields == {"general.architecture": "controlvector", "controlvector.model_hint": "llama"}
    directions = {int(tensor.name.split(".")[1]): tensor.data for tensor in reader.tensors}
    assert list(directions) == [1]
    np.testing.assert_array_equal(directions[1], Steer(vectors["e1"], strength=0.4).added)


def test_the_file_says_what_it_is(fitted, tmp_path: Path) -> None:
    _, vectors = fitted()
    (path,) = export_gguf(vectors, tmp_path / "m.gguf", mix={"e0": 0.3, "e2": -0.2})
    reader = GGUFReader(path)
    told = {name: reader.get_field(name).contents() for name in reader.fields if not name.startswith("GGUF")}
    assert told["controlvector.layer_count"] == len(reader.tensors) == 1
    assert told["general.name"] == told["emovec.parts"] == "e0 0.3, e2 -0.2"
    assert told["emovec.site"] == "resid_post.1"
    assert told["emovec.residual_norm"] == pytest.approx(vectors.residual_norm, rel=1e-6)
    assert told["emovec.model_fingerprint"] == vectors.model["fingerprint"]
    assert told["emovec.directions"] == vectors.fingerprint


def test_a_file_an_emotion_by_default(fitted, tmp_path: Path) -> None:
    _, vectors = fitted()
    files = export_gguf(vectors, tmp_path / "out")
    assert [path.name for path in files] == ["e0.gguf", "e1.gguf", "e2.gguf"]
    assert sorted((tmp_path / "out").iterdir()) == sorted(files)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_has_llama_cpp_s_name(fitted, tiny, architecture: str) -> None:
    names = {"mistral": "llama", "mixtral": "llama", "gpt_neox": "gptneox", "qwen3_moe": "qwen3moe"}
    told = tiny(architecture).describe()["architecture"]
    found = hint_of(_with_model(fitted()[1], architecture=told))
    assert found == names.get(architecture, architecture)


def _with_model(vectors: DirectionSet, **changed: object) -> DirectionSet:
    from dataclasses import replace

    return replace(vectors, model={**vectors.model, **changed})


def test_a_stranger_s_architecture_needs_a_hint(fitted, tmp_path: Path) -> None:
    _, vectors = fitted()
    strange = _with_model(vectors, architecture="FooForCausalLM")
    with pytest.raises(ConfigError, match=r"no architecture for the model class 'FooForCausalLM'.*--model-hint"):
        export_gguf(strange, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    assert export_gguf(strange, tmp_path / "out", emotions=["e0"], model_hint="foo")


@pytest.mark.parametrize(
    ("site", "said"),
    [("resid_post.0", "output of the first block"), ("resid_pre.1", "output of the first block"),
     ("mlp_out.3", "fit them at resid_post.3"), ("attn_out.3", "fit them at resid_post.3")],
)  # fmt: skip
def test_sites_that_no_control_vector_can_name(site: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        layer_of(Site.parse(site))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"emotions": ["e7"]}, "no direction for 'e7'"),
        ({"emotions": ["e0"], "strength": 0.0}, "strength of 'e0' is 0.0"),
        ({"emotions": ["e0"], "strength": float("nan")}, "strength of 'e0' is nan"),
        ({"mix": {}}, "at least one emotion"),
        ({"mix": {"e0": 0.1}, "emotions": ["e0"]}, "not both"),
        ({"emotions": []}, "at least one emotion"),
        ({"out": "two.gguf"}, "is one file, and 3 emotions"),
    ],
)
def test_bad_input_writes_nothing(fitted, tmp_path: Path, options: dict, said: str) -> None:
    _, vectors = fitted()
    with pytest.raises(ConfigError, match=said):
        export_gguf(vectors, tmp_path / options.pop("out", "out"), **options)
    assert not list(tmp_path.iterdir())


def test_one_existing_file_keeps_all_from_being_written(fitted, tmp_path: Path) -> None:
    _, vectors = fitted()
    (tmp_path / "e1.gguf").write_text("mine")
    with pytest.raises(ConfigError, match=r"e1.gguf' exists"):
        export_gguf(vectors, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["e1.gguf"]
    assert len(export_gguf(vectors, tmp_path, overwrite=True)) == 3
    with pytest.raises(MismatchError, match="beyond the 1 blocks"):
        export_gguf(_with_model(vectors, n_layers=1), tmp_path / "x")
