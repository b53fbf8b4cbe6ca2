from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovec_sae.charts.labels import place_labels, spread, text_width


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40))
def test_labels_never_overlap_and_stay_inside(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n, 2)) * [600, 400]
    texts = [f"name {i}" for i in range(n)]
    labels, boxes = place_labels(points, texts, size=10, radius=4, reach=(2, 8, 20), bounds=(600, 400))
    assert len(labels) == len(boxes)
    assert len({label.index for label in labels}) == len(labels)
    for i, box in enumerate(boxes):
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= 600
        assert box[3] <= 400
        assert not any(overlap(box, other) for other in boxes[:i])


def test_a_lone_point_is_named_at_its_right() -> None:
    (label,), _ = place_labels(
        np.array([[100.0, 100.0]]), ["afraid"], size=10, radius=4, reach=(2, 9), bounds=(300, 200)
    )
    assert label.y == pytest.approx(100)
    assert label.x - text_width("afraid", 10) / 2 == pytest.approx(107.5)
    assert not label.far


def test_a_crowded_label_is_left_out_when_asked() -> None:
    points = np.array([[100.0, 100.0], *([x, y] for x in range(40, 170, 6) for y in range(60, 150, 6))])
    labels, _ = place_labels(points, ["afraid"], size=10, radius=4, reach=(2,), bounds=(300, 200), crowd=0)
    assert labels == []


def test_a_second_call_avoids_the_boxes_of_the_first() -> None:
    points = np.array([[100.0, 100.0]])
    first, boxes = place_labels(points, ["afraid"], size=10, radius=4, reach=(2,), bounds=(300, 200))
    second, all_boxes = place_labels(points, ["afraid"], size=10, radius=4, reach=(2,), bounds=(300, 200), taken=boxes)
    assert (first[0].x, first[0].y) != (second[0].x, second[0].y)
    assert not overlap(all_boxes[0], all_boxes[1])


def test_wider_letters_make_wider_text() -> None:
    assert text_width("mmm", 10) > text_width("iii", 10) > 0
    assert text_width("afraid", 20) == pytest.approx(2 * text_width("afraid", 10))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_spread_keeps_order_distance_and_bounds(wishes: list[float]) -> None:
    found = spread(wishes, gap=5, low=0, high=100)
    order = np.argsort(wishes, kind="stable")
    placed = np.array(found)[order]
    assert (np.diff(placed) >= 5 - 1e-9).all()
    assert placed.min() >= -1e-9
    assert placed.max() <= 100 + 1e-9


def test_spread_leaves_what_fits_where_it_is() -> None:
    assert spread([50, 10, 90], gap=5, low=0, high=100) == pytest.approx([50, 10, 90])
    assert spread([50, 50], gap=10, low=0, high=100) == pytest.approx([45, 55])
    assert spread([1, 2, 3], gap=60, low=0, high=100) == pytest.approx([0, 50, 100])
