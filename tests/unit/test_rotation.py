"""Rotation over topics: raw vectors and latents share no text, and what latents fit of the noise gains nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_store import SITE, MemoryStore

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.arms import latent_arms, raw_arms, remainder_arms
from emovec_sae.interventions.comparison import statistics
from emovec_sae.interventions.comparison.controls import TOPICS, other_topics_arms
from emovec_sae.interventions.comparison.result import Comparison, load_comparison
from emovec_sae.interventions.rotation import deal_topics, rotate
from emovec_sae.testing import PlantedCodes, planted_codes

EMOTIONS = [f"e{number}" for number in range(6)]


@pytest.fixture(scope="module")
def planted() -> PlantedCodes:
    return planted_codes(noise=0.05)


@pytest.fixture(scope="module")
def store(planted: PlantedCodes) -> Any:
    return MemoryStore(planted.texts, planted.frame)


def by_hand(store: Any, groups: tuple[str, ...]) -> np.ndarray:
    """Difference of means of the texts of some groups, (emotions, d)."""
    values, frame = store.pooled(SITE), store.frame
    kept = frame["group"].isin(groups).to_numpy()
    means = np.stack([values[kept & (frame["emotion"] == one).to_numpy()].mean(0) for one in EMOTIONS])
    return means - means.mean(0)


@pytest.mark.parametrize("folds", [2, 3])
def test_raw_vectors_and_latents_come_from_topics_that_do_not_meet(
    planted: PlantedCodes, store: Any, folds: int
) -> None:
    found = rotate(store, planted.coder, folds=folds, k=6, seed=1)
    assert len(found) == folds
    own = [set(fold.decomposed.groups) for fold in found]
    assert set.union(*own) == set(store.frame["group"])
    assert sum(map(len, own)) == 6, "a topic is in two folds"
    for number, fold in enumerate(found):
        assert fold.number == number
        assert not set(fold.directions.groups) & own[number]
        assert set(fold.directions.groups) | own[number] == set(store.frame["group"])
        assert set(fold.acts.frame["group"]) == own[number]
        # float32 sums of 10 tokens, in another order
        np.testing.assert_allclose(fold.directions.vectors, by_hand(store, fold.directions.groups), atol=1e-5)
        np.testing.assert_allclose(fold.contrast.vectors, by_hand(store, fold.decomposed.groups), atol=1e-5)
        hits = [
            len(set(fold.contrast.latents(emotion)[0]) & set(planted.own[row])) for row, emotion in enumerate(EMOTIONS)
        ]
        assert np.mean(hits) > 5.5, "the planted latents are not found from a part of the topics"
    if folds == 2:
        assert found[0].directions.groups == found[1].decomposed.groups


def test_the_remainder_is_the_raw_vector_less_latents_of_the_other_topics(planted: PlantedCodes, store: Any) -> None:
    fold = rotate(store, planted.coder, k=6, seed=1)[1]
    # planted latents fire on every token, which arms would leave out as dense
    fold = replace(fold, contrast=replace(fold.contrast, ranks=fold.contrast.ranks.assign(dense=False)))
    raw, left = (
        fold.mark(arms)
        for arms in (
            raw_arms(fold.directions, ["e2"]),
            remainder_arms(fold.contrast, planted.coder, ["e2"], sizes=(4,), directions=fold.directions),
        )
    )
    assert {arm.fold for arm in raw + left} == {1}
    alone: Any = latent_arms(fold.contrast, planted.coder, ["e2"], sizes=(4,))[0].edit
    latents, amounts = fold.contrast.latents("e2", 4)
    rows = planted.coder.directions.numpy()[latents]
    right = fold.directions["e2"].vector - amounts @ rows
    edit: Any = left[0].edit
    np.testing.assert_allclose(edit.unit, right / np.linalg.norm(right), atol=1e-5)
    together = alone.unit * np.linalg.norm(amounts @ rows) + edit.unit * np.linalg.norm(right)
    np.testing.assert_allclose(together, fold.directions["e2"].vector, atol=1e-4)
    ceiling: Any = other_topics_arms(fold.decomposed, ["e2"])[0]
    assert ceiling.name == TOPICS
    whole: Any = raw[0].edit
    assert 0.9 < ceiling.edit.unit @ whole.unit < 1 - 1e-4


def test_latents_that_fitted_noise_gain_nothing_from_it(planted: PlantedCodes, store: Any) -> None:
    random = np.random.default_rng(0)
    labels = store.frame.groupby("group")["emotion"].transform(lambda some: random.permutation(some.to_numpy()))
    noise: Any = MemoryStore(planted.texts, store.frame.assign(emotion=labels))
    same, other = [], []
    for fold in rotate(noise, planted.coder, k=24, seed=0):
        for emotion in EMOTIONS:
            latents = fold.contrast.vector(emotion, 24)
            for kept, vectors in ((same, fold.decomposed), (other, fold.directions)):
                kept.append(np.dot(latents, vectors[emotion].unit) / np.linalg.norm(latents))
    assert np.mean(same) > 0.8, "the latents do not follow the noise of their own topics"
    # vectors of 36 independent latents: cosines of about 1/6 either way, 12 of them
    assert abs(np.mean(other)) < 0.2


def test_what_cannot_be_rotated_is_refused(planted: PlantedCodes, store: Any) -> None:
    with pytest.raises(ConfigError, match=r"4 folds need at least 8 groups.* these texts have 6 \(g0, g1"):
        rotate(store, planted.coder, folds=4)
    with pytest.raises(ConfigError, match="needs at least 2 folds, got 1"):
        rotate(store, planted.coder, folds=1)
    rare = store.where(np.flatnonzero((store.frame["emotion"] != "e3") | (store.frame["group"] == "g0")))
    with pytest.raises(ConfigError, match=r"'e3' has no text (in|outside) the fold of topics"):
        rotate(rare, planted.coder)


@given(st.sets(st.text("abc", min_size=1, max_size=3), min_size=4, max_size=12), st.integers(2, 4), st.integers(0, 9))
def test_topics_are_dealt_evenly_and_by_the_seed_alone(topics: set[str], folds: int, seed: int) -> None:
    if len(topics) < 2 * folds:
        return
    dealt = deal_topics(sorted(topics), folds, seed=seed)
    assert sorted(one for fold in dealt for one in fold) == sorted(topics)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    assert dealt == deal_topics(sorted(topics, reverse=True), folds, seed=seed)


def folded(shares: tuple[float, float] = (0.5, 0.7), prompts: int = 6) -> Comparison:
    """Effects of 24 emotions in two folds; the latents have another share of the raw effect in each."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(24):
        for fold, share in enumerate(shares):
            raw = 2 + number % 3 + random.standard_normal(prompts)
            for arm, effects in (("raw", raw), ("k=16", share * raw)):
                facts = {"arm": arm, "emotion": f"e{number}", "draw": 0, "fold": fold, "level": 0.1, "kl": 0.1}
                rows += [{**facts, "scored": f"e{number}", "prompt": p, "effect": e} for p, e in enumerate(effects)]
        facts = {"arm": "random", "emotion": None, "draw": 0, "fold": 0, "level": 0.1, "kl": 0.1}
        rows += [{**facts, "scored": f"e{number}", "prompt": prompt, "effect": 0.3} for prompt in range(prompts)]
    effects = pd.DataFrame(rows).astype({"emotion": object})
    doses = effects.drop_duplicates(["arm", "emotion", "fold"]).assign(reached=True)
    return Comparison(effects, doses, {})


def test_folds_are_averaged_within_prompts_before_anything_is_drawn() -> None:
    found = folded()
    wide = statistics.by_arm(found.own())
    assert len(wide) == 24 * 6, "folds were counted as prompts"
    means = found.effects[found.effects["arm"].isin(["raw", "k=16"])].groupby(["arm", "fold"])["effect"].mean()
    right = means.loc["k=16"].sum() / means.loc["raw"].sum()
    table = found.ratios(0.1).set_index("arm")
    assert table.loc["k=16", "value"] == pytest.approx(right)
    assert table[["n", "prompts"]].to_numpy().tolist() == [[24, 24 * 6]] * 2


def test_the_ratio_of_each_fold_is_told_beside_that_of_all() -> None:
    found = folded()
    table = found.ratios_by_fold(0.1).set_index(["arm", "fold"])
    assert table.loc[("k=16", 0), "value"] == pytest.approx(0.5)
    assert table.loc[("k=16", 1), "value"] == pytest.approx(0.7)
    whole = found.ratios(0.1).set_index("arm")["value"].to_dict()["k=16"]
    assert table.loc[("k=16", 1), "apart"] == pytest.approx(0.7 - whole)
    assert {fold for arm, fold in table.index if arm == "random"} == {0, 1}, "a control of all folds is in one only"
    raw = found.own().query("arm == 'raw' and fold == 1")["effect"].mean()
    assert table.loc[("random", 1), "value"] == pytest.approx(0.3 / raw)


def test_an_arm_of_one_fold_stands_beside_the_raw_vector_of_that_fold() -> None:
    found = folded()
    effects = found.effects.copy()
    effects.loc[(effects["arm"] == "raw") & (effects["fold"] == 1), "effect"] *= 3  # the other fold's vectors do more
    part = effects[~((effects["arm"] == "k=16") & (effects["fold"] == 1))]
    own = Comparison(part, found.doses, {}).own()
    table = statistics.pooled_ratios(own).set_index("arm")
    assert table.loc["k=16", "value"] == pytest.approx(0.5)
    by_fold = statistics.fold_ratios(own).set_index(["arm", "fold"])
    assert ("k=16", 1) not in by_fold.index or np.isnan(by_fold.loc[("k=16", 1), "value"])
    both = own[own["arm"] == "raw"].groupby("emotion")["effect"].mean().mean()
    assert table.loc["random", "value"] == pytest.approx(0.3 / both)
    single = statistics.emotion_ratios(own).set_index(["emotion", "arm"])
    assert single.loc[("e3", "k=16"), "value"] == pytest.approx(0.5)


def test_the_vector_of_the_other_topics_has_a_ratio_in_each_turn_only() -> None:
    found = folded()
    other = found.effects[found.effects["arm"] == "raw"].copy()
    other["arm"], other["fold"] = "raw, other topics", 1 - other["fold"]  # what is raw in one turn is the other's here
    own = Comparison(pd.concat([found.effects, other]), found.doses, {}).own()
    assert "raw, other topics" not in set(statistics.pooled_ratios(own)["arm"])
    by_fold = statistics.fold_ratios(own).set_index(["arm", "fold"])["value"]
    assert by_fold["raw, other topics", 0] == pytest.approx(1 / by_fold["raw, other topics", 1])


def test_a_comparison_from_before_there_were_folds_is_read_as_one(tmp_path: Path) -> None:
    found = folded((0.5, 0.5))
    only = found.effects[found.effects["fold"] == 0].drop(columns="fold")
    old = Comparison(only, found.doses[found.doses["fold"] == 0].drop(columns="fold"), {})
    back = load_comparison(old.save(tmp_path / "comparison.parquet"))
    assert set(back.effects["fold"]) == set(back.doses["fold"]) == {0}
    pd.testing.assert_frame_equal(back.ratios(0.1), old.ratios(0.1))
    assert old.ratios_by_fold(0.1).query("arm == 'k=16'")["apart"].tolist() == [0.0]
