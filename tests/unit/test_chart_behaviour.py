"""The chart of a battery: arms in one order whatever the rows', random directions as a band, one panel a level."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from emovec_sae.charts.behaviour import COLUMNS, behaviour, caption
from emovec_sae.errors import ConfigError


def table() -> pd.DataFrame:
    rows = [
        (arm, emotion, level, sign * value, sign * value - 0.1, sign * value + 0.1, 32, -0.2, 0.3, True)
        for level in (0.5, 0.1)
        for arm, sign in (("sign flip", -1), ("raw", 1))
        for emotion, value in (("happy", 0.8), ("sad", -0.5), ("calm", 0.1))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_panels_order_and_bands() -> None:
    frame = table()
    spec = behaviour(frame, title="A battery").to_dict(validate=True)
    pd.testing.assert_frame_equal(frame, table())
    assert [panel["title"]["text"] for panel in spec["hconcat"]] == [
        f"KL {level} nats on neutral text" for level in ("0.1", "0.5")
    ]
    dots = spec["hconcat"][0]["layer"][-1]["encoding"]
    assert dots["y"]["sort"] == ["happy", "calm", "sad"], "sorted by the vectors' own effects"
    assert dots["color"]["scale"]["domain"] == ["raw", "sign flip"]
    assert any("random_low" in str(layer["encoding"]) for layer in spec["hconcat"][0]["layer"])
    assert "n = 32" in " ".join(spec["title"]["subtitle"])


def test_own_doses_have_one_panel_and_no_band() -> None:
    frame = table().query("arm == 'raw' and level == 0.5").assign(level=np.nan, random_low=np.nan, random_high=np.nan)
    spec = behaviour(frame, title="A battery").to_dict(validate=True)
    assert [panel["title"]["text"] for panel in spec["hconcat"]] == ["own doses"]
    assert "random_low" not in str(spec["hconcat"][0]["layer"])


def test_the_caption_tells_the_largest_and_missing_head_room() -> None:
    told = caption(table())
    assert "happy" in told
    assert told == caption(table().sample(frac=1, random_state=0))
    assert "not interpreted" in caption(table().assign(interpreted=False))
    with pytest.raises(ConfigError, match="emotion"):
        behaviour(table().drop(columns="emotion"), title="x")
