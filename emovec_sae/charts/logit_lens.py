"""The logit-lens table: the tokens that each emotion vector writes, read off the unembedding."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, require, rows, signed
from emovec_sae.charts.labels import text_width

COLUMNS = ("emotion", "rank", "token", "score")
"""One row a (emotion, rank from 1); `score` is what a unit of the direction adds to the token's logit."""

_LINE, _FONT, _GAP = 16, 9.5, 10


def logit_lens(frame: pd.DataFrame) -> alt.LayerChart:
    """Draw the table: a line an emotion, the strongest token first, darker where the score is higher.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`. Tokens in scripts that the figure's font lacks are written as their code points.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="logit_lens").sort_values(["rank"], kind="stable")
    table = table.assign(shown=[shown(str(token)) for token in table["token"]])
    emotions = list(dict.fromkeys(frame["emotion"].astype(str)))
    names = max(text_width(name, 10) for name in emotions)
    kept, edges = _columns(table, theme.room(theme.page(), beside=round(names) + 20))
    table = table[table["rank"].isin(kept)]
    table = table.assign(left=table["rank"].map(edges), line=table["emotion"].astype(str).map(emotions.index))
    low, high = float(table["score"].min()), float(table["score"].max())
    table["strong"] = table["score"] > min(low, 0.0) + theme.INK_TO * (high - min(low, 0.0))
    wide, tall = round(max(edges.values())), _LINE * len(emotions)
    y = alt.Y("line:Q", scale=alt.Scale(domain=[len(emotions) - 0.5, -0.5], nice=False), axis=None)
    x = alt.X("left:Q", scale=alt.Scale(domain=[0, wide], nice=False), axis=None)
    table["right"] = table["left"] + table["rank"].map(_widths(table)) + _GAP - 2
    table["top"], table["bottom"] = table["line"] - 0.44, table["line"] + 0.44
    base = alt.Chart(rows(table))
    colour = alt.Color(
        "score:Q",
        scale=alt.Scale(domain=[min(low, 0.0), high], range=list(theme.SEQUENTIAL)),
        legend=alt.Legend(title="score (logit a unit of the direction)", orient="top", gradientLength=160, tickCount=4),
    )
    cells = base.mark_rect(aria=False).encode(
        x=x, x2="right:Q", y=alt.Y("top:Q", scale=alt.Scale(domain=[len(emotions) - 0.5, -0.5]), axis=None),
        y2="bottom:Q", color=colour, tooltip=["emotion:N", "rank:Q", "token:N", "score:Q"],
    )  # fmt: skip
    light = alt.condition("datum.strong", alt.value("#ffffff"), alt.value(theme.INK))
    words = base.mark_text(align="left", dx=_GAP / 2 - 1, fontSize=_FONT).encode(x=x, y=y, text="shown:N", color=light)
    first = pd.DataFrame({"emotion": emotions, "line": range(len(emotions))})
    labels = (
        alt.Chart(rows(first))
        .mark_text(align="right", dx=-6, fontSize=10, color=theme.INK, clip=False)
        .encode(x=alt.value(0), y=y, text="emotion:N")
    )
    hidden = int(frame["rank"].max()) - max(kept)
    title = heading(
        f"Tokens that {len(emotions)} emotion vectors write",
        f"n = {max(kept)} tokens an emotion, strongest first; read off the unembedding, without intervals",
        f"{hidden} more an emotion are in the table of the figure" if hidden else "",
    )
    return theme.dress(alt.LayerChart(layer=[cells, words, labels]).properties(width=wide, height=tall, title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="logit_lens")
    own = sum(
        bool(_same(str(emotion), str(token))) for emotion, token in zip(table["emotion"], table["token"], strict=True)
    )
    named = sum(
        any(_same(str(emotion), str(token)) for token in part["token"]) for emotion, part in table.groupby("emotion")
    )
    return (
        f"The {int(table['rank'].max())} tokens that each of {table['emotion'].nunique()} emotion vectors writes most, "
        f"read off the unembedding (n = {len(table)} tokens). The beginning of the emotion's own name is among them "
        "for "
        f"{named} emotions ({own} tokens). Scores reach {signed(float(table['score'].max()))}. Tokens are what the "
        "direction would write if no later block changed it; they do not show what the model says."
    )


def shown(token: str) -> str:
    """A token as a figure can show it: spaces trimmed, what no letter of the font is as code points."""
    bare = token.strip()
    if token and not token.strip(" "):
        return "(space)" if len(token) == 1 else f"({len(token)} spaces)"
    if bare and all(sign < "\u0530" or "\u2010" <= sign <= "\u2030" for sign in bare):
        return bare
    return token.encode("unicode_escape").decode("ascii")


def _same(emotion: str, token: str) -> bool:
    bare = token.strip().lower()
    return len(bare) > 2 and emotion.lower().startswith(bare)


def _widths(table: pd.DataFrame) -> dict[int, float]:
    """Width of the widest token of each rank."""
    wide = table.assign(width=[text_width(word, _FONT) for word in table["shown"]])
    return {int(str(rank)): width for rank, width in wide.groupby("rank")["width"].max().to_dict().items()}


def _columns(table: pd.DataFrame, wide: int) -> tuple[list[int], dict[int, float]]:
    """Ranks that fit beside each other, and where each begins; the key after the last says where it ends."""
    edges, at, kept = {}, 0.0, []
    for rank, width in sorted(_widths(table).items()):
        if kept and at + width + _GAP > wide:
            break
        edges[rank] = at
        at += width + _GAP
        kept.append(rank)
    return kept, edges | {max(kept) + 1: at}
