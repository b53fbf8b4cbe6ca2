"""Fair nulls of patching, differences between carriers and between places, and a limit that takes every family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.charts.carriers import carriers as carriers_chart
from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.interventions.patches.alignment import AlignedPair, balanced
from emovec_sae.interventions.patches.carriers import AsFar, InSpan, SomeLatents
from emovec_sae.interventions.patches.result import Patching, load_patching
from emovec_sae.interventions.patching import patch
from emovec_sae.sites import Site
from tests.unit.patching_planted import SITE, D, directions, pair, planted

ROUNDING = 1e-4


@pytest.fixture(scope="module")
def known() -> SimpleNamespace:
    return planted()


@pytest.fixture(scope="module")
def found(known: SimpleNamespace) -> Patching:
    pairs = [pair(id=str(i), family=str(i % 5), source=f"the {a}xn ran on", target=f"the {a}zn ran on")
             for i, a in enumerate("bcdfghjklm")]  # fmt: skip
    what = ["residual", "direction", "latents", "other_direction", "matched_direction", "matched_latents"]
    return patch(known.model, pd.DataFrame(pairs), what=what, sites=str(SITE), positions="spans",
                 directions=directions(known), sae=known.sae, decomposition=known.parts, k=3)  # fmt: skip


def aligned(name: str = "p", family: str = "f", emotion: str = "sad") -> AlignedPair:
    return AlignedPair(name, family, tuple(range(6)), tuple(range(6)), (1, 2), 2, 3, 3, emotion)


def states(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    one, other = random.normal(size=(2, 6, D)).astype(np.float32)
    return torch.from_numpy(one), torch.from_numpy(other)


def carriers(known: SimpleNamespace) -> list[Any]:
    fitted = directions(known)
    bases = {SITE: {name: fitted.units[row : row + 1] for row, name in enumerate(fitted.emotions)}}
    latents: Any = {SITE: {"sad": np.arange(3), "calm": np.arange(9, 12)}}
    return [InSpan("direction", bases), SomeLatents("k=3", {SITE: known.sae}, latents)]


@pytest.mark.parametrize("which", [0, 1])
def test_the_null_moves_every_token_as_far_along_one_line(known: SimpleNamespace, which: int) -> None:
    real = carriers(known)[which]
    null = AsFar("null", real, seed=3)
    source, target = states(which)
    moved, turned = (one.moved(aligned(), SITE, source, target).numpy() for one in (real, null))
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(moved, axis=1), rtol=1e-5)
    far = np.flatnonzero(np.linalg.norm(turned, axis=1) > 1e-3)
    units = turned[far] / np.linalg.norm(turned[far], axis=1, keepdims=True)
    assert np.linalg.matrix_rank(units, tol=1e-4) == 1
    again = null.moved(aligned(), SITE, source, target).numpy()
    np.testing.assert_array_equal(turned, again)
    elsewhere = null.moved(aligned("q"), SITE, source, target).numpy()
    assert abs(float((elsewhere[far[0]] / np.linalg.norm(elsewhere[far[0]])) @ units[0])) < 0.9
    if which == 0:  # tokens that the direction moves against each other still move against each other
        signs = np.sign(moved @ moved[far[0]]) * np.sign(turned @ turned[far[0]])
        assert set(signs[far]) == {1.0}


def test_isotropic_over_pairs(known: SimpleNamespace) -> None:
    null = AsFar("null", carriers(known)[0])
    source, target = states(0)
    rows = np.stack([null.moved(aligned(str(i)), SITE, source, target).numpy()[2] for i in range(400)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.linalg.norm(rows.mean(axis=0)) < 3 / np.sqrt(400)
    assert np.abs(np.linalg.eigvalsh(rows.T @ rows / 400) * D - 1).max() < 1  # Marchenko-Pastur: 0.28 off, up to 0.65


def test_only_the_planted_thing_carries_and_its_null_moves_as_far(found: Patching) -> None:
    at = found.map().query("where == 'changed word'").set_index("what")["recovered"]
    for what in ("residual", "direction", "k=3"):
        assert at[what] == pytest.approx(1, abs=1e-3)
    assert abs(at["other direction"]) < 0.02
    assert abs(at["random, as far as direction"]) < 0.4
    over = found.excess(over="random, as far as direction").query("where == 'changed word'").set_index("what")
    assert float(over["low"]["direction"]) > 0.5
    assert set(over["over"]) == {"random, as far as direction"}
    both = found.map().set_index(["what", "where"])["recovered"]
    for row in found.excess(over="residual").to_dict("records"):
        told = both[row["what"], row["where"]] - both["residual", row["where"]]
        assert row["excess"] == pytest.approx(told, abs=1e-9)


def test_the_lead_of_a_place(found: Patching) -> None:
    lead = found.lead("last token", over="changed word").set_index("what")["lead"]
    at = found.map().set_index(["what", "where"])["recovered"]
    for what in found.whats:
        assert lead[what] == pytest.approx(at[what, "last token"] - at[what, "changed word"], abs=1e-9)
    assert lead["residual"] == pytest.approx(-1, abs=1e-3)
    with pytest.raises(ConfigError, match=r"no cell lies at 'last tokn'.*last token"):
        found.lead("last tokn", over="changed word")
    with pytest.raises(ConfigError, match="'resid' was not patched"):
        found.excess(over="resid")


def test_saved_and_read_again(found: Patching, tmp_path: Path) -> None:
    again = load_patching(found.save(tmp_path / "p.parquet"))
    pd.testing.assert_frame_equal(again.map(), found.map())
    assert again.provenance["pairs"] == found.provenance["pairs"]
    (tmp_path / "p.json").unlink()
    with pytest.raises(StoreError, match=r"p\.json is missing"):
        load_patching(tmp_path / "p.parquet")


def test_a_limit_takes_every_family() -> None:
    pairs = [aligned(f"{family}{i}", family) for family, n in (("a", 4), ("b", 1), ("c", 3)) for i in range(n)]
    assert [one.id for one in balanced(pairs, 3)] == ["a0", "b0", "c0"]
    assert [one.id for one in balanced(pairs, 6)] == ["a0", "a1", "a2", "b0", "c0", "c1"]
    assert [one.id for one in balanced(pairs, 2)] == ["a0", "b0"]
    assert balanced(pairs, None) == balanced(pairs, 99) == pairs


def test_another_emotion_needs_another(known: SimpleNamespace) -> None:
    elsewhere = replace(directions(known, Site("resid_post", 0)), emotions=("sad", "glad"))
    with pytest.raises(ConfigError, match="draws another emotion, and the sets of directions share 1"):
        patch(known.model, pd.DataFrame([pair()]), what="other_direction", directions=[directions(known), elsewhere])


@pytest.mark.parametrize(("part", "panels"), [(0.05, 4), (0.8, 2)])
def test_small_parts_are_drawn_alone_too(part: float, panels: int) -> None:
    rows = [
        {"what": what, "site": f"resid_post.{layer}", "layer": layer, "where": where, "recovered": value,
         "low": value - 0.01, "high": value + 0.01, "n": 9}
        for what, value in (("residual", 0.9), ("direction", part), ("k=16", part / 2),
                            ("random, as far as k=16", 0.0), ("random, as far as subspace", 0.0))
        for layer in (3, 6) for where in ("changed word", "last token")
    ]  # fmt: skip
    told = carriers_chart(pd.DataFrame(rows)).to_dict()
    titles = [panel["title"]["text"] for row in told["vconcat"] for panel in row["hconcat"]]
    assert titles[:2] == ["changed word", "last token"]
    assert titles[2:] == [f"{one}, parts alone" for one in titles[:2]][: panels - 2]
    shapes = told["vconcat"][0]["hconcat"][0]["layer"][-1]["encoding"]["shape"]["scale"]["range"]
    assert "stroke" not in shapes  # it has no area, so a filled mark of it cannot be seen
