"""Exports of the embedded model: control vectors in its own precision, and a card that names the packaged texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gguf import GGUFReader

from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.fit import fit_directions
from emovec_sae.exports.artefact import export_directions
from emovec_sae.exports.control_vector import export_gguf
from emovec_sae.interventions.edits import Steer
from emovec_sae.models.hooks import edited
from emovec_sae.models.model import Model
from emovec_sae.models.positions import locate
from emovec_sae.models.tokens import pad
from emovec_sae.store.reader import Activations

SITE = "resid_post.18"


@pytest.fixture(scope="module")
def vectors(stories: Activations) -> DirectionSet:
    return fit_directions(stories, site=SITE)


def test_a_control_vector_at_its_layer_is_the_steering(smollm: Model, vectors: DirectionSet, tmp_path: Path) -> None:
    (path,) = export_gguf(vectors, tmp_path / "afraid.gguf", emotions=["afraid"], strength=0.3)
    reader = GGUFReader(path)
    (tensor,) = reader.tensors
    assert tensor.name == "direction.18"
    assert reader.get_field("controlvector.model_hint").contents() == "llama"
    added = torch.from_numpy(tensor.data.copy())
    ids, _ = locate(smollm.tokens, ["The door opened and she felt"], ["all"], chat=False)
    batch = pad(ids, pad_id=smollm.tokens.pad_id)
    found = {}
    for layer in (17, 18, 19):
        block = smollm.module.get_submodule(f"model.layers.{layer}")
        handle = block.register_forward_hook(lambda _block, _given, out: out + added.to(out.dtype))
        try:
            with torch.no_grad():
                found[layer] = smollm.module(**batch.inputs()).logits
        finally:
            handle.remove()
    with torch.no_grad(), edited(smollm, batch, [Steer(vectors["afraid"], strength=0.3)]):
        ours = smollm.module(**batch.inputs()).logits
    assert torch.equal(found[18], ours)  # the same vector, cast and added at the same place: bit for bit
    assert not torch.equal(found[17], ours)
    assert not torch.equal(found[19], ours)


def test_the_card_knows_the_packaged_texts(vectors: DirectionSet, tmp_path: Path) -> None:
    card = (export_directions(vectors, tmp_path / "out") / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "32 of stories (packaged with emovec_sae), 8 groups" in card
    assert "a large language model, to a written brief (w1" in card
    assert "`smollm2-135m-instruct` (SmolLM2 135M Instruct, Q4_1" in card
    assert vectors.provenance["corpus"] == "stories"
    assert vectors.provenance["writers"]
