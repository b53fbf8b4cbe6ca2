"""The table of latents that passed their test in an emotion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from emovec_sae.decomposition.identity import Contrast
    from emovec_sae.decomposition.significance import Significance

WIDEST = 0.1
"""Latents whose p_max_t or q is at most this are kept in the table."""
CORRECTIONS = {"max_t": "p_max_t", "q": "q"}
"""Name of a correction -> its column."""
COLUMNS = ("emotion", "latent", "coefficient", "share", "z", "p", "p_max_t", "q")


def passed(tests: Significance, whole: Contrast, emotions: Sequence[str], wanted: Sequence[int]) -> pd.DataFrame:
    """Rows of `COLUMNS` for every latent that passed at `WIDEST`, by emotion and falling share."""
    parts: list[pd.DataFrame] = []
    for row, (name, e) in enumerate(zip(emotions, wanted, strict=True)):
        latents = np.flatnonzero((tests.p_max_t[row] <= WIDEST) | (tests.q[row] <= WIDEST))
        shares = whole.shares(e).cpu().numpy()[latents]
        order = np.argsort(-shares, kind="stable")
        some = latents[order]
        values = {column: getattr(tests, column)[row, some].astype(float) for column in ("z", "p", "p_max_t", "q")}
        coefficient = whole.delta[e].cpu().numpy()[some].astype(float)
        parts.append(
            pd.DataFrame(
                {"emotion": name, "latent": some, "coefficient": coefficient, "share": shares[order].astype(float)}
                | values
            )
        )
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def chosen(table: pd.DataFrame | None, *, emotion: str | None, level: float, by: str) -> pd.DataFrame:
    """Rows of a table of `passed` at a level.

    Raises
    ------
    ConfigError
        If nothing was tested, the level is above `WIDEST`, or the correction is unknown.
    """
    if table is None:
        raise ConfigError("no latent was tested: decompose by 'contrast', with permutations")
    if by not in CORRECTIONS:
        raise ConfigError(f"unknown correction '{by}'{suggest(by, CORRECTIONS)}; there are {', '.join(CORRECTIONS)}")
    if not 0 < level <= WIDEST:
        raise ConfigError(f"level is {level}; latents are kept up to {WIDEST}, so it must lie between 0 and that")
    kept = table[CORRECTIONS[by]] <= level
    if emotion is not None:
        kept &= table["emotion"] == emotion
    return table[kept].reset_index(drop=True)
