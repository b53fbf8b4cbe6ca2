"""The token heat map: what a direction or a latent reads from each token of a text."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, largest, require, rows, signed
from emovec_sae.charts.labels import text_width
from emovec_sae.charts.logit_lens import shown

COLUMNS = ("text", "reader", "position", "token", "score")
"""One row a (text, what reads it, position from 0); `score` in units of the readout, NaN where a token is not read."""

_FONT, _LINE, _SPACE = 10.5, 19, 3.0


def token_heat(frame: pd.DataFrame, *, readout: str = "readout", title: str = "") -> alt.VConcatChart:
    """Draw each text as running words on a ground of colour, a block a reader.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    readout
        What a score is, with its unit, for the legend.
    title
        In place of the usual heading.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="token_heat")
    reach = _reach(table)
    wide = theme.room(theme.page(), beside=4)
    blocks = [
        _block(part.sort_values("position"), f"\u2018{text}\u2019 read by {reader}", reach, readout, wide)
        for (text, reader), part in table.groupby(["text", "reader"], sort=False)
    ]
    told = heading(
        title or f"What {table['reader'].nunique()} readers see in each token",
        f"n = {table.groupby(['text', 'reader']).size().max()} tokens a text at most; single values, without intervals",
        f"orange above zero, blue below, cut at \u00b1{signed(reach)}; tokens on white are not read",
    )
    return theme.dress(alt.vconcat(*blocks, spacing=12).properties(title=told))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="token_heat")
    parts: list[str] = []
    for (text, reader), part in table.groupby(["text", "reader"], sort=False):
        if part["score"].notna().any():
            top = largest(part, part["score"])
            parts.append(
                f"{reader} in \u2018{text}\u2019: mean {signed(float(part['score'].mean()))} over "
                f"{int(part['score'].notna().sum())} tokens, highest on \u2018{shown(str(top['token']))}\u2019 "
                f"({signed(float(top['score']))})"
            )
    return (
        f"Readout of each token, position by position: {'; '.join(parts)}. Colours are cut at "
        f"\u00b1{signed(_reach(table))}. These are {table['text'].nunique()} texts, chosen as examples; a token's "
        "score "
        "carries what came before it, and says nothing of what the model does with it."
    )


def _reach(table: pd.DataFrame) -> float:
    """End of the colour scale: the 98th percentile, so that one token does not wash out the others."""
    size = table["score"].abs().dropna()
    return max(round(float(size.quantile(0.98)), 2), 0.01) if len(size) else 0.01


def _block(part: pd.DataFrame, name: str, reach: float, readout: str, wide: int) -> alt.LayerChart:
    placed, lines = _placed(part, wide)
    placed["dark"] = placed["score"] < -0.5 * reach
    tall = _LINE * lines
    colour = alt.Color(
        "score:Q",
        scale=alt.Scale(domain=[-reach, reach], range=list(theme.DIVERGING), clamp=True, interpolate="lab"),
        legend=alt.Legend(title=readout, orient="top", gradientLength=160, values=[-reach, 0, reach], format=".2~f"),
    )
    x_scale, y_scale = alt.Scale(domain=[0, wide], nice=False), alt.Scale(domain=[tall, 0], nice=False)
    x, y = alt.X("left:Q", scale=x_scale, axis=None), alt.Y("top:Q", scale=y_scale, axis=None)
    base = alt.Chart(rows(placed))
    ground = (
        base.transform_filter("isValid(datum.score)")
        .mark_rect(aria=False)
        .encode(x=x, x2="right:Q", y=y, y2="bottom:Q", color=colour, tooltip=["token:N", "position:Q", "score:Q"])
    )
    words = base.mark_text(align="left", fontSize=_FONT).encode(
        x=alt.X("begin:Q", scale=x_scale, axis=None), y=alt.Y("middle:Q", scale=y_scale, axis=None), text="shown:N",
        color=alt.condition("datum.dark", alt.value("#ffffff"), alt.value(theme.INK)),
    )  # fmt: skip
    head = alt.Title(text=name, fontSize=10.5, offset=4)
    return alt.LayerChart(layer=[ground, words]).properties(width=wide, height=tall, title=head)


def _placed(part: pd.DataFrame, wide: int) -> tuple[pd.DataFrame, int]:
    """Tokens as boxes in pixels, in lines that break before a new word."""
    words = [shown(str(token)) for token in part["token"]]
    spaces = [0.0 if str(token)[:1].strip() else _SPACE for token in part["token"]]
    at, line = 0.0, 0
    boxes: list[tuple[float, float, int]] = []
    for word, space in zip(words, spaces, strict=True):
        width = text_width(word, 1.01 * _FONT) + 0.4 + space
        if boxes and at + width > wide:
            at, line = 0.0, line + 1
        boxes.append((at, at + width, line))
        at += width
    left, right, lines = zip(*boxes, strict=True)
    placed = part.assign(shown=words, left=left, right=right, top=[one * _LINE + 1.0 for one in lines])
    placed["bottom"] = placed["top"] + _LINE - 2
    placed["middle"] = placed["top"] + _LINE / 2
    placed["begin"] = [one + space for one, space in zip(left, spaces, strict=True)]
    return placed, line + 1
