"""The composition of an emotion vector: signed shares of latents, what the other latents hold, and the SAE's error."""

from __future__ import annotations

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import heading, interval, largest, percent, require, rows, span
from emovec_sae.charts.labels import text_width

COLUMNS = ("emotion", "kind", "latent", "label", "share", "low", "high", "null_low", "null_high", "n_texts")
"""One row a bar; shares are of |v|^2 and of sign, `kind` is "latent", "other latents" or "error". Columns
`permuted_low` and `permuted_high`, if there, bound what permuted labels give at the same rank."""

KINDS = ("latent", "other latents", "error")
INTERVAL = "95 % bootstrap over topics"
"""What the whiskers mean where the caller says nothing closer."""

PERMUTED = ("permuted_low", "permuted_high")
"""Columns of the second null, which older tables lack."""

_ENDS = ("share", "low", "high", "null_low", "null_high")
_WIDTH, _STEP, _LABELS = 400, 19, 230


def composition(frame: pd.DataFrame, *, interval: str = INTERVAL) -> alt.VConcatChart:
    """Draw, for each emotion, single latents above and the two sums below on an axis of their own.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    interval
        What the whiskers mean, for the subtitle.

    Raises
    ------
    ConfigError
        If columns are missing or the table is empty.
    """
    table = require(frame, COLUMNS, family="composition").assign(bar=_bar_names)
    extent = min(max(text_width(name, 10) for name in table["bar"]) + 8, _labels())
    emotions = [str(name) for name in table["emotion"].unique()]
    whose = f"the vector of \u2018{emotions[0]}\u2019" if len(emotions) == 1 else f"{len(emotions)} emotion vectors"
    panels = []
    for emotion in emotions:
        part = table[table["emotion"] == emotion]
        panels += _panels(part, name=emotion if len(emotions) > 1 else "", extent=extent)
    title = heading(
        f"What composes {whose}",
        f"n = {span(table['n_texts'])} texts; whiskers: {interval}; {_bands(table)}",
        "orange adds to the vector, blue takes away; the two parts have axes of their own",
    )
    return theme.dress(alt.vconcat(*panels, spacing=14).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="composition")
    parts = [_sentence(str(name), group) for name, group in table.groupby("emotion", sort=False)]
    nulls = "Pale bands show what random targets of the same norm reach at the same rank."
    if _has_permuted(table):
        single = table[(table["kind"] == "latent") & table[PERMUTED[1]].notna()]
        above = int((single["low"] > single[PERMUTED[1]]).sum())
        nulls += (
            " Brackets show what the whole procedure gives at that rank when the labels are permuted within groups: "
            f"{above} of {len(single)} latents lie above theirs with the whole interval."
        )
    return (
        f"Shares of |v|\u00b2 in the exact contrast identity (n = {span(table['n_texts'])} texts). {' '.join(parts)} "
        f"{nulls} Signed shares and the error add up to 100 %. A share says how much of the vector a latent holds, not "
        "what adding it does."
    )


def _sentence(emotion: str, group: pd.DataFrame) -> str:
    single = group[group["kind"] == "latent"]
    text = f"{emotion.capitalize()}: "
    if len(single):
        top = largest(single, single["share"].abs())
        text += (
            f"the largest of {len(single)} latents shown, {top['label']}, holds {percent(top['share'], 1)} "
            f"({interval(top['low'], top['high'], 1, scale=100)} %), together {percent(single['share'].sum())}"
        )
    for kind, words in (("other latents", "all other latents"), ("error", "the SAE's error")):
        found = group[group["kind"] == kind]
        if len(found):
            row = largest(found, found["share"])
            text += f"; {words} {percent(row['share'])} ({interval(row['low'], row['high'], 0, scale=100)} %)"
    return text + "."


def _labels() -> float:
    """Most that the names of the bars may take of the page."""
    return min(_LABELS, 0.42 * theme.page())


def _bar_names(table: pd.DataFrame) -> pd.Series:
    """Labels made unique: two latents may share their words, and equal names would be drawn as one bar."""
    twice = table.groupby(["emotion", "label"]).cumcount()
    return table["label"].astype(str) + twice.map(lambda count: "\u200b" * count)


def _panels(table: pd.DataFrame, *, name: str, extent: float) -> list[alt.LayerChart]:
    single = table[table["kind"] == "latent"].sort_values(
        "share", key=lambda s: s.abs(), ascending=False, kind="stable"
    )
    sums = table[table["kind"] != "latent"]
    panels = []
    if len(single):
        panels.append(_panel(single, "share of |v|\u00b2, each latent (%)", name, extent=extent))
    if len(sums):
        panels.append(_panel(sums, "share of |v|\u00b2, sums (%)", "" if panels else name, extent=extent))
    return panels


def _panel(table: pd.DataFrame, title: str, name: str, *, extent: float) -> alt.LayerChart:
    columns = [name for name in (*_ENDS, *PERMUTED) if name in table]
    scaled = table.assign(**{f"{column}_pc": 100 * table[column] for column in columns})
    scaled["colour"] = [_colour(kind, share) for kind, share in zip(table["kind"], table["share"], strict=True)]
    scaled["said"] = [percent(share, 1 if abs(share) < 0.0995 else 0) for share in table["share"]]
    # Values stand past the whisker, the bar or the bracket, whichever reaches further on the positive side.
    ends = [name for name in ("share_pc", "high_pc", "permuted_high_pc") if name in scaled]
    scaled["edge"] = scaled[ends].max(axis=1).clip(lower=0)
    y = alt.Y(
        "bar:N",
        sort=list(scaled["bar"]),
        axis=alt.Axis(
            title=None, ticks=False, domain=False, labelLimit=_labels(), minExtent=extent, labelColor=theme.INK
        ),
        scale=alt.Scale(paddingInner=0.3, paddingOuter=0.2),
    )
    x = alt.X("share_pc:Q", axis=alt.Axis(title=title, grid=True, tickCount=6), scale=alt.Scale(nice=True))
    base = alt.Chart(rows(scaled)).encode(y=y, tooltip=["label:N", "share:Q", "low:Q", "high:Q", "n_texts:Q"])
    layers = [
        *_targets(base, scaled),
        *_permuted(base, scaled),
        base.mark_bar(height=9).encode(x=x, color=alt.Color("colour:N", scale=None)),
        base.mark_rule(color=theme.INK, strokeWidth=1.1, aria=False).encode(x=alt.X("low_pc:Q"), x2="high_pc:Q"),
        base.mark_text(align="left", dx=5, color=theme.MUTED, fontSize=9.5).encode(x=alt.X("edge:Q"), text="said:N"),
        alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=theme.INK, strokeWidth=0.8).encode(x="zero:Q"),
    ]
    panel = alt.LayerChart(layer=[*layers]).properties(
        width=theme.room(_WIDTH, beside=round(extent) + 48), height=alt.Step(_STEP)
    )
    return panel.properties(title=alt.Title(name, fontSize=11, offset=4)) if name else panel


def _targets(base: alt.Chart, scaled: pd.DataFrame) -> list[alt.Chart]:
    """Bands of the random targets; sums have none."""
    if scaled["null_low"].isna().all():
        return []
    band = base.mark_bar(color=theme.NULL, height=_STEP - 2, aria=False)
    return [band.encode(x=alt.X("null_low_pc:Q"), x2="null_high_pc:Q")]


def _permuted(base: alt.Chart, scaled: pd.DataFrame) -> list[alt.Chart]:
    """Brackets of the permuted labels: two thin ticks, joined, so that they differ from the bands in grey print."""
    if PERMUTED[0] not in scaled or scaled[PERMUTED[0]].isna().all():
        return []
    known = base.transform_filter("isValid(datum.permuted_low)")
    ends = [
        known.mark_tick(color=theme.NEGATIVE, thickness=1.6, size=_STEP - 4, aria=False).encode(x=alt.X(f"{end}_pc:Q"))
        for end in PERMUTED
    ]
    joined = known.mark_rule(color=theme.NEGATIVE, strokeWidth=0.9, strokeDash=[2, 2], yOffset=7, aria=False)
    return [*ends, joined.encode(x=alt.X(f"{PERMUTED[0]}_pc:Q"), x2=f"{PERMUTED[1]}_pc:Q")]


def _bands(table: pd.DataFrame) -> str:
    more = "; blue brackets: permuted labels" if _has_permuted(table) else ""
    return f"pale bands: random targets of the same norm{more}"


def _has_permuted(table: pd.DataFrame) -> bool:
    return PERMUTED[0] in table and bool(table[PERMUTED[0]].notna().any())


def _colour(kind: str, share: float) -> str:
    if kind == "latent":
        return theme.POSITIVE if share >= 0 else theme.NEGATIVE
    return theme.ERROR if kind == "error" else theme.OTHER
