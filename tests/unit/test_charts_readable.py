"""What a reader must be able to do with a figure: read its letters, hold it in a column, find a kind by its colour."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from chart_frames import FRAMES

from emovec_sae import charts
from emovec_sae.charts import theme
from emovec_sae.charts.logit_lens import shown
from emovec_sae.charts.save import specification

COLUMN, DEEPEST = 89.0, 250.0
"""Width of a column of a journal in mm, and the depth of its page with a caption of few lines."""
EMOTIONS = [f"emotion {letter}" for letter in "abcdefghijklmnopqrstuvwx"]


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ rgb)


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def between(palette: tuple[str, ...], share: float) -> float:
    """Luminance of a colour of the palette, `share` of the way along it (mixed in sRGB, as the legend is)."""
    at = share * (len(palette) - 1)
    first = min(int(at), len(palette) - 2)
    low, high = (np.array([int(palette[i][k : k + 2], 16) for k in (1, 3, 5)]) for i in (first, first + 1))
    mixed = low + (at - first) * (high - low)
    return luminance(linear("#" + "".join(f"{int(part + 0.5):02x}" for part in mixed)))


def drawn(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Every single view inside a specification."""
    if "mark" in spec:
        return [spec]
    return [unit for key in ("layer", "hconcat", "vconcat") for part in spec.get(key, []) for unit in drawn(part)]


def size_of(name: str, frame: pd.DataFrame) -> tuple[float, float]:
    """Width and height of the figure in a single column, in mm."""
    svg = vl_convert.vegalite_to_svg(specification(charts.draw(name, frame, width="single")))
    head = svg[: svg.index(">")]
    wide, tall = (float(re.findall(rf'\b{side}="([\d.]+)"', head)[0]) for side in ("width", "height"))
    return wide / 96 * 25.4, tall / 96 * 25.4


@pytest.mark.parametrize("colour", sorted({line[0] for line in (*theme.LINES, *theme.ARMS.values())}))
def test_names_in_the_colour_of_their_line_can_be_read(colour: str) -> None:
    ink = luminance(linear(theme.letters(colour)))
    # An eight-bit channel is rounded after the last step, which costs less than a hundredth of the contrast.
    assert contrast(ink, 1.0) >= theme.READABLE - 0.05
    if contrast(luminance(linear(colour)), 1.0) >= theme.READABLE:
        assert theme.letters(colour) == colour


@pytest.mark.parametrize("share", np.linspace(0, 1, 21))
def test_numbers_on_coloured_cells_take_the_better_of_ink_and_white(share: float) -> None:
    ink = luminance(linear(theme.INK))
    for ground, white in (
        (between(theme.SEQUENTIAL, share), share > theme.INK_TO),
        (between(theme.DIVERGING, share), 2 * share - 1 < theme.WHITE_BELOW),
    ):
        taken = contrast(1.0, ground) if white else contrast(ink, ground)
        # Where both are equal each has 4.1; the switch may lie a step of the legend beside that point.
        assert taken >= 3.9
        assert taken >= 0.85 * max(contrast(1.0, ground), contrast(ink, ground))


def wide_k90() -> pd.DataFrame:
    one = FRAMES["k90"]()
    one = one[one["emotion"] == one["emotion"].iloc[0]]
    parts = [one.assign(emotion=name) for name in EMOTIONS]
    parts[3] = parts[3].assign(value=np.nan, low=np.nan, high=np.nan, matches=False)
    return pd.concat(parts, ignore_index=True)


def wide_latents() -> pd.DataFrame:
    cells = [
        {"emotion": emotion, "latent": latent, "label": f"L{latent} into, plementary, following",
         "delta": 0.01 * ((row * column) % 7 - 3), "emotion_order": column, "latent_order": row,
         "participation": 1.0 + row, "generic": row > 12}
        for row, latent in enumerate(range(1000, 1024)) for column, emotion in enumerate(EMOTIONS)
    ]  # fmt: skip
    return pd.DataFrame(cells)


def wide_trends() -> pd.DataFrame:
    one = FRAMES["trends"]()
    one = one[one["template"] == one["template"].iloc[0]]
    names = dict(zip(one["emotion"].unique(), ("grief-stricken", "overwhelmed", "exasperated"), strict=False))
    one = one.assign(emotion=one["emotion"].replace(names))
    return pd.concat([one.assign(template=f"template_{number}") for number in range(16)], ignore_index=True)


def wide_dashboard() -> pd.DataFrame:
    one = FRAMES["latent_dashboard"]()
    one = one[one["latent"] == one["latent"].iloc[0]]
    return pd.concat([one.assign(latent=number) for number in range(100, 106)], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "frame"),
    [("k90", wide_k90), ("latents_by_emotion", wide_latents), ("trends", wide_trends),
     ("latent_dashboard", wide_dashboard)],
)  # fmt: skip
def test_a_large_table_still_fits_a_column(name: str, frame: Callable[[], pd.DataFrame]) -> None:
    wide, tall = size_of(name, frame())
    assert wide <= COLUMN
    assert tall <= DEEPEST


def test_a_kind_of_latent_has_its_colour_whatever_comes_first() -> None:
    frame = FRAMES["naming"]()
    seen = []
    for table in (frame, frame.iloc[::-1]):
        (points,) = [one for one in drawn(specification(charts.draw("naming", table))) if "shape" in one["encoding"]]
        scale = points["encoding"]["color"]["scale"]
        seen.append(dict(zip(scale["domain"], scale["range"], strict=True)))
    assert seen[0] == seen[1]
    assert set(seen[0]) == set(frame["kind"])


def test_a_single_point_has_whiskers_where_lines_have_bands() -> None:
    frame = FRAMES["curves"]()
    one = frame["series"].iloc[0]
    table = pd.concat([frame[frame["series"] != one], frame[frame["series"] == one].head(1)], ignore_index=True)
    marks = [unit["mark"]["type"] for unit in drawn(specification(charts.draw("curves", table)))]
    assert marks.count("rule") == 1
    assert marks.count("area") == table["series"].nunique() - 1


def test_short_names_of_columns_stay_upright() -> None:
    cells = [
        {"row": f"{row}", "column": f"{column}", "value": 0.1, "low": np.nan, "high": np.nan, "n": 9,
         "row_order": row, "column_order": column}
        for row in range(10) for column in range(10)
    ]  # fmt: skip
    (cell, _) = drawn(specification(charts.draw("matrix", pd.DataFrame(cells))))
    assert cell["encoding"]["x"]["axis"]["labelAngle"] == 0
    long = pd.DataFrame(cells).replace({"column": {"3": "a name of many letters"}})
    (cell, _) = drawn(specification(charts.draw("matrix", long)))
    assert cell["encoding"]["x"]["axis"]["labelAngle"] == -90


@pytest.mark.parametrize(
    ("token", "words"), [(" ", "(space)"), ("   ", "(3 spaces)"), (" fear", "fear"), ("\n", "\\n"), ("", "")]
)
def test_a_token_of_spaces_is_not_an_empty_cell(token: str, words: str) -> None:
    assert shown(token) == words


def test_arms_at_one_dose_keep_whisker_line_and_point_together() -> None:
    frame = FRAMES["frontier"]()
    spec = specification(charts.draw("frontier", frame))
    aside: dict[str, set[float]] = {}
    for unit in drawn(spec):
        for step in unit.get("transform", []):
            if isinstance(step["filter"], dict):
                aside.setdefault(step["filter"]["equal"], set()).add(unit["mark"]["xOffset"])
    assert set(aside) == set(frame["arm"])
    assert all(len(offsets) == 1 for offsets in aside.values())
    assert len({offset for offsets in aside.values() for offset in offsets}) == len(aside)
