"""How likely the unedited model finds a text that was generated after a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emovec_sae.errors import ModelError
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad

_ROWS = 24
"""Texts of a pass."""


def surprise(model: Model, prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Mean negative log-probability of each text's tokens after its prompt; its exponential is the perplexity.

    Texts of similar length share a pass; padding does not reach the numbers.

    Parameters
    ----------
    model
        The model; no edit is applied.
    prompts, texts
        Token ids, one prompt for each text.

    Returns
    -------
    numpy.ndarray
        Nats a token, shape (texts,) float64; NaN for an empty text.

    Raises
    ------
    ModelError
        If the model gives no final state.
    """
    found = np.full(len(texts), np.nan)
    order = sorted(range(len(texts)), key=lambda row: len(prompts[row]) + len(texts[row]))
    for start in range(0, len(order), _ROWS):
        rows = [row for row in order[start : start + _ROWS] if len(texts[row])]
        if rows:
            found[rows] = _surprise(model, [prompts[row] for row in rows], [texts[row] for row in rows])
    return found


def _surprise(model: Model, prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> list[float]:
    import torch

    whole = [[*prompt, *text] for prompt, text in zip(prompts, texts, strict=True)]
    final = forward(model, pad(whole, pad_id=model.tokens.pad_id, device=model.device), final=True).final
    if final is None:
        raise ModelError("the model gave no final state")
    found: list[float] = []
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        with torch.no_grad():
            law = model.head(final[row, len(prompt) - 1 : len(prompt) + len(text) - 1]).log_softmax(-1)
        tokens = torch.tensor(list(text), device=law.device)
        found.append(-float(law.gather(-1, tokens[:, None]).double().mean()))
    return found
