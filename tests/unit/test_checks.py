"""Checks on planted activations: what is there is found, what is not there is at its null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from directions_planted import SITES, planted, store

from emovec_sae.directions import cross_validate, fit_directions
from emovec_sae.directions.checks import (
    check_intensity,
    check_labelled,
    check_languages,
    check_scenarios,
    check_shape,
    check_speaker,
    compare_similarity,
    learning_curve,
)
from emovec_sae.directions.checks.result import NUMBERS
from emovec_sae.directions.checks.topics import check_topics
from emovec_sae.directions.estimators import DiffMean, ShrinkageLDA
from emovec_sae.errors import ConfigError, MismatchError

SITE = str(SITES[1])


def value(found: Any, name: str, column: str = "value") -> float:
    return float(found.numbers.set_index("number").loc[name, column])


def texts(y: np.ndarray, truth: np.ndarray, *, gain: float, shift: float = 50.0, seed: int = 7) -> np.ndarray:
    """Activations of another kind of text: shifted far away, the emotion weaker."""
    random = np.random.default_rng(seed)
    return (shift * random.normal(size=24) + gain * truth[y] + 0.4 * random.normal(size=(len(y), 24))).astype(
        np.float32
    )


def scenarios(truth: np.ndarray, gain: float) -> Any:
    y = np.tile(np.arange(6), 8)
    frame = pd.DataFrame({"id": [f"s{row}" for row in range(48)], "text": "x", "emotion": [f"e{code}" for code in y]})
    frame["battery"] = np.repeat(["a", "b"], 24)
    return store(frame, {SITES[1]: texts(y, truth, gain=gain)})


def test_an_implied_emotion_is_found_once_the_other_battery_is_the_reference() -> None:
    acts, truth = planted(groups=8)
    directions = fit_directions(acts, site=SITE)
    found = check_scenarios(directions, scenarios(truth, 2.0), top=1)
    assert value(found, "battery a, top 1") > 0.9
    assert value(found, "battery b, top 1", "p") < 0.001
    assert value(found, "battery a, top 1", "null") == pytest.approx(1 / 6, abs=0.02)
    away = found.variants.set_index(["variant", "number"])["value"]
    assert away["zscore, training reference", "battery a, top 1"] < 0.5
    assert set(found.frame().columns) == {"target", "read", "score", "low", "high", "n"}
    assert found.settings["readout"] == "zscore"
    assert found.settings["position"] == "mean from token 5"


def test_nothing_implied_is_at_chance() -> None:
    acts, truth = planted(groups=8)
    found = check_scenarios(fit_directions(acts, site=SITE), scenarios(truth, 0.0), top=1)
    assert value(found, "battery a, top 1", "p") > 0.01
    assert value(found, "battery b, top 1", "p") > 0.01


def test_one_battery_falls_back_on_the_training_texts() -> None:
    acts, truth = planted(groups=8)
    given = scenarios(truth, 2.0)
    given.frame = given.frame.drop(columns="battery")
    found = check_scenarios(fit_directions(acts, site=SITE), given)
    assert found.settings["reference"] == "training"
    assert found.numbers["number"].tolist() == ["battery all, top 3"]


def test_texts_of_another_model_are_refused() -> None:
    acts, truth = planted()
    given = scenarios(truth, 2.0)
    given.model = {**given.model, "fingerprint": "model-b"}
    with pytest.raises(MismatchError, match="fit directions"):
        check_scenarios(fit_directions(acts, site=SITE), given)
    given.frame = given.frame.assign(emotion=None)
    with pytest.raises(ConfigError, match="column 'emotion'"):
        check_scenarios(fit_directions(acts, site=SITE), given)


def templates(truth: np.ndarray, gain: float) -> Any:
    rows, values = [], []
    random = np.random.default_rng(0)
    for template in range(8):
        base = 30 * random.normal(size=24)
        for step in range(1, 7):
            push = gain * step * (truth[0] - truth[1]) + 0.3 * random.normal(size=24)
            values.append(base + push)
            rows.append(
                {
                    "id": f"{template}.{step}",
                    "text": "x",
                    "group": str(template),
                    "template": f"t{template}",
                    "step": step,
                    "value": 10.0 * step,
                    "expected": json.dumps({"e0": "up", "e1": "down", "e9": "up"}),
                }
            )
    return store(pd.DataFrame(rows), {SITES[1]: np.array(values, dtype=np.float32)})


def test_planted_trends_have_the_right_sign_and_others_do_not() -> None:
    acts, truth = planted(groups=8)
    directions = fit_directions(acts, site=SITE)
    found = check_intensity(directions, templates(truth, 0.5))
    assert value(found, "right sign") == 1.0
    assert value(found, "mean signed trend") > 0.9
    assert value(found, "mean signed trend", "p") < 0.05
    assert found.settings["left_out"] == 8
    assert found.variants["variant"].tolist() == ["e0", "e1"]
    flat = check_intensity(directions, templates(truth, 0.0))
    assert value(flat, "mean signed trend", "p") > 0.01
    assert np.abs(found.frame().groupby(["template", "emotion"])["score"].mean()).max() < 1e-6


def test_texts_that_are_no_templates_are_refused() -> None:
    acts, _ = planted()
    with pytest.raises(ConfigError, match="no column 'template'"):
        check_intensity(fit_directions(acts, site=SITE), acts)


def spoken(lang: str, truth: np.ndarray, *, gain: float = 2.0) -> Any:
    y = np.tile(np.arange(6), 5)
    frame = pd.DataFrame(
        {
            "id": [f"{lang}{row}" for row in range(30)],
            "text": "x",
            "emotion": [f"e{code}" for code in y],
            "group": np.repeat([f"g{code}" for code in range(5)], 6),
            "lang": lang,
        }
    )
    return store(frame, {SITES[1]: texts(y, truth, gain=gain, seed=sum(map(ord, lang)))})


def test_languages_that_share_directions_read_each_other() -> None:
    _, truth = planted()
    other = np.linalg.qr(np.random.default_rng(5).normal(size=(24, 24)))[0][:6]
    found = check_languages([spoken("en", truth), spoken("es", truth), spoken("xx", other)], SITE)
    cells = found.frame().set_index(["fit", "read"])["top1"]
    assert cells["en", "es"] > 0.9
    assert cells["xx", "xx"] > 0.9
    assert cells["en", "xx"] < 0.5
    assert len(cells) == 9
    assert found.frame()["null"].between(0.1, 0.23).all()
    away = found.variants.set_index(["variant", "number"])["value"]
    assert away["training reference", "across languages"] < away["target reference", "across languages"]


def test_one_language_and_two_models_are_refused() -> None:
    _, truth = planted()
    with pytest.raises(ConfigError, match="two languages"):
        check_languages([spoken("en", truth)], SITE)
    foreign = spoken("es", truth)
    foreign.model = {**foreign.model, "fingerprint": "model-b", "name": "other"}
    with pytest.raises(MismatchError, match="two models"):
        check_languages([spoken("en", truth), foreign], SITE)


def test_more_topics_read_better_and_are_more_stable() -> None:
    acts, _ = planted(emotions=16, groups=12, noise=2.5)
    found = learning_curve(acts, SITE, seed=1)
    frame = found.frame().set_index(["measure", "topics"])["value"]
    assert frame["top-1", 11] > frame["top-1", 2]
    assert frame["split-half cosine", 4] > frame["split-half cosine", 2]
    half, brown = value(found, "split-half cosine, 6 topics against 6"), value(found, "Spearman-Brown for 12 topics")
    assert half < brown < 1
    assert brown == pytest.approx(2 * half / (1 + half), abs=0.03)
    assert learning_curve(acts, SITE, seed=1).frame().equals(found.frame())


def test_split_half_of_noise_is_zero() -> None:
    acts, _ = planted(emotions=12, groups=12)
    assert abs(value(learning_curve(acts, str(SITES[0])), "split-half cosine, 6 topics against 6")) < 0.2


def test_sizes_that_cannot_be_are_refused() -> None:
    acts, _ = planted(groups=5)
    with pytest.raises(ConfigError, match="between 1 and 4"):
        learning_curve(acts, SITE, sizes=[2, 5])
    small, _ = planted(groups=3)
    with pytest.raises(ConfigError, match="too few"):
        learning_curve(small, SITE)


def named(acts: Any, names: list[str]) -> Any:
    acts.frame = acts.frame.assign(emotion=acts.frame["emotion"].map(lambda one: names[int(one[1:])]))
    return acts


def rated_store(seed: int = 0) -> tuple[Any, pd.DataFrame]:
    """Emotions whose first planted axis is valence and whose second is arousal."""
    random = np.random.default_rng(seed)
    names = [f"e{code}" for code in range(40)]
    norms = pd.DataFrame({"emotion": names, "valence": random.uniform(1, 9, 40), "arousal": random.uniform(1, 9, 40)})
    axes = np.linalg.qr(random.normal(size=(24, 24)))[0]
    centred = norms[["valence", "arousal"]].to_numpy() - 5
    means = centred @ (axes[:2] * [[2.0], [1.0]]) + 0.5 * random.normal(size=(40, 24))
    y = np.repeat(np.arange(40), 4)
    frame = pd.DataFrame(
        {
            "id": [f"t{row}" for row in range(160)],
            "text": "x",
            "emotion": [names[code] for code in y],
            "group": np.tile([f"g{code}" for code in range(4)], 40),
        }
    )
    values = (means[y] + 0.2 * random.normal(size=(160, 24))).astype(np.float32)
    return store(frame, {SITES[1]: values}), norms


def test_planted_valence_and_arousal_are_found_on_their_components() -> None:
    acts, norms = rated_store()
    found = check_shape(fit_directions(acts, site=SITE), norms)
    assert value(found, "valence on PC1 to PC3, |r|") > 0.8
    assert value(found, "arousal read by ridge, r") > 0.7
    assert value(found, "variance on PC1") > 3 * value(found, "variance on PC1", "null")
    assert value(found, "variance on PC1", "p") == pytest.approx(1 / 200)
    notes = dict(zip(found.numbers["number"], found.numbers["note"], strict=True))
    assert "PC1" in notes["valence on PC1 to PC3, |r|"]


def test_isotropic_vectors_have_no_shape() -> None:
    random = np.random.default_rng(3)
    acts, norms = rated_store()
    acts.pooled = lambda site, pool="mean": random.normal(size=(160, 24)).astype(np.float32)
    found = check_shape(fit_directions(acts, site=SITE), norms)
    assert value(found, "variance on PC1", "p") > 0.01
    assert value(found, "valence on PC1 to PC3, |r|", "p") > 0.01


def test_similarity_is_one_with_itself_and_nothing_with_noise() -> None:
    acts, _ = rated_store()
    one = fit_directions(acts, site=SITE)
    acts.pooled = lambda site, pool="mean": np.random.default_rng(0).normal(size=(160, 24)).astype(np.float32)
    noise = fit_directions(acts, site=SITE)
    table = compare_similarity({"one": one, "again": one, "noise": noise}).frame()
    cells = {(row["one"], row["other"]): row for row in table.to_dict("records")}
    assert cells["one", "again"]["r"] == pytest.approx(1.0)
    assert cells["one", "again"]["p"] == pytest.approx(1 / 2000)
    assert cells["one", "again"]["low"] == pytest.approx(1.0)
    assert cells["one", "noise"]["low"] < 0 < cells["one", "noise"]["high"]
    assert abs(cells["one", "noise"]["r"]) < 0.2
    with pytest.raises(ConfigError, match="two sets"):
        compare_similarity({"one": one})


def dialogues(truth: np.ndarray, *, other: bool) -> Any:
    random = np.random.default_rng(2)
    n = 240
    y, z = random.integers(6, size=n), random.integers(6, size=n)
    axes = np.linalg.qr(random.normal(size=(24, 24)))[0][:6]
    values = 2 * truth[y] + (2 * axes[z] if other else 0) + 0.4 * random.normal(size=(n, 24))
    frame = pd.DataFrame(
        {
            "id": [f"d{row}" for row in range(n)],
            "text": "x",
            "emotion": [f"e{code}" for code in y],
            "other_emotion": [f"e{code}" for code in z],
            "group": [f"g{row % 6}" for row in range(n)],
        }
    )
    return store(frame, {SITES[1]: values.astype(np.float32)}, pools=("span",))


def test_two_speakers_with_vectors_of_their_own_are_told_apart() -> None:
    _, truth = planted()
    found = check_speaker(dialogues(truth, other=True), SITE)
    cells = found.frame().set_index(["vectors", "labels"])["top1"]
    assert cells["present", "present"] > 0.9
    assert cells["other", "other"] > 0.9
    assert cells["present", "other"] < 0.35
    assert abs(value(found, "cosine of present and other vectors")) < 0.4
    silent = check_speaker(dialogues(truth, other=False), SITE).frame().set_index(["vectors", "labels"])["top1"]
    assert silent["other", "other"] < 0.35


def test_texts_without_a_second_speaker_are_refused() -> None:
    acts, _ = planted()
    with pytest.raises(ConfigError, match="'other_emotion'"):
        check_speaker(acts, SITE)


def test_labels_of_every_kind() -> None:
    acts, truth = planted(groups=8)
    acts = named(acts, ["happy", "sad", "angry", "afraid", "calm", "proud"])
    directions = fit_directions(acts, site=SITE)
    order = [["happy", "sad", "angry", "afraid", "calm", "proud"].index(name) for name in directions.emotions]
    random = np.random.default_rng(0)
    y = random.integers(6, size=120)
    strength = random.uniform(0, 3, size=120)
    values = acts.pooled(SITES[1]).mean(axis=0) + strength[:, None] * truth[y] + 0.2 * random.normal(size=(120, 24))
    names = np.array(["happy", "sad", "angry", "afraid", "calm", "proud"])
    frame = pd.DataFrame(
        {
            "id": [f"l{row}" for row in range(120)],
            "text": "x",
            "group": [f"u{row}" for row in range(120)],
            "emotion": ["joy" if names[code] == "happy" else names[code] for code in y],
            "labels": [json.dumps([str(names[code])]) for code in y],
            "intensity.sad": np.where(names[y] == "sad", strength, 0.0),
        }
    )
    given = store(frame, {SITES[1]: values.astype(np.float32)})
    found = check_labelled(directions, given, labels={"joy": "happy", **{name: name for name in names}})
    assert value(found, "top-1 of single labels") > 0.75
    assert value(found, "AUROC of several labels") > 0.9
    assert value(found, "ranking of several labels") > 0.8
    assert value(found, "intensity, Spearman's rho") > 0.4
    assert set(found.frame()["kind"]) == {"AUROC, single label", "AUROC, several labels", "intensity, Spearman"}
    assert len(order) == 6
    without = check_labelled(directions, given)
    assert "20 texts left out" in without.numbers["note"].iloc[0] or "texts left out" in without.numbers["note"].iloc[0]
    with pytest.raises(ConfigError, match="no direction for"):
        check_labelled(directions, given, labels={"joy": "joyous"})
    bare = store(frame[["id", "text"]], {SITES[1]: values.astype(np.float32)})
    with pytest.raises(ConfigError, match="no label"):
        check_labelled(directions, bare)


def test_topics_tell_the_nested_choice_and_its_baselines() -> None:
    acts, _ = planted(groups=6, noise=0.6)
    found = check_topics(cross_validate(acts, estimator=[DiffMean(), ShrinkageLDA()], readout="auto"), acts)
    assert value(found, "top-1") > 0.8
    assert value(found, "top-1", "p") == pytest.approx(1 / 2000)
    assert "nested choice" in found.numbers["note"].iloc[0]
    assert set(found.variants["variant"]) >= {"DiffMean, dot", "ShrinkageLDA, zscore"}
    assert any("TF-IDF" in name for name in found.numbers["number"])


def test_a_check_saves_all_that_it_says(tmp_path: Path) -> None:
    acts, truth = planted(groups=8)
    found = check_scenarios(fit_directions(acts, site=SITE), scenarios(truth, 2.0))
    told = json.loads(found.save(tmp_path / "check.json").read_text())
    assert set(told["numbers"]["battery a, top 3"]) == set(NUMBERS) - {"number"}
    assert len(told["table"]) == 36
    assert told["settings"]["site"] == SITE
    assert "battery a" in repr(found)
