"""Outcomes of generated texts: valence and its mask, repetition, surprise, and draws that do not depend on company."""

from __future__ import annotations

import socket
from collections.abc import Callable

import numpy as np
import pytest

from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.corpora.lexicon import load_lexicon
from emovec_sae.errors import ConfigError
from emovec_sae.models.generate import generate_ids
from emovec_sae.models.model import Model
from emovec_sae.models.sampling import sample_ids
from emovec_sae.scoring.regimes import distinct, repeated, tell_regimes
from emovec_sae.scoring.surprise import surprise
from emovec_sae.scoring.valence import mask_emotions, valence


def test_valence_has_the_sign_of_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    good, bad, plain, negated, empty = valence(
        ["A lovely, wonderful day!", "A horrible, awful day!", "The bus came at nine.", "This is not good.", ""]
    )
    assert good > 0.5
    assert bad < -0.5
    assert plain == empty == 0
    assert negated < 0


def test_every_emotion_and_lexicon_word_is_masked() -> None:
    lexicon = [word for lists in load_lexicon().values() for some in lists.values() for word in some]
    for word in (*load_emotions().emotions, *lexicon):
        for form in (word, word.upper(), word.capitalize()):
            assert mask_emotions(f"They said {form}, then left.") == "They said, then left.", form


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Her happiness, his Fears and the angrier man's anger.", "Her, his and the man's."),
        ("He made a distillery for the madrigal.", "He made a distillery for the madrigal."),
        ("Worn  out and self-confident", "and"),
        ("(afraid) 'sad' happy?", "( ) ' '?"),
        ("", ""),
    ],
)
def test_the_mask_takes_whole_words_in_every_form(text: str, bare: str) -> None:
    assert mask_emotions(text) == bare
    assert mask_emotions(mask_emotions(text)) == mask_emotions(text)


def test_masking_takes_the_named_emotion_out_of_the_valence_and_leaves_the_scene() -> None:
    named, scene = "I felt happy, joyful and proud on the bus.", "I felt happy. The awful fire killed a man."
    assert valence([named])[0] > 0.5
    assert valence([mask_emotions(named)])[0] == 0
    assert valence([mask_emotions(scene)])[0] < valence([scene])[0] < 0


def test_distinct_counts_different_grams() -> None:
    assert distinct([1, 2, 3, 4], 1) == 1
    assert distinct([1, 1, 1, 1], 1) == 0.25
    assert distinct([1, 2, 1, 2, 1], 2) == 0.5
    assert np.isnan(distinct([1, 2], 3))


def test_regimes_follow_their_limits() -> None:
    told = tell_regimes([2.0, 5.9, 6.1, np.nan, 2.0], [0.0, 0.6, 0.9, 0.0, 0.5], usual=3.0)
    assert list(told) == ["clean", "repetitive", "collapsed", "collapsed", "repetitive"]


def test_surprise_in_a_batch_is_that_of_each_text_alone_and_of_plain_logits(tiny: Callable[..., Model]) -> None:
    import torch

    model = tiny("llama")
    random = np.random.default_rng(0)
    prompts = [random.integers(5, 150, size=size).tolist() for size in (3, 17, 6, 30, 9)]
    texts = [random.integers(5, 150, size=size).tolist() for size in (12, 1, 25, 0, 7)]
    whole = surprise(model, prompts, texts)
    alone = [surprise(model, [one], [text])[0] for one, text in zip(prompts, texts, strict=True)]
    np.testing.assert_allclose(whole, alone, rtol=1e-5)  # float32 sums in another order
    assert np.isnan(whole[3])
    with torch.no_grad():
        ids = torch.tensor([prompts[2] + texts[2]])
        law = model.module(ids).logits[0].log_softmax(-1)
    start = len(prompts[2])
    plain = [-float(law[start + step - 1, token]) for step, token in enumerate(texts[2])]
    assert whole[2] == pytest.approx(np.mean(plain), rel=1e-5)


def test_draws_make_a_text_independent_of_its_company(tiny: Callable[..., Model]) -> None:
    model = tiny("llama")
    prompts = [[40, 41, 42], [50, 60, 70, 80, 90], [33, 34]]
    draws = np.random.default_rng(3).random((3, 9))
    options = {"max_new_tokens": 9, "temperature": 0.8, "top_p": 0.9}
    together = generate_ids(model, prompts, draws=draws, **options).tolist()
    for row, prompt in enumerate(prompts):
        alone = generate_ids(model, [prompt], draws=draws[[row]], **options).tolist()[0]
        assert model.tokens.unpadded(together[row]) == model.tokens.unpadded(alone)
    sampled = sample_ids(model, prompts, draws=draws, temperature=0.8, top_p=0.9)
    ends = (model.tokens.pad_id, 1)
    assert [[one for one in row if one not in ends] for row in together] == sampled
    other = generate_ids(model, prompts, draws=1 - draws, **options).tolist()
    assert other != together
    with pytest.raises(ConfigError, match="temperature 0"):
        generate_ids(model, prompts, draws=draws, max_new_tokens=9)


def test_repetition_needs_windows() -> None:
    assert repeated([5] * 10) == pytest.approx(6 / 7)
    assert repeated([5, 5, 5]) == 0
