"""Preferences under edits: a planted utility and planted effects come out, and places cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError
from emovec_sae.interventions.behaviour import preferences as module
from emovec_sae.interventions.behaviour.conditions import Condition, steering_arms
from emovec_sae.interventions.behaviour.preferences import steered_preferences
from emovec_sae.stats.bradley_terry import balanced_pairs
from emovec_sae.testing import tiny_corpus, tiny_model, tiny_store

N, PAIRS, BIAS = 27, 81, 1.5


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Activities, directions of three emotions, and conditions whose coefficient tells the planted effect."""
    model = tiny_model()
    acts = tiny_store(tmp_path_factory.mktemp("acts") / "s", model=model, corpus=tiny_corpus(groups=9))
    directions = fit_directions(acts, site="resid_post.1")
    return {"model": model, "acts": acts, "directions": directions}


def plant(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A model that prefers what the first emotion reads; steering everywhere adds what the vector itself reads."""
    acts, directions = made["acts"], made["directions"]
    values = acts["resid_post.1"].pooled("mean").astype(float)
    values = values - values.mean(axis=0)
    utility = values @ directions["e0"].unit
    utility /= utility.std()
    first, second = balanced_pairs(N, PAIRS, seed=0)

    class Stub:
        def __init__(self, _model: Any, questions: Any, **_options: Any) -> None:
            assert len(questions) == 2 * PAIRS

        def log_probs(self, edits: Any = (), *, marked: bool = False) -> np.ndarray:
            odds = utility[first] - utility[second]
            for edit in edits:
                read = values @ edit.unit
                liked = float(np.corrcoef(read, utility)[0, 1])
                gain = read / read.std()
                odds = odds + (liked if marked else gain[first] - gain[second])
            return np.stack([np.concatenate([BIAS + odds, BIAS - odds]), np.zeros(2 * PAIRS)], axis=1)

    monkeypatch.setattr(module, "AnswerScorer", Stub)
    return utility


def conditions(made: dict[str, Any], **options: Any) -> list[Condition]:
    arms = steering_arms(made["directions"], list(made["directions"].emotions), **options)
    return [Condition(arm, 0.1, arm.edit) for arm in arms]


def test_planted_effects_come_out(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    utility = plant(made, monkeypatch)
    asked = conditions(made, random=3)
    found = steered_preferences(made["model"], made["directions"], made["acts"], asked, pairs=PAIRS)
    base = found.frame().query("arm == 'raw' and emotion == 'e0'")["base"].to_numpy()
    assert np.corrcoef(base, utility)[0, 1] > 0.97, "the place of an option has not cancelled"
    numbers = found.numbers.set_index("number")["value"]
    assert numbers["position bias, nats"] == pytest.approx(BIAS)
    assert numbers["raw, KL 0.1: effect and read-out's r"] > 0.95
    assert numbers["sign flip, KL 0.1: effect and read-out's r"] < -0.95
    own = found.emotions.query("arm == 'raw'").set_index("emotion")
    assert own.loc["e0", "preference"] > 0.95
    assert own.loc["e0", "option"] == pytest.approx(1.0, abs=0.01)
    assert (own["r"] > 0.8).all(), "what a vector reads is what it raises here"
    assert (own["p_max"] < 0.05).all()
    assert (own["p_max"] >= own["p"]).all()
    assert found.emotions.query("arm == 'random'")["preference"].isna().all()
    assert found.plot().to_dict()["title"]
    assert found.save(tmp_path / "p.json").is_file()
    assert {"numbers", "emotions", "doses"} <= set(found.summary())


def test_a_real_scorer_steers_one_option(made: dict[str, Any]) -> None:
    asked = [Condition(one.arm, one.level, one.edit.at(3.0)) for one in conditions(made, flip=False, random=1)]
    found = steered_preferences(made["model"], made["directions"], made["acts"], asked, pairs=N)
    assert (found.emotions["option"].abs() > 1e-5).all()
    still = [Condition(one.arm, one.level, one.edit.at(0.0)) for one in asked]
    none = steered_preferences(made["model"], made["directions"], made["acts"], still, pairs=N)
    assert (none.emotions["option"] == 0).all(), "dose 0 is the model itself"
    assert (none.frame()["effect"] == 0).all()


def test_too_little_is_refused(made: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="as many pairs"):
        steered_preferences(made["model"], made["directions"], made["acts"], conditions(made), pairs=N - 1)
    with pytest.raises(ConfigError, match="no edits"):
        steered_preferences(made["model"], made["directions"], made["acts"], {}, pairs=N)
