"""The site sweep: held-out accuracy over layers, beside chance and the TF-IDF baseline."""

from __future__ import annotations

from typing import Any, Literal

import altair as alt
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import INTERVAL, heading, interval, largest, percent, require, rows, span
from emovec_sae.charts.labels import spread
from emovec_sae.sites import Site

COLUMNS = ("site", "layer", "metric", "value", "low", "high", "n", "chance", "baseline")
"""One row a site and metric; `value`, its interval, `chance` and `baseline` (TF-IDF) are shares of texts, 0 to 1."""

_STYLE = {"top1": ("top-1", theme.NEGATIVE, "circle"), "top5": ("top-5", theme.POSITIVE, "square")}
_MORE = (("#1d9a82", "triangle-up"), ("#b5568f", "diamond"))
PICK = "metric"
_WIDTH, _HEIGHT, _SIDE = 500, 300, 160


def site_sweep(frame: pd.DataFrame, *, interval: str = INTERVAL) -> alt.LayerChart | alt.VConcatChart:
    """Draw accuracy over layers, one panel a stream, every line labelled at its right end.

    Parameters
    ----------
    frame
        Columns of `COLUMNS`.
    interval
        What the bands mean, for the subtitle.

    Raises
    ------
    ConfigError
        If columns are missing, the table is empty or a site cannot be read.
    """
    table = require(frame, COLUMNS, family="site_sweep")
    streams = table["site"].astype(str).map(_stream)
    title = heading(
        "Held-out accuracy of the emotion read from each layer",
        f"n = {span(table['n'])} held-out texts a point; bands: {interval}",
        "dashed: TF-IDF on the same split; dotted: chance",
    )
    panels = [_panel(table[streams == stream], stream) for stream in streams.unique()]
    if len(panels) == 1:
        return theme.dress(panels[0].properties(title=title))
    return theme.dress(alt.vconcat(*panels, spacing=22).properties(title=title))


def caption(frame: pd.DataFrame) -> str:
    """Write the caption from the numbers of the table."""
    table = require(frame, COLUMNS, family="site_sweep")
    parts = []
    for metric, group in table.groupby("metric", sort=True):
        best = largest(group, group["value"])
        parts.append(
            f"{_style(str(metric), 0)[0]} is highest at {best['site']} ({percent(best['value'])}, "
            f"{_range(best)}; TF-IDF {percent(best['baseline'])}, chance {percent(best['chance'], 1)})"
        )
    return (
        f"Share of held-out texts (n = {span(table['n'])} a point) whose emotion is read rightly at each of "
        f"{table['site'].nunique()} sites: {'; '.join(parts)}. The highest point of a curve is chosen on these very "
        "texts and flatters; a site chosen on inner folds is reported in the table of scores."
    )


def _wide() -> int:
    return theme.room(_WIDTH, beside=_SIDE)


def _range(row: dict[str, Any]) -> str:
    text = interval(row["low"], row["high"], 0, scale=100.0)
    return text if text == "no interval" else f"interval {text} %"


def _style(metric: str, index: int) -> tuple[str, str, str]:
    return _STYLE.get(metric) or (metric, *_MORE[index % len(_MORE)])


def _panel(table: pd.DataFrame, stream: str) -> alt.LayerChart:
    metrics = [name for name in _STYLE if name in set(table["metric"])]
    metrics += [name for name in table["metric"].unique() if name not in _STYLE]
    layers = []
    for index, metric in enumerate(metrics):
        layers += _curve(table[table["metric"] == metric].sort_values("layer"), _style(metric, index))
    layers += _end_labels(table, metrics)
    return alt.LayerChart(layer=[*layers]).properties(width=_wide(), height=_HEIGHT)


def _scales(group: pd.DataFrame) -> tuple[alt.X, alt.Y]:
    stream = Site.parse(group["site"].iloc[0]).stream
    axis = alt.Axis(title=f"layer ({stream}, counted from 0)", grid=False, tickMinStep=1, format="d")
    x = alt.X("layer:Q", axis=axis, scale=alt.Scale(nice=False, padding=8))
    shares = alt.Axis(title="held-out texts read rightly (%)", tickCount=6)
    return x, alt.Y("percent:Q", axis=shares, scale=alt.Scale(domain=[0, 100]))


def _curve(group: pd.DataFrame, style: tuple[str, str, str]) -> list[alt.Chart]:
    """Band, line, points and the two rules of one metric."""
    _, colour, shape = style
    scaled = group.assign(
        percent=100 * group["value"], lower=100 * group["low"], upper=100 * group["high"],
        base=100 * group["baseline"], guess=100 * group["chance"],
    )  # fmt: skip
    x, y = _scales(group)
    base = alt.Chart(rows(scaled)).encode(x=x, tooltip=["site:N", "metric:N", "value:Q", "low:Q", "high:Q", "n:Q"])
    # A band needs two layers to have a width; whiskers carry the interval of a single one.
    spread_mark = (
        base.mark_area(color=colour, opacity=0.16, aria=False)
        if group["layer"].nunique() > 1
        else base.mark_rule(color=colour, aria=False)
    )
    rules = alt.Chart(rows(scaled.iloc[[0]]))
    return [
        spread_mark.encode(y=alt.Y("lower:Q"), y2="upper:Q"),
        rules.mark_rule(color=colour, strokeDash=[6, 3], strokeWidth=1.1).encode(y=alt.Y("base:Q")),
        rules.mark_rule(color=colour, strokeDash=[1.5, 2.5], strokeWidth=1.3).encode(y=alt.Y("guess:Q")),
        base.mark_line(color=colour, strokeWidth=1.8).encode(y=y),
        base.mark_point(color=colour, shape=shape, filled=True, size=26, opacity=1).encode(y=y),
    ]


def _end_labels(table: pd.DataFrame, metrics: list[str]) -> list[alt.Chart]:
    """Names at the right end of each line, pushed apart where lines end close to each other."""
    last = table[table["layer"] == table["layer"].max()]
    entries: list[tuple[str, float, str, Literal["bold", "normal"]]] = []
    for index, metric in enumerate(metrics):
        name, colour, _ = _style(metric, index)
        end = last[last["metric"] == metric]
        row = (end if len(end) else table[table["metric"] == metric]).iloc[-1]
        entries.append((name, 100 * row["value"], colour, "bold"))
        entries.append((f"TF-IDF {name}, {percent(row['baseline'])}", 100 * row["baseline"], colour, "normal"))
        entries.append((f"chance {name}, {percent(row['chance'])}", 100 * row["chance"], colour, "normal"))
    places = spread([value for _, value, _, _ in entries], gap=13 * 100 / _HEIGHT, low=0, high=100)
    layers = []
    for (text, _, colour, weight), place in zip(entries, places, strict=True):
        mark = alt.Chart(alt.InlineData(values=[{"text": text, "percent": place}])).mark_text(
            align="left", dx=8, color=theme.letters(colour), fontWeight=weight, clip=False
        )
        layers.append(mark.encode(x=alt.value(_wide()), y=alt.Y("percent:Q"), text="text:N"))
    return layers


def _stream(site: object) -> str:
    return Site.parse(str(site)).stream
