"""The embedded model: what is recorded, generated and measured on real weights, against plain hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from emovec_sae.corpora import Corpus, load_corpus, load_lexicon, load_prompts
from emovec_sae.corpora.lexicon import contrast_words
from emovec_sae.directions import DirectionSet, NeutralComponents, fit_directions
from emovec_sae.interventions.dose import calibrate
from emovec_sae.interventions.edits import Shift, Steer
from emovec_sae.models.generate import generate_ids
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.recording.record import record
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.scoring.words import WordScorer, log_odds
from emovec_sae.sites import Site
from emovec_sae.store.reader import Activations
from emovec_sae.store.verify import verify

LAYERS = (12, 18, 24)
SITE = Site("resid_post", 18)
PROMPTS = ["Tell me about your day.", "The house at the end of the road"]


@pytest.fixture(scope="module")
def vectors(stories: Activations, neutral_acts: Activations) -> DirectionSet:
    return fit_directions(stories, site=SITE, remove=NeutralComponents(neutral_acts))


@pytest.fixture(scope="module")
def probe(smollm: Model, neutral_corpus: Corpus) -> KLProbe:
    return KLProbe(smollm, neutral_corpus.frame["text"].tolist(), site=SITE, positions=64)


def blocks(model: Model) -> torch.nn.ModuleList:
    """The blocks by their authors' name, not through our resolver."""
    return model.module.model.layers


@contextmanager
def hooks(handles: list[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def test_recorded_values_are_those_of_plain_hooks(smollm: Model, stories: Activations) -> None:
    seen: dict[int, torch.Tensor] = {}
    handles = [
        blocks(smollm)[layer].register_forward_hook(lambda *parts, layer=layer: seen.__setitem__(layer, parts[2]))
        for layer in LAYERS
    ]
    # Batched and single rows take other kernels. Measured, relative to the norm: a mean moves by 2e-4 and a token by up
    # to 7e-3 in bfloat16 (a step is 4e-3), by 2e-8 and 5e-7 in float32.
    of_means, of_tokens = (1e-6, 1e-5) if smollm.dtype == "float32" else (2e-3, 0.03)
    view = stories.where([0, 9, 18, 27])
    with hooks(handles):
        for row, text in enumerate(view.frame["text"]):
            ids = smollm.tokens.tokenizer(text, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                smollm.module(input_ids=ids)
            kept = ids[0].numpy() > 2  # ids 0 to 2 are the special tokens
            kept[0] = False
            (chunk,) = view.where([row]).tokens(SITE)
            np.testing.assert_array_equal(chunk.token_id, ids[0].numpy()[kept])
            whole = {layer: seen[layer][0].float().numpy() for layer in LAYERS}
            for layer in LAYERS:
                got, right = view.pooled(f"resid_post.{layer}")[row], whole[layer][20:][kept[20:]].mean(axis=0)
                assert np.linalg.norm(got - right) < of_means * np.linalg.norm(right)
            gaps = np.linalg.norm(chunk.values - whole[18][kept], axis=1)
            assert (gaps < of_tokens * np.linalg.norm(chunk.values, axis=1)).all()


def test_the_store_of_the_embedded_model(stories: Activations, smollm: Model) -> None:
    assert verify(stories.path).ok
    assert len(stories) == 4 * 8
    assert stories.model["fingerprint"] == smollm.fingerprint
    for layer in LAYERS:
        assert 20 < stories.residual_norm[f"resid_post.{layer}"] < 2000
    pooled = stories.pooled(SITE)
    for chunk in stories.tokens(SITE):
        for row in np.unique(chunk.text):
            mean = chunk.values[(chunk.text == row) & chunk.pooled].mean(axis=0)
            # float32 means of a hundred values of order 50
            np.testing.assert_allclose(mean, pooled[row], rtol=0, atol=1e-3)


def test_no_block_above_the_deepest_site_runs(smollm: Model, tmp_path_factory: pytest.TempPathFactory) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(blocks(smollm))
    ]
    texts = load_corpus("neutral").head(2)
    with hooks(handles):
        record(smollm, texts, sites="resid_post.3,mlp_out.5", out=tmp_path_factory.mktemp("x") / "a", budget=4096)
    assert ran in ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5])  # block 5 may be left before its end


def test_generation_equals_a_permanent_hook(smollm: Model, vectors: DirectionSet) -> None:
    edit = Steer(vectors["afraid"], strength=0.3)
    added = torch.from_numpy(edit.unit * np.float32(edit.coefficient)).to(getattr(torch, smollm.dtype))
    for prompt in PROMPTS:
        ids = smollm.tokens.chat_prompt(prompt)
        base = generate_ids(smollm, [ids], max_new_tokens=12).tolist()
        got = generate_ids(smollm, [ids], edits=[edit], max_new_tokens=12).tolist()
        handle = blocks(smollm)[18].register_forward_hook(lambda *parts: parts[2] + added)
        with hooks([handle]):
            right = smollm.module.generate(
                input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=12, do_sample=False, pad_token_id=smollm.tokens.pad_id,
            )[:, len(ids) :].tolist()  # fmt: skip
        assert got == right
        assert len(got[0]) >= 8
        assert got != base


def test_dose_zero_is_the_base_bit_for_bit(smollm: Model, vectors: DirectionSet) -> None:
    zero = [Steer(vectors["afraid"], strength=0.0)]
    prompts = [smollm.tokens.chat_prompt(one) for one in PROMPTS]
    base = generate_ids(smollm, prompts, max_new_tokens=8)
    assert torch.equal(generate_ids(smollm, prompts, edits=zero, max_new_tokens=8), base)
    batch = pad(prompts, pad_id=smollm.tokens.pad_id)
    with torch.no_grad():
        own = smollm.module(**batch.inputs()).logits.float()
        got = smollm.head(forward(smollm, batch, edits=zero, final=True).final)
    assert torch.equal(got[batch.mask], own[batch.mask])


def test_divergence_grows_with_the_square_and_a_dose_is_found(
    smollm: Model, vectors: DirectionSet, probe: KLProbe
) -> None:
    edit = Steer(vectors["afraid"], strength=0.1)
    norm = vectors.residual_norm
    assert probe.kl([edit.at(0.0)]) == 0.0
    low, high = probe.kl([edit.at(0.1 * norm)]), probe.kl([edit.at(0.2 * norm)])
    assert 0.01 < low < 0.3
    assert 2.5 < high / low < 6
    dose = calibrate(edit, probe, level=0.1, start=0.1 * norm)
    assert dose.reached
    assert dose.monotone
    assert dose.kl == pytest.approx(0.1, rel=0.02)


def test_steering_afraid_raises_its_words(smollm: Model, vectors: DirectionSet, probe: KLProbe) -> None:
    """At equal divergence, on held-out words and prompts for reporting: far more than a random direction does."""
    lexicon = contrast_words(load_lexicon(), use="held_out", emotions=["afraid", "angry", "happy", "sad"])
    words = [one for some in lexicon.values() for one in some]
    prompts = load_prompts(kind=["word_third", "word_first"], use="report")["text"].tolist()[:6]
    scorer = WordScorer(smollm, prompts, words, site=SITE)
    base = log_odds(scorer.log_probs(), words, lexicon)
    random = Shift(np.random.default_rng(0).standard_normal(smollm.d_model), site=SITE, coefficient=1.0)
    change = {}
    for name, edit in (("afraid", Steer(vectors["afraid"], strength=0.1)), ("random", random)):
        dose = calibrate(edit, probe, level=0.1, start=0.1 * vectors.residual_norm)
        assert dose.reached
        change[name] = log_odds(scorer.log_probs([edit.at(dose.coefficient)]), words, lexicon) - base
    own = list(lexicon).index("afraid")
    assert (change["afraid"][:, own] > 0).all()
    assert change["afraid"][:, own].mean() > 0.3 + abs(change["random"][:, own].mean())
    assert change["afraid"].mean(axis=0).argmax() == own
