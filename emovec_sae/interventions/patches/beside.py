"""One thing beside another in the same pairs: tables whose rows hold both, so that what the pairs share cancels."""

from __future__ import annotations

import pandas as pd

from emovec_sae.errors import ConfigError, suggest

KEYS = ["site", "layer", "part", "pair", "family"]


def beside(means: pd.DataFrame, other: str) -> pd.DataFrame:
    """What each thing moved and, in `moved_whole`, what another moved at the same site and place of the same pair.

    Parameters
    ----------
    means
        One row a (what, site, part, pair): what, `KEYS`, moved, gap.
    other
        A value of `what`; its own rows are left out.

    Raises
    ------
    ConfigError
        If it was not patched, or nothing else at its sites.
    """
    names = list(dict.fromkeys(means["what"]))
    if other not in names:
        raise ConfigError(f"'{other}' was not patched{suggest(other, names)}; there are {', '.join(names)}")
    whole = means.loc[means["what"] == other, [*KEYS, "moved"]]
    both = means[means["what"] != other].merge(whole, on=KEYS, suffixes=("", "_whole"))
    if both.empty:
        raise ConfigError(f"nothing was patched beside '{other}' at its sites; name more in what=[...]")
    return both


def places_beside(means: pd.DataFrame, place: str, over: str) -> pd.DataFrame:
    """How much more was moved at one place than at another, in the pairs that have both, in `more`.

    Raises
    ------
    ConfigError
        If a place was not patched, or no pair has both.
    """
    there = list(dict.fromkeys(means["part"]))
    for name in (place, over):
        if name not in there:
            raise ConfigError(f"no cell lies at '{name}'{suggest(name, there)}; there are {', '.join(there)}")
    keys = ["what", *(key for key in KEYS if key != "part")]
    left, right = (means[means["part"] == name] for name in (place, over))
    both = left.merge(right[[*keys, "moved"]], on=keys, suffixes=("", "_over"))
    if both.empty:
        raise ConfigError(f"no pair has both '{place}' and '{over}'")
    return both.assign(more=both["moved"] - both["moved_over"])
