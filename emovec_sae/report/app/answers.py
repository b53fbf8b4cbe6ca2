"""Answers side by side, token by token: the model's own, under the raw directions, and under latents at their dose."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError
from emovec_sae.report.app.mix import Mix, length, shift
from emovec_sae.report.app.requests import MOST_PROMPT, AnswersAsked
from emovec_sae.report.app.texts import check_text
from emovec_sae.report.words import visible

if TYPE_CHECKING:
    from emovec_sae.report.app.doses import Matcher
    from emovec_sae.report.app.guard import Limit
    from emovec_sae.report.app.material import Material

NEXT = 8
"""Likeliest next tokens that are compared."""


def answers(material: Material, matcher: Matcher, limit: Limit, asked: AnswersAsked) -> Generator[dict[str, Any]]:
    """Answer a prompt under each arm; all arms share a batch.

    Parameters
    ----------
    material, matcher, limit
        The run, who matches doses, and how strong a mix may be.
    asked
        The request.

    Yields
    ------
    dict
        First of kind ``dose`` (what each arm adds, whether latents are there, and why not), then ``next`` (tokens that
        are likeliest next: token, and a probability an arm), then ``text`` (texts so far, by arm) after every token, at
        last ``done``.

    Raises
    ------
    ConfigError, CorpusError
        If the mix or the prompt is impossible.
    """
    prompt = check_text(asked.prompt, what="prompt", most=MOST_PROMPT)
    mix = Mix.of(material, asked.emotions, asked.strengths)
    limit.check(length(mix.raw(material)), beyond=asked.beyond)
    dose, edits = _arms(material, matcher, mix, asked)
    yield dose
    names = [name for name in edits if name in asked.arms]
    if not names:
        raise ConfigError(f"nothing to write: of the arms {', '.join(edits)} choose at least one")
    edit = _by_row(material, [edits[name] for name in names])
    yield {"kind": "next", "arms": names, "tokens": _next(material, prompt, edit, len(names))}
    from emovec_sae.models.stream import stream

    steps = 0
    for texts in stream(
        material.model, [prompt] * len(names), edits=[edit], max_new_tokens=asked.tokens, seed=asked.seed,
        temperature=asked.temperature,
    ):  # fmt: skip
        steps += 1
        yield {"kind": "text", "texts": dict(zip(names, texts, strict=True)), "tokens": steps}
    yield {"kind": "done", "tokens": steps}


def _arms(material: Material, matcher: Matcher, mix: Mix, asked: AnswersAsked) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the page is told about the doses, and the edit of each arm that there is."""
    raw, k = mix.raw(material), asked.k
    edits: dict[str, Any] = {"none": None}
    told: dict[str, Any] = {"kind": "dose", "raw": length(raw), "k": k, "latents": None, "refused": None, "parts": []}
    if not mix.active:
        return told, edits
    edits["raw"] = shift(material, raw)
    if edits["raw"] is None:
        raise ConfigError("the directions of this mix cancel out; change its strengths")
    if "latents" not in asked.arms:
        return told, edits
    try:
        matched = matcher.match(mix, k)
        told["parts"] = mix.parts(material, k)
    except ConfigError as error:  # an emotion without latents: the raw directions still answer
        told["refused"] = str(error)
        return told, edits
    own = mix.latents(material, k)
    edits["latents"] = shift(material, own * (matched.latents / length(own)))
    told |= {"latents": matched.latents, "kl": matched.kl, "how": matched.how, "said": matched.said}
    return told, edits


def _by_row(material: Material, edits: list[Any]) -> Any:
    from emovec_sae.interventions.edits import ByRow

    return ByRow(tuple(edits), material.directions.site)


def _next(material: Material, prompt: str, edit: Any, arms: int) -> list[dict[str, Any]]:
    """The likeliest next tokens of any arm, each with its probability under every arm."""
    import torch

    from emovec_sae.models.positions import locate
    from emovec_sae.models.seam import forward
    from emovec_sae.models.tokens import pad

    model = material.model
    ids, _ = locate(model.tokens, [prompt] * arms, [], chat=model.tokens.chat)
    if len(ids[0]) + 1 > model.context:
        raise ConfigError(f"the prompt has {len(ids[0])} tokens; {model.name} reads at most {model.context}")
    batch = pad(ids, pad_id=model.tokens.pad_id, device=model.device)
    final = forward(model, batch, edits=[edit], final=True).final
    if final is None:
        raise ConfigError("the model gave no final state")
    with torch.no_grad():
        shares = model.head(final[:, -1]).softmax(-1)
    order = shares.amax(dim=0).topk(NEXT).indices
    strings = model.tokens.strings(order.tolist())
    return [
        {"token": visible(token), "shares": row}
        for token, row in zip(strings, shares[:, order].T.tolist(), strict=True)
    ]
