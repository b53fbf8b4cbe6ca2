"""The tokens that decoder rows raise and lower most: the logit lens of latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.errors import MismatchError

if TYPE_CHECKING:
    import torch

TokenStrings = Callable[[list[int]], list[str]]
"""Turns token ids into one string a token."""


def decoder_tokens(
    rows: torch.Tensor | np.ndarray,
    unembedding: torch.Tensor | np.ndarray,
    token_strings: TokenStrings,
    *,
    top: int = 10,
    ids: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Tokens that directions raise and lower most at the output: the logit lens of decoder rows (or of any vectors).

    Parameters
    ----------
    rows
        Directions, shape (m, d).
    unembedding
        Unembedding with the final norm's gain folded in, shape (vocab, d).
    token_strings
        Token ids to one string a token.
    top
        Tokens on either side.
    ids
        What to call the rows; by default 0 to m - 1.

    Returns
    -------
    pd.DataFrame
        latent, side ("up" or "down"), rank, token_id, token, logit (per unit of the row).

    Raises
    ------
    MismatchError
        If the widths differ.

    References
    ----------
    nostalgebraist 2020, interpreting GPT: the logit lens.
    """
    import torch

    rows, unembedding = torch.as_tensor(rows).float(), torch.as_tensor(unembedding)
    if rows.shape[1] != unembedding.shape[1]:
        raise MismatchError(
            f"directions are {rows.shape[1]} wide, the unembedding {unembedding.shape[1]}: another model"
        )
    names = list(range(len(rows))) if ids is None else [int(name) for name in ids]
    # A row at a time keeps one row of logits; the vocabulary may hold a quarter of a million tokens.
    table: list[_Token] = []
    for name, row in zip(names, rows.to(unembedding.device, unembedding.dtype), strict=True):
        table += _ends(name, (unembedding @ row).float(), token_strings, top)
    return pd.DataFrame(table, columns=["latent", "side", "rank", "token_id", "token", "logit"])


_Token = tuple[int, str, int, int, str, float]


def _ends(name: int, logits: torch.Tensor, token_strings: TokenStrings, top: int) -> list[_Token]:
    """The tokens at both ends of one row of logits."""
    table: list[_Token] = []
    for side, sign in (("up", 1), ("down", -1)):
        best = (sign * logits).topk(min(top, len(logits)))
        tokens = [int(token) for token in best.indices]
        listed = zip(tokens, token_strings(tokens), best.values.tolist(), strict=True)
        table += [
            (name, side, rank, token, string, sign * value) for rank, (token, string, value) in enumerate(listed, 1)
        ]
    return table
