"""Figures fit the column of a journal, their letters travel along, and their colours can be told apart by everybody."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pypdf
import pytest
import vl_convert
from chart_frames import FRAMES

from emovec_sae import charts
from emovec_sae.charts import theme
from emovec_sae.charts.save import specification
from emovec_sae.errors import ConfigError

# Vienot, Brettel and Mollon 1999, as matrices on linear RGB: what dichromats without long or middle cones see.
SIMULATED = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
    "deuteranopia": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
}
# Two colours side by side are told apart without effort from about 10 units of CIELAB on (one unit is just noticeable
# in large fields; small marks need several); the same for lightness alone, which is what grey print leaves.
APART = 10.0


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = np.clip(to_xyz @ rgb, 0, None) / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(colour: str, vision: str) -> np.ndarray:
    return lab(np.clip(SIMULATED[vision] @ linear(colour), 0, 1))


def lightness(colour: str) -> float:
    return float(lab(linear(colour))[0])


def width_of(name: str, width: str | float) -> float:
    chart = charts.draw(name, FRAMES[name](), width=width)
    svg = vl_convert.vegalite_to_svg(specification(chart))
    return float(re.search(r'width="([\d.]+)"', svg)[1]) / 96 * 25.4


@pytest.mark.parametrize("name", list(FRAMES))
def test_a_figure_is_no_wider_than_its_page(name: str) -> None:
    assert width_of(name, "double") <= theme.WIDTHS["double"]
    assert width_of(name, "single") <= theme.WIDTHS["single"]


@pytest.mark.parametrize("width", ["tripel", 20, 900])
def test_a_page_that_nobody_prints_is_refused(width: str | float) -> None:
    with pytest.raises(ConfigError, match=f"cannot be {width} wide.*single.*double"):
        charts.draw("patching", FRAMES["patching"](), width=width)


def test_the_page_of_one_drawing_is_forgotten_by_the_next() -> None:
    before = specification(charts.draw("curves", FRAMES["curves"]()))
    charts.draw("curves", FRAMES["curves"](), width="single")
    with pytest.raises(ConfigError):
        charts.draw("curves", FRAMES["curves"]().head(0), width="single")
    assert specification(charts.draw("curves", FRAMES["curves"]())) == before


def test_the_pdf_has_its_fonts_inside_and_the_size_in_millimetres(tmp_path: Path) -> None:
    frame = FRAMES["curves"]()
    chart = charts.draw("curves", frame, width="single")
    charts.save_chart(chart, tmp_path, "curves", table=frame, provenance={}, caption="")
    page = pypdf.PdfReader(tmp_path / "curves.pdf").pages[0]
    fonts = [font.get_object() for font in page["/Resources"]["/Font"].get_object().values()]
    assert fonts
    for font in fonts:
        (inner,) = font["/DescendantFonts"]
        about = inner.get_object()["/FontDescriptor"].get_object()
        assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(about)
        assert "LiberationSans" in font["/BaseFont"]
    svg = (tmp_path / "curves.svg").read_text()
    pixels = float(re.search(r'width="([\d.]+)"', svg)[1])
    # A point is a 72nd of an inch, a pixel a 96th; the page is cut to whole points.
    assert float(page.mediabox.width) == pytest.approx(0.75 * pixels, abs=1)


def test_every_arm_is_told_apart_in_grey_and_by_every_vision() -> None:
    colours = [colour for colour, _, _ in theme.ARMS.values()]
    for one, other in itertools.combinations(colours, 2):
        assert abs(lightness(one) - lightness(other)) >= APART, (one, other)
        for vision in SIMULATED:
            assert np.linalg.norm(seen(one, vision) - seen(other, vision)) >= APART, (vision, one, other)


def test_the_first_six_lines_are_told_apart_in_grey_and_by_every_vision() -> None:
    colours = [colour for colour, _, _ in theme.LINES[:6]]
    for one, other in itertools.combinations(colours, 2):
        assert abs(lightness(one) - lightness(other)) >= APART, (one, other)
        for vision in SIMULATED:
            assert np.linalg.norm(seen(one, vision) - seen(other, vision)) >= APART, (vision, one, other)


@pytest.mark.parametrize("styles", [theme.LINES, (*theme.ARMS.values(), *theme.MORE_ARMS)])
def test_what_is_alike_in_grey_has_another_dash_and_another_shape(styles: tuple) -> None:
    for (_, dash, shape), (_, other_dash, other_shape) in itertools.combinations(styles, 2):
        assert dash != other_dash
        assert shape != other_shape


@pytest.mark.parametrize("palette", [theme.SEQUENTIAL, theme.VALENCE])
def test_ordered_colours_keep_their_order_in_grey_and_for_every_vision(palette: tuple[str, ...]) -> None:
    for vision in SIMULATED:
        steps = np.diff([seen(colour, vision)[0] for colour in palette])
        assert (np.abs(steps) >= APART - 1).all(), vision
        assert len(set(np.sign(steps))) == 1, vision


def test_both_ends_of_the_diverging_scale_fall_away_from_the_middle_and_differ() -> None:
    middle = len(theme.DIVERGING) // 2
    for vision in SIMULATED:
        light = np.array([seen(colour, vision)[0] for colour in theme.DIVERGING])
        assert (np.diff(light[: middle + 1]) >= APART).all(), vision
        assert (np.diff(light[middle:]) <= -APART).all(), vision
        for step in range(1, middle + 1):
            one, other = theme.DIVERGING[middle - step], theme.DIVERGING[middle + step]
            assert np.linalg.norm(seen(one, vision) - seen(other, vision)) >= 2 * APART, (vision, step)
    # In grey print the ends differ too; equal steps near the middle do not, which is why signs are written there.
    assert abs(lightness(theme.DIVERGING[0]) - lightness(theme.DIVERGING[-1])) >= 3 * APART


def test_signed_bars_and_their_grounds_differ_in_grey() -> None:
    marks = [theme.NEGATIVE, theme.OTHER, theme.POSITIVE, theme.ERROR, theme.NULL]
    assert abs(lightness(theme.NEGATIVE) - lightness(theme.POSITIVE)) >= 2 * APART
    assert abs(lightness(theme.OTHER) - lightness(theme.ERROR)) >= 2 * APART
    for mark in marks[:-1]:
        assert abs(lightness(mark) - lightness(theme.NULL)) >= APART, mark
