"""Names of emotions on a map: bold for the core, where there is room for the others, none over another."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from emovec_sae.charts import theme
from emovec_sae.charts.frames import rows
from emovec_sae.charts.labels import Label, place_labels

_RADIUS, _CORE, _OTHER = 4.2, 10.5, 8.5
_REACH = (1.5, 4, 7, 11, 16, 24, 34, 48, 66)


def map_names(
    table: pd.DataFrame, low: np.ndarray, high: np.ndarray, plot: tuple[int, int]
) -> tuple[list[alt.Chart], alt.Chart]:
    """Text layers (a pale halo under each) and leader lines; core emotions first, then others where there is room.

    Parameters
    ----------
    table
        emotion, pc1, pc2, core; core emotions first.
    low, high
        (2,) corner values of the plot.
    plot
        Its width and height in pixels.
    """
    size = np.array(plot, dtype=float)
    unit = (high - low) / size
    pixels = (table[["pc1", "pc2"]].to_numpy(float) - low) / unit
    frame = pd.DataFrame(
        [
            {
                "emotion": table["emotion"].iloc[row], "family": table["family"].iloc[row],
                "x": low[0] + label.x * unit[0], "y": low[1] + label.y * unit[1],
                "pc1": float(table["pc1"].iloc[row]), "pc2": float(table["pc2"].iloc[row]),
                "core": core, "far": label.far,
            }
            for label, row, core in _placed(table, pixels, (float(size[0]), float(size[1])))
        ],
        columns=["emotion", "family", "x", "y", "pc1", "pc2", "core", "far"],
    )  # fmt: skip
    lines = (
        alt.Chart(rows(frame[frame["far"]]))
        .mark_rule(color=theme.RULE, strokeWidth=0.7, aria=False)
        .encode(x="pc1:Q", y="pc2:Q", x2="x:Q", y2="y:Q")
    )
    layers: list[alt.Chart] = []
    for chosen, font, colour in ((False, _OTHER, theme.MUTED), (True, _CORE, theme.INK)):
        base = alt.Chart(rows(frame[frame["core"] == chosen])).encode(x="x:Q", y="y:Q", text="emotion:N")
        weight = "bold" if chosen else "normal"
        layers.append(base.mark_text(fontSize=font, fontWeight=weight, stroke=theme.BACK, strokeWidth=2.4, aria=False))
        layers.append(base.mark_text(fontSize=font, fontWeight=weight, color=colour))
    return layers, lines


def _placed(table: pd.DataFrame, pixels: np.ndarray, bounds: tuple[float, float]) -> list[tuple[Label, int, bool]]:
    """Labels with their rows, and whether they name a core emotion."""
    core = int(table["core"].sum())
    texts = [str(name) for name in table["emotion"]]
    # Bold letters are about six hundredths wider than the regular ones that the widths describe.
    major, boxes = place_labels(
        pixels, texts[:core], size=1.06 * _CORE, radius=_RADIUS + 0.6, reach=_REACH, bounds=bounds
    )
    rest = np.concatenate([pixels[core:], pixels[:core]])
    minor, _ = place_labels(
        rest, texts[core:], size=_OTHER, radius=_RADIUS, reach=(1.5, 4), bounds=bounds, taken=boxes, crowd=0
    )
    return [(label, label.index, True) for label in major] + [(label, label.index + core, False) for label in minor]
