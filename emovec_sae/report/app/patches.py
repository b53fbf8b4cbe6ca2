"""Patching of two sentences: where what one says sits in the model, as a map of layers and tokens."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, CorpusError
from emovec_sae.report.app.requests import MOST_SENTENCE, PatchAsked
from emovec_sae.report.app.texts import check_text, pieces_of
from emovec_sae.report.words import visible

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.interventions.patches.alignment import AlignedPair
    from emovec_sae.models.model import Model
    from emovec_sae.report.app.material import Material

AT_ONCE = 6
"""Layers between two looks at what others wait for."""
_CANDIDATES = 20


def patch_map(material: Material, asked: PatchAsked) -> Generator[dict[str, Any]]:
    """Patch a source sentence's states into a target sentence's run, some layers at a time.

    Answers that were left empty are the tokens, among the 20 likeliest next ones of either text, whose log-probability
    differs most between the two.

    Parameters
    ----------
    material
        The run, for its model.
    asked
        The request.

    Yields
    ------
    dict
        First of kind ``pair`` (places of the target that are patched: token, text, changed; answers, how the texts are
        aligned, layers), then ``cells`` (layer, token and recovered fraction of each), at last ``done``.

    Raises
    ------
    CorpusError, ConfigError
        If a sentence is empty, too long, or the two cannot be aligned; the message says why.
    """
    from emovec_sae.interventions.patching import patch

    model = material.model
    frame = _frame(model, asked)
    by, pair = _aligned(model, frame)
    _, pieces = pieces_of(model.tokens, asked.target)
    answers = [visible(one) for one in model.tokens.strings(pair.answers)]
    yield {
        "kind": "pair", "places": _places(pair, pieces), "align": by, "answers": answers, "layers": model.n_layers,
        "chosen": not (asked.source_answer or asked.target_answer), "what": asked.what,
    }  # fmt: skip
    for start in range(0, model.n_layers, AT_ONCE):
        sites = [f"resid_post.{layer}" for layer in range(start, min(start + AT_ONCE, model.n_layers))]
        cells = patch(model, frame, sites=sites, what=asked.what, align=by).frame()
        if cells["recovered"].isna().any():
            raise ConfigError(
                f"the model answers both sentences alike (the logits of '{answers[0]}' and '{answers[1]}' do not "
                "differ between them); give other answers"
            )
        told = zip(cells["layer"], cells["position"] + len(pair.target), cells["recovered"], strict=True)
        yield {"kind": "cells", "cells": [[int(layer), int(token), float(value)] for layer, token, value in told]}
    yield {"kind": "done"}


def _places(pair: AlignedPair, pieces: list[str]) -> list[dict[str, Any]]:
    """Places of the target in their order, as `patch` numbers them: by their last token."""
    return [
        {"token": tokens[-1], "text": "".join(pieces[one] for one in tokens), "changed": tokens[-1] <= pair.last}
        for _, tokens in pair.places("tokens")
    ]


def _frame(model: Model, asked: PatchAsked) -> pd.DataFrame:
    source = check_text(asked.source, what="first sentence", most=MOST_SENTENCE).rstrip()
    target = check_text(asked.target, what="second sentence", most=MOST_SENTENCE).rstrip()
    if source == target:
        raise CorpusError("the two sentences are the same; change a word in one")
    if bool(asked.source_answer.strip()) != bool(asked.target_answer.strip()):
        raise ConfigError("give both answers, or none: the model then chooses them")
    if asked.source_answer.strip():
        answers = tuple(_one_token(model, one) for one in (asked.source_answer, asked.target_answer))
    else:
        answers = _chosen(model, source, target)
    row = {"id": "yours", "family": "yours", "source": source, "target": target}
    return pd.DataFrame([{**row, "source_answer": answers[0], "target_answer": answers[1]}])


def _aligned(model: Model, frame: pd.DataFrame) -> tuple[Literal["token", "span"], AlignedPair]:
    """Token by token where both have as many, else around the differing span."""
    from emovec_sae.interventions.patches.alignment import align

    lengths = [len(one) for one in model.tokens.encode([frame["source"].iloc[0], frame["target"].iloc[0]])]
    by: Literal["token", "span"] = "token" if lengths[0] == lengths[1] else "span"
    pairs, skipped = align(model, frame, by=by)
    if not pairs:
        raise CorpusError(f"these sentences cannot be patched: {skipped['reason'].iloc[0]}")
    return by, pairs[0]


def _one_token(model: Model, answer: str) -> str:
    """An answer as one token, with the blank before it that belongs to it."""
    word = answer.strip()
    for one in (f" {word}", word):
        if len(model.tokens.encode([one], special=False)[0]) == 1:
            return one
    raise ConfigError(f"the answer '{word[:40]}' is several tokens of {model.name}; take a shorter word")


def _chosen(model: Model, source: str, target: str) -> tuple[str, str]:
    """The next tokens that tell the two texts apart most."""
    import torch

    from emovec_sae.models.seam import forward
    from emovec_sae.models.tokens import pad

    ids = model.tokens.encode([source, target])
    batch = pad(ids, pad_id=model.tokens.pad_id, device=model.device)
    final = forward(model, batch, final=True).final
    if final is None:
        raise ConfigError("the model gave no final state")
    last = torch.tensor([len(one) - 1 for one in ids], device=final.device)
    with torch.no_grad():
        laws = model.head(final[torch.arange(2, device=final.device), last]).log_softmax(-1)
    gap = (laws[0] - laws[1]).cpu().numpy()
    found = [_telling(model, law, sign * gap) for law, sign in ((laws[0], 1), (laws[1], -1))]
    if None in found or found[0] == found[1]:
        raise ConfigError("the model's own next words do not tell the sentences apart; give two answers yourself")
    return str(found[0]), str(found[1])


def _telling(model: Model, law: Tensor, gap: np.ndarray) -> str | None:
    """The likely token with the largest gap, among those that are a token by themselves too."""
    likely = law.topk(min(_CANDIDATES, len(law))).indices.cpu().numpy()
    for token in likely[np.argsort(-gap[likely], kind="stable")]:
        text = model.tokens.strings([int(token)])[0]
        if text.strip() and model.tokens.encode([text], special=False)[0] == [int(token)]:
            return text
    return None
