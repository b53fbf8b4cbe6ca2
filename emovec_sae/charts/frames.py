"""What the chart families share: columns checked, rows handed to altair, numbers written as words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.labels import text_width
from emovec_sae.errors import ConfigError, suggest

INTERVAL = "95 % intervals"
"""What a band or whisker means where the caller says nothing closer."""


def require(frame: pd.DataFrame, columns: Iterable[str], *, family: str) -> pd.DataFrame:
    """Return `frame` with a fresh row index after checking it.

    Raises
    ------
    ConfigError
        If columns are missing (all are named, with near misses) or the table has no rows.
    """
    wanted = tuple(columns)
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        have = [str(name) for name in frame.columns]
        named = ", ".join(f"'{name}'{suggest(name, [h for h in have if h not in wanted])}" for name in missing)
        raise ConfigError(
            f"chart '{family}' needs the columns {', '.join(wanted)}; missing: {named}; got {', '.join(have)}"
        )
    if frame.empty:
        raise ConfigError(f"chart '{family}' got a table without rows")
    return frame.reset_index(drop=True)


def rows(frame: pd.DataFrame) -> alt.InlineData:
    """Return the rows as data inside the chart: types are plain, NaN is null, and no row limit applies."""
    return alt.InlineData(values=[_plain(record) for record in frame.to_dict("records")])


def _plain(record: dict[Any, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in record.items():
        item = value.item() if isinstance(value, np.generic) else value
        missing = item is None or item is pd.NA or (isinstance(item, float) and not np.isfinite(item))
        # Eight digits are far below a pixel and keep the files small.
        plain[str(key)] = None if missing else float(f"{item:.8g}") if isinstance(item, float) else item
    return plain


def largest(table: pd.DataFrame, values: pd.Series) -> dict[str, Any]:
    """Return the row of `table` where `values` (aligned with it) is largest; the first row if none is a number."""
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    at = 0 if np.isnan(numbers).all() else int(np.nanargmax(numbers))
    return {str(key): value for key, value in table.iloc[at].to_dict().items()}


def span(values: pd.Series) -> str:
    """Return ``'192'`` or ``'12 to 24'``: the one number of a column, or its range; ``'unknown'`` if all is missing."""
    known = values.dropna()
    if known.empty:
        return "unknown"
    low, high = int(known.min()), int(known.max())
    return str(low) if low == high else f"{low} to {high}"


def percent(value: float, digits: int = 0) -> str:
    """Return ``'26 %'`` for 0.26, with a true minus sign."""
    return f"{signed(100 * value, digits)} %"


def signed(value: float, digits: int = 2) -> str:
    """Return a rounded number whose minus sign is the typographic one, never a negative zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def interval(low: float, high: float, digits: int = 2, *, scale: float = 1.0) -> str:
    """Return ``'0.41 to 0.55'``, or ``'no interval'`` where an end is missing."""
    if pd.isna(low) or pd.isna(high):
        return "no interval"
    return f"{signed(scale * low, digits)} to {signed(scale * high, digits)}"


def sites_in(frame: pd.DataFrame) -> str:
    """Return the sites of a table as words: one name, or how many."""
    names = list(dict.fromkeys(frame["site"].astype(str)))
    return names[0] if len(names) == 1 else f"{len(names)} sites"


def heading(text: str, *lines: str) -> alt.Title:
    """Return a chart title with its subtitle lines, broken where the page ends; empty lines are left out."""
    wide = theme.page() - 2 * theme.PADDING
    # Bold letters are wider than the regular ones that the widths describe.
    title = _broken(text, 1.08 * 13, wide)
    subtitle = [part for line in lines if line for part in _broken(line, 10.5, wide)]
    return alt.Title(text=title if len(title) > 1 else text, subtitle=subtitle)


def _broken(text: str, size: float, wide: float) -> list[str]:
    """Lines of at most `wide` pixels, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= wide:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
