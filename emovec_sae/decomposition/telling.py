"""Which emotions a latent tells apart: the area under the ROC curve of its mean over a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from emovec_sae.stats import auroc, max_t_p, permuted_labels, rank_aurocs

COLUMNS = ("latent", "rank", "emotion", "auroc", "low", "high", "n_texts", "null_high", "p")


def telling_frame(
    means: np.ndarray,
    emotions: Sequence[str],
    groups: Sequence[str],
    *,
    latents: Sequence[int],
    top: int = 5,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """The emotions that each latent tells best from all others.

    Parameters
    ----------
    means
        Mean activation of each text, shape (texts, m).
    emotions, groups
        Label and group of each text.
    latents
        What the columns are called.
    top
        Emotions a latent, those whose area lies farthest from one half.
    draws
        Permutations of the labels within groups.
    seed
        Of the permutations.

    Returns
    -------
    pd.DataFrame
        latent, rank, emotion, auroc, low, high (over groups), n_texts (of the emotion), null_high (95 % of what the
        farthest of all emotions reaches with permuted labels, as a distance above one half), p (max-T over emotions;
        at least 1 / (draws + 1)). Without rows where there are fewer than two emotions.
    """
    names, codes = np.unique(np.asarray(emotions, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2 or means.shape[1] == 0:
        return pd.DataFrame(columns=list(COLUMNS))
    found = rank_aurocs(means, codes, len(names))
    null = np.stack(
        [rank_aurocs(means, labels, len(names)) - 0.5
         for labels in permuted_labels(codes, blocks=np.asarray(groups), permutations=draws, seed=seed)]
    )  # fmt: skip
    rows = []
    for place, latent in enumerate(latents):
        distance = np.abs(found[:, place] - 0.5)
        p = max_t_p(distance, null[:, :, place])
        bar = float(np.quantile(np.abs(null[:, :, place]).max(axis=1), 0.95))
        for rank, code in enumerate(np.argsort(-distance, kind="stable")[:top], start=1):
            own = auroc(means[:, place], codes == code, groups)
            rows.append(
                (latent, rank, names[code], own.value, own.low, own.high, own.n, min(1.0, 0.5 + bar), float(p[code]))
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))
