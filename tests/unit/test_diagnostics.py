"""Diagnostics: each fires on a store that was planted to have its fault, and not on one without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from directions_planted import SITES, planted, some, store

from emovec_sae.directions.diagnostics import DIAGNOSTICS, Finding, diagnose
from emovec_sae.directions.diagnostics.ev002_first_word import first
from emovec_sae.directions.diagnostics.ev004_split_half import halvings, spearman_brown
from emovec_sae.directions.diagnostics.ev007_near_duplicates import BLOCK, twins
from emovec_sae.directions.diagnostics.ev009_writer import adjusted
from emovec_sae.directions.diagnostics.finding import Aspect, grade, grade_below
from emovec_sae.directions.diagnostics.held_out import judge_auroc
from emovec_sae.directions.diagnostics.registry import diagnostic
from emovec_sae.directions.estimators import LogisticProbe, ShrinkageLDA
from emovec_sae.errors import ConfigError, StoreError

NAMES = ("happy", "sad", "calm", "angry", "proud", "afraid", "excited", "bored", "grateful", "lonely")
NOISE, SIGNAL = SITES


def healthy(*, emotions: int = 6, groups: int = 8, repeats: int = 2, seed: int = 0) -> Any:
    """A store with nothing to find at its second site: lengths, words and writers know nothing of the emotions."""
    acts, _ = planted(emotions=emotions, groups=groups, repeats=repeats, seed=seed)
    random = np.random.default_rng(seed + 1)
    words = np.array([f"w{''.join(random.choice(list('abcdefghij'), 5))}" for _ in range(60)])
    n = len(acts.frame)
    frame = acts.frame.assign(
        text=[" ".join(random.choice(words, 14)) for _ in range(n)],
        emotion=[NAMES[int(name[1:])] for name in acts.frame["emotion"]],
        n_tokens=random.integers(90, 130, size=n),
        writer=[f"w{one}" for one in np.arange(n) % 2],
    )
    return store(frame, {site: acts.pooled(site) for site in SITES})


def changed(acts: Any, frame: pd.DataFrame | None = None, **changes: Any) -> Any:
    """The store with another frame or other attributes."""
    kept = {key: value for key, value in vars(acts).items() if key not in ("pooled", "frame", "sites")}
    values = {site: acts.pooled(site) for site in acts.sites}
    return store(acts.frame if frame is None else frame, values, **(kept | changes))


def shifted(acts: Any, by: np.ndarray) -> Any:
    """The store with something added to the activations of its second site."""
    return store(acts.frame, {NOISE: acts.pooled(NOISE), SIGNAL: (acts.pooled(SIGNAL) + by).astype(np.float32)})


def find(acts: Any, code: str, **options: Any) -> Finding:
    return diagnose(acts, options.pop("site", SIGNAL), codes=[code], **options).findings[0]


@pytest.mark.parametrize("code", sorted(DIAGNOSTICS))
def test_a_healthy_store_passes(code: str) -> None:
    found = find(healthy(emotions=10), code)
    assert found.status == "pass", found
    assert found.n > 0
    assert found.message
    assert np.isfinite([found.value, found.threshold]).all()
    assert found.code == code


def test_length_tells_the_emotion() -> None:
    acts = healthy()
    y = pd.factorize(acts.frame["emotion"])[0]
    found = find(changed(acts, acts.frame.assign(n_tokens=80 + 15 * y)), "EV001")
    assert (found.status, found.threshold) == ("fail", 0.64)
    # Every text lies exactly at its emotion's mean length, so that nothing ranks above it.
    assert found.value == pytest.approx(1.0)
    characters = acts.frame.assign(text=acts.frame["text"] + pd.Series(y).map(lambda code: " xyz" * int(10 * code)))
    assert (
        find(changed(acts, characters.drop(columns="n_tokens")), "EV001").measure
        == "AUROC from the number of characters"
    )
    assert find(changed(acts, characters.drop(columns="n_tokens")), "EV001").status == "fail"


def test_first_word_tells_the_emotion() -> None:
    acts = healthy()
    frame = acts.frame.assign(text=acts.frame["emotion"].str.title() + ", " + acts.frame["text"])
    found = find(changed(acts, frame), "EV002")
    assert found.status == "fail"
    assert found.value == pytest.approx(1.0)
    assert find(changed(acts, frame.assign(text="Then " + acts.frame["text"])), "EV002").value == 0.5


@pytest.mark.parametrize(
    ("text", "word"), [("\"Don't go", "don"), ("  \n", ""), ("急いで走った", "急"), ("Élan vital", "élan")]
)
def test_first_word_of_a_text(text: str, word: str) -> None:
    assert first(text) == word


def test_offset_0_warns_where_the_pool_begins_there() -> None:
    found = find(changed(healthy(), offset=0), "EV003")
    assert (found.status, found.measure) == ("warn", "offset")
    assert find(changed(healthy(), offset=0, pools=("last",)), "EV003", pool="last").status == "pass"


def test_leading_direction_follows_length() -> None:
    acts = healthy()
    length = acts.frame["n_tokens"].to_numpy(dtype=float)
    found = find(shifted(acts, np.outer(length - length.mean(), np.full(24, 0.5))), "EV003")
    assert found.status == "fail"
    assert found.low > 0.5
    assert find(changed(acts, acts.frame.assign(n_tokens=100)), "EV003").status == "pass"


def test_huge_dimensions_warn() -> None:
    acts = healthy()
    huge = np.zeros((len(acts.frame), 24))
    huge[:, 7] = np.random.default_rng(5).normal(size=len(huge)) * 20
    found = find(shifted(acts, huge), "EV003")
    assert (found.status, found.measure) == ("warn", "share of the variance in three coordinates")
    assert found.value > 0.8
    assert "WhitenedDiffMean" in found.message


def test_split_half_falls_with_noise() -> None:
    assert find(healthy(), "EV004").value > 0.95
    noise = find(healthy(), "EV004", site=NOISE)
    assert noise.status == "fail"
    assert abs(noise.value) < 0.4
    assert "do not steer" in find(healthy(), "EV004", site=NOISE, estimator=ShrinkageLDA()).message
    acts = healthy()
    one = find(some(acts, (acts.frame["group"] == "g0").to_numpy()), "EV004")
    assert (one.status, one.message) == ("not applicable", "There is one group only, which has no halves.")


def test_halvings_are_all_ways_or_random_ones() -> None:
    assert len(halvings(4, most=20, seed=0)) == 3
    assert len(halvings(5, most=20, seed=0)) == 10
    many = halvings(16, most=20, seed=0)
    assert len(many) == 20
    assert {int(mask.sum()) for mask in many} == {8}
    assert spearman_brown(np.array([0.5, -0.2, 0.0])) == pytest.approx([2 / 3, -0.2, 0.0])


def test_shuffled_labels_read_as_much_as_noise() -> None:
    real = find(healthy(), "EV005")
    assert real.value > 0.9
    assert "p = 0.02" in real.message
    noise = find(healthy(), "EV005", site=NOISE)
    assert noise.status == "fail"
    acts = healthy()
    alone = find(changed(acts, acts.frame.assign(group=acts.frame["id"])), "EV005")
    assert alone.status == "not applicable"
    assert "arranged in 1 way" in alone.message


def test_lopsided_label_sets() -> None:
    acts = healthy()
    rare = acts.frame["emotion"].to_numpy() != "sad"
    rare[np.flatnonzero(~rare)[:1]] = True
    assert find(some(acts, rare), "EV006").status == "fail"
    pleasant = acts.frame["emotion"].isin(["happy", "proud", "calm"]).to_numpy()
    found = find(some(acts, pleasant), "EV006")
    assert (found.status, found.measure) == ("fail", "mean valence less 5")
    assert "pleasant" in found.message
    unrated = acts.frame.assign(emotion="x" + acts.frame["emotion"])
    assert "valence" not in find(changed(acts, unrated), "EV006").message


@pytest.mark.parametrize(("other", "status"), [(1, "warn"), (12, "fail")])
def test_near_duplicates_across_groups(other: int, status: str) -> None:
    acts = healthy()
    texts = acts.frame["text"].tolist()
    order = acts.frame.index[acts.frame["group"] == "g0"], acts.frame.index[acts.frame["group"] == "g1"]
    for one, two in list(zip(*order, strict=True))[:other]:
        texts[two] = texts[one].upper() + "!"
    found = find(changed(acts, acts.frame.assign(text=texts)), "EV007")
    assert (found.status, found.value) == (status, pytest.approx(2 * other / len(texts)))


def test_near_duplicates_inside_a_group() -> None:
    acts = healthy()
    cell = acts.frame["group"] + acts.frame["emotion"]
    found = find(changed(acts, acts.frame.assign(text=acts.frame["text"].groupby(cell).transform("first"))), "EV007")
    assert (found.status, found.value) == ("warn", 1.0)
    assert find(changed(acts, acts.frame.assign(text="oh")), "EV007").status == "not applicable"


def test_blocks_find_every_pair() -> None:
    random = np.random.default_rng(2)
    texts = ["".join(random.choice(list("abcdefgh "), 60)) for _ in range(2 * BLOCK + 9)]
    texts[-1] = texts[3]
    zeros = np.zeros(len(texts), dtype=int)
    found = twins(texts, y=zeros, groups=np.arange(len(texts)))
    assert np.flatnonzero(found.across).tolist() == [3, len(texts) - 1]
    assert np.flatnonzero(twins(texts, y=np.arange(len(texts)), groups=zeros).pairs).tolist() == [3, len(texts) - 1]


def test_groups_that_do_not_keep_texts_apart() -> None:
    acts = healthy()
    texts = acts.frame["text"].tolist()
    texts[-1] = "  " + texts[0].upper()
    twice = find(changed(acts, acts.frame.assign(text=texts)), "EV008")
    assert (twice.status, twice.value) == ("fail", 2.0)
    texts[1] = texts[0]
    split = acts.frame.assign(text=[*texts[:-1], "a b c"], split=["train", "test"] * (len(texts) // 2))
    assert find(changed(acts, split), "EV008").value == 2.0
    lone = find(changed(acts, acts.frame.assign(group=acts.frame["emotion"])), "EV008")
    assert (lone.status, lone.value) == ("fail", 1.0)
    few = find(some(acts, acts.frame["group"].isin(["g0", "g1"]).to_numpy()), "EV008")
    assert (few.status, few.measure) == ("warn", "groups")


def test_vectors_that_follow_the_writer() -> None:
    acts = healthy(emotions=10)
    second = pd.factorize(acts.frame["emotion"])[0] % 2
    frame = acts.frame.assign(writer=np.array(["ann", "ben"])[second])
    style = np.outer(second, 4 * np.ones(24))
    found = find(shifted(changed(acts, frame), style), "EV009")
    assert found.status == "fail"
    assert found.value > 0.8
    assert find(shifted(acts, style), "EV009").status == "pass"
    assert find(changed(acts, acts.frame.drop(columns="writer")), "EV009").status == "not applicable"
    assert find(changed(acts, acts.frame.assign(writer="ann")), "EV009").message == "All texts are by one writer."
    assert "too few" in find(healthy(emotions=3), "EV009").message


def test_adjusted_r2_is_that_of_the_formula() -> None:
    random = np.random.default_rng(0)
    scores, kind = random.normal(size=30), np.arange(30) % 3
    means = np.array([scores[kind == one].mean() for one in range(3)])[kind]
    r2 = 1 - np.square(scores - means).sum() / np.square(scores - scores.mean()).sum()
    assert adjusted(scores, np.eye(3)[kind]) == pytest.approx(1 - (1 - r2) * 29 / 27)


def test_same_seed_and_any_order_give_the_same_findings() -> None:
    acts = healthy(seed=4)
    one = diagnose(acts, SIGNAL, seed=3)
    pd.testing.assert_frame_equal(one.frame(), diagnose(acts, SIGNAL, seed=3).frame(), check_exact=True)
    mixed = some(acts, np.random.default_rng(1).permutation(len(acts.frame)))
    pd.testing.assert_frame_equal(one.frame(), diagnose(mixed, SIGNAL, seed=3).frame(), check_exact=True)


@pytest.mark.parametrize("estimator", [ShrinkageLDA(), LogisticProbe()])
def test_other_estimators(estimator: Any) -> None:
    found = diagnose(healthy(emotions=4, groups=4), str(SIGNAL), estimator=estimator, codes=["EV004", "EV005"])
    assert [one.status for one in found.findings] == ["pass", "pass"]
    assert found.settings["estimator"]["name"] == type(estimator).__name__


def test_one_group_leaves_what_needs_none() -> None:
    acts = healthy()
    found = diagnose(some(acts, (acts.frame["group"] == "g0").to_numpy()), SIGNAL).frame().set_index("code")["status"]
    assert found[found == "not applicable"].index.tolist() == ["EV001", "EV002", "EV004", "EV005"]
    assert found["EV008"] == "fail"


def test_diagnosis_is_told_and_saved(tmp_path: Path) -> None:
    found = diagnose(changed(healthy(), offset=0), SIGNAL)
    assert found.worst == "warn"
    assert "EV003 warn" in repr(found)
    assert len(str(found).splitlines()) == len(DIAGNOSTICS)
    told = json.loads(found.save(tmp_path / "diagnosis.json").read_text())
    assert told["counts"]["warn"] == 1
    assert told["findings"]["EV003"]["status"] == "warn"
    assert told["settings"]["site"] == str(SIGNAL)
    assert told["provenance"]["activations"] == "store-a"
    assert found.frame().columns.tolist()[:3] == ["code", "name", "status"]


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown diagnostic 'EV01'"):
        diagnose(healthy(), SIGNAL, codes=["EV01"])
    with pytest.raises(StoreError, match="was not recorded"):
        diagnose(healthy(), "resid_post.3")
    with pytest.raises(ConfigError, match="readout"):
        diagnose(healthy(), SIGNAL, readout="zcore")
    with pytest.raises(ValueError, match="taken by 'length'"):
        diagnostic("EV001", "again", asks="?")
    with pytest.raises(ValueError, match="of the form"):
        diagnostic("length", "length", asks="?")


def test_limits() -> None:
    assert [grade(value, warn=1, fail=2)[0] for value in (0.9, 1, 2)] == ["pass", "warn", "fail"]
    assert [grade_below(value, warn=3, fail=2)[0] for value in (3, 2, 1)] == ["pass", "warn", "fail"]
    assert judge_auroc(0.9, 0.49)[0] == "pass"
    assert judge_auroc(0.9, np.nan)[0] == "warn"
    assert judge_auroc(0.6, 0.55)[0] == "warn"
    aspects = [
        Aspect(status="pass", measure="a", value=1.0, n=1, threshold=2.0, message="A."),
        Aspect(status="warn", measure="b", value=3.0, n=1, threshold=2.0, message="B."),
    ]
    found = Finding.of("EV900", "both", aspects)
    assert (found.status, found.measure, found.message) == ("warn", "b", "B. A.")
