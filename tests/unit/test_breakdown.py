"""Break-down: texts that are known to loop or to be noise are told apart, and the dose between is found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.breakdown import Breakdown, breakdown
from emovec_sae.interventions.edits import Shift
from emovec_sae.models.generate import generate_ids
from emovec_sae.models.model import Model
from emovec_sae.scoring.regimes import REGIMES, repeated
from emovec_sae.sites import Site

SITE = Site("resid_post", 1)


def planted(doses: list[float], lost: list[int], prompts: int = 40) -> Breakdown:
    """At each dose so many of the prompts are collapsed, the first ones."""
    rows = [
        {"edit": "e", "dose": dose, "prompt": row, "regime": "collapsed" if row < count else "clean"}
        for dose, count in zip(doses, lost, strict=True)
        for row in range(prompts)
    ]
    return Breakdown(pd.DataFrame(rows), {})


def test_repetition_is_the_share_of_windows_seen_before() -> None:
    assert repeated([1, 2, 3, 4, 5, 6, 7, 8]) == 0
    assert repeated([1, 2, 3]) == 0
    assert repeated([7] * 13) == pytest.approx(1 - 1 / 10)
    assert repeated([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)


def test_the_point_lies_where_half_is_lost() -> None:
    points = planted([0.0, 0.2, 0.4, 0.6], [0, 0, 30, 40]).points().set_index("point")
    # from 0 to 0.75 between 0.2 and 0.4: half at two thirds of the way
    assert points.loc["collapsed", "dose"] == pytest.approx(0.2 + 0.2 * 0.5 / 0.75)
    assert points.loc["not clean", "dose"] == points.loc["collapsed", "dose"]
    low, high = points.loc["collapsed", "low"], points.loc["collapsed", "high"]
    assert 0.2 < low < points.loc["collapsed", "dose"] < high < 0.4
    never = planted([0.0, 0.2], [0, 4]).points().set_index("point")
    assert never[["dose", "high"]].isna().all(axis=None)
    assert planted([0.0, 0.2], [40, 40]).points()["dose"].tolist() == [0.0, 0.0]


def test_shares_add_up_with_their_intervals() -> None:
    frame = planted([0.0, 0.5], [0, 10]).frame()
    assert list(frame) == ["dose", "regime", "share", "low", "high", "n"]
    assert frame.groupby("dose")["share"].sum().tolist() == [1.0, 1.0]
    row = frame.query("dose == 0.5 and regime == 'collapsed'").iloc[0]
    assert row["share"] == 0.25
    assert row["low"] < 0.25 < row["high"]


def test_a_model_pushed_far_collapses_and_at_zero_does_not(tiny: Callable[..., Model], tmp_path: Path) -> None:
    model = tiny("llama", seed=1)
    vector = np.random.default_rng(0).standard_normal(model.d_model)
    edits = {"e": Shift(vector, site=SITE, coefficient=1.0)}
    found = breakdown(model, ["a river", "paper", "a lamp"], edits, [0.1, 50.0], unit=20.0, max_new_tokens=12)
    cells = found.cells
    assert set(cells["dose"]) == {0.0, 0.1, 50.0}
    assert set(cells["regime"]) <= set(REGIMES)
    assert not (cells.query("dose == 0")["regime"] == "collapsed").any()
    # a push far beyond the stream decides every token, whatever the model finds likely
    far = cells.query("dose == 50")
    assert far["surprise"].mean() > cells.query("dose == 0")["surprise"].mean() + 1
    assert (found.provenance["usual_surprise"]) == pytest.approx(cells.query("dose == 0")["surprise"].mean())
    assert found.plot().to_dict()["title"]
    path = found.save(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), cells)
    assert '"points"' in (tmp_path / "b.json").read_text()


def test_nothing_to_try_is_refused(tiny: Callable[..., Model]) -> None:
    one = Shift(np.ones(32), site=SITE, coefficient=1.0)
    with pytest.raises(ConfigError, match="0 prompts, 1 edits, 1 doses"):
        breakdown(tiny(), [], {"a": one}, [1.0])
    with pytest.raises(ConfigError, match="act at 2 places"):
        breakdown(tiny(), ["a"], {"a": one, "b": Shift(np.ones(32), site=Site("mlp_out", 1), coefficient=1.0)}, [1.0])


def test_generated_texts_that_run_in_circles_are_called_repetitive(tiny: Callable[..., Model]) -> None:
    model = tiny("llama", seed=1)
    prompts = ["a river", "paper", "a lamp", "stone", "the window", "letters", "garden gate", "under a table"]
    edit = Shift(np.random.default_rng(0).standard_normal(model.d_model), site=SITE, coefficient=1.0)
    cells = breakdown(model, prompts, {"e": edit}, [1.0], unit=20.0, max_new_tokens=48).cells
    own = cells.query("dose == 0").set_index("prompt")
    ids = generate_ids(model, model.tokens.encode(prompts), max_new_tokens=48).tolist()
    circling = [row for row, one in enumerate(ids) if circles(one[-36:])]
    assert circling  # greedy random models fall into loops; nothing here is made up
    assert set(own.loc[circling, "regime"]) == {"repetitive"}
    straight = [row for row, one in enumerate(ids) if len(set(pairwise(one))) > 0.8 * len(one)]
    assert "repetitive" not in set(own.loc[straight, "regime"])


def circles(tokens: list[int]) -> bool:
    """Whether a sequence repeats with a period of at most 6."""
    return any(tokens[period:] == tokens[:-period] for period in range(1, 7))
