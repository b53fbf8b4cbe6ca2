"""Naming against evoking: planted writers of words, the chain rule of the divergence, tokens, and the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.sae import SAEMetadata
from sklearn.metrics import roc_auc_score

from emovec_sae.decomposition.naming import naming
from emovec_sae.decomposition.naming_effect import Stage
from emovec_sae.decomposition.naming_table import direct_effect, matched_pool
from emovec_sae.decomposition.naming_words import WordTokens, word_tokens
from emovec_sae.decomposition.result import Decomposition
from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.models.tokens import pad
from emovec_sae.provenance import read_json
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_model

SITE = Site("resid_post", 1)
D, D_SAE = 32, 90
PROMPTS = ["she felt", "he was very", "they all were", "I am so"]
WORDS = [
    WordTokens((40, 41), (40, 41, 42), (50, 51), (60, 61, 62), (70, 71, 72), (80, 81, 82)),
    WordTokens((90,), (90, 91), (60, 61), (50, 51), (80, 81), (70, 71, 72)),
]
EMOTIONS = ("e0", "e1")


@pytest.fixture(scope="module")
def plain():
    """A tiny model whose blocks above the site add nothing: what is added at the site is read as it is."""
    model = tiny_model("llama", seed=3)
    for layer in (2,):
        block = model.module.get_submodule(model.blocks.layers[layer])
        block.self_attn.o_proj.weight.data.zero_()
        block.mlp.down_proj.weight.data.zero_()
    return model


def along(model, up, down=()):
    """A unit direction that raises some tokens and lowers others, and leaves all the rest as it can."""
    table = model.unembedding().double().numpy()
    goal = np.zeros(len(table))
    goal[list(up)] = 1.0
    goal[list(down)] = -1.0
    goal -= goal.mean()
    row = np.linalg.solve(table.T @ table + 1e-3 * np.eye(D), table.T @ goal)
    return row / np.linalg.norm(row)


@pytest.fixture(scope="module")
def planted(plain):
    """Latent 0 writes e0's words, latent 1 raises words of its valence, latent 2 e1's, others are random."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((D_SAE, D))
    rows[0] = along(plain, WORDS[0].masked)
    rows[1] = along(plain, WORDS[0].congruent, WORDS[0].incongruent)
    rows[2] = along(plain, WORDS[1].masked)
    sae = JumpReLUSAE(
        JumpReLUSAEConfig(d_in=D, d_sae=D_SAE, metadata=SAEMetadata(hook_name=SITE.hook_name, model_name="tiny"))
    )
    sae.W_dec.data = torch.tensor(rows).float()
    sae.W_enc.data = sae.W_dec.data.T.contiguous()
    sae.b_enc.data, sae.b_dec.data = torch.zeros(D_SAE), torch.zeros(D)
    sae.threshold.data = torch.full((D_SAE,), 0.1)
    return SparseCoder(sae, name="planted")


def decomposition(coder, model, *, latents=((0, 1, 5), (2, 1, 6)), signs=((1, 1, 1), (1, -1, 1)), rates=True):
    """A decomposition that holds the given latents."""
    index = np.unique(latents)
    ranks = pd.concat(
        pd.DataFrame(
            {
                "emotion": name, "rank": range(1, len(own) + 1), "latent": own, "coefficient": np.array(s, float),
                "share": 0.1, "dense": False,
            }
        )
        for name, own, s in zip(EMOTIONS, latents, signs, strict=True)
    )  # fmt: skip
    return Decomposition(
        method="contrast", k=len(latents[0]), emotions=EMOTIONS, site=SITE, model=model.describe(), sae=coder.name,
        sae_fingerprint=coder.fingerprint, ranks=ranks.reset_index(drop=True),
        summary=pd.DataFrame({"emotion": EMOTIONS, "error_share": 0.1, "cosine_k": 0.5}), curves=pd.DataFrame(),
        index=index, rows=coder.directions[index.tolist()].numpy(), coefficients=np.ones((2, len(index)), np.float32),
        vectors=np.ones((2, D), np.float32), removed=np.zeros((0, D), np.float32), interval="", provenance={},
        firing_rate=np.linspace(0.001, 0.05, D_SAE) if rates else None,
    )  # fmt: skip


def run(model, coder, **options):
    settings = {"prompts": PROMPTS, "strength": 0.5, "nulls": 60, "words": WORDS}
    return naming(decomposition(coder, model), coder, model, **settings | options)


def test_planted_writers_name_and_planted_evokers_evoke(plain, planted):
    found = run(plain, planted)
    table = found.frame().set_index(["emotion", "latent"])
    writer, evoker, other = (table.loc[("e0", latent)] for latent in (0, 1, 5))
    assert writer["kind"] == "names"
    assert evoker["kind"] == "evokes"
    assert other["kind"] == "neither"
    assert writer["naming_auroc"] > 0.99
    assert writer["own"] > evoker["own"]
    assert writer["kept"] < writer["kept_null_low"]
    assert evoker["kept"] > writer["kept"]
    assert evoker["valence"] > evoker["valence_null_high"]
    assert table.loc[("e1", 2)]["kind"] == "names"
    # The other emotion lies on the other side of valence, and subtracts the latent.
    assert table.loc[("e1", 1)]["valence"] > table.loc[("e1", 1)]["valence_null_high"]
    assert (table["n_null"] == 20).all()
    assert (table["naming_p"] >= 1 / 21).all()


def test_what_is_kept_is_the_divergence_of_renormalised_distributions(plain, planted):
    stage = Stage(plain, PROMPTS, SITE)
    shift = 2.0 * planted.directions[[0, 7]]
    found = stage.effects(shift, WORDS)
    batch = pad(plain.tokens.encode(PROMPTS), pad_id=plain.tokens.pad_id)
    last = batch.mask.sum(1) - 1

    def distribution(vector=None):
        block = plain.module.get_submodule(plain.blocks.layers[1])
        handle = None
        if vector is not None:
            handle = block.register_forward_hook(lambda module, args, output: output + vector)
        with torch.no_grad():
            logits = plain.module(input_ids=batch.input_ids, attention_mask=batch.mask.long()).logits
        if handle is not None:
            handle.remove()
        return logits[range(len(PROMPTS)), last].double().softmax(-1).numpy()

    base = distribution()
    for row in range(2):
        p = distribution(shift[row])
        kl = (p * np.log(p / base)).sum(1)
        np.testing.assert_allclose(found.kl[row, 0], kl, rtol=1e-3, atol=1e-5)
        for e, one in enumerate(WORDS):
            own = np.isin(np.arange(p.shape[1]), one.masked)
            rest, rest_base = p[:, ~own], base[:, ~own]
            m = p[:, own].sum(1)
            p_left, base_left = (table / table.sum(1, keepdims=True) for table in (rest, rest_base))
            np.testing.assert_allclose(
                found.rest[row, e], (1 - m) * (p_left * np.log(p_left / base_left)).sum(1), rtol=1e-3, atol=1e-5
            )
            odds = [np.log(t[:, list(one.congruent)].sum(1) / t[:, list(one.incongruent)].sum(1)) for t in (p, base)]
            np.testing.assert_allclose(found.valence[row, e], odds[0] - odds[1], rtol=1e-3, atol=1e-4)
    assert ((found.rest >= 0) & (found.rest <= found.kl)).all()


def test_a_shift_of_nothing_does_nothing(plain):
    found = Stage(plain, PROMPTS, SITE).effects(torch.zeros(1, D), WORDS)
    for name in ("kl", "rest", "own", "held_out", "valence"):
        np.testing.assert_allclose(getattr(found, name), 0, atol=1e-5)


def test_direct_effects_are_those_of_plain_formulas():
    rng = np.random.default_rng(0)
    rows, table = rng.standard_normal((3, 5)), rng.standard_normal((40, 5)).astype(np.float32)
    table[7] = table[8]
    z, area = direct_effect(rows, table, [(7, 3), (8,)])
    logits = rows.astype(np.float32) @ table.T
    for row in range(3):
        for e, own in enumerate(((7, 3), (8,))):
            expected = (logits[row, list(own)].mean() - logits[row].mean()) / logits[row].std(ddof=1)
            assert z[row, e] == pytest.approx(expected, abs=1e-4)
            mine = np.isin(np.arange(40), own)
            assert area[row, e] == pytest.approx(roc_auc_score(mine, logits[row]), abs=1e-6)


def test_random_latents_are_live_outside_the_decomposition_and_fire_as_often():
    rates = np.concatenate([np.zeros(50), np.full(200, 1e-4), np.full(200, 1e-2)])
    wanted = {"e0": (np.array([300, 301]), np.ones(2)), "e1": (np.array([302, 449]), np.ones(2))}
    pool = matched_pool(wanted, rates, n=40, seed=0)
    assert len(pool) == 40
    assert (rates[pool] == 1e-2).all()
    assert not set(pool.tolist()) & {300, 301, 302, 449}
    np.testing.assert_array_equal(pool, matched_pool(wanted, rates, n=40, seed=0))
    assert not np.array_equal(pool, matched_pool(wanted, rates, n=40, seed=1))
    assert len(matched_pool(wanted, rates, n=1000, seed=0)) == 396
    with pytest.raises(ConfigError, match="every live latent"):
        matched_pool({"e": (np.arange(50, 450), np.ones(400))}, rates, n=3, seed=0)


class Letters:
    """A tokenizer in which every word is one token, with or without a space before it; long words are two."""

    def __init__(self):
        self.seen = {}

    def encode(self, texts, *, special):
        pieces = [[text[:6], text[6:]] if len(text) > 6 else [text] for text in texts]
        return [[self.seen.setdefault(piece, len(self.seen)) for piece in one] for one in pieces]


class Spelling:
    def __init__(self):
        self.tokens = Letters()


def test_tokens_of_words_keep_apart_what_must_not_meet():
    lexicon = {
        "glad": {"tune": ["happy", "wonderful"], "held_out": ["jolly", "happy", "merry"]},
        "calm": {"tune": ["quiet", "merry"], "held_out": ["still", "jolly"]},
        "mad": {"tune": ["angry", "quiet"], "held_out": ["cross"]},
        "so-so": {"tune": ["fine"], "held_out": ["okay"]},
    }
    valence = {"glad": 8.0, "calm": 7.0, "mad": 2.0, "so-so": 5.2}
    model = Spelling()
    glad, unknown = word_tokens(model, ["glad", "odd"], lexicon=lexicon, valence=valence)
    named = model.tokens.seen
    assert set(glad.naming) == {named[w] for w in (" glad", " Glad", " happy", " Happy")}
    assert {named["glad"], named["Happy"], named[" wonde"]} <= set(glad.masked)
    assert glad.held_out == (named[" merry"],)  # "happy" is masked, "jolly" is another's too
    assert set(glad.held_out_others) == {named[w] for w in (" still", " cross", " okay")}
    assert glad.congruent == (named[" still"],)  # "quiet" is on both sides, "jolly" and "merry" are its own
    assert set(glad.incongruent) == {named[" angry"], named[" cross"]}
    assert unknown.naming == tuple(sorted({named[" odd"], named[" Odd"]}))
    assert unknown.held_out == ()
    assert unknown.congruent == ()


def test_an_emotion_without_other_words_has_no_numbers_for_them(plain, planted):
    bare = [WordTokens((40,), (40,), (), (), (), ()), WORDS[1]]
    table = run(plain, planted, words=bare).frame()
    own = table[table["emotion"] == "e0"]
    assert own[["held_out", "valence", "valence_p", "held_out_p", "valence_low"]].isna().all(axis=None)
    assert set(own["kind"]) <= {"names", "neither"}
    assert own["naming_p"].notna().all()
    nothing = [WordTokens((40,), (40,), (), (), (), ()), WordTokens((90,), (90,), (), (), (), ())]
    with pytest.raises(ConfigError, match="nothing to draw"):
        run(plain, planted, words=nothing).plot()


def test_frame_plot_and_file_hold_the_same(plain, planted, tmp_path):
    found = run(plain, planted, k=2)
    assert len(found.frame()) == 4
    assert found.summary()[["names", "evokes", "names and evokes", "neither"]].to_numpy().sum() == 4
    assert list(found.summary()["emotion"]) == ["e0", "e1"]
    saved = read_json(found.save(tmp_path / "naming.json"))
    assert [row["kind"] for row in saved["table"]] == found.frame()["kind"].tolist()
    assert saved["settings"]["strength"] == 0.5
    assert "layer" in found.plot().to_dict()
    assert json.dumps(found.facts())
    assert "latents of 2 emotions" in repr(found)
    assert "4 latents of 2 emotions" in found.caption()


def test_draws_follow_the_seed(plain, planted):
    one, again = run(plain, planted).frame(), run(plain, planted).frame()
    pd.testing.assert_frame_equal(one, again)
    assert not run(plain, planted, seed=1).frame()["kept_null_mean"].equals(one["kept_null_mean"])


def test_what_does_not_belong_together_is_refused(plain, planted, tiny):
    found = decomposition(planted, plain)
    with pytest.raises(MismatchError, match="comes from model 'tiny-llama'"):
        naming(found, planted, tiny("gpt2"), prompts=PROMPTS, words=WORDS)
    other = SparseCoder(planted.sae, name="other", site=SITE)
    other.__dict__["fingerprint"] = "x"
    with pytest.raises(MismatchError, match="SAE 'other' is not the one"):
        naming(found, other, plain, prompts=PROMPTS, words=WORDS)
    with pytest.raises(ConfigError, match="knows no firing rates"):
        naming(decomposition(planted, plain, rates=False), planted, plain, prompts=PROMPTS, words=WORDS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": 0}, "strength is 0"),
        ({"nulls": 0}, "nulls is 0"),
        ({"prompts": []}, "there are no prompts"),
        ({"k": 9}, "1 to 3 latents"),
        ({"emotions": ["e9"]}, "'e9' was not decomposed"),
    ],
)
def test_impossible_requests_are_refused(plain, planted, options, words):
    with pytest.raises(ConfigError, match=words):
        run(plain, planted, **options)
