"""Logit lens: which tokens a direction writes, read off the unembedding.

The score of a token is u . (g * w), u the unit direction, w the token's row of the unembedding and g the gain of the
final norm: what one unit along u adds to the token's logit, up to the norm's division (the same for all tokens) and
up to what the blocks in between make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, MismatchError

if TYPE_CHECKING:
    from torch import Tensor

    from emovec_sae.directions.direction_set import DirectionSet


def logit_lens(
    directions: DirectionSet,
    unembedding: Tensor,
    token_strings: Callable[[Sequence[int]], Sequence[str]],
    *,
    k: int = 20,
) -> pd.DataFrame:
    """The k tokens that each direction writes most.

    Parameters
    ----------
    directions
        Directions, n of them.
    unembedding
        Rows of the unembedding times the gain of the final norm, shape (vocabulary, d_model).
    token_strings
        Gives the texts of token ids, in their order.
    k
        Tokens an emotion.

    Returns
    -------
    pandas.DataFrame
        emotion, rank (from 1), token, token_id, score; n * k rows.

    Raises
    ------
    MismatchError
        If the unembedding has another width than the directions.
    ConfigError
        If k is not between 1 and the size of the vocabulary.
    """
    if not 1 <= k <= unembedding.shape[0]:
        raise ConfigError(f"k is {k}; between 1 and the {unembedding.shape[0]} tokens of the vocabulary is wanted")
    top = _scores(directions, unembedding).topk(k, dim=1)
    ids = top.indices.cpu().numpy()
    return pd.DataFrame(
        {
            "emotion": np.repeat(np.array(directions.emotions, dtype=object), k),
            "rank": np.tile(np.arange(1, k + 1), len(directions)),
            "token": list(token_strings([int(one) for one in ids.ravel()])),
            "token_id": ids.ravel(),
            "score": top.values.cpu().numpy().ravel(),
        }
    )


def word_ranks(directions: DirectionSet, unembedding: Tensor, words: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Where an emotion's own words stand among all tokens of the vocabulary.

    Parameters
    ----------
    directions
        The directions.
    unembedding
        As in `logit_lens`.
    words
        Emotion -> token ids that would begin its own words (" afraid", "Afraid", ...); emotions without are left out.

    Returns
    -------
    pandas.DataFrame
        emotion, rank (of the best of its tokens, from 1), token_id, score, n (tokens that were given), vocabulary
        (size): by chance the best of n tokens stands near vocabulary / (n + 1).

    Raises
    ------
    ConfigError
        If an emotion is not in the set or a token id is outside the vocabulary.
    MismatchError
        If the unembedding has another width than the directions.
    """
    rows: list[dict[str, Any]] = []
    scores = _scores(directions, unembedding)
    for emotion, ids in words.items():
        row = scores[directions.index(emotion)]
        if not ids:
            continue
        outside = [one for one in ids if not 0 <= one < len(row)]
        if outside:
            raise ConfigError(f"token {outside[0]} of '{emotion}' is outside the vocabulary of {len(row)} tokens")
        own = row[list(ids)]
        best = int(own.argmax())
        rows.append(
            {
                "emotion": emotion, "rank": int((row > own[best]).sum()) + 1, "token_id": int(ids[best]),
                "score": float(own[best]), "n": len(ids), "vocabulary": len(row),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["emotion", "rank", "token_id", "score", "n", "vocabulary"])


def _scores(directions: DirectionSet, unembedding: Tensor) -> Tensor:
    """Scores, shape (n, vocabulary), float32."""
    import torch

    width = directions.vectors.shape[1]
    if unembedding.ndim != 2 or unembedding.shape[1] != width:
        raise MismatchError(
            f"the unembedding has shape {tuple(unembedding.shape)}, the directions have {width} dimensions: "
            "(vocabulary, d_model) of the same model is wanted"
        )
    units = torch.tensor(directions.units, device=unembedding.device)
    return units @ unembedding.detach().to(torch.float32).T
