"""Labels beside points: greedy placement without overlap, in pixels, from the widths of the letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WIDTHS = {
    letter: width
    for letters, width in (
        ("ijl", 0.222), ("ft .,-/:;'", 0.278), ("r()", 0.333), ("ckvxyszJ", 0.5), ("abdeghnopqu0123456789L", 0.556),
        ("w", 0.722), ("mM", 0.833), ("W", 0.944),
    )
    for letter in letters
}  # fmt: skip

_ANGLES = np.deg2rad([0, 180, 90, 270, 35, 325, 145, 215, 65, 295, 115, 245])


@dataclass(frozen=True)
class Label:
    """Where one label goes.

    Attributes
    ----------
    index
        Row of the point that it names.
    x, y
        Centre of the text in pixels, y upward.
    far
        Whether the text stands so far off that a leader line is wanted.
    """

    index: int
    x: float
    y: float
    far: bool


def text_width(text: str, size: float) -> float:
    """Return the width of `text` in pixels in Liberation Sans (Arial's metrics) at `size` pixels."""
    return size * sum(_WIDTHS.get(letter, 0.667) for letter in text)


def place_labels(
    points: np.ndarray,
    texts: Sequence[str],
    *,
    size: float,
    radius: float,
    reach: Sequence[float],
    bounds: tuple[float, float],
    taken: np.ndarray | None = None,
    crowd: float | None = None,
) -> tuple[list[Label], np.ndarray]:
    """Place labels one after the other, each where it hits no other label and as few points as can be.

    Parameters
    ----------
    points
        (n, 2) pixel coordinates of *all* points; the first ``len(texts)`` of them are the ones to name.
    texts
        Labels in order of importance: the first are placed first.
    size
        Font size in pixels.
    radius
        Radius of a point in pixels.
    reach
        Gaps between point and text to try, in pixels, nearest first.
    bounds
        Width and height of the plot; labels stay inside.
    taken
        (m, 4) boxes (left, bottom, right, top) that are already used.
    crowd
        If given, a label that would cover more points than this is left out instead of placed.

    Returns
    -------
    labels
        Those that found a place, at most one per text.
    boxes
        (m + k, 4) boxes used, for a next call.
    """
    boxes = np.empty((0, 4)) if taken is None else np.asarray(taken, dtype=float)
    placed: list[Label] = []
    for index, text in enumerate(texts):
        half = np.array([text_width(text, size) / 2 + 1.5, size * 0.56])
        best: tuple[float, np.ndarray, float] | None = None
        for gap in reach:
            for rank, centre in enumerate(_centres(points[index], half, radius + gap)):
                box = np.concatenate([centre - half, centre + half])
                inside = (box[:2] >= 0).all() and box[2] <= bounds[0] and box[3] <= bounds[1]
                if not inside or _overlaps(box, boxes):
                    continue
                hits = _points_in(box, points, radius)
                cost = 10.0 * hits + 0.6 * gap + 0.15 * rank
                if (crowd is None or hits <= crowd) and (best is None or cost < best[0]):
                    best = (cost, centre, gap)
        if best is not None:
            _, centre, gap = best
            boxes = np.vstack([boxes, np.concatenate([centre - half, centre + half])])
            placed.append(Label(index, float(centre[0]), float(centre[1]), far=gap > 1.5 * radius))
    return placed, boxes


def _centres(point: np.ndarray, half: np.ndarray, distance: float) -> np.ndarray:
    """Centres of a box around a point such that the gap between them is `distance` along each angle; (angles, 2)."""
    unit = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
    # On the diagonals the box leans out sideways, so that text starts beside the point and not above it.
    lean = np.where(np.abs(unit) < 0.3, 0.0, np.sign(unit))
    return point + unit * distance + lean * half


def _overlaps(box: np.ndarray, boxes: np.ndarray) -> bool:
    apart = (boxes[:, 0] >= box[2]) | (boxes[:, 2] <= box[0]) | (boxes[:, 1] >= box[3]) | (boxes[:, 3] <= box[1])
    return bool((~apart).any())


def _points_in(box: np.ndarray, points: np.ndarray, radius: float) -> int:
    nearest = np.clip(points, box[:2], box[2:])
    return int((np.hypot(*(points - nearest).T) < radius).sum())


def spread(centres: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Return one-dimensional positions at least `gap` apart, as near to `centres` as a single sweep gets them.

    Order is kept. If they do not all fit between `low` and `high`, they are spaced evenly over it.
    """
    order = np.argsort(np.asarray(centres, dtype=float), kind="stable")
    values = np.asarray(centres, dtype=float)[order]
    if len(values) > 1 and gap * (len(values) - 1) >= high - low:
        values = np.linspace(low, high, len(values))
    else:
        # Merge neighbours into blocks whose centre is the mean of their wishes (isotonic regression with a step).
        steps = gap * np.arange(len(values))
        wished = np.clip(_isotonic(values - steps), low, high - (steps[-1] if len(steps) else 0.0))
        values = wished + steps
    found = np.empty_like(values)
    found[order] = values
    return [float(value) for value in found]


def _isotonic(values: np.ndarray) -> np.ndarray:
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            other, n = blocks.pop()
            mean, count = (mean * count + other * n) / (count + n), count + n
        blocks.append((mean, count))
    return np.concatenate([np.full(count, mean) for mean, count in blocks]) if blocks else np.empty(0)
