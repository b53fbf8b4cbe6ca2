"""Which tokens of a text are read: format, role, offset, spans, and texts that are too long."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import ConfigError, CorpusError, ModelError
from emovec_sae.models.model import Model
from emovec_sae.recording.reading import Reading
from emovec_sae.recording.spans import read_spans
from emovec_sae.recording.texts import Texts, prepare
from emovec_sae.testing import tiny_model

TEMPLATE = (
    "{% for m in messages %}<eos>{{ m.role }}:{{ m.content }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<eos>assistant:{% endif %}"
)


@pytest.fixture
def chat() -> Model:
    """A tiny model whose tokens are characters, with a chat template."""
    model = tiny_model(context=64)
    model.tokens.tokenizer.chat_template = TEMPLATE
    return model


def corpus(*texts: str, **columns: list[Any]) -> Corpus:
    return Corpus.from_frame(pd.DataFrame({"text": list(texts), **columns}), name="mine")


def read(texts: Texts, model: Model, row: int, mask: str) -> str:
    """The characters that a mask picks."""
    where = texts.where(row)
    return model.tokens.decode(texts.ids[where][getattr(texts, mask)[where]].tolist())


def test_plain_text_is_read_from_the_offset_on_and_never_at_position_0(chat: Model) -> None:
    found = prepare(chat, corpus("abcdefgh"), Reading(offset=3), ("mean",))
    assert read(found, chat, 0, "kept") == "bcdefgh"
    assert read(found, chat, 0, "averaged") == "defgh"
    assert found.frame["n_tokens"].tolist() == [8]


@pytest.mark.parametrize(
    ("options", "kept", "averaged"),
    [
        ({"offset": 2}, "I like it.", "like it."),
        ({"read": "all", "offset": 2}, "user:I like it.assistant:", "ser:I like it.assistant:"),
        ({"read": "reply"}, "assistant:", "assistant:"),
        ({"read": "reply", "offset": 11}, "assistant:", ":"),  # two special tokens come first
    ],
)
def test_chat_reads_the_text_or_the_reply_header_or_all(
    chat: Model, options: dict[str, Any], kept: str, averaged: str
) -> None:
    found = prepare(chat, corpus("I like it."), Reading(format="chat", **options), ("mean",))
    assert chat.tokens.tokenizer.decode(found.ids.tolist()) == "<eos>user:I like it.<eos><eos>assistant:"
    assert read(found, chat, 0, "kept") == kept
    assert read(found, chat, 0, "averaged") == averaged


def test_a_text_of_the_assistant_answers_its_prompt(chat: Model) -> None:
    reading = Reading(format="chat", role="assistant", offset=0)
    found = prepare(chat, corpus("Well.", "So!", prompt=["How?", "Well."]), reading, ("mean",))
    whole = [chat.tokens.tokenizer.decode(found.ids[found.where(row)].tolist()) for row in range(2)]
    assert whole == ["<eos>user:How?<eos><eos>assistant:Well.<eos>", "<eos>user:Well.<eos><eos>assistant:So!<eos>"]
    assert [read(found, chat, row, "kept") for row in range(2)] == ["Well.", "So!"]
    with pytest.raises(CorpusError, match="text 'b' has no 'prompt'"):
        prepare(chat, corpus("Well.", "So!", prompt=["How?", None], id=["a", "b"]), reading, ("mean",))


def test_a_template_that_strips_the_text_is_followed_and_one_that_changes_it_is_refused(chat: Model) -> None:
    chat.tokens.tokenizer.chat_template = TEMPLATE.replace("m.content", "m.content | trim")
    texts = corpus("  ab cd  ", span=[[5, 7]])
    found = prepare(chat, texts, Reading(format="chat", offset=0), ("mean", "span"))
    assert read(found, chat, 0, "kept") == "ab cd"
    assert read(found, chat, 0, "spanned") == "cd"
    chat.tokens.tokenizer.chat_template = TEMPLATE.replace("m.content", "m.content | upper")
    with pytest.raises(ModelError, match="changes the text"):
        prepare(chat, texts, Reading(format="chat", offset=0), ("mean",))


def test_chat_without_a_template_is_refused(tiny: Callable[..., Model]) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        prepare(tiny(), corpus("I like it."), Reading(format="chat", offset=0), ("mean",))


def test_spans_pick_their_tokens(chat: Model) -> None:
    texts = ["Anna met Bo.", "Bo met Anna and Bo.", "Anna"]
    found = prepare(chat, corpus(*texts, span=[[0, 4], [[0, 2], [16, 18]], "nn"]), Reading(offset=0), ("span",))
    assert [read(found, chat, row, "spanned") for row in range(3)] == ["nna", "oBo", "nn"]  # never position 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "has span None"),
        ("", "has span ''"),
        ("Bo", "occurs 0 times"),
        ("n", "occurs 2 times"),
        ("[3", "occurs 0 times"),
        ([3], "has span"),
        ([2, 2], "not inside"),
        ([0, 9], "not inside"),
        ([-1, 2], "not inside"),
        ([[0, 2], [1.5, 3]], "has span"),
        ([], "has span"),
        ([True, 3], "has span"),
    ],
)
def test_a_span_that_cannot_be_read_is_named(value: Any, said: str) -> None:
    with pytest.raises(CorpusError, match="'x'") as caught:
        read_spans(value, "Anna", name="x")
    assert said in str(caught.value)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), st.data())
def test_spans_are_the_same_as_json_and_as_lists(text: str, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(text) - 1))
    last = data.draw(st.integers(first + 1, len(text)))
    assert read_spans([first, last], text, name="x") == [(first, last)]
    assert read_spans(json.dumps([[first, last]]), text, name="x") == [(first, last)]


def test_span_pools_need_the_column_and_a_token(chat: Model) -> None:
    with pytest.raises(CorpusError, match="needs the column 'span' in mine"):
        prepare(chat, corpus("abc"), Reading(), ("span",))
    with pytest.raises(CorpusError, match="text 'row1' of mine has no token left to span: 3 tokens, of which none"):
        prepare(chat, corpus("abc", span=[[0, 1]], id=["row1"]), Reading(offset=0), ("span",))


LONG = "".join(chr(97 + index % 26) for index in range(150))


def test_a_long_text_is_truncated(chat: Model) -> None:
    found = prepare(chat, corpus(LONG), Reading(long="truncate", offset=0), ("mean",))
    assert found.lengths.tolist() == [64]
    assert read(found, chat, 0, "kept") == LONG[1:64]
    told = prepare(chat, corpus(LONG), Reading(format="chat", long="truncate", offset=0), ("mean",))
    assert told.lengths.tolist() == [64]
    whole = chat.tokens.tokenizer.decode(told.ids.tolist())
    assert whole.startswith("<eos>user:abc")
    assert whole.endswith("<eos><eos>assistant:"), "the template is kept, the text's end is cut"


@pytest.mark.parametrize("format", ["plain", "chat"])
def test_a_long_text_is_split_into_equal_pieces(chat: Model, format: str) -> None:
    texts = corpus("short one", LONG, id=["s", "l"], group=["g", "h"])
    found = prepare(chat, texts, Reading(format=format, long="split", offset=0), ("mean",))
    pieces = found.frame[found.frame["id"] != "s"]
    assert found.frame["id"].tolist() == ["s", *(f"l/{part}" for part in range(len(pieces)))]
    assert pieces["group"].tolist() == ["h"] * len(pieces)
    assert pieces["part"].tolist() == list(range(len(pieces)))
    assert "".join(pieces["text"]) == LONG
    lengths = pieces["text"].str.len()
    assert lengths.max() - lengths.min() <= len(pieces)
    assert found.lengths.max() <= 64
    kept = [read(found, chat, row, "kept") for row in range(1, len(found))]
    skipped = 1 if format == "plain" else 0  # position 0 of a piece is a sink like any other
    assert kept == [text[skipped:] for text in pieces["text"]]


def test_the_first_token_that_the_tokenizer_adds_starts_every_piece(chat: Model) -> None:
    """A tokenizer that adds a special first token, as Llama's and Gemma's do."""
    from tokenizers.processors import TemplateProcessing

    raw = chat.tokens.tokenizer.backend_tokenizer
    raw.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 1)])
    found = prepare(chat, corpus(LONG), Reading(long="split", offset=0), ("mean",))
    assert [found.ids[found.where(row)][0] for row in range(len(found))] == [1] * len(found)
    assert "".join(read(found, chat, row, "kept") for row in range(len(found))) == LONG


def test_what_cannot_be_split_is_said(chat: Model) -> None:
    with pytest.raises(CorpusError, match="150 tokens; tiny-llama reads at most 64"):
        prepare(chat, corpus(LONG), Reading(), ("mean",))
    with pytest.raises(CorpusError, match="texts with spans cannot be split"):
        prepare(chat, corpus(LONG, span=[[0, 2]]), Reading(long="split"), ("span",))
    with pytest.raises(CorpusError, match="would be called 'l/1'"):
        prepare(chat, corpus(LONG, "abc", id=["l", "l/1"]), Reading(long="split", offset=0), ("mean",))
    chat.tokens.tokenizer.chat_template = TEMPLATE.replace("m.role", "'x' * 90")
    with pytest.raises(ModelError, match=r"the template alone has \d+ tokens, the model reads at most 64"):
        prepare(chat, corpus("abc"), Reading(format="chat", long="truncate", offset=0), ("mean",))


@pytest.mark.parametrize(
    "options",
    [{"format": "html"}, {"role": "system"}, {"read": "words"}, {"long": "drop"}, {"offset": -1}, {"read": "reply"},
     {"role": "assistant"}, {"format": "chat", "role": "assistant", "read": "reply"}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Reading(**options)


def test_half_a_character_is_named(chat: Model) -> None:
    with pytest.raises(CorpusError, match=r"text 1 holds half a character .*'ab\\ud83d'"):
        chat.tokens.encode(["fine text", "ab\ud83d"])


def test_many_texts_that_are_too_short_are_counted(chat: Model) -> None:
    texts = corpus(*["ab"] * 5, "long enough to be read")
    with pytest.raises(CorpusError, match=r"no token left to pool: 2 tokens, .* \(and 4 more texts\); leave it out"):
        prepare(chat, texts, Reading(offset=5), ("mean",))
    kept = prepare(chat, texts, Reading(offset=5), ("last",))
    assert np.add.reduceat(kept.averaged, kept.start[:-1]).tolist() == [0, 0, 0, 0, 0, 17]
    with pytest.raises(CorpusError, match="no text of mine has a token from the 30th on"):
        prepare(chat, texts, Reading(offset=30), ("last",))
