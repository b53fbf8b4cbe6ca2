"""Named positions on the embedded model: generating, scoring and patching mean the same tokens, found here by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.errors import ConfigError, CorpusError
from emovec_sae.interventions.patching import patch
from emovec_sae.models.generate import generate
from emovec_sae.models.model import Model
from emovec_sae.scoring.choices import FORMS, forced_choice
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.scoring.words import WordScorer
from emovec_sae.sites import Site

SITE = Site("resid_post", 20)
EVERY = ["all", "prompt", "last", "from:5", "span:4-11", "role:user"]
PROMPT = "Tell me about the harbour at night."
NEUTRAL = (
    "The council meets on the first Monday of the month and publishes its minutes a week later, after the clerk has "
    "checked the names of all who spoke and the chair has signed every page of the printed copy by hand."
)


class Spy:
    """An edit that changes nothing and remembers at which tokens it might have."""

    def __init__(self, positions: str) -> None:
        self.site, self.positions = SITE, positions
        self.seen: list[np.ndarray] = []

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.seen.append(mask.cpu().numpy().copy())
        return hidden


def meant(model: Model, positions: str, text: str, *, chat: bool) -> list[int]:
    """Tokens of a text that positions mean, by the tokenizer alone."""
    tokenizer = model.tokens.tokenizer
    whole, start = text, 0
    if chat:
        whole = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
        )
        start = whole.index(text)
    offsets = tokenizer(whole, add_special_tokens=not chat, return_offsets_mapping=True)["offset_mapping"]
    ranges = {"span:4-11": (start + 4, start + 11), "role:user": (start, start + len(text))}
    if positions in ranges:
        first, last = ranges[positions]
        return [at for at, (low, high) in enumerate(offsets) if low < last and high > first]
    return list(range({"last": len(offsets) - 1, "from:5": 5}.get(positions, 0), len(offsets)))


@pytest.mark.parametrize("positions", [*EVERY, "generated"])
def test_generating(smollm: Model, positions: str) -> None:
    spy = Spy(positions)
    generate(smollm, PROMPT, edits=[spy], max_new_tokens=3)
    wanted = [] if positions == "generated" else meant(smollm, positions, PROMPT, chat=True)
    assert np.flatnonzero(spy.seen[0][0]).tolist() == wanted
    behind = positions in ("all", "generated", "last", "from:5")
    assert [bool(one.all()) for one in spy.seen[1:]] == [behind] * len(spy.seen[1:])
    assert len(spy.seen) >= 2


@pytest.mark.parametrize("positions", EVERY)
def test_a_forced_choice(smollm: Model, positions: str) -> None:
    spy = Spy(positions)
    forced_choice(smollm, ["reading a letter"], ["sorting old coins by their dates"], edits=[spy])
    asked = FORMS["chat"].format(first="reading a letter", second="sorting old coins by their dates")
    assert np.flatnonzero(spy.seen[0][0]).tolist() == meant(smollm, positions, asked, chat=True)


@pytest.mark.parametrize("positions", [one for one in EVERY if one != "role:user"])
def test_neutral_texts_and_words(smollm: Model, positions: str) -> None:
    spy = Spy(positions)
    KLProbe(smollm, [NEUTRAL], site=SITE, positions=4).read([spy])
    wanted = [at for at in meant(smollm, positions, NEUTRAL, chat=False) if at < 32]
    assert np.flatnonzero(spy.seen[0][0]).tolist() == ([31] if positions == "last" else wanted)
    spy = Spy(positions)
    WordScorer(smollm, [PROMPT], ["heartbroken"], site=SITE).log_probs([spy])
    wanted = meant(smollm, positions, PROMPT, chat=False)
    size = len(smollm.tokens.encode([PROMPT])[0])
    seen = np.flatnonzero(spy.seen[0][0]).tolist()
    assert [at for at in seen if at < size] == wanted
    assert any(at >= size for at in seen) == (positions in ("all", "last", "from:5"))


def by_hand(model: Model, row: dict[str, Any], where: list[int], *, chat: bool) -> float:
    """Recovered fraction with the source's states of some tokens, by a plain hook through the whole model."""
    texts = [row["source"], row["target"]]
    if chat:
        texts = [model.tokens.render([{"role": "user", "content": one}], reply=True) for one in texts]
    source, target = (torch.tensor(model.tokens.encode([one], special=not chat)) for one in texts)
    ids = [model.tokens.encode([row[name]], special=False)[0][0] for name in ("source_answer", "target_answer")]
    block = model.module.get_submodule(model.blocks.path(SITE))
    kept: list[torch.Tensor] = []

    def put(_: Any, given: Any, out: Any) -> Any:
        hidden = out[0] if isinstance(out, tuple) else out
        if not kept:
            kept.append(hidden)
            return out
        new = hidden.clone()
        new[0, where] = kept[0][0, where]
        return (new, *out[1:]) if isinstance(out, tuple) else new

    margins = []
    with torch.no_grad():
        for text, hooked in ((source, True), (target, True), (target, False)):
            handle = block.register_forward_hook(put) if hooked else None
            logits = model.module(input_ids=text).logits[0, -1].float()
            margins.append(float(logits[ids[0]] - logits[ids[1]]))
            if handle is not None:
                handle.remove()
    return (margins[1] - margins[2]) / (margins[0] - margins[2])


@pytest.mark.parametrize("positions", EVERY)
def test_patching(smollm: Model, positions: str) -> None:
    row = {
        "id": "p", "family": "f", "source": "His dog lost the race, and on the way home he felt very",
        "target": "His dog won the race, and on the way home he felt very",
        "source_answer": " sad", "target_answer": " happy",
    }  # fmt: skip
    chat = positions == "role:user"
    found = patch(smollm, pd.DataFrame([row]), sites=str(SITE), positions=positions, chat=chat).frame()
    first = next(at for at in range(99) if smollm.tokens.encode([row["source"]])[0][at]
                 != smollm.tokens.encode([row["target"]])[0][at])  # fmt: skip
    own = meant(smollm, positions, row["target"], chat=chat)
    if not chat:
        own = [at for at in own if at >= first]
    assert list(found["part"]) == [positions]
    # bfloat16 rounds a row of a batch otherwise than a single run: a step or two of a logit (0.06) over a gap of 3
    assert found["recovered"][0] == pytest.approx(by_hand(smollm, row, own, chat=chat), abs=0.05)


def test_what_no_token_has_is_refused(smollm: Model) -> None:
    row = {"id": "p", "family": "f", "source": "He lost and felt", "target": "He won and felt", "source_answer": " sad",
           "target_answer": " happy"}  # fmt: skip
    for positions, said in (
        ("generated", "patching generates nothing"), ("role:user", "need the chat template"),
        ("lst", "did you mean 'last'"), ("span:9-3", "hold no character"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            patch(smollm, pd.DataFrame([row]), positions=positions)
    with pytest.raises(CorpusError, match="lie outside of a prompt"):
        patch(smollm, pd.DataFrame([row]), positions="span:40-50")
    with pytest.raises(ConfigError, match="generates nothing: an edit at 'generated'"):
        forced_choice(smollm, ["a"], ["b"], edits=[Spy("generated")])
    with pytest.raises(CorpusError, match="lie outside of a prompt"):
        forced_choice(smollm, ["a"], ["b"], edits=[Spy("span:400-410")])
    probe = KLProbe(smollm, [NEUTRAL], site=SITE, positions=4)
    for positions, said in (("generated", "nothing is generated"), ("role:user", "need the chat template")):
        with pytest.raises(ConfigError, match=said):
            probe.read([Spy(positions)])
