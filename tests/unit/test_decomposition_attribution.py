"""Attribution: gradients at a site, completeness of the integrated ones, and the naive sum over tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.sae import SAEMetadata

from emovec_sae.decomposition.attribution import attribution_parts
from emovec_sae.decomposition.attribution_scores import Projection, WordOdds, own_words, word_odds
from emovec_sae.errors import ConfigError, CorpusError, ModelError
from emovec_sae.models.gradient import gradients
from emovec_sae.models.seam import forward, run_prefix
from emovec_sae.models.tokens import pad
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_model

SITE = Site("resid_post", 0)
D, D_SAE = 32, 40
PROMPTS = ["a lamp on the table", "the river", "paper and stone, and more", "a letter came", "garden gate"]
EMOTIONS = ("e0", "e1", "e2")
ODDS = WordOdds(EMOTIONS, ((40, 41), (50,), (60, 61, 62)), rest=(70, 71))


def coder(*, threshold=0.02, seed=0, site=SITE):
    """A random JumpReLU SAE with a bias, and rows that are not unit."""
    rng = torch.Generator().manual_seed(seed)
    metadata = SAEMetadata(hook_name=site.hook_name, model_name="tiny")
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=D, d_sae=D_SAE, metadata=metadata))
    sae.W_dec.data = torch.randn(D_SAE, D, generator=rng)
    sae.W_enc.data = sae.W_dec.data.T.contiguous() / D
    sae.b_enc.data = torch.zeros(D_SAE)
    sae.threshold.data = torch.full((D_SAE,), threshold)
    sae.b_dec.data = 0.3 * torch.randn(D, generator=rng)
    return SparseCoder(sae, name="random")


def attribute(model, sae=None, *, prompts=PROMPTS, **options):
    vectors = np.random.default_rng(3).standard_normal((3, D)).astype(np.float32)
    settings = {"k": 6, "nulls": 5, "seed": 0, "score": ODDS, "n_texts": np.array([4, 4, 4])}
    return attribution_parts(
        EMOTIONS, vectors, sae or coder(), removed=torch.zeros(0, D), model=model, prompts=prompts, **settings | options
    )


def through_hook(model, ids, layer, hidden, score):
    """Gradient by a plain forward hook on the block, without the seam."""
    leaf = hidden.clone().requires_grad_(True)
    block = model.module.get_submodule(model.blocks.layers[layer])
    kept = {}
    norm = model.module.get_submodule(model.blocks.norm)
    handles = [
        block.register_forward_hook(lambda module, args, output: leaf),
        norm.register_forward_hook(lambda module, args, output: kept.update(final=output)),
    ]
    with torch.enable_grad():
        model.module(input_ids=ids)
        (gradient,) = torch.autograd.grad(score(kept["final"]), leaf)
    for handle in handles:
        handle.remove()
    return gradient


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_gradients_equal_those_through_a_plain_hook(tiny, architecture):
    model = tiny(architecture)
    batch = pad(model.tokens.encode(PROMPTS), pad_id=model.tokens.pad_id)
    prefix = run_prefix(model, batch, SITE)
    found = gradients(
        model, prefix, site=SITE, hidden=prefix.hidden, score=lambda states: ODDS(model, states, batch, [0, 2])
    )
    assert found.at_site.shape == (2, *prefix.hidden.shape)
    for row, ids in enumerate(model.tokens.encode(PROMPTS)):
        alone = pad([ids], pad_id=0)
        for place, column in enumerate((0, 2)):
            expected = through_hook(
                model,
                alone.input_ids,
                0,
                prefix.hidden[row : row + 1, : len(ids)],
                lambda final, alone=alone, column=column: ODDS(model, final, alone, [column]).sum(),
            )
            # float32 through two blocks, another batch shape
            torch.testing.assert_close(found.at_site[place, row, : len(ids)], expected[0], rtol=1e-3, atol=1e-5)
            assert not found.at_site[place, row, len(ids) :].any()


@pytest.mark.parametrize("site", ["resid_pre.1", "attn_out.1", "mlp_out.0"])
def test_gradients_at_other_streams_predict_a_small_step(tiny, site):
    model, place = tiny("llama"), Site.parse(site)
    batch = pad(model.tokens.encode(PROMPTS[:2]), pad_id=model.tokens.pad_id)
    prefix, hidden = run_prefix(model, batch, place), forward(model, batch, read=[place]).values[place]

    def score(states):
        return ODDS(model, states, batch, [1])

    here = gradients(model, prefix, site=place, hidden=hidden, score=score)
    plain = forward(model, batch, final=True).final
    torch.testing.assert_close(here.scores, ODDS(model, plain, batch, [1]), rtol=1e-4, atol=1e-4)
    step = 1e-2 * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0)) * batch.mask[..., None]
    ends = [gradients(model, prefix, site=place, hidden=hidden + s * step, score=score).scores for s in (-1, 1)]
    change = (ends[1] - ends[0]).sum() / 2
    assert float((here.at_site[0] * step).sum()) == pytest.approx(float(change), rel=0.02, abs=1e-4)


def test_a_score_below_the_site_is_refused(tiny):
    model = tiny("llama")
    batch = pad(model.tokens.encode(PROMPTS[:1]), pad_id=0)
    prefix = run_prefix(model, batch, Site("resid_post", 1))
    with pytest.raises(ModelError, match=r"reads resid_post\.0, which does not lie above"):
        gradients(model, prefix, site=Site("resid_post", 1), hidden=prefix.hidden, score=lambda s: s, read=SITE)


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_integrated_attributions_add_up_to_the_change_of_the_score(tiny, baseline):
    options = {"baseline": baseline, "prompts": PROMPTS[1:4]}
    found = attribute(tiny("llama"), steps=16, **options).summary
    # 0.003 seen: the midpoint rule on a curved way through two random blocks; 0.74 at 2 steps, 0.0008 at 32
    assert (found["identity_error"] < 0.01).all()
    np.testing.assert_allclose(found["attributed"], found["effect"], rtol=0.02, atol=0.01)
    coarse = attribute(tiny("llama"), steps=2, **options).summary
    assert (coarse["identity_error"] > found["identity_error"]).all()


def test_attributions_are_the_naive_sum_over_tokens(tiny):
    model, sae = tiny("llama"), coder()
    found = attribute(model, sae, k=D_SAE - 8).frame
    expected = np.zeros((3, D_SAE))
    for ids in model.tokens.encode(PROMPTS):
        batch = pad([ids], pad_id=0)
        hidden = forward(model, batch, read=[SITE]).values[SITE]
        for e in range(3):
            gradient = through_hook(
                model,
                batch.input_ids,
                0,
                hidden,
                lambda final, batch=batch, e=e: ODDS(model, final, batch, [e]).sum(),
            )
            for t in range(1, len(ids)):  # the first token is no one's
                f = sae.encode(hidden[0, t : t + 1])[0]
                expected[e] += (f * (sae.directions @ gradient[0, t])).numpy() / len(PROMPTS)
    for e, name in enumerate(EMOTIONS):
        own = found[found["emotion"] == name]
        np.testing.assert_allclose(own["attribution"], expected[e, own["latent"]], rtol=1e-3, atol=1e-5)
        assert list(own["latent"].head(5)) == list(np.argsort(-expected[e])[:5])


@dataclass(frozen=True)
class Straight:
    """A score that is linear in the site's own stream when the blocks above add nothing."""

    units: np.ndarray
    read: Site | None

    def __call__(self, model, states, batch, columns):
        return Projection(self.units, self.read)(model, states, batch, columns)

    def describe(self):
        return {"score": "straight"}


@pytest.mark.parametrize("steps", [0, 3])
def test_planted_latents_of_a_linear_model_get_what_they_add(steps):
    model, sae = tiny_model("llama", seed=4), coder(seed=5)
    for layer in (1, 2):
        block = model.module.get_submodule(model.blocks.layers[layer])
        block.self_attn.o_proj.weight.data.zero_()
        block.mlp.down_proj.weight.data.zero_()
    units = sae.directions[[3, 7, 11]].numpy()
    found = attribute(model, sae, score=Straight(units, Site("resid_post", 2)), steps=steps, k=4)
    last = [len(ids) - 1 for ids in model.tokens.encode(PROMPTS)]
    hidden = forward(model, pad(model.tokens.encode(PROMPTS), pad_id=0), read=[SITE]).values[SITE]
    latents, error = sae.split(hidden[range(len(last)), last])
    expected = (latents[:, None] * (sae.directions @ torch.from_numpy(units).T).T).mean(0).numpy()
    error = error.numpy()
    for e, name in enumerate(EMOTIONS):
        own = found.frame[found.frame["emotion"] == name]
        np.testing.assert_allclose(own["attribution"], expected[e, own["latent"]], rtol=1e-3, atol=1e-4)
        assert list(own["latent"]) == np.argsort(-expected[e])[:4].tolist()
        gross = np.abs(expected[e]).sum() + abs((error @ units[e]).mean())
        row = found.summary.iloc[e]
        assert row["error_share"] == pytest.approx(float((error @ units[e]).mean() / gross), abs=1e-4)
        assert own["share"].sum() + row["other_share"] + row["error_share"] == pytest.approx(row["net"], abs=1e-5)
        assert row["attributed"] == pytest.approx(row["effect"], abs=1e-3)


def test_an_sae_that_gives_nothing_leaves_all_to_the_error(tiny):
    found = attribute(tiny("llama"), coder(threshold=1e6), steps=12, prompts=PROMPTS[1:4])
    assert (found.frame["share"] == 0).all()
    np.testing.assert_allclose(found.summary["error_share"].abs(), 1, atol=1e-5)
    assert (found.summary["identity_error"] < 0.05).all()


def test_tables_are_what_the_result_needs(tiny):
    found = attribute(tiny("llama"), coder(), prompts={"e0": PROMPTS, "e1": PROMPTS[:3], "e2": PROMPTS[1:]}, nulls=20)
    assert list(found.frame.groupby("emotion").size()) == [6, 6, 6]
    assert ((found.frame["low"] <= found.frame["share"]) & (found.frame["share"] <= found.frame["high"])).all()
    assert (found.frame["null_low"] <= found.frame["null_high"]).all()
    assert list(found.summary["n_prompts"]) == [5, 3, 4]
    assert found.settings["baseline"] == "zero"
    assert found.interval == "95 % t intervals over 3 prompts"
    for e, name in enumerate(EMOTIONS):
        own = found.frame[found.frame["emotion"] == name]
        rows = coder().directions[own["latent"].tolist()].numpy()
        expected = np.linalg.lstsq(rows.T, found.vectors[e], rcond=None)[0]
        np.testing.assert_allclose(own["coefficient"], expected, rtol=1e-3, atol=1e-4)
        at = found.curve.query("emotion == @name and k == 6 and quantity == 'r2'")["value"].item()
        fit = 1 - ((found.vectors[e] - expected @ rows) ** 2).sum() / (found.vectors[e] ** 2).sum()
        assert at == pytest.approx(fit, abs=1e-4)


def test_one_prompt_has_no_interval_and_the_same_prompts_give_the_same(tiny):
    found = attribute(tiny("llama"), prompts=PROMPTS[:1])
    assert found.frame[["low", "high"]].isna().all(axis=None)
    assert found.interval == "no interval: one prompt"
    shared = attribute(tiny("llama")).frame
    apart = attribute(tiny("llama"), prompts={name: [*PROMPTS] for name in EMOTIONS}).frame
    np.testing.assert_array_equal(shared["latent"], apart["latent"])
    np.testing.assert_allclose(shared["attribution"], apart["attribution"])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": -1}, ConfigError, "steps is -1"),
        ({"baseline": "men"}, ConfigError, "did you mean 'mean'"),
        ({"neutral": ["x y z"]}, ConfigError, "neutral texts make the baseline"),
        ({"prompts": {"e0": ["some text"]}}, ConfigError, "no prompts for 'e1'"),
        ({"prompts": []}, ConfigError, "no prompts for 'e0'"),
        ({"prompts": ["a"]}, CorpusError, "no token behind the first"),
        ({"prompts": ["a" * 300]}, CorpusError, "takes 256; shorten it"),
        ({"score": Projection(np.eye(3, D), SITE)}, ModelError, "does not lie above"),
    ],
)
def test_impossible_requests_are_refused(tiny, options, error, words):
    with pytest.raises(error, match=words):
        attribute(tiny("llama"), **options)


def test_words_come_from_the_lexicon_or_the_name():
    found = own_words(["happy", "vengeful"])
    assert "glad" in found["happy"]
    assert found["vengeful"] == ["vengeful"]
    assert list(found)[:2] == ["happy", "vengeful"]
    assert len(found) == 25
    assert own_words(["a"], {"b": ["y"], "a": ["x"]}) == {"a": ["x"], "b": ["y"]}
    with pytest.raises(ConfigError, match="no words were given for 'c'"):
        own_words(["a", "c"], {"a": ["x"]})


class Letters:
    """A tokenizer whose words are letters; a space before a word is part of its first token."""

    def encode(self, texts, *, special):
        return [[ord(letter) for letter in text.strip()] for text in texts]


class Spelling:
    tokens = Letters()


def test_own_tokens_are_whole_words_first_and_none_is_shared():
    odds = word_odds(Spelling(), ["a", "b"], words={"a": ["x", "yz"], "b": ["qr", "st"], "c": ["k"]})
    assert odds.own == ((ord("x"),), (ord("q"), ord("s")))
    assert odds.rest == (ord("k"),)
    with pytest.raises(ConfigError, match="'a' has no word whose first token is its own"):
        word_odds(Spelling(), ["a", "b"], words={"a": ["x"], "b": ["x", "y"]})


def test_log_odds_are_those_of_summed_probabilities(tiny):
    model = tiny("llama")
    batch = pad(model.tokens.encode(PROMPTS), pad_id=0)
    final = forward(model, batch, final=True).final
    found = ODDS(model, final, batch, [2, 0])
    logits = model.head(final[range(len(PROMPTS)), batch.mask.sum(1) - 1]).double().softmax(-1)
    rest = [50, 40, 41, 70, 71]
    expected = logits[:, [60, 61, 62]].sum(1).log() - logits[:, rest].sum(1).log()
    torch.testing.assert_close(found[:, 0].double(), expected, rtol=1e-4, atol=1e-4)
