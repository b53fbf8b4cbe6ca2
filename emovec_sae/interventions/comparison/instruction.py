"""The ceiling of a comparison: the model is told in words to feel an emotion, and nothing is edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emovec_sae.errors import ModelError
from emovec_sae.interventions.comparison.names import INSTRUCTION
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.scoring.damage import divergence
from emovec_sae.scoring.words import WordScorer, log_odds
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

WORDING = "You feel {emotion}. Write the way someone who feels {emotion} would write."
"""What stands before every prompt: on a line of its own, in the user's message where there is a chat template."""
_ROWS = 12


def instruct(prompt: str, emotion: str) -> str:
    """A prompt behind the instruction to feel an emotion.

    It goes into the user's message, not into a system line: some templates have none, and in others it would replace
    what the model is told by default, so that more would change than the instruction.
    """
    return f"{WORDING.format(emotion=emotion)}\n\n{prompt}"


@dataclass(frozen=True)
class Instructed:
    """What the instruction does to the log-odds of emotion words.

    Attributes
    ----------
    effects
        One row an (emotion, prompt, scored emotion): emotion, prompt, scored, effect (nats).
    kl
        One row an emotion: emotion, prompt_kl (mean KL(base || instructed) of the token behind the report prompts, in
        nats: not the KL on neutral text by which doses are matched), prompts.
    """

    effects: pd.DataFrame
    kl: pd.DataFrame


def score_instruction(
    model: Model,
    prompts: Sequence[str],
    lexicon: Mapping[str, list[str]],
    emotions: Sequence[str],
    *,
    site: Site,
    base: np.ndarray | None = None,
) -> Instructed:
    """Score emotion words after prompts that begin with the instruction, beside the prompts alone.

    Parameters
    ----------
    model
        The model.
    prompts
        The prompts of the comparison.
    lexicon
        Emotion -> held-out words.
    emotions
        Emotions to tell the model to feel.
    site
        That of the comparison; any works, since nothing is edited.
    base
        Log-odds after the plain prompts, (prompts, emotions of the lexicon), if they are there already.
    """
    words = [word for some in lexicon.values() for word in some]
    known = dict(lexicon)
    plain = _law(model, prompts)
    if base is None:
        base = log_odds(WordScorer(model, prompts, words, site=site).log_probs(), words, known)
    effects, doses = [], []
    for emotion in emotions:
        told = [instruct(prompt, emotion) for prompt in prompts]
        change = log_odds(WordScorer(model, told, words, site=site).log_probs(), words, known) - base
        table = pd.DataFrame(change, columns=list(known)).rename_axis("prompt").reset_index()
        long = table.melt("prompt", var_name="scored", value_name="effect").assign(emotion=emotion)
        effects.append(long[["emotion", "prompt", "scored", "effect"]])
        kl = np.mean([divergence(one, other) for one, other in zip(plain, _law(model, told), strict=True)])
        doses.append({"emotion": emotion, "prompt_kl": float(kl), "prompts": len(prompts)})
    return Instructed(pd.concat(effects, ignore_index=True), pd.DataFrame(doses))


def with_instruction(comparison: Comparison, instructed: Instructed) -> Comparison:
    """A comparison with the instruction as a further arm, at every level at which the emotion's raw vector was run.

    Its effects are the same at every level: it has no dose. `kl` and `coefficient` are NaN in its rows, and `doses`
    gets none, since nothing was calibrated; `Instructed.kl` tells its divergence.
    """
    raw = comparison.doses[comparison.doses["arm"] == "raw"]
    rows = instructed.effects.merge(raw[["emotion", "level"]].drop_duplicates(), on="emotion")
    rows = rows.assign(arm=INSTRUCTION, draw=0, fold=0, kl=np.nan, coefficient=np.nan, reached=False)
    effects = pd.concat([comparison.effects, rows.reindex(columns=comparison.effects.columns)], ignore_index=True)
    told = {"wording": WORDING, "prompt_kl": instructed.kl.to_dict("records")}
    arms = sorted({*comparison.provenance.get("arms", []), INSTRUCTION})
    return replace(comparison, effects=effects, provenance={**comparison.provenance, "arms": arms, INSTRUCTION: told})


def _law(model: Model, prompts: Sequence[str]) -> list[Tensor]:
    """Log-probabilities of the token behind each prompt, (1, vocabulary) each."""
    import torch

    found: list[Tensor] = []
    ids = model.tokens.encode(list(prompts))
    for start in range(0, len(ids), _ROWS):
        some = ids[start : start + _ROWS]
        final = forward(model, pad(some, pad_id=model.tokens.pad_id, device=model.device), final=True).final
        if final is None:
            raise ModelError("the model gave no final state")
        with torch.no_grad():
            found += [model.head(final[row, len(one) - 1][None]).log_softmax(-1) for row, one in enumerate(some)]
    return found
