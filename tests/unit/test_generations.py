"""Generations: planted effects are found, cells go on after a kill, and a text does not depend on its company."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.generations import compare_generations
from emovec_sae.interventions.comparison.generations_result import Generations, load_generations
from emovec_sae.interventions.comparison.instruction import (
    INSTRUCTION,
    instruct,
    score_instruction,
    with_instruction,
)
from emovec_sae.interventions.comparison.readers import TextProbe
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.interventions.comparison.writing import Sampling
from emovec_sae.interventions.edits import Shift
from emovec_sae.models.generate import generate_ids
from emovec_sae.models.model import Model
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_corpus

SITE = Site("resid_post", 1)
EMOTIONS = ["happy", "sad"]
PROMPTS = ["a river ran", "the lamp", "paper and a stone"]
SAMPLING = Sampling(seeds=2, new_tokens=8)
KEYS = ["emotion", "arm", "level", "prompt", "seed"]


class Counting:
    """A reader that scores the first emotion by the number of letters a, and the second by that of letters b."""

    name, emotions, fingerprint = "letters", tuple(EMOTIONS), "1"

    def read(self, texts: list[str]) -> np.ndarray:
        return np.array([[text.count("a"), text.count("b")] for text in texts], float)


def doses(coefficient: float = 4.0) -> Comparison:
    rows = [
        {"arm": arm, "emotion": emotion, "draw": draw, "level": 0.1, "kl": 0.1, "coefficient": size, "reached": True}
        for arm, emotion, draw, size in (
            ("raw", "happy", 0, coefficient),
            ("raw", "sad", 0, coefficient),
            ("still", "happy", 0, 0.0),
            ("random", None, 0, coefficient),
            ("random", None, 1, coefficient),
        )
    ]
    return Comparison(pd.DataFrame(rows), pd.DataFrame(rows), {})


def arms() -> list[Arm]:
    random = np.random.default_rng(5)
    shifts = [Shift(random.standard_normal(32), site=SITE, coefficient=1.0) for _ in range(5)]
    names = [("raw", "happy", 0), ("raw", "sad", 0), ("still", "happy", 0), ("random", None, 0), ("random", None, 1)]
    return [Arm(name, emotion, edit, draw) for (name, emotion, draw), edit in zip(names, shifts, strict=True)]


def written(model: Model, **options: Any) -> Generations:
    given: dict[str, Any] = {"model": model, "prompts": PROMPTS, "emotions": EMOTIONS, "levels": [0.1]}
    given |= {"sampling": SAMPLING, "readers": [Counting()], "instruction": True}
    return compare_generations(doses(), arms(), **(given | options))


@pytest.fixture(scope="module")
def found(tiny: Callable[..., Model]) -> Generations:
    return written(tiny("llama"))


def test_every_arm_writes_every_prompt_and_seed(found: Generations) -> None:
    count = found.texts.groupby(["arm", "emotion", "draw"], dropna=False).size()
    assert (count == len(PROMPTS) * SAMPLING.seeds).all()
    assert len(count) == 1 + 3 + 2 + 2
    assert found.texts.query("arm in ('base', 'instruction')")["level"].isna().all()


def test_an_arm_of_dose_zero_writes_what_the_model_writes(found: Generations, tiny: Callable[..., Model]) -> None:
    texts = found.texts.set_index(["prompt", "seed"])
    base, still, raw = (texts[texts["arm"] == arm]["text"] for arm in ("base", "still", "raw"))
    pd.testing.assert_series_equal(base.sort_index(), still.sort_index())
    assert not raw[~raw.index.duplicated()].sort_index().equals(base.sort_index())
    model = tiny("llama")
    ids = model.tokens.encode([PROMPTS[2]])
    alone = generate_ids(model, ids, max_new_tokens=8, temperature=0.7, top_p=0.95, draws=SAMPLING.draws(1, 2)[None])
    assert base[2, 1] == model.tokens.decode(alone[0]).strip()
    change = found.frame().query("arm == 'still'")["change"]
    assert (change.dropna() == 0).all()


def test_an_instructed_model_reads_the_instruction(found: Generations, tiny: Callable[..., Model]) -> None:
    model = tiny("llama")
    ids = model.tokens.encode([instruct(PROMPTS[0], "sad")])
    assert instruct(PROMPTS[0], "sad").count("sad") == 2
    alone = generate_ids(model, ids, max_new_tokens=8, temperature=0.7, top_p=0.95, draws=SAMPLING.draws(0, 0)[None])
    row = found.texts.query("arm == 'instruction' and emotion == 'sad' and prompt == 0 and seed == 0")
    assert row["text"].tolist() == [model.tokens.decode(alone[0]).strip()]


def test_no_text_depends_on_the_batch(found: Generations, tiny: Callable[..., Model]) -> None:
    again = written(tiny("llama"), batch=5)
    pd.testing.assert_frame_equal(again.texts, found.texts, rtol=1e-4)
    pd.testing.assert_frame_equal(again.scores, found.scores)


def test_the_table_is_tidy_and_controls_count_for_every_emotion(found: Generations) -> None:
    frame = found.frame()
    assert {"valence", "perplexity", "surprise", "repetition", "distinct-1", "letters"} <= set(frame["outcome"])
    assert not frame.duplicated([*KEYS, "draw", "outcome", "masked"]).any()
    assert frame["emotion"].notna().all()
    assert set(frame.query("arm == 'random'")["emotion"]) == set(EMOTIONS)
    assert set(frame.query("outcome == 'letters'")["masked"]) == {True, False}
    own = frame.query("outcome == 'letters' and arm == 'raw' and emotion == 'sad' and not masked")
    texts = found.texts.query("arm == 'raw' and emotion == 'sad'").set_index(["prompt", "seed"])["text"]
    base = found.texts.query("arm == 'base'").set_index(["prompt", "seed"])["text"]
    for row in own.to_dict("records"):
        at = row["prompt"], row["seed"]
        assert row["value"] == texts[at].count("b")
        assert row["change"] == texts[at].count("b") - base[at].count("b")
    side = found.samples(0.1, prompts=2)
    assert list(side) == ["emotion", "prompt", "base", "raw", "still", INSTRUCTION, "random"]
    assert len(side) == 4


def test_cells_go_on_after_a_kill_and_refuse_other_settings(
    found: Generations, tiny: Callable[..., Model], tmp_path: Path
) -> None:
    model, seen = tiny("llama"), []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(model, cells=tmp_path, batch=6, progress=stop)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert len(kept) == 2  # the third batch was stopped before its cell was whole on disk
    again = written(model, cells=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (48, 48)
    assert (12, 48) in seen[-4:]
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    pd.testing.assert_frame_equal(again.texts, found.texts, rtol=1e-4)
    pd.testing.assert_frame_equal(again.scores, found.scores, check_dtype=False)
    with pytest.raises(ConfigError, match=r"other settings \(sampling differ\)"):
        written(model, cells=tmp_path, sampling=Sampling(seeds=2, new_tokens=9))
    next(iter(kept)).write_bytes(b"PAR1 but not much more")
    with pytest.raises(StoreError, match="delete it, and it is run again"):
        written(model, cells=tmp_path)


def test_another_dose_is_another_cell(tiny: Callable[..., Model], tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": tiny("llama"), "prompts": PROMPTS[:1], "emotions": EMOTIONS, "levels": [0.1]}
    options |= {"sampling": Sampling(seeds=1, new_tokens=2), "cells": tmp_path}
    compare_generations(doses(), arms(), **options)
    before = len(list(tmp_path.glob("*.parquet")))
    compare_generations(doses(5.0), arms(), **options)
    assert len(list(tmp_path.glob("*.parquet"))) == before + 4  # all but base and the arm of dose 0


def test_what_cannot_work_is_refused(tiny: Callable[..., Model], recorded: Callable[..., Any], tmp_path: Path) -> None:
    model = tiny("llama")
    with pytest.raises(ConfigError, match=r"no dose of 'raw' of 'happy' at 0.3 nats \(levels of that arm: 0.1\)"):
        written(model, levels=[0.3])
    with pytest.raises(ConfigError, match=r"no arm is that of 'hapy' \(did you mean 'happy'\?\)"):
        written(model, emotions=["hapy"])
    with pytest.raises(ConfigError, match="0 prompts"):
        written(model, prompts=[])
    with pytest.raises(ConfigError, match="1 seeds of 0 new tokens"):
        Sampling(seeds=1, new_tokens=0)
    directions = fit_directions(recorded(tmp_path / "store"), site="resid_post.1")
    with pytest.raises(ConfigError, match=r"reads resid_post.1, the very site that the arms edit"):
        written(model, readers=[TextProbe(model, directions)])
    with pytest.raises(MismatchError, match="fit directions on activations of that model"):
        TextProbe(tiny("llama", seed=9), directions)


def test_the_probe_reads_as_a_recording_does(
    tiny: Callable[..., Model], recorded: Callable[..., Any], tmp_path: Path
) -> None:
    acts = recorded(tmp_path / "store", model=tiny("llama"), offset=1)
    directions = fit_directions(acts, site="resid_post.2")
    texts = tiny_corpus().frame["text"].tolist()
    probe = TextProbe(tiny("llama"), directions)
    right = directions.read(acts.pooled(Site("resid_post", 2), "mean").astype(float), readout="zscore")
    np.testing.assert_allclose(probe.read(texts), right, atol=1e-3)  # the store keeps what a batch of others gave
    some = probe.read([texts[3], " ", "", "x"])
    np.testing.assert_allclose(some[0], right[3], atol=1e-3)
    assert np.isnan(some[1:]).all()


def planted(*, share: float, raw: float, emotions: int = 24, noise: float = 0.3) -> Generations:
    """Texts of happy and sad emotions whose raw arm moves valence by `raw` their way, and `half` by a share of it."""
    from emovec_sae.interventions.comparison.generation_statistics import valence_signs

    random = np.random.default_rng(7)
    signs = dict(list(valence_signs().items())[:emotions])
    rows = []
    for prompt in range(6):
        for seed in range(2):
            start = random.normal(0, 0.2)
            cell = {"prompt": prompt, "seed": seed, "draw": 0, "fold": 0}
            rows.append({**cell, "emotion": None, "arm": "base", "level": np.nan, "valence": start})
            for row, (emotion, sign) in enumerate(signs.items()):
                both = noise * (-1) ** row  # emotions differ, in both arms alike, and by nothing on average
                for arm, size in (("raw", 1.0), ("half", share)):
                    value = start + sign * size * (raw + both)
                    rows.append({**cell, "emotion": emotion, "arm": arm, "level": 0.1, "valence": value})
    texts = pd.DataFrame(rows)
    more = ("valence_masked", "distinct_1", "distinct_2", "distinct_3", "repeated", "surprise", "perplexity")
    texts = texts.assign(**dict.fromkeys(more, 0.0), regime="clean", text="t", tokens=1)
    return Generations(texts.astype({"emotion": object}), pd.DataFrame(), {})


def test_a_planted_share_is_found_and_no_ratio_is_made_of_nothing() -> None:
    ratio = planted(share=0.5, raw=1.0).ratios().query("outcome == 'valence' and not masked").iloc[0]
    assert ratio["value"] == pytest.approx(0.5, abs=1e-9)
    assert (ratio["n"], ratio["texts"]) == (24, 24 * 12)
    none = planted(share=0.5, raw=0.0).ratios().query("outcome == 'valence' and not masked").iloc[0]
    assert np.isnan(none["value"])
    assert "no ratio" in none["interval"]
    means = planted(share=0.5, raw=1.0).means().query("outcome == 'valence' and not masked").set_index("arm")
    assert means.loc["raw", "low"] < 1.0 < means.loc["raw", "high"]
    single = planted(share=0.5, raw=1.0, emotions=1).ratios().query("outcome == 'valence' and not masked").iloc[0]
    assert single["n"] == 6  # prompts stand in for emotions


def test_damage_of_an_arm_without_an_emotion_counts_its_texts_once(found: Generations) -> None:
    table = found.damage(0.1).query("outcome == 'surprise'").set_index("arm")
    assert table.loc["raw", ["n", "texts"]].tolist() == [2, 2 * len(PROMPTS) * SAMPLING.seeds]
    assert table.loc["random", ["n", "texts"]].tolist() == [len(PROMPTS), len(PROMPTS) * SAMPLING.seeds]
    assert table.loc["random", "low"] < table.loc["random", "value"] < table.loc["random", "high"]


def test_the_wrong_way_is_against_the_valence_of_the_emotion() -> None:
    told = planted(share=-1.0, raw=1.0, noise=0.01).wrong_way().query("outcome == 'valence' and not masked")
    assert told.set_index("arm")["value"].to_dict() == {"half": 1.0, "raw": 0.0}


def test_the_matrix_has_the_planted_diagonal(found: Generations, tmp_path: Path) -> None:
    rows = []
    for emotion in (None, "happy", "sad"):
        for prompt in range(3):
            for scored in ("happy", "sad"):
                arm, level = ("base", np.nan) if emotion is None else ("raw", 0.1)
                value = prompt + 2.0 * (emotion == scored) - 0.5 * (emotion not in (None, scored))
                cell = {"emotion": emotion, "arm": arm, "level": level, "draw": 0, "fold": 0, "prompt": prompt}
                rows.append({**cell, "seed": 0, "outcome": "probe", "masked": False, "scored": scored, "value": value})
    made = Generations(found.texts, pd.DataFrame(rows), {"made": "here"})
    table = made.specificity(0.1)
    assert table[table["own"]]["effect"].tolist() == [2.0, 2.0]
    assert table[~table["own"]]["effect"].tolist() == [-0.5, -0.5]
    assert (table["n"] == 3).all()
    with pytest.raises(ConfigError, match="no reader 'judge' read these texts; there are probe"):
        made.specificity(0.1, outcome="judge")
    assert made.plot_specificity(0.1).to_dict()["title"]
    path = made.save(tmp_path / "g.parquet")
    back = load_generations(path)
    gaps = {"emotion": ""}  # a file gives back NaN for None
    pd.testing.assert_frame_equal(back.texts.fillna(gaps), made.texts.fillna(gaps), check_dtype=False)
    pd.testing.assert_frame_equal(back.specificity(0.1), table)
    path.with_suffix(".json").unlink()
    with pytest.raises(StoreError, match="is missing"):
        load_generations(path)


def test_the_chart_and_its_caption_come_from_the_table(found: Generations) -> None:
    from emovec_sae.charts.text_outcomes import caption

    table = found.means(0.1)
    chart = found.plot().to_dict()
    assert "n = 2" in str(chart["title"])
    assert "letters" in str(chart)
    assert "Raw vectors:" in caption(table)


def test_an_instruction_is_scored_as_the_plain_model_would(tiny: Callable[..., Model]) -> None:
    import torch

    model = tiny("llama")
    lexicon = {"happy": ["glad", "up"], "sad": ["low"]}
    prompts = ["she felt", "it was"]
    told = score_instruction(model, prompts, lexicon, ["sad"], site=SITE)

    def law(prompt: str, word: str) -> float:
        start, end = (model.tokens.encode([one], special=False)[0] for one in (prompt, f" {word}"))
        with torch.no_grad():
            laws = model.module(torch.tensor([start + end])).logits[0].log_softmax(-1)
        return sum(float(laws[len(start) + step - 1, token]) for step, token in enumerate(end))

    def odds(prompt: str) -> float:
        return law(prompt, "low") - np.logaddexp(law(prompt, "glad"), law(prompt, "up"))

    own = told.effects.query("scored == 'sad'").sort_values("prompt")["effect"].to_numpy()
    right = [odds(instruct(prompt, "sad")) - odds(prompt) for prompt in prompts]
    np.testing.assert_allclose(own, right, atol=1e-4)
    with torch.no_grad():
        plain, after = (
            torch.stack([model.module(torch.tensor([model.tokens.encode([one])[0]])).logits[0, -1] for one in some])
            for some in (prompts, [instruct(prompt, "sad") for prompt in prompts])
        )
    kl = torch.nn.functional.kl_div(
        after.log_softmax(-1), plain.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    assert told.kl["prompt_kl"].tolist() == pytest.approx([float(kl)], rel=1e-4)


def test_an_instruction_joins_a_comparison_at_every_level_of_its_raw_vector() -> None:
    rows = [
        {"arm": arm, "emotion": "sad", "draw": 0, "level": level, "kl": level, "coefficient": 1.0, "reached": True,
         "prompt": prompt, "scored": scored, "effect": size + 0.01 * prompt}
        for arm, size in (("raw", 1.0), ("k=16", 0.5))
        for level in (0.1, 0.2) for prompt in range(5) for scored in ("sad", "happy")
    ]  # fmt: skip
    effects = pd.DataFrame(rows).astype({"emotion": object})
    made = Comparison(effects, effects[["arm", "emotion", "draw", "level", "kl", "reached"]].drop_duplicates(), {})
    from emovec_sae.interventions.comparison.instruction import Instructed

    table = pd.DataFrame({"emotion": "sad", "prompt": [*range(5)] * 2, "scored": ["sad"] * 5 + ["happy"] * 5})
    told = Instructed(table.assign(effect=2.0), pd.DataFrame([{"emotion": "sad", "prompt_kl": 1.5, "prompts": 5}]))
    joined = with_instruction(made, told)
    assert joined.doses is made.doses
    own = joined.own().query("arm == 'instruction'")
    assert own.groupby("level")["effect"].agg(["mean", "count"]).to_numpy().tolist() == [[2.0, 5.0], [2.0, 5.0]]
    assert joined.ratios_by_emotion(0.2).set_index("arm").loc[INSTRUCTION, "value"] == pytest.approx(2 / 1.02)
    assert joined.provenance[INSTRUCTION]["prompt_kl"][0]["prompt_kl"] == 1.5
