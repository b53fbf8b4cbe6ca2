"""Comparison on a model of known wiring: latents that are the vector reproduce it, others of equal dose do not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.interventions.arms import clamped_arms, latent_arms, raw_arms, remainder_arms
from emovec_sae.interventions.compare import compare
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.interventions.comparison.selectors import Sources, select_latents
from emovec_sae.interventions.edits import Ablate, AblateLatents
from emovec_sae.saes.jump_relu import jump_relu
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.scoring.words import WordScorer, log_odds
from tests.unit.patching_planted import MARK, READ, SITE, WRITTEN, D, directions, planted

ELSEWHERE = 29
"""A dimension that the head reads for ``q`` and ``u``, which are no emotion's words."""
LEXICON = {"sad": ["a"], "calm": ["e"]}
AMOUNTS = np.array([1.0, 0.7, 0.4]) / np.linalg.norm([1.0, 0.7, 0.4])
PROMPTS = ["the man ran", "they went", "a red door", "it is so", "on we go", "the end of it"]
LEVELS = (0.05, 0.2)


@pytest.fixture(scope="module")
def known() -> SimpleNamespace:
    """The planted model with a second channel: what lies along `drift` moves other words, and no emotion's.

    The vectors are three latents along what block 1 writes, plus a tenth of them along `drift`; sad is one way and
    calm the other, as are their words.
    """
    found = planted()
    module: Any = found.model.module
    drift = np.zeros(D, np.float32)
    drift[:16] = np.random.default_rng(5).normal(size=16)
    drift /= np.linalg.norm(drift)
    up, down = (found.model.tokens.encode([one])[0][0] for one in "qu")
    attention = module.model.layers[2].self_attn
    with torch.no_grad():
        attention.v_proj.weight[1] = torch.from_numpy(drift)
        attention.o_proj.weight[ELSEWHERE, 1] = 5.0
        module.lm_head.weight[up, ELSEWHERE], module.lm_head.weight[down, ELSEWHERE] = 1.0, -1.0
    rest = np.setdiff1d(np.arange(D), [*WRITTEN, READ, ELSEWHERE])
    rows = np.zeros((30, D))
    rows[:4, WRITTEN] = np.eye(4)
    rows[np.ix_(np.arange(4, 30), rest)] = np.linalg.qr(np.random.default_rng(2).normal(size=(26, 26)))[0]
    sae = jump_relu(rows, np.linalg.pinv(rows), np.zeros(D), threshold=0.05, site=SITE, name="planted")
    vector = (3 * found.written + 0.3 * drift).astype(np.float32)
    vectors = np.stack([vector, -vector])
    fitted = replace(directions(found), emotions=("sad", "calm"), vectors=vectors)
    parts = []
    for name, sign in (("sad", 1.0), ("calm", -1.0)):
        own = pd.DataFrame({"latent": [0, 1, 2], "coefficient": sign * 3 * AMOUNTS, "share": AMOUNTS**2})
        parts.append(own.assign(emotion=name, rank=[1, 2, 3], dense=False))
    contrast = replace(
        found.parts, k=3, emotions=("sad", "calm"), ranks=pd.concat(parts, ignore_index=True), vectors=vectors,
        index=np.arange(3), rows=sae.directions[:3].numpy(), coefficients=np.stack([AMOUNTS, -AMOUNTS]) * 3,
        sae=sae.name, sae_fingerprint=sae.fingerprint, firing_rate=np.full(30, 0.02),
    )  # fmt: skip
    return SimpleNamespace(model=found.model, written=found.written, sae=sae, vectors=fitted, contrast=contrast)


@pytest.fixture(scope="module")
def outcome(known: SimpleNamespace) -> Comparison:
    emotions = list(LEXICON)
    matched = select_latents("matched", Sources(contrast=known.contrast, coder=known.sae, seed=1))
    arms = raw_arms(known.vectors, emotions)
    arms += latent_arms(known.contrast, known.sae, emotions, sizes=(3,))
    arms += latent_arms(matched, known.sae, emotions, sizes=(3,), selector="matched")
    arms += remainder_arms(known.contrast, known.sae, emotions, sizes=(3,))
    arms += clamped_arms(known.contrast, known.sae, ["sad"], sizes=(3,))
    texts = [f"stone river lamp paper window garden letter {index}" for index in range(8)]
    return compare(
        arms, levels=LEVELS, residual_norm=4.0, lexicon=LEXICON, fidelity=True,
        scorer=WordScorer(known.model, PROMPTS, ["a", "e"], site=SITE),
        probe=KLProbe(known.model, texts, site=SITE, positions=32),
    )  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
def test_the_latents_that_are_the_vector_do_what_it_does_and_nothing_else_does(
    outcome: Comparison, level: float
) -> None:
    effects = outcome.frame().query("level == @level").pivot_table(index="arm", columns="emotion", values="effect")
    assert (effects.loc["raw"] > 0.2).all()
    ratio = effects.div(effects.loc["raw"])
    # The tenth of the vector that goes elsewhere adds to the KL one way and takes from it the other: measured .966 and
    # .978 for calm, 1.031 and 1.051 for sad, the other way round with the drift reversed, within .006 of 1 without it.
    np.testing.assert_allclose(ratio.loc["k=3"], 1.0, atol=0.06)
    np.testing.assert_allclose(ratio.loc["clamped k=3", "sad"], 1.0, atol=0.06)
    # over both ways it cancels; doses meet to 2 % of KL, 1 % of the effect: measured 1.004 and 1.008
    assert ratio.loc["k=3"].mean() == pytest.approx(1.0, abs=0.015)
    # equal KL, spent on words of no emotion: measured below 1e-4
    np.testing.assert_allclose(ratio.loc["k=3, matched"], 0.0, atol=0.002)
    np.testing.assert_allclose(ratio.loc["remainder of k=3"], 0.0, atol=0.002)
    doses = outcome.doses.query("level == @level").set_index(["arm", "emotion"])
    assert doses["reached"].all()
    assert (doses.loc["k=3", "explained_kl"] > 0.9).all()
    assert (doses.loc["k=3, matched", "explained_kl"] < 0.1).all()


def test_statistics_and_verdict_say_so(outcome: Comparison) -> None:
    table = outcome.ratios(0.2).set_index("arm")
    assert table.loc["k=3", "value"] == pytest.approx(1.0, abs=0.015), "the mean over both ways, as above"
    assert abs(table.loc["k=3, matched", "value"]) < 0.002
    necessity = outcome.sufficiency_and_necessity(0.2).set_index("quantity").loc["necessity", "value"]
    assert necessity == pytest.approx(1.0, abs=0.002)
    held = outcome.falsifiers(0.2).set_index(["falsifier", "arm"])["holds"]
    assert not held["remainder as strong as raw", "remainder of k=3"]
    assert not held["random latents as good (matched)", "k=3"]
    assert outcome.specificity(0.2)["own"].sum() == 2
    assert outcome.wrong_way(0.2).set_index("arm").loc["k=3", "value"] == 0


def test_ablation_takes_away_what_the_mark_writes_and_random_latents_do_not(known: SimpleNamespace) -> None:
    marked = [prompt + MARK for prompt in PROMPTS]
    words = ["a", "e"]
    plain = log_odds(
        WordScorer(known.model, [one + "z" for one in PROMPTS], words, site=SITE).log_probs(), words, LEXICON
    )
    scorer = WordScorer(known.model, marked, words, site=SITE)

    def sadness(*edits: Any) -> np.ndarray:
        return (log_odds(scorer.log_probs(list(edits)), words, LEXICON) - plain)[:, 0]

    whole = sadness()
    assert (whole > 0.5).all()
    direction = replace(known.vectors, vectors=np.stack([known.written, -known.written]))["sad"]
    np.testing.assert_allclose(sadness(Ablate.of(direction)) / whole, 0.0, atol=0.02)
    np.testing.assert_allclose(sadness(AblateLatents(known.sae, [0, 1, 2])) / whole, 0.0, atol=0.02)
    matched = select_latents("matched", Sources(contrast=known.contrast, coder=known.sae, seed=1))
    others = AblateLatents(known.sae, matched.latents("sad", 3)[0].tolist())
    # what they take out makes the stream shorter, and the last norm stretches the rest: measured 1.067 to 1.101
    np.testing.assert_allclose(sadness(others) / whole, 1.085, atol=0.03)
