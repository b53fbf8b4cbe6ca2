"""The stage of generations: it writes what it promises, is not done twice, and refuses arms that there are not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emovec_sae.config import Study
from emovec_sae.errors import ConfigError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.generations_result import Generations
from emovec_sae.interventions.edits import Shift
from emovec_sae.sites import Site
from emovec_sae.studies.context import Context
from emovec_sae.studies.generations import TABLES, generations_stage, generations_summary
from emovec_sae.studies.stage import Run

SITE = Site("resid_post", 18)


def planted(emotions: list[str]) -> Generations:
    """Two prompts, one seed: raw texts move valence and probe by 1 the emotion's way, random ones by 0."""
    signs = {"happy": 1.0, "sad": -1.0}
    texts, scores = [], []
    for prompt in range(2):
        for emotion, arm in ((None, "base"), (None, "random"), *((one, "raw") for one in emotions)):
            level = np.nan if arm == "base" else 0.1
            cell = {"emotion": emotion, "arm": arm, "draw": 0, "fold": 0, "level": level, "prompt": prompt, "seed": 0}
            moved = 0.1 * prompt + (signs[emotion] if emotion else 0.0)
            numbers = dict.fromkeys(
                ("distinct_1", "distinct_2", "distinct_3", "repeated", "surprise", "perplexity"), 0.5
            )
            both = {"valence": moved, "valence_masked": moved / 2}
            texts.append({**cell, "text": f"{arm} {prompt}", "tokens": 2, "regime": "clean", **numbers, **both})
            for scored in ("happy", "sad"):
                for masked in (False, True):
                    value = prompt + float(scored == emotion)
                    scores.append({**cell, "outcome": "probe", "masked": masked, "scored": scored, "value": value})
    kinds = {"emotion": object}
    return Generations(pd.DataFrame(texts).astype(kinds), pd.DataFrame(scores).astype(kinds), {"made": "here"})


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A finished comparison whose arms and texts are planted; no model is loaded."""
    import emovec_sae.interventions.comparison.generations as generations
    import emovec_sae.interventions.comparison.result as result
    import emovec_sae.studies.arms as arms
    import emovec_sae.studies.generations as stage

    study = Study.model_validate({
        "interventions": {"arms_for": ["happy", "sad"]},
        "generations": {"arms": ["raw", "random"], "probe_site": "resid_post.24", "prompts": 2, "draws": 1},
    })  # fmt: skip
    edit = Shift(np.ones(4), site=SITE, coefficient=1.0)
    names = [("raw", "happy", 0), ("raw", "sad", 0), ("raw", "calm", 0), ("k=4", "sad", 0), ("random", None, 0)]
    every = [Arm(name, emotion, edit, draw) for name, emotion, draw in [*names, ("random", None, 1)]]
    every.append(Arm("raw", "sad", edit, fold=1))  # a second turn that was not run at the level asked for
    asked: dict[str, Any] = {"times": 0}

    def compare_generations(comparison: Any, chosen: list[Arm], **options: Any) -> Generations:
        asked.update(options, arms=[(arm.name, arm.emotion, arm.draw) for arm in chosen], times=asked["times"] + 1)
        return planted(options["emotions"])

    monkeypatch.setattr(generations, "compare_generations", compare_generations)
    monkeypatch.setattr(result, "load_comparison", lambda path: None)
    monkeypatch.setattr(
        arms,
        "study_plan",
        lambda context, emotions: SimpleNamespace(arms=every, levels=lambda arm: [0.2] if arm.fold else [0.1, 0.2]),
    )
    monkeypatch.setattr(stage, "_readers", lambda context, section: [])
    found = Context(study, tmp_path, tmp_path)
    found.__dict__.update(model=object(), directions=SimpleNamespace(fingerprint="d"), asked=asked)
    monkeypatch.setattr(Context, "recording_settings", {"model": "m"})
    return found


def run(context: Context) -> None:
    one = Run(context.path)
    one.keys["interventions"] = "key"
    generations_stage(one, context)


def test_the_stage_writes_its_tables_and_is_not_done_twice(context: Context) -> None:
    run(context)
    asked = context.__dict__["asked"]
    assert asked["arms"] == [("raw", "happy", 0), ("raw", "sad", 0), ("random", None, 0)]
    assert (asked["emotions"], asked["levels"], asked["instruction"]) == (["happy", "sad"], [0.1], False)
    assert len(asked["prompts"]) == 2
    for name in TABLES:
        assert len(pd.read_parquet(context.path / "tables" / f"{name}.parquet"))
    assert (context.path / "figures" / "generations.svg").stat().st_size > 0
    told = generations_summary(context)
    assert told is not None
    raw = [row for row in told["means"] if row["arm"] == "raw"]
    assert {(row["outcome"], row["masked"]): row["value"] for row in raw} == {
        ("valence", False): 1.0, ("valence", True): 0.5, ("probe", False): 1.0, ("probe", True): 1.0,
    }  # fmt: skip
    assert all(row["value"] == 0 for row in told["ratios"] if row["arm"] == "random")
    run(context)
    assert asked["times"] == 1


def test_an_arm_that_there_is_not_is_refused(context: Context) -> None:
    section = {"arms": ["raw", "k=5"]}
    context.study = Study.model_validate({"interventions": {"arms_for": ["sad"]}, "generations": section})
    with pytest.raises(ConfigError, match=r"names 'k=5' \(did you mean 'k=4'\?\); there are raw, k=4, random, instruc"):
        run(context)
    assert not (context.path / "tables").exists()


def test_a_study_without_the_section_writes_nothing(context: Context) -> None:
    context.study = Study()
    run(context)
    assert generations_summary(context) is None
    assert not any(context.path.iterdir())
