"""The look of every figure: one altair theme, palettes that survive grey print, widths of a journal page."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import altair as alt

from emovec_sae.errors import ConfigError

ChartT = TypeVar("ChartT", alt.Chart, alt.LayerChart, alt.FacetChart, alt.VConcatChart, alt.HConcatChart)

NAME = "emovec"
"""Name under which the theme is registered; nothing enables it until `alt.theme.enable("emovec")`."""

WIDTHS = {"single": 89.0, "double": 183.0}
"""Widths of a journal page in mm: one column, and both."""

COLUMN, PAGE = 336, 692
"""The same in pixels at 96 per inch."""

PADDING = 8
"""Pixels around a figure."""

FONT = "'Liberation Sans', Arimo, Arial, Helvetica, sans-serif"
"""Liberation Sans comes inside vl-convert and has Arial's metrics, so pictures agree on machines without fonts."""

INK, MUTED, RULE, GRID, BACK = "#1c1e21", "#54585f", "#8d9198", "#e7e8ea", "#ffffff"
"""Text, secondary text (contrast 7:1 on white), thin lines, grid, background."""

DIVERGING = ("#12306e", "#3f68ad", "#94b3d8", "#f5f4f1", "#f3c58d", "#e8952f", "#cf6a00")
"""Blue below zero, orange above: apart for every colour vision; in grey, strong blue is darker than any orange."""

VALENCE = ("#10265f", "#3d5794", "#83848b", "#d8a13a", "#ffd95c")
"""Diverging in hue (blue, grey, yellow) with lightness that only rises, so grey print keeps the order."""

POSITIVE, NEGATIVE, OTHER, ERROR, NULL = "#d9770c", "#2b5597", "#7c8087", "#b4b7bc", "#dcdee1"
"""Bars: positive and negative latents, the sum of other latents, the SAE's error, the band of the null."""

ARMS: dict[str, tuple[str, tuple[int, ...], str]] = {
    "raw": ("#111318", (1, 0), "circle"),
    "k=16": ("#184e8c", (7, 2), "square"),
    "k=4": ("#12836d", (4, 2), "triangle-up"),
    "k=1": ("#e9ad2d", (1, 2), "diamond"),
    "random": ("#94989f", (2, 3), "cross"),
}
"""Colour, dash and point shape of the arms that every comparison has; hues from Okabe and Ito, lightness in steps."""

LINES: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("#2b5597", (1, 0), "circle"),
    ("#d9770c", (7, 2), "square"),
    ("#12836d", (4, 2), "triangle-up"),
    ("#6b1f4f", (1, 2), "diamond"),
    ("#e9ad2d", (9, 2, 2, 2), "cross"),
    ("#111318", (2, 2), "triangle-down"),
    ("#8fc1e6", (6, 3, 1, 3), "triangle-right"),
    ("#54585f", (3, 1), "triangle-left"),
)
"""Colour, dash and shape of lines and groups without a meaning of their own, taken in turn."""

SEQUENTIAL = ("#f3f5f7", "#c3d3e4", "#7fa3c7", "#3f6ea3", "#16386e")
"""Pale to dark blue; lightness falls all the way, so grey print keeps the order."""

MORE_ARMS: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("#b5568f", (9, 2, 2, 2), "triangle-down"),
    ("#56a8dd", (6, 3, 1, 3), "triangle-right"),
    ("#c4520a", (3, 1), "triangle-left"),
    ("#5f4b8b", (10, 4), "stroke"),
)
"""Taken in turn by arms that have no place in `ARMS`."""


INK_TO, WHITE_BELOW = 0.66, -0.58
"""Shares of `SEQUENTIAL` up to which, and of `DIVERGING` (from -1 to 1) down to which, dark letters read better than
white ones: where both have the same contrast."""

READABLE = 4.5
"""Contrast with white that small letters need (WCAG 2.2, 1.4.3)."""


_page: ContextVar[int] = ContextVar("emovec_page", default=PAGE)


@contextmanager
def on_page(width: str | float) -> Generator[None]:
    """Draw for a page of another width: a name of `WIDTHS`, or mm.

    Raises
    ------
    ConfigError
        If there is no such width, or it is below 60 or above 400 mm.
    """
    found = WIDTHS.get(width) if isinstance(width, str) else float(width)
    if found is None or not 60 <= found <= 400:
        names = " or ".join(f"'{name}' ({mm:g} mm)" for name, mm in WIDTHS.items())
        raise ConfigError(f"a figure cannot be {width} wide; say {names}, or mm from 60 to 400")
    token = _page.set(int(found / 25.4 * 96))
    try:
        yield
    finally:
        _page.reset(token)


def page() -> int:
    """Width in pixels of the page that is drawn for."""
    return _page.get()


def room(natural: int, *, beside: int) -> int:
    """Width of a plot in pixels: `natural` where the page has so much left of what stands `beside` the plot."""
    return min(natural, max(page() - 2 * PADDING - beside, 60))


@alt.theme.register(NAME, enable=False)
def emovec_theme() -> alt.theme.ThemeConfig:
    """Return the theme; `alt.theme.enable("emovec")` uses it for charts of one's own."""
    axis: alt.theme.AxisConfigKwds = {
        "labelFontSize": 10,
        "titleFontSize": 10.5,
        "titleFontWeight": "normal",
        "labelColor": MUTED,
        "titleColor": INK,
        "domainColor": RULE,
        "tickColor": RULE,
        "tickSize": 4,
        "gridColor": GRID,
        "labelPadding": 4,
        "titlePadding": 8,
        "labelLimit": 260,
        "labelFlush": False,
    }
    return {
        "background": BACK,
        "config": {
            "font": FONT,
            "padding": PADDING,
            "axis": axis,
            "view": {"stroke": None, "continuousWidth": PAGE - 120, "continuousHeight": 300},
            "title": {
                "anchor": "start",
                "frame": "bounds",
                "fontSize": 13,
                "fontWeight": "bold",
                "color": INK,
                "subtitleFontSize": 10.5,
                "subtitleColor": MUTED,
                "subtitleLineHeight": 14,
                "subtitlePadding": 5,
                "offset": 14,
            },
            "legend": {
                "labelFontSize": 10,
                "titleFontSize": 10.5,
                "titleFontWeight": "normal",
                "labelColor": MUTED,
                "titleColor": INK,
                "gradientThickness": 9,
                "labelLimit": 260,
                "titleLimit": 420,
            },
            "header": {"labelFontSize": 10.5, "labelColor": INK, "labelFontWeight": "bold", "title": None},
            "text": {"font": FONT, "fontSize": 10, "color": INK},
        },
    }


def dress(chart: ChartT) -> ChartT:
    """Return `chart` carrying the theme's own settings, so that it looks the same wherever it is shown.

    The theme is not enabled: charts of the caller keep the look that the caller chose.
    """
    look: dict[str, Any] = dict(emovec_theme())
    return chart.properties(background=look["background"], config=alt.Config.from_dict(look["config"]))


def letters(colour: str) -> str:
    """Return `colour`, darkened until letters in it can be read on white (`READABLE`)."""
    light = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    while 1.05 / (_luminance(light) + 0.05) < READABLE:
        light = [0.98 * part for part in light]
    return "#" + "".join(f"{int(255 * part + 0.5):02x}" for part in light)


def _luminance(light: list[float]) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in light)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def arm_styles(arms: list[str]) -> dict[str, tuple[str, tuple[int, ...], str]]:
    """Return colour, dash and shape for each arm, in drawing order: known arms first, then the others as given."""
    known = [arm for arm in ARMS if arm in arms]
    other = [arm for arm in arms if arm not in ARMS]
    styles = {arm: ARMS[arm] for arm in known}
    return styles | {arm: MORE_ARMS[i % len(MORE_ARMS)] for i, arm in enumerate(other)}
