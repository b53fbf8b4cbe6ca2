"""Cross-validation: planted answers, what may not leak, what the result says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from directions_planted import SITES, neutral, planted, some, store

from emovec_sae.directions import NeutralComponents, cross_validate, fit_directions
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.folds import FoldedVectors, assign_folds
from emovec_sae.errors import ConfigError, MismatchError, StoreError


def test_planted_emotions_are_read_and_noise_is_not() -> None:
    acts, _ = planted(emotions=8, groups=8)
    found = cross_validate(acts)
    table = found.frame().set_index(["site", "readout", "metric"])["value"]
    assert table["resid_post.2", "zscore", "top1"] > 0.9
    assert table["resid_post.1", "zscore", "top1"] < 0.35
    assert found.site == SITES[1]
    assert set(found.texts["site"]) == {"resid_post.2"}
    summary = found.summary()
    assert summary["top1"]["value"] == pytest.approx((found.texts["rank"] == 1).mean())
    assert summary["chance"] == {"top1": 1 / 8, "top5": 5 / 8, "auroc": 0.5}
    assert summary["top1"]["n"] == 64
    assert (summary["readout"], summary["site"], summary["nested"]) == ("zscore", "resid_post.2", True)
    assert summary["baseline"]["top1"]["value"] < 0.4


def test_numbers_come_with_intervals_and_the_baseline() -> None:
    acts, _ = planted(emotions=5, groups=4, noise=2.0)
    found = cross_validate(acts, sites="resid_post.2")
    frame = found.frame()
    assert len(frame) == 5 * 3
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all()
    assert frame.loc[frame["transductive"], "readout"].unique().tolist() == ["batch_centred"]
    assert set(found.by_emotion["emotion"]) == {f"e{code}" for code in range(5)}
    sweep = found.sweep_frame(readout="dot")
    assert list(sweep.columns) == ["site", "layer", "metric", "value", "low", "high", "n", "chance", "baseline"]
    assert sweep["metric"].tolist() == ["top1", "top5"]
    assert not found.summary()["nested"]


def test_a_held_out_topic_never_enters_its_own_reading() -> None:
    """Change one topic's other texts beyond recognition: the reading of a text of that topic must not move."""
    acts, _ = planted(emotions=6, groups=5, noise=1.5)
    probe = int(np.flatnonzero(acts.frame["group"] == "g2")[0])
    changed = {site: acts.pooled(site).copy() for site in acts.sites}
    others = (acts.frame["group"] == "g2").to_numpy() & (np.arange(len(acts.frame)) != probe)
    for values in changed.values():
        values[others] = 1e3 * np.random.default_rng(9).normal(size=values[others].shape)
    twin = store(acts.frame, changed)
    for readout in ("dot", "cosine", "centred_cosine", "zscore"):
        plain, after = (
            cross_validate(one, sites=[SITES[1]], readout=readout, readouts=[readout]) for one in (acts, twin)
        )
        assert plain.texts.loc[probe, ["rank", "predicted"]].equals(after.texts.loc[probe, ["rank", "predicted"]])
    # Another topic trains on these texts, so it must move: the probe would see a leak.
    elsewhere = plain.texts["group"] != "g2"
    assert not plain.texts.loc[elsewhere, "rank"].equals(after.texts.loc[elsewhere, "rank"])


def test_the_site_of_a_held_out_topic_is_chosen_without_it() -> None:
    acts, _ = planted(emotions=6, groups=4)
    good, bad = acts.pooled(SITES[1]).copy(), acts.pooled(SITES[0]).copy()
    mine = (acts.frame["group"] == "g0").to_numpy()
    good[mine], bad[mine] = bad[mine], good[mine]  # on this topic alone the other site is the better one
    found = cross_validate(store(acts.frame, {SITES[0]: bad, SITES[1]: good}))
    assert found.texts.groupby("group")["site"].unique().map(list)["g0"] == ["resid_post.2"]
    assert (found.texts.loc[mine, "rank"] == 1).mean() < 0.7


def test_labels_that_mean_nothing_score_at_chance() -> None:
    acts, _ = planted(emotions=10, groups=8, noise=1.0)
    random = np.random.default_rng(4)
    mixed = acts.frame.assign(
        emotion=acts.frame.groupby("group")["emotion"].transform(lambda one: random.permutation(one))
    )
    found = cross_validate(store(mixed, {SITES[1]: acts.pooled(SITES[1])}), readouts=["zscore"])
    assert found.summary()["top1"]["value"] < 0.3
    assert 0.3 < found.summary()["auroc"]["value"] < 0.7


def test_what_varies_in_neutral_text_is_removed_in_every_fold() -> None:
    """A loud axis that has nothing to do with emotion drowns the reading, unless neutral texts show it."""
    acts, truth = planted(emotions=6, groups=6, noise=0.3)
    axis = np.linalg.svd(truth)[2][-1]
    loud = 60 * np.random.default_rng(2).normal(size=(len(acts.frame), 1)) * axis
    noisy = store(acts.frame, {SITES[1]: (acts.pooled(SITES[1]) + loud).astype(np.float32)})
    plain, less = cross_validate(noisy), cross_validate(noisy, remove=NeutralComponents(neutral(axis)))
    assert plain.summary()["top1"]["value"] < 0.6
    assert less.summary()["top1"]["value"] > 0.9
    assert less.provenance["remove"]["corpus_hash"] == "neutral"


def test_order_of_texts_and_other_texts_without_emotion_change_nothing() -> None:
    acts, _ = planted(emotions=5, groups=4, noise=1.0)
    order = np.random.default_rng(0).permutation(len(acts.frame))
    mixed = some(acts, order)
    extra = mixed.frame.iloc[:3].assign(emotion=None, group=None, id=["x", "y", "z"])
    frame = mixed.frame.astype(object)
    longer = store(
        pd.concat([extra.astype(object), frame]),
        {site: np.concatenate([np.full((3, 24), 1e4, np.float32), mixed.pooled(site)]) for site in mixed.sites},
    )
    first, second = (cross_validate(one).texts.set_index("id").sort_index()["rank"] for one in (acts, longer))
    assert first.equals(second)


def test_fewer_folds_keep_groups_whole() -> None:
    groups = np.repeat(np.arange(7), [5, 4, 3, 3, 2, 2, 1])
    folds = assign_folds(groups, folds=3)
    assert all(len(set(folds[groups == group])) == 1 for group in range(7))
    assert np.bincount(folds).max() - np.bincount(folds).min() <= 2
    np.testing.assert_array_equal(assign_folds(groups), groups)
    np.testing.assert_array_equal(assign_folds(groups, folds=70), groups)


def test_what_cannot_be_held_out_is_refused() -> None:
    acts, _ = planted(emotions=3, groups=3)
    one = some(acts, (acts.frame["group"] == "g0").to_numpy())
    with pytest.raises(ConfigError, match="at least two groups"):
        cross_validate(one)
    two = some(acts, (acts.frame["group"] != "g0").to_numpy())
    with pytest.raises(ConfigError, match="at least three groups"):
        cross_validate(two)
    lone = some(acts, ~((acts.frame["emotion"] == "e1") & (acts.frame["group"] != "g1")).to_numpy())
    with pytest.raises(ConfigError, match=r"emotion 'e1' has no text left"):
        cross_validate(lone, sites="resid_post.2")
    with pytest.raises(ConfigError, match="a direction needs others"):
        cross_validate(some(acts, (acts.frame["emotion"] == "e0").to_numpy()))
    with pytest.raises(ConfigError, match="none of the 9 texts carries an emotion"):
        cross_validate(store(acts.frame.assign(emotion=None), {SITES[0]: acts.pooled(SITES[0])}))
    groups = acts.frame["group"].astype(object).where(acts.frame["id"] != "t4", None)
    with pytest.raises(ConfigError, match=r"text 't4' has an emotion but no group"):
        cross_validate(store(acts.frame.assign(group=groups), {SITES[0]: acts.pooled(SITES[0])}))
    with pytest.raises(StoreError, match=r"resid_post.3' was not recorded"):
        cross_validate(acts, sites="resid_post.3")
    with pytest.raises(StoreError, match="pool 'last' was not recorded"):
        cross_validate(acts, pool="last")
    with pytest.raises(StoreError, match="not finite"):
        cross_validate(store(acts.frame, {SITES[0]: np.full((9, 24), np.nan, np.float32)}))
    with pytest.raises(ConfigError, match="unknown baseline"):
        cross_validate(acts, baseline="bert")


class Renormed(DiffMean):
    """An estimator of its own, so that the general path runs."""


def test_any_estimator_of_the_contract_serves() -> None:
    acts, _ = planted(emotions=4, groups=4, noise=1.0)
    fast, general = cross_validate(acts), cross_validate(acts, estimator=Renormed())
    np.testing.assert_allclose(fast.frame()["value"], general.frame()["value"], atol=1e-12)
    assert general.provenance["estimators"][0]["name"] == "Renormed"


def test_class_sums_survive_uneven_cells() -> None:
    random = np.random.default_rng(0)
    values, y, folds = random.normal(size=(40, 6)).astype(np.float32), np.arange(40) % 3, random.integers(4, size=40)
    made = FoldedVectors(values, y, folds, emotions=["a", "b", "c"], estimator=DiffMean())
    for held in ([0], [1, 3]):
        keep = ~np.isin(folds, held)
        np.testing.assert_allclose(made.without(held), DiffMean().fit(values[keep], y[keep]).vectors_, atol=1e-6)


def test_held_out_texts_are_read_with_the_statistics_of_the_set() -> None:
    acts, _ = planted(emotions=6, groups=6, noise=0.7)
    test = acts.frame["group"].isin(["g0", "g1"]).to_numpy()
    directions = fit_directions(some(acts, ~test), site="resid_post.2")
    found = directions.evaluate(some(acts, test))
    summary = found.summary()
    assert summary["seen"] == 0
    assert summary["top1"]["value"] > 0.7
    assert summary["baseline"]["name"] == "TF-IDF, centroid"
    assert directions.evaluate(acts).summary()["seen"] == int((~test).sum())
    one = directions.evaluate(some(acts, np.flatnonzero(test)[:1]), readouts=["zscore"])
    assert one.texts.loc[0, "rank"] == found.texts.loc[0, "rank"]
    assert one.summary()["top1"]["low"] is None


def test_held_out_texts_must_fit_the_set() -> None:
    acts, _ = planted()
    directions = fit_directions(acts, site="resid_post.2")
    with pytest.raises(MismatchError, match="fit directions on activations of that model"):
        directions.evaluate(
            store(acts.frame, {SITES[1]: acts.pooled(SITES[1])}, model={"name": "b", "fingerprint": "b"})
        )
    with pytest.raises(MismatchError, match="record the texts with the offset 5"):
        directions.evaluate(store(acts.frame, {SITES[1]: acts.pooled(SITES[1])}, offset=7))
    renamed = store(
        acts.frame.assign(emotion=acts.frame["emotion"].replace({"e1": "e1x"})), {SITES[1]: acts.pooled(SITES[1])}
    )
    with pytest.raises(ConfigError, match=r"'e1x'.*did you mean 'e1'"):
        directions.evaluate(renamed)
    assert directions.evaluate(renamed, labels={"e1x": "e1"}).summary()["texts"] == len(acts.frame)
    with pytest.raises(ConfigError, match="no text is labelled 'joy'"):
        directions.evaluate(acts, labels={"joy": "e1"})


def test_the_same_seed_gives_the_same_numbers_and_a_file(tmp_path) -> None:
    acts, _ = planted(emotions=4, groups=4, noise=1.5)
    first, second = cross_validate(acts, seed=3), cross_validate(acts, seed=3)
    assert first.frame().equals(second.frame())
    told = json.loads(first.save(tmp_path / "evaluation.json").read_text())
    assert told["summary"] == json.loads(json.dumps(first.summary()))
    assert len(told["texts"]) == 16
    assert told["provenance"]["seed"] == 3


def test_the_chart_is_drawn_from_the_frame() -> None:
    acts, _ = planted(emotions=4, groups=4)
    chart = cross_validate(acts).plot().to_dict()
    assert "resid_post.2" in json.dumps(chart)
