"""Recording the embedded model: chat format, spans and any writing, against plain hooks one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emovec_sae.corpora.frame import Corpus
from emovec_sae.corpora.packaged import load_corpus
from emovec_sae.models.model import Model
from emovec_sae.recording.record import record

SITE, LAYER = "resid_post.12", 12
# One row against a padded batch in bfloat16: measured at most 0.9 on streams that reach 300 beside the sinks.
ATOL = 2.0
WRITINGS = {
    "emoji": "I was glad 😀😀 when the bus 🚌 came.",
    "hebrew": "שלום עולם, היום יום יפה מאוד.",
    "arabic and latin": "قالت Anna إن اليوم جميل.",
    "combining": "e\u0301galite\u0301 et fraternite\u0301, encore une fois",
    "astral": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 letters are long in bytes",
    "marks": "a\u200fright\u200eto\u2066left\u2069text with marks",
}


def plain(model: Model, ids: list[int]) -> np.ndarray:
    """Stream after the block, (tokens, d_model), by a forward hook of torch alone."""
    seen: list[torch.Tensor] = []
    block = model.module.get_submodule(f"model.layers.{LAYER}")
    handle = block.register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        model.module(input_ids=torch.tensor([ids]))
    handle.remove()
    return seen[0][0].float().numpy()


def test_chat_recording_is_that_of_the_models_own_template(smollm: Model, tmp_path: Path) -> None:
    corpus = load_corpus("scenarios").head(4)
    shared = {"sites": SITE, "format": "chat", "offset": 4, "budget": 200}
    own = record(smollm, corpus, pool=("mean", "max", "last"), out=tmp_path / "text", **shared)
    reply = record(
        smollm, corpus, pool=("last", "none"), read="reply", out=tmp_path / "reply", **shared | {"offset": 0}
    )
    for row, text in enumerate(corpus.frame["text"]):
        message = [{"role": "user", "content": text}]
        ids = smollm.tokens.tokenizer.apply_chat_template(message, add_generation_prompt=True)["input_ids"]
        right = plain(smollm, ids)
        end = len(ids) - 6  # <|im_end|> \n <|im_start|> ass istant \n
        start = next(first for first in range(end) if smollm.tokens.decode(ids[first:end]) == text)
        body = right[start:end]
        np.testing.assert_allclose(own.pooled(SITE)[row], body[4:].mean(axis=0), atol=ATOL, rtol=0.02)
        np.testing.assert_allclose(own.pooled(SITE, "max")[row], body[4:].max(axis=0), atol=ATOL, rtol=0.02)
        np.testing.assert_allclose(own.pooled(SITE, "last")[row], body[-1], atol=ATOL, rtol=0.02)
        np.testing.assert_allclose(reply.pooled(SITE, "last")[row], right[-1], atol=ATOL, rtol=0.02)
        other = plain(smollm, smollm.tokens.encode([text])[0])[4:].mean(axis=0)
        assert np.abs(own.pooled(SITE)[row] - other).max() > 2 * ATOL, "plain text would pass for chat"
    for chunk in reply.tokens(SITE):
        for row in np.unique(chunk.text):
            strings = smollm.tokens.strings(chunk.token_id[chunk.text == row])
            assert strings == ["\n", "ass", "istant", "\n"]  # the first ends the user's turn


def test_spans_of_words_are_their_tokens(smollm: Model, tmp_path: Path) -> None:
    texts = ["They said that Annabel 😀 was here today.", "Nobody told Annabel anything at all."]
    spans = ["nnabel", [texts[1].index("Annabel"), texts[1].index("Annabel") + 7]]
    corpus = Corpus.from_frame(pd.DataFrame({"text": texts, "span": spans}), name="names")
    acts = record(smollm, corpus, sites=SITE, pool=("span", "none"), out=tmp_path / "a", offset=0)
    for chunk in acts.tokens(SITE):
        for row in np.unique(chunk.text):
            mine = chunk.text == row
            strings = smollm.tokens.strings(chunk.token_id[mine])
            first = next(index for index in range(len(strings)) if "".join(strings[index:]).startswith(" Annabel"))
            last = next(index for index in range(first, len(strings)) if strings[index].endswith("bel")) + 1
            right = chunk.values[mine][first:last].mean(axis=0)
            np.testing.assert_allclose(acts.pooled(SITE, "span")[row], right, rtol=1e-5, atol=1e-4)


def test_any_writing_is_recorded_and_comes_back(smollm: Model, tmp_path: Path) -> None:
    corpus = Corpus.from_frame(pd.DataFrame({"id": list(WRITINGS), "text": list(WRITINGS.values())}), name="writings")
    acts = record(smollm, corpus, sites=SITE, pool=("mean", "none"), out=tmp_path / "a", offset=2)
    assert acts.frame["text"].tolist() == list(WRITINGS.values())
    read = {}
    for chunk in acts.tokens(SITE):
        for row in np.unique(chunk.text):
            ids = smollm.tokens.encode([WRITINGS[acts.frame["id"][row]]])[0]
            np.testing.assert_array_equal(chunk.token_id[chunk.text == row], ids[1:])
            read[acts.frame["id"][row]] = smollm.tokens.decode(ids)
    assert read == WRITINGS
