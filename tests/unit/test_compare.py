"""Comparison of arms: planted effects for its tables, and a tiny model for the way from arm to effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.interventions.arms import Arm, clamped_arms, latent_arms, pass_through_arm, random_arms, raw_arms
from emovec_sae.interventions.compare import compare
from emovec_sae.interventions.comparison.result import Comparison, load_comparison
from emovec_sae.interventions.edits import ClampLatents, SaePassThrough, Shift, Steer
from emovec_sae.models.model import Model
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.scoring.words import WordScorer, log_odds
from emovec_sae.sites import Site

SITE = Site("resid_post", 1)
EMOTIONS = [f"e{index}" for index in range(6)]
PROMPTS = 12
SHARES = {"raw": 1.0, "k=1": 0.25, "k=16": 0.75}
"""Planted effect of an arm, as a share of that of the raw vector of the same emotion."""


def planted(*, level: float = 0.1, noise: float = 0.0, seed: int = 0) -> Comparison:
    """Effects of 2 nats times the emotion's number, on the own emotion; minus 0.5 on the others; random draws +-1."""
    random = np.random.default_rng(seed)
    rows, doses = [], []
    arms = [(name, emotion, 0) for name in SHARES for emotion in EMOTIONS if name == "raw" or emotion in EMOTIONS[:4]]
    arms += [("random", None, draw) for draw in range(4)]
    for name, emotion, draw in arms:
        doses.append({"arm": name, "emotion": emotion, "draw": draw, "level": level})
        for scored in EMOTIONS:
            for prompt in range(PROMPTS):
                if emotion is None:
                    effect = 1.0 if draw < 3 else -1.0
                elif emotion == scored:
                    effect = SHARES[name] * (2 + EMOTIONS.index(emotion)) * (1 + 0.1 * (prompt % 3 - 1))
                else:
                    effect = -0.5
                effect += noise * random.standard_normal()
                facts = {"arm": name, "emotion": emotion, "draw": draw, "level": level, "kl": level, "reached": True}
                rows.append({**facts, "coefficient": 1.0, "prompt": prompt, "scored": scored, "effect": effect})
    return Comparison(pd.DataFrame(rows).astype({"emotion": object}), pd.DataFrame(doses), {})


def test_own_keeps_the_own_emotion_and_gives_random_to_all() -> None:
    own = planted().own()
    assert len(own[own["arm"] == "raw"]) == 6 * PROMPTS
    assert len(own[own["arm"] == "k=1"]) == 4 * PROMPTS
    assert len(own[own["arm"] == "random"]) == 6 * 4 * PROMPTS
    assert (own["effect"] != -0.5).all()
    assert own["emotion"].notna().all()


def test_the_frame_averages_draws_within_prompts() -> None:
    frame = planted().frame().set_index(["arm", "emotion"])
    assert len(frame) == 6 + 4 + 4 + 6
    assert set(frame["n"]) == {PROMPTS}, "draws or emotions were counted as prompts"
    for emotion in EMOTIONS:
        assert frame.loc[("raw", emotion), "effect"] == pytest.approx(2 + EMOTIONS.index(emotion))
        # three draws up, one down
        random = frame.loc[("random", emotion)]
        assert random["effect"] == random["low"] == random["high"] == pytest.approx(0.5)
        assert frame.loc[("raw", emotion), "low"] < 2 + EMOTIONS.index(emotion) < frame.loc[("raw", emotion), "high"]


def test_ratios_are_ratios_of_means_over_the_emotions_that_have_the_arm() -> None:
    ratios = planted().ratios(0.1).set_index("arm")
    assert list(ratios.index) == ["k=1", "k=16", "random"]
    assert ratios.loc["k=1", "value"] == pytest.approx(0.25)
    assert ratios.loc["k=16", ["low", "high"]].tolist() == pytest.approx([0.75, 0.75])
    assert ratios["n"].tolist() == [4, 4, 6]
    # 0.5 for each emotion, over 2, 3, ... 7
    assert ratios.loc["random", "value"] == pytest.approx(0.5 / 4.5)


def test_an_arm_that_is_the_raw_one_has_ratio_one() -> None:
    found = planted(noise=0.3)
    twin = found.effects[found.effects["arm"] == "raw"].assign(arm="twin")
    both = Comparison(pd.concat([found.effects, twin], ignore_index=True), found.doses, {})
    row = both.ratios(0.1).set_index("arm").loc["twin"]
    assert row[["value", "low", "high"]].tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_noise_widens_the_interval_around_the_planted_share() -> None:
    narrow, wide = (planted(noise=size).ratios(0.1).set_index("arm").loc["k=16"] for size in (0.1, 2.0))
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"] > 0
    assert narrow["low"] < 0.75 < narrow["high"]


def test_a_raw_effect_that_may_be_zero_gives_no_ratio() -> None:
    found = planted()
    effects = found.effects.copy()
    raw = effects["arm"] == "raw"
    effects.loc[raw, "effect"] *= np.where(effects.loc[raw, "emotion"].isin(EMOTIONS[::2]), 1, -1)
    assert Comparison(effects, found.doses, {}).ratios(0.1)["value"].isna().any()


def test_other_levels_are_left_out() -> None:
    both = pd.concat([planted().effects, planted(level=0.5).effects.assign(effect=9.0)], ignore_index=True)
    found = Comparison(both, pd.DataFrame(), {})
    assert found.ratios(0.1)["value"].iloc[0] == pytest.approx(0.25)
    assert found.raw_effect(0.1).value == pytest.approx(4.5)
    assert found.raw_effect(0.5).value == pytest.approx(9.0)
    assert found.ratios(0.3).empty
    assert found.above_random(0.1) == (6, 6)
    assert found.above_random(0.5) == (0, 6)


def test_the_share_that_moved_the_wrong_way() -> None:
    found = planted()
    effects = found.effects.copy()
    wrong = (effects["arm"] == "k=1") & (effects["prompt"] < 3)
    effects.loc[wrong, "effect"] = -1.0
    table = Comparison(effects, found.doses, {}).wrong_way(0.1).set_index("arm")
    assert table.loc["k=1", "value"] == pytest.approx(3 / PROMPTS)
    assert table.loc["k=1", "n"] == 4 * PROMPTS
    assert table.loc["raw", "value"] == 0


def test_a_comparison_comes_back_from_disk(tmp_path: Path) -> None:
    found = planted()
    back = load_comparison(found.save(tmp_path / "comparison.parquet"))
    pd.testing.assert_frame_equal(back.frame(), found.frame())
    pd.testing.assert_frame_equal(back.ratios(0.1), found.ratios(0.1))
    (tmp_path / "comparison.doses.parquet").unlink()
    with pytest.raises(StoreError, match=r"comparison\.doses\.parquet is missing"):
        load_comparison(tmp_path / "comparison.parquet")


LEXICON = {"e0": ["sad", "sat"], "e1": ["happy"], "e2": ["calm", "cat"]}
NORM = 3.0
LEVELS = (0.02, 0.05)


def decomposition(d_sae: int = 20) -> Any:
    """What `latent_arms` asks of a decomposition of 8 latents; the first of all ranks is dense."""
    order, amounts = np.random.default_rng(4).permutation(d_sae)[:8], np.arange(8.0, 0.0, -1.0)

    def latents(emotion: str, k: int = 8, *, dense: bool = True) -> tuple[np.ndarray, np.ndarray]:
        first = 0 if dense else 1
        return order[first : first + k], amounts[first : first + k]

    return SimpleNamespace(k=8, latents=latents, sae="planted", sae_fingerprint="f" * 64)


def coder(rows: Any, fingerprint: str = "f" * 64) -> Any:
    return SimpleNamespace(directions=rows, site=SITE, name="planted", fingerprint=fingerprint)


def direction(seed: int, d: int = 32) -> Any:
    made = np.random.default_rng(seed).standard_normal(d).astype(np.float32)
    return SimpleNamespace(vector=made, site=SITE, set=SimpleNamespace(residual_norm=NORM))


@pytest.fixture(scope="module")
def outcome(tiny: Callable[..., Model]) -> tuple[Model, list[Arm], Comparison, list[tuple[int, int]]]:
    import torch

    model = tiny("llama", seed=3)
    rows = torch.nn.functional.normalize(torch.randn(20, 32, generator=torch.Generator().manual_seed(1)), dim=1)
    arms = raw_arms({name: direction(seed) for seed, name in enumerate(LEXICON)}, list(LEXICON))
    arms += latent_arms(decomposition(), coder(rows), ["e1"], sizes=(1, 4))
    arms += random_arms(SITE, 32, draws=2, seed=0)
    texts = [f"stone river lamp paper window garden letter {index}" for index in range(8)]
    probe = KLProbe(model, texts, site=SITE, positions=16)
    scorer = WordScorer(
        model, ["The man was", "They felt"], [one for some in LEXICON.values() for one in some], site=SITE
    )
    steps: list[tuple[int, int]] = []
    found = compare(
        arms, scorer=scorer, probe=probe, lexicon=LEXICON, residual_norm=NORM, progress=lambda *one: steps.append(one),
        levels=lambda arm: LEVELS if arm.name == "raw" else LEVELS[:1],
    )  # fmt: skip
    return model, arms, found, steps


def test_every_arm_reaches_every_level_that_it_was_asked_for(outcome: Any) -> None:
    _, arms, found, steps = outcome
    assert [arm.name for arm in arms] == ["raw"] * 3 + ["k=1", "k=4"] + ["random"] * 2
    assert steps == [(done, 10) for done in range(1, 11)]
    assert len(found.doses) == 10
    assert found.doses["reached"].all()
    assert (abs(found.doses["kl"] / found.doses["level"] - 1) <= 0.02).all()
    np.testing.assert_allclose(found.doses["strength"], found.doses["coefficient"] / NORM)
    raw = found.doses[found.doses["arm"] == "raw"].pivot(index="emotion", columns="level", values="coefficient")
    assert (raw[0.05] > raw[0.02]).all()


def test_effects_are_those_of_the_arms_own_edit_at_its_dose(outcome: Any) -> None:
    model, arms, found, _ = outcome
    words = [one for some in LEXICON.values() for one in some]
    scorer = WordScorer(model, ["The man was", "They felt"], words, site=SITE)
    base = log_odds(scorer.log_probs(), words, LEXICON)
    assert len(found.effects) == 10 * 3 * 2
    for arm in (arms[1], arms[3], arms[5]):
        dose = found.doses.query("arm == @arm.name and draw == @arm.draw and level == 0.02")
        dose = dose[dose["emotion"].isna() if arm.emotion is None else dose["emotion"] == arm.emotion]
        edit = Shift(arm.edit.unit, site=SITE, coefficient=float(dose["coefficient"].iloc[0]))
        right = log_odds(scorer.log_probs([edit]), words, LEXICON) - base
        own = found.effects.query("arm == @arm.name and draw == @arm.draw and level == 0.02")
        own = own[own["emotion"].isna() if arm.emotion is None else own["emotion"] == arm.emotion]
        got = own.pivot(index="prompt", columns="scored", values="effect")[list(LEXICON)]
        np.testing.assert_allclose(got, right, atol=1e-6)
        assert np.abs(right).max() > 1e-3


def test_tables_and_provenance_of_a_real_comparison(outcome: Any) -> None:
    _, _, found, _ = outcome
    frame = found.frame()
    assert list(frame.columns) == ["emotion", "arm", "level", "kl", "effect", "low", "high", "n"]
    assert set(frame["n"]) == {2}
    assert len(frame) == 3 * 2 + 2 + 3
    assert found.provenance["model"]["name"] == "tiny-llama"
    assert found.provenance["levels"] == [0.02, 0.05]
    assert (found.provenance["prompts"], found.provenance["positions"]) == (2, 16)


def test_arms_are_what_their_names_say(outcome: Any) -> None:
    _, arms, _, _ = outcome
    assert isinstance(arms[0].edit, Steer)
    np.testing.assert_allclose(arms[2].edit.unit, direction(2).vector / np.linalg.norm(direction(2).vector), atol=1e-6)
    assert arms[4].edit.latents == tuple(decomposition().latents("e1")[0][1:5]), "a dense latent is in the arm"
    one, other = arms[5].edit.unit, arms[6].edit.unit
    assert abs(float(one @ other)) < 0.7
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-6)
    again = random_arms(SITE, 32, draws=2, seed=0)
    np.testing.assert_array_equal(again[1].edit.unit, other)
    rows = SimpleNamespace(cpu=lambda: SimpleNamespace(numpy=lambda: np.eye(32, dtype=np.float32)))
    with pytest.raises(ConfigError, match="holds 7 latents that are not dense, an arm wants 16"):
        latent_arms(decomposition(), coder(rows), ["e1"], sizes=(16,))
    with pytest.raises(MismatchError, match="made with SAE 'planted'"):
        latent_arms(decomposition(), coder(rows, "0" * 64), ["e1"], sizes=(1,))


def setting(tiny: Callable[..., Model]) -> dict[str, Any]:
    """What `compare` needs on a tiny model, made anew each time as another process would."""
    model = tiny("llama", seed=3)
    texts = [f"stone river lamp paper window garden letter {index}" for index in range(8)]
    words = [one for some in LEXICON.values() for one in some]
    return {
        "scorer": WordScorer(model, ["The man was", "They felt"], words, site=SITE),
        "probe": KLProbe(model, texts, site=SITE, positions=16),
        "lexicon": LEXICON,
        "residual_norm": NORM,
    }


def few_arms() -> list[Arm]:
    arms = raw_arms({name: direction(seed) for seed, name in enumerate(LEXICON)}, list(LEXICON)[:2])  # pyright: ignore[reportArgumentType]
    twin, minus = direction(0).vector + 1e-3 * direction(9).vector, -direction(0).vector
    arms.append(Arm("k=1", "e0", Shift(twin, site=SITE, coefficient=1.0)))
    arms.append(Arm("sign flip", "e0", Shift(minus, site=SITE, coefficient=1.0)))
    return arms + random_arms(SITE, 32, draws=1, seed=0)


def test_a_comparison_that_was_killed_goes_on_and_ends_the_same(tiny: Callable[..., Model], tmp_path: Path) -> None:
    whole = compare(few_arms(), **setting(tiny), levels=LEVELS, fidelity=True)

    class Killed(Exception):
        pass

    def kill(done: int, _: int) -> None:
        if done == 4:
            raise Killed

    given = {**setting(tiny), "levels": LEVELS, "fidelity": True, "cells": tmp_path / "cells"}
    with pytest.raises(Killed):
        compare(few_arms(), **given, progress=kill)
    kept = {path: path.read_bytes() for path in (tmp_path / "cells").glob("*.json")}
    assert len(kept) == 4 + 1
    again = compare(few_arms(), **given)
    assert all(path.read_bytes() == before for path, before in kept.items()), "a finished cell was run again"
    assert len(list((tmp_path / "cells").glob("*"))) == 10 + 1
    pd.testing.assert_frame_equal(again.effects, whole.effects)
    pd.testing.assert_frame_equal(again.doses, whole.doses)
    third = compare(few_arms(), **given)
    pd.testing.assert_frame_equal(third.doses, whole.doses)


def test_cells_of_other_settings_are_refused_and_a_broken_one_is_named(
    tiny: Callable[..., Model], tmp_path: Path
) -> None:
    given = {**setting(tiny), "levels": LEVELS[:1], "cells": tmp_path / "cells"}
    compare(few_arms()[:2], **given)
    with pytest.raises(ConfigError, match=r"other settings \(residual norm differ\)"):
        compare(few_arms(), **{**given, "residual_norm": 2 * NORM})
    with pytest.raises(ConfigError, match=r"other settings \(fidelity differ\)"):
        compare(few_arms(), **given, fidelity=True)
    # another vector under the same name is another cell
    other = [Arm("raw", "e0", Shift(direction(7).vector, site=SITE, coefficient=1.0))]
    found = compare(other, **given)
    assert len(list((tmp_path / "cells").glob("e0.raw*"))) == 2
    assert not np.allclose(found.effects["effect"], compare(few_arms()[:1], **given).effects["effect"])
    next((tmp_path / "cells").glob("e1.raw*")).write_text("{")
    with pytest.raises(StoreError, match=r"e1\.raw.* cannot be read; delete it"):
        compare(few_arms()[:2], **given)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.json").write_text("{}")
    with pytest.raises(ConfigError, match="a folder of its own"):
        compare(few_arms(), **{**given, "cells": tmp_path / "mine"})


def test_fidelity_is_one_for_the_raw_vector_and_far_below_for_its_opposite(tiny: Callable[..., Model]) -> None:
    given = setting(tiny)
    found = compare(few_arms(), **given, levels=LEVELS[:1], fidelity=True)
    doses = found.doses.set_index("arm")[["explained_kl", "cosine"]]
    assert doses.loc["raw"].to_numpy().tolist() == [[1.0, 1.0]] * 2
    near, far = doses.loc["k=1"], doses.loc["sign flip"]
    # the doses agree to 2 %, so KL(raw || twin) is of the order of the square of that
    assert near["explained_kl"] == pytest.approx(1.0, abs=5e-3)
    assert near["cosine"] == pytest.approx(1.0, abs=1e-3)
    assert far["explained_kl"] < -1
    assert far["cosine"] < -0.5
    assert doses.loc["random"].isna().all()
    probe = given["probe"]
    nothing = probe.fidelity(probe.base, probe.read([few_arms()[0].edit]))
    assert nothing.explained_kl == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ConfigError, match="put the raw arms first"):
        compare(few_arms()[::-1], **given, levels=LEVELS[:1], fidelity=True)


def planted_coder(first: int) -> Any:
    """An SAE with as many independent rows as dimensions, which reads every latent exactly; its bias is not small."""
    from emovec_sae.saes.jump_relu import jump_relu

    random = np.random.default_rng(first)
    rows = random.standard_normal((20, 32))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    bias = random.standard_normal(32)
    return jump_relu(rows, np.linalg.pinv(rows), bias, threshold=0.01, site=str(SITE), name="planted")


def test_clamped_latents_and_the_pass_through_are_arms_like_others(tiny: Callable[..., Model], tmp_path: Path) -> None:
    made = planted_coder(2)
    chosen = decomposition()
    chosen.sae_fingerprint = made.fingerprint
    clamped = clamped_arms(chosen, made, ["e1"], sizes=(1, 4))
    through = pass_through_arm(made)
    assert [arm.name for arm in [*clamped, through]] == ["clamped k=1", "clamped k=4", "pass-through"]
    assert clamped[1].edit.latents == tuple(chosen.latents("e1")[0][1:5])  # pyright: ignore[reportAttributeAccessIssue]
    given = {**setting(tiny), "levels": LEVELS, "cells": tmp_path / "cells"}
    found = compare([*few_arms()[:2], *clamped, through], **given)
    doses = found.doses.set_index(["arm", "level"])
    # the damage of the SAE is what it is at either level, and it spares the first token
    kl = given["probe"].kl([SaePassThrough(made, positions="from:1")])
    assert doses.loc[("pass-through", 0.02), "kl"] == doses.loc[("pass-through", 0.05), "kl"] == pytest.approx(kl)
    assert kl != pytest.approx(given["probe"].kl([SaePassThrough(made)]))
    assert doses.loc[("pass-through", 0.05), "coefficient"] == 1.0
    clamp = doses.loc[("clamped k=4", 0.05)]
    right = ClampLatents(made, *chosen.latents("e1", 4, dense=False), coefficient=float(clamp["coefficient"]))
    assert given["probe"].kl([right]) == pytest.approx(clamp["kl"], rel=1e-4)
    own = found.effects.query("arm == 'clamped k=4' and level == 0.05 and scored == 'e1'")["effect"].to_numpy()
    words = given["scorer"].tree.words
    change = log_odds(given["scorer"].log_probs([right]), words, LEXICON) - log_odds(
        given["scorer"].log_probs(), words, LEXICON
    )
    np.testing.assert_allclose(own, change[:, 1], atol=1e-5)
    again = compare([*few_arms()[:2], *clamped, through], **given)
    pd.testing.assert_frame_equal(again.effects, found.effects)
