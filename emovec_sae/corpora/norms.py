"""Ratings of the 171 emotions on valence and arousal."""

from __future__ import annotations

import pandas as pd

from emovec_sae.corpora.emotions import DATA


def load_norms() -> pd.DataFrame:
    """Read the packaged ratings of the 171 emotions.

    Returns
    -------
    pandas.DataFrame
        `emotion`, `valence` (1 unpleasant to 9 pleasant), `arousal` (1 calm to 9 excited); one model rater, which
        agrees with human norms at r = 0.97 on valence and 0.74 on arousal (``data/README.md``).
    """
    return pd.read_csv(DATA / "norms.csv", dtype={"emotion": "str", "valence": float, "arousal": float})
