"""Word scores from the tree of continuations against one plain row a word; divergence against torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from emovec_sae.errors import ConfigError, CorpusError, ModelError
from emovec_sae.interventions.edits import Shift
from emovec_sae.models.model import Model
from emovec_sae.models.seam import Edit, forward
from emovec_sae.models.tokens import Batch, pad
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.scoring.words import WordScorer, log_odds
from emovec_sae.sites import Site
from emovec_sae.testing import ARCHITECTURES

# Shared beginnings, a word that begins another, one letter, a repeat of letters: the tokenizer has a token a character.
WORDS = ["sad", "sadness", "sat", "a", "happy", "hap", "aaa"]
PROMPTS = ["The river was", "x", "He felt very very", "paper", "lamp and stone and", "so", "They are"]
# The tree and the plain row add the same terms in another order. Measured over all architectures: at most 1.2e-5 nats,
# on scores of up to 120.
ATOL = 1e-4


def edits_at(model: Model, stream: str) -> list[list[Edit]]:
    vector = np.random.default_rng(0).standard_normal(model.d_model)
    site = Site(stream, 1)
    return [[], [Shift(vector, site=site, coefficient=3.0)]]


def naive(model: Model, prompt: str, word: str, edits: list[Edit]) -> float:
    """Log-probability of a word's tokens, one after another, each from a run of its own."""
    ids, piece = model.tokens.tokenizer(prompt)["input_ids"], model.tokens.tokenizer(f" {word}")["input_ids"]
    total = 0.0
    for token in piece:
        given = torch.tensor([ids])
        final = forward(model, Batch(given, torch.ones_like(given, dtype=torch.bool)), edits=edits, final=True).final
        total += float(model.head(final[0, -1]).double().log_softmax(-1)[token])
        ids = [*ids, token]
    return total


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("stream", ["resid_post", "mlp_out", "resid_pre"])
def test_the_tree_gives_what_single_rows_give(tiny: Callable[..., Model], architecture: str, stream: str) -> None:
    model = tiny(architecture)
    prompts = PROMPTS if stream == "resid_post" else PROMPTS[:2]  # seven prompts are two batches
    scorer = WordScorer(model, prompts, WORDS, site=Site(stream, 1))
    seen = []
    for edits in edits_at(model, stream):
        got = scorer.log_probs(edits)
        assert got.shape == (len(prompts), len(WORDS))
        right = np.array([[naive(model, prompt, word, edits) for word in WORDS] for prompt in prompts])
        np.testing.assert_allclose(got, right, rtol=0, atol=ATOL)
        seen.append(got)
    assert np.abs(seen[0] - seen[1]).max() > 100 * ATOL, "the edit did nothing"


def test_the_tree_in_bfloat16_stays_close(tiny: Callable[..., Model]) -> None:
    model = tiny("llama", dtype="bfloat16")
    got = WordScorer(model, PROMPTS[:2], WORDS, site=Site("resid_post", 1)).log_probs()
    right = np.array([[naive(model, prompt, word, []) for word in WORDS] for prompt in PROMPTS[:2]])
    # measured 0.012; logits of order 5 carry steps of 0.03, and a word has up to eight tokens
    np.testing.assert_allclose(got, right, rtol=0, atol=0.15)


def test_beginnings_are_shared(tiny: Callable[..., Model]) -> None:
    scorer = WordScorer(tiny(), ["x"], ["sad", "sadness", "sat"], site=Site("resid_post", 1))
    # " s", " sa" and then "d" that goes on to "ness": the last token of a word is scored, not run
    texts = ["".join(scorer.model.tokens.strings(node)) for node in scorer.tree.nodes]
    assert sorted(texts) == [" ", " s", " sa", " sad", " sadn", " sadne", " sadnes"]


def test_a_model_that_ignores_the_mask_is_refused(tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Batch.inputs
    monkeypatch.setattr(
        Batch, "inputs", lambda batch: plain(Batch(batch.input_ids, batch.mask, batch.position_ids, None))
    )
    with pytest.raises(ModelError, match="does not take a tree of continuations"):
        WordScorer(tiny(), ["The river"], ["sadness", "happiness", "anger"], site=Site("resid_post", 1))


@pytest.mark.parametrize("positions", ["prompt", "generated", "last", "from:7", "span:4-9"])
def test_an_edit_at_some_positions_against_one_word_at_a_time(tiny: Callable[..., Model], positions: str) -> None:
    model, words, prompts = tiny(), ["sad", "sadness", "cheerful"], ["The river", "A lamp stood"]
    edit = Shift(
        np.random.default_rng(0).normal(size=32), site=Site("resid_post", 1), coefficient=3.0, positions=positions
    )
    got = WordScorer(model, prompts, words, site=Site("resid_post", 1)).log_probs([edit])
    for row, prompt in enumerate(prompts):
        own, offsets = model.tokens.encode_with_offsets([prompt])
        size = len(own[0])
        for column, word in enumerate(words):
            piece = model.tokens.encode([f" {word}"], special=False)[0]
            ids = torch.tensor([[*own[0], *piece]])
            moved = {
                "prompt": range(size), "generated": range(size, ids.shape[1]), "last": range(size - 1, ids.shape[1]),
                "from:7": range(7, ids.shape[1]),
                "span:4-9": [at for at, (first, last) in enumerate(offsets[0]) if first < 9 and last > 4],
            }[positions]  # fmt: skip
            where = torch.zeros(ids.shape, dtype=torch.bool)
            where[0, list(moved)] = True
            every = Shift(edit.unit, site=edit.site, coefficient=3.0)
            hook = model.module.get_submodule(model.blocks.path(edit.site)).register_forward_hook(
                lambda _, given, out, where=where, every=every: (
                    (every(out[0], where), *out[1:]) if isinstance(out, tuple) else every(out, where)
                )
            )
            with torch.no_grad():
                log_probs = model.module(input_ids=ids).logits[0].log_softmax(-1)
            hook.remove()
            told = sum(float(log_probs[size - 1 + at, token]) for at, token in enumerate(piece))
            assert got[row, column] == pytest.approx(told, abs=1e-4)  # float32: 1e-5 here


def test_edits_below_the_prefix_are_refused(tiny: Callable[..., Model]) -> None:
    scorer = WordScorer(tiny(), ["x"], ["a"], site=Site("resid_post", 1))
    with pytest.raises(ModelError, match=r"resid_post\.0 lie below block 1"):
        scorer.log_probs([Shift(np.ones(32), site=Site("resid_post", 0), coefficient=1.0)])
    with pytest.raises(ConfigError, match="need the chat template"):
        scorer.log_probs([Shift(np.ones(32), site=Site("resid_post", 1), coefficient=1.0, positions="role:user")])


def test_log_odds_against_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    words = [f"w{index}" for index in range(9)]
    lexicon = {"a": ["w4"], "b": ["w0", "w8", "w2"], "c": ["w1", "w7"]}  # three words belong to nobody
    scores = np.log(random.dirichlet(np.ones(12), size=5)[:, :9])
    got = log_odds(scores, words, lexicon)
    for prompt in range(5):
        mass = {name: sum(math.exp(scores[prompt, words.index(one)]) for one in lexicon[name]) for name in lexicon}
        for place, name in enumerate(lexicon):
            others = sum(value for other, value in mass.items() if other != name)
            assert got[prompt, place] == pytest.approx(math.log(mass[name]) - math.log(others), abs=1e-12)
    np.testing.assert_allclose(log_odds(scores - 700, words, lexicon), got, atol=1e-9)


NEUTRAL = [f"{'stone river lamp paper window garden letter table'.replace('e', chr(97 + index))}" for index in range(9)]


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
@pytest.mark.parametrize("stream", ["resid_post", "attn_out"])
def test_divergence_is_that_of_torch_on_the_whole_pass(
    tiny: Callable[..., Model], architecture: str, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emovec_sae.scoring import damage

    monkeypatch.setattr(damage, "_ROWS", 3)  # several batches
    model = tiny(architecture)
    site = Site(stream, 1)
    probe = KLProbe(model, NEUTRAL, site=site, positions=20, per_text=4, seed=3)
    assert probe.n_positions == 20
    edit = Shift(np.random.default_rng(2).standard_normal(model.d_model), site=site, coefficient=3.0)
    total, count = 0.0, 0
    for prefix, where in probe._parts:
        # the whole model, no prefix, no head on chosen rows only
        base = model.module(**prefix.batch.inputs()).logits
        final = forward(model, pad(prefix.batch.input_ids.tolist(), pad_id=0), edits=[edit], final=True).final
        edited = model.head(final)
        for row, places in enumerate(where.tolist()):
            assert len(set(places)) == 4
            assert min(places) >= 8
            for place in places:
                logp, logq = base[row, place].double().log_softmax(-1), edited[row, place].double().log_softmax(-1)
                total += float(torch.nn.functional.kl_div(logq, logp, log_target=True, reduction="sum"))
                count += 1
    assert count == 20
    # float32 log-probabilities carry 1e-6 each, over 160 entries of the vocabulary
    assert probe.kl([edit]) == pytest.approx(total / count, rel=1e-3, abs=1e-6)
    assert probe.kl([edit]) > 1e-3


def test_divergence_of_no_edit_is_zero_and_grows_with_the_square(tiny: Callable[..., Model]) -> None:
    model, site = tiny(), Site("resid_post", 1)
    probe = KLProbe(model, NEUTRAL, site=site, positions=16)
    edit = Shift(np.random.default_rng(2).standard_normal(model.d_model), site=site, coefficient=0.0)
    assert probe.kl([edit]) == 0.0
    assert probe.kl([edit.at(0.1)]) == pytest.approx(4 * probe.kl([edit.at(0.05)]), rel=0.1)


def test_the_sample_is_decided_by_its_seed(tiny: Callable[..., Model]) -> None:
    model, site = tiny(), Site("resid_post", 1)
    edit = Shift(np.ones(model.d_model), site=site, coefficient=1.0)
    found = [KLProbe(model, NEUTRAL, site=site, positions=8, seed=seed).kl([edit]) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_too_few_or_too_short_texts_are_refused(tiny: Callable[..., Model]) -> None:
    with pytest.raises(CorpusError, match="128 positions need 32 neutral texts of at least 32 tokens, got 9"):
        KLProbe(tiny(), [*NEUTRAL, *["short"] * 50], site=Site("resid_post", 1))
