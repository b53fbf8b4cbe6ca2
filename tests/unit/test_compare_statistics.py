"""Statistics of a comparison: simulated coverage of the intervals, and every number of planted effects."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from emovec_sae.interventions.comparison import statistics
from emovec_sae.interventions.comparison.falsifiers import falsifiers
from emovec_sae.interventions.comparison.names import LatentArm, read_name
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.stats import hierarchical_ratio, ratio_above_p
from emovec_sae.stats.bootstrap import NO_RATIO

RHO = 0.75
PROMPTS = 8


def simulate(emotions: int, seed: int, *, spread: float, seeds: int = 1) -> tuple[np.ndarray, ...]:
    """Effects of an arm and of raw with the true ratio RHO: emotions differ, and prompts within both arms alike."""
    random = np.random.default_rng(seed)
    raw = 2 + 0.5 * random.standard_normal(emotions)
    arm = RHO * raw + spread * random.standard_normal(emotions)
    shape = (emotions, PROMPTS, seeds)
    shared = random.standard_normal((emotions, PROMPTS, 1))
    top = arm[:, None, None] + 0.7 * shared + random.standard_normal(shape)
    bottom = raw[:, None, None] + shared + 0.5 * random.standard_normal(shape)
    outer, middle, _ = np.indices(shape)
    return tuple(one.ravel() for one in (top, bottom, outer, middle))


def coverage(emotions: int, *, spread: float, runs: int = 300, seeds: int = 1, within: str = "kept") -> float:
    """Share of simulated intervals that hold the true ratio, among those that have a ratio."""
    hits = []
    for run in range(runs):
        data = simulate(emotions, run, spread=spread, seeds=seeds)
        found = hierarchical_ratio(*data, seed=run, resamples=600, within=within)  # pyright: ignore[reportArgumentType]
        if found.method != NO_RATIO:
            hits.append(found.low <= RHO <= found.high)
    assert len(hits) > 0.9 * runs
    return float(np.mean(hits))


# Two standard errors of a share of .95 over 300 runs are .025; three, for tests that run at many seeds, .038.
ERROR = 3 * math.sqrt(0.95 * 0.05 / 300)


@pytest.mark.parametrize(("emotions", "spread", "seeds"), [(24, 0.3, 1), (24, 0.0, 2), (40, 0.3, 1)])
def test_the_interval_covers_the_true_ratio_in_95_percent_of_runs(emotions: int, spread: float, seeds: int) -> None:
    found = hierarchical_ratio(*simulate(emotions, 0, spread=spread), seed=0)
    assert found.method.startswith("percentile")
    assert abs(coverage(emotions, spread=spread, seeds=seeds) - 0.95) <= ERROR


@pytest.mark.parametrize("emotions", [4, 8, 12])
def test_few_clusters_use_the_t_form_and_it_covers(emotions: int) -> None:
    found = hierarchical_ratio(*simulate(emotions, 0, spread=0.3), seed=0)
    assert found.method == f"t over {emotions} clusters"
    assert coverage(emotions, spread=0.3) >= 0.95 - ERROR - 0.02  # a ratio's linearised error is a little short


def test_resampling_within_clusters_too_is_never_too_narrow() -> None:
    data = simulate(24, 1, spread=0.0)
    kept, drawn = (hierarchical_ratio(*data, seed=0, within=how) for how in ("kept", "resampled"))
    assert kept.value == drawn.value
    assert drawn.high - drawn.low > 1.2 * (kept.high - kept.low)
    # seeds within prompts, in unequal numbers
    rows = np.random.default_rng(0).permutation(len(data[0]))[:150]
    some = hierarchical_ratio(*(one[rows] for one in data), seed=0, within="resampled")
    assert some.low < some.value < some.high


def test_outer_and_middle_clusters_weigh_the_same_whatever_their_size() -> None:
    top, bottom = [1.0, 1.0, 1.0, 3.0, 5.0], [2.0, 2.0, 2.0, 2.0, 2.0]
    outer, middle = ["a", "a", "a", "b", "b"], [0, 0, 1, 0, 1]
    assert hierarchical_ratio(top, bottom, outer, middle, seed=0).value == pytest.approx((1 + 4) / 2 / 2)
    twice = ([1.0, 4.0, 7.0] * 2, [2.0] * 6, list("aaabbb"), [0, 0, 1, 0, 0, 1])
    assert hierarchical_ratio(*twice, seed=0).value == pytest.approx((2.5 + 7) / 2 / 2)


def test_the_order_of_rows_does_not_matter() -> None:
    data = simulate(24, 2, spread=0.3, seeds=2)
    rows = np.random.default_rng(1).permutation(len(data[0]))
    one, other = hierarchical_ratio(*data, seed=0), hierarchical_ratio(*(part[rows] for part in data), seed=0)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_no_ratio_over_what_may_be_zero_and_bad_input_is_refused() -> None:
    zero = hierarchical_ratio(np.ones(24), np.tile([1.0, -1.0], 12), np.arange(24), seed=0)
    assert zero.method == NO_RATIO
    assert math.isnan(zero.value)
    with pytest.raises(ValueError, match="must be pairs"):
        hierarchical_ratio([1.0], [1.0, 2.0], [0], seed=0)
    with pytest.raises(ValueError, match="within is 'half'"):
        hierarchical_ratio([1.0], [1.0], [0], seed=0, within="half")  # pyright: ignore[reportArgumentType]


def test_the_test_above_a_margin_keeps_its_level_and_finds_what_is_there() -> None:
    runs = [simulate(24, run, spread=0.3) for run in range(300)]
    false = np.mean([ratio_above_p(top, bottom, RHO, outer) <= 0.05 for top, bottom, outer, _ in runs])
    assert abs(false - 0.05) <= 3 * math.sqrt(0.05 * 0.95 / 300)
    found = np.mean([ratio_above_p(top, bottom, 0.4, outer) <= 0.05 for top, bottom, outer, _ in runs])
    assert found > 0.9
    assert math.isnan(ratio_above_p([1.0], [1.0], 0.9, [0]))
    assert ratio_above_p([1.0, 1.0], [1.0, 1.0], 0.9, [0, 1]) == 0.0
    assert ratio_above_p([0.5, 0.5], [1.0, 1.0], 0.9, [0, 1]) == 1.0


PLANTED = {
    "raw": 1.0, "k=1": 0.3, "k=4": 0.95, "k=16": 1.0, "k=1, omp": 0.4, "k=16, omp": 0.6, "remainder of k=16": 0.95,
    "remainder of k=4": 0.2, "k=16, matched": 0.1, "random": 0.05,
}  # fmt: skip


def planted(emotions: int = 24, noise: float = 0.02) -> Comparison:
    """Effects of 2 to 4 nats for raw and a planted share of it for every other arm."""
    random = np.random.default_rng(0)
    rows, doses = [], []
    for number in range(emotions):
        for arm, share in PLANTED.items():
            facts = {"arm": arm, "emotion": f"e{number}", "draw": 0, "level": 0.1, "kl": 0.1, "reached": True}
            doses.append({**facts, "explained_kl": {"k=4": 0.3}.get(arm, 0.8)})
            for prompt in range(6):
                effect = share * (2 + number % 3) + noise * random.standard_normal()
                rows.append({**facts, "scored": f"e{number}", "prompt": prompt, "effect": effect})
    return Comparison(pd.DataFrame(rows).astype({"emotion": object}), pd.DataFrame(doses), {})


def test_names_of_arms_are_read_as_they_are_written() -> None:
    for kind in ("latents", "remainder", "clamped"):
        for selector in ("share", "omp", "output score"):
            arm = LatentArm(kind, 16, selector)
            assert read_name(str(arm)) == arm
    assert str(LatentArm("latents", 16)) == "k=16"
    for name in ("raw", "random", "k=", "k=4x", "other k=3"):
        assert read_name(name) is None


def test_what_matches_is_told_and_only_secondary_tests_are_corrected() -> None:
    table = planted().ratios(0.1).set_index("arm")
    assert table["value"].to_dict() == pytest.approx({arm: PLANTED[arm] for arm in table.index}, abs=0.01)
    assert table.index[table["matches"]].tolist() == ["k=16", "k=4", "remainder of k=16"]
    assert table.index[table["primary"]].tolist() == ["k=16"]
    assert table.loc["k=16", "p"] == table.loc["k=16", "p_holm"]
    assert table.loc["k=4", "p_holm"] == pytest.approx(8 * table.loc["k=4", "p"]) or table.loc["k=4", "p_holm"] < 1e-12
    assert (table["p_holm"] >= table["p"]).all()


def test_a_weak_secondary_match_does_not_survive_the_correction() -> None:
    own = planted(noise=0.0).own()
    shaky = own["arm"] == "k=4"
    steps = own.loc[shaky, "emotion"].str[1:].astype(int) % 4
    own.loc[shaky, "effect"] += np.where(steps < 2, 0.42, -0.31)
    row = statistics.pooled_ratios(own).set_index("arm").loc["k=4"]
    assert row["p"] <= 0.025 < row["p_holm"]
    assert not row["matches"]
    alone = statistics.pooled_ratios(own[own["arm"].isin(["raw", "k=4"])]).set_index("arm").loc["k=4"]
    assert alone["p_holm"] == alone["p"]


def test_k90_by_selector_and_by_emotion() -> None:
    found = planted().k90(0.1).set_index("selector")
    assert found.loc["share", "k90"] == 4
    assert math.isnan(found.loc["omp", "k90"])
    assert found.loc["omp", "largest"] == 16
    by_emotion = planted().k90(0.1, by_emotion=True)
    assert len(by_emotion) == 3 * 24
    own = by_emotion[by_emotion["selector"] == "share"]
    assert (own["k90"] == 4).mean() > 0.8


def test_sufficiency_and_necessity_are_the_latents_and_what_the_vector_loses_without_them() -> None:
    found = planted().sufficiency_and_necessity(0.1).set_index(["selector", "k", "quantity"])
    assert found.loc[("share", 16, "sufficiency"), "value"] == pytest.approx(1.0, abs=0.01)
    necessity = found.loc[("share", 4, "necessity")]
    assert necessity["value"] == pytest.approx(0.8, abs=0.01)
    assert necessity["low"] < necessity["value"] < necessity["high"]


def test_every_falsifier_holds_where_it_was_planted_and_nowhere_else() -> None:
    found = planted().falsifiers(0.1)
    held = found[found["holds"]][["falsifier", "arm"]].to_numpy().tolist()
    assert held == [["remainder as strong as raw", "remainder of k=16"], ["same score, low explained KL", "k=4"]]
    controls = found[found["falsifier"].str.startswith("random")].set_index("arm")["falsifier"].to_dict()
    assert controls["k=16"] == "random latents as good (matched)"
    assert controls["k=4"] == "random latents as good (random)"
    own = planted().own()
    own.loc[own["arm"] == "k=16, matched", "effect"] = own.loc[own["arm"] == "k=16", "effect"].to_numpy() + 0.01
    as_good = falsifiers(own, pd.DataFrame()).set_index(["falsifier", "arm"])["holds"]
    assert as_good[("random latents as good (matched)", "k=16")]


def test_an_emotion_without_a_raw_effect_has_no_ratio() -> None:
    own = planted().own()
    flat = (own["emotion"] == "e3") & (own["arm"] == "raw")
    own.loc[flat, "effect"] = np.tile([1.0, -1.0], 3)
    table = statistics.emotion_ratios(own).set_index(["emotion", "arm"])
    assert math.isnan(table.loc[("e3", "k=16"), "value"])
    assert not table.loc[("e3", "k=16"), "matches"]
    assert table.loc[("e4", "k=16"), "value"] == pytest.approx(1.0, abs=0.05)


def test_the_verdict_says_what_the_numbers_say() -> None:
    told = planted().verdict(0.1)
    assert told[0] == "All 240 calibrations reached 0.1 nats of KL on neutral text."
    assert "over 24 emotions, so they match them" in told[1]
    assert told[2].startswith("By Delta share also: k = 1 0.30 [")
    assert ", k = 4 0.95 [" in told[2]
    assert "omp: none up to 16; share: 4" in told[3]
    assert not any(one.startswith("By emotion") for one in told), "24 emotions are told one by one"
    few = planted(3).verdict(0.1)
    assert any("By emotion, k=16 relative to raw: e0 1.00 [" in one for one in few)
    assert told[-1].startswith("2 of 10 falsifiers hold: remainder as strong as raw: remainder of k=16 0.95")
    found = planted()
    effects = found.effects[found.effects["arm"].isin(["raw", "k=1"])]
    doses = found.doses[found.doses["arm"].isin(["raw", "k=1"])].assign(reached=lambda table: table["arm"] == "raw")
    less = Comparison(effects, doses, {}).verdict(0.1)
    assert less[0] == "24 of 48 calibrations could not reach 0.1 nats of KL: k=1 (24)."
    assert less[1] == "The primary arm, k=16 by Delta share, was not run."


def test_the_specificity_matrix_has_every_emotion_on_both_sides() -> None:
    found = planted(3)
    other = found.effects.assign(scored="e0", effect=-0.5)[found.effects["emotion"] == "e1"]
    table = Comparison(pd.concat([found.effects, other]), found.doses, {}).specificity(0.1)
    assert table.set_index(["emotion", "scored"]).loc[("e1", "e0"), "effect"] == -0.5
    assert table["own"].sum() == 3


def test_random_latents_that_may_be_as_good_are_not_excluded_and_no_ratio_is_no_number() -> None:
    own = planted(4)
    effects = own.effects.copy()
    sign = np.where(effects["scored"].isin(["e0", "e1"]), 1.0, -1.0)
    flat = Comparison(effects.assign(effect=effects["effect"] * sign), own.doses, {}).verdict(0.1)
    assert "no ratio of the 16 latents" in flat[1]
    assert "so they are not shown to match them" in flat[1]
    assert "random latents as good (matched) is not excluded: k=16" in flat[-1]


def test_the_page_holds_every_number_that_the_tables_hold() -> None:
    found = planted()
    missed = found.doses.assign(reached=found.doses["arm"] != "k=1")
    page = Comparison(found.effects, missed, {"model": {"name": "toy"}}).page(0.1, title="A study")
    lines = page.splitlines()
    assert lines[0] == "# Do k latents do what the vector does? A study"
    assert "model toy, 0.1 nats of KL on neutral text, 24 emotions, 6 prompts, 10 arms, no rotation" in lines[2]
    ratios = found.ratios(0.1).set_index("arm")
    for arm, row in ratios.iterrows():
        start = f"| {arm}{' (primary)' if row['primary'] else ''} | {row['value']:.2f} [{row['low']:.2f}, "
        match = [line for line in lines if line.startswith(start)]
        assert len(match) == 1, arm
        assert match[0].endswith("| yes |" if row["matches"] else "| not shown |")
    held = [line for line in lines if line.startswith(("| remainder as", "| random latents", "| same score"))]
    assert len(held) == len(found.falsifiers(0.1))
    assert sum(line.endswith("| yes |") for line in held) == 2
    assert "24 of 240 calibrations missed their level by more than 2 %." in page
    assert "| k=1 | 0.1 | 24 | 0.1 to 0.1 | e0, e1, e2, e3, e4, e5 and 18 more |" in page
    assert "## Other levels" not in page
    both = Comparison(pd.concat([found.effects, found.effects.assign(level=0.5)]),
                      pd.concat([found.doses, found.doses.assign(level=0.5)]), {}).page(0.1)  # fmt: skip
    assert "- 0.5 nats: All 240 calibrations reached 0.5 nats" in both


def test_a_sentence_lists_a_few_and_counts_the_rest() -> None:
    from emovec_sae.interventions.comparison.verdict import listed

    assert listed([str(number) for number in range(8)]) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed([str(number) for number in range(11)], between="; ").endswith("7; and 3 more (all are in the table)")
