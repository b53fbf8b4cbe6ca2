"""compare: arms at equal teacher-forced KL, scored by the log-odds of emotion words after prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.interventions.dose import calibrate
from emovec_sae.provenance import collect
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.scoring.words import WordScorer, log_odds


def compare(
    arms: Sequence[Arm],
    *,
    scorer: WordScorer,
    probe: KLProbe,
    lexicon: Mapping[str, list[str]],
    levels: Sequence[float] | Callable[[Arm], Sequence[float]],
    residual_norm: float,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Bring every arm to the same KL on neutral text and measure what it does to the emotions' words.

    Parameters
    ----------
    arms
        From `raw_arms`, `latent_arms`, `random_arms`.
    scorer
        Words and the prompts to report on; doses never see them.
    probe
        Neutral positions at which the dose is matched.
    lexicon
        Emotion -> held-out words, none shared between emotions.
    levels
        KL in nats; a function gives each arm its own.
    residual_norm
        Mean residual norm at the site: the first guess of a dose, and the unit of ``strength``.
    progress
        Called with (conditions done, conditions in all).
    """
    asked = [sorted(levels(arm) if callable(levels) else levels) for arm in arms]
    total, done = sum(map(len, asked)), 0
    names = list(lexicon)
    base = log_odds(scorer.log_probs(), scorer.tree.words, dict(lexicon))
    effects, doses = [], []
    starts: dict[float, float] = {}
    for arm, steps in zip(arms, asked, strict=True):
        for level in steps:
            # arms need much the same coefficient for a level, so the last one's is the best first guess
            dose = calibrate(arm.edit, probe, level=level, start=starts.get(level, 0.1 * residual_norm))
            if dose.reached:
                starts[level] = dose.coefficient
            facts = {"arm": arm.name, "emotion": arm.emotion, "draw": arm.draw, "level": level, "kl": dose.kl}
            facts |= {"coefficient": dose.coefficient, "reached": dose.reached}
            strength = dose.coefficient / residual_norm
            doses.append({**facts, "strength": strength, "monotone": dose.monotone, "evaluations": dose.evaluations})
            edited = scorer.log_probs([arm.edit.at(dose.coefficient)])
            change = log_odds(edited, scorer.tree.words, dict(lexicon)) - base
            for column, name in enumerate(names):
                effects.append(
                    pd.DataFrame(
                        {**facts, "scored": name, "prompt": np.arange(len(change)), "effect": change[:, column]}
                    )
                )
            done += 1
            if progress is not None:
                progress(done, total)
    facts = {
        "model": scorer.model.describe(),
        "arms": sorted({arm.name for arm in arms}),
        "levels": sorted({one for steps in asked for one in steps}),
    }
    facts |= {"prompts": len(scorer.prompts), "positions": probe.n_positions, "divergence": "KL(base || edited), nats"}
    table = pd.concat(effects, ignore_index=True)
    return Comparison(table.astype({"emotion": object}), pd.DataFrame(doses), collect(**facts))
