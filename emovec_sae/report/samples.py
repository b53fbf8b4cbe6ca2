"""Generated texts side by side: for an emotion and a prompt, the base model and every arm at the same dose."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovec_sae.report.run import Generation
from emovec_sae.report.words import number

if TYPE_CHECKING:
    import pandas as pd

MOST_PROMPTS = 2
"""Prompts of an emotion that the page shows of a whole battery of texts; all of them lie in the run."""

BASE = "base"
KEYS = ["arm", "emotion", "draw", "fold", "level", "prompt", "seed"]


@dataclass(frozen=True)
class Sample:
    """A text of an arm: its dose, its `regime` ("" where nobody told), and its scores as (name, number, what it is)."""

    arm: str
    dose: str
    text: str
    regime: str
    scores: list[tuple[str, str, str]]


def written(generations: Iterable[Generation]) -> dict[str, dict[str, list[Sample]]]:
    """Return continuations by emotion and prompt; those of no emotion stand beside every emotion, the base first."""
    every = list(generations)
    shared = [one for one in every if not one.emotion]
    emotions = list(dict.fromkeys(one.emotion for one in every if one.emotion)) or [""]
    found: dict[str, dict[str, list[Sample]]] = {}
    for emotion in emotions:
        own = [one for one in every if one.emotion == emotion]
        for prompt in dict.fromkeys(one.prompt for one in own):
            beside = [one for one in shared if emotion and one.prompt == prompt]
            first = [one for one in beside if one.arm == BASE]
            texts = [*first, *(one for one in own if one.prompt == prompt), *(one for one in beside if one.arm != BASE)]
            found.setdefault(emotion, {})[prompt] = [Sample(one.arm, one.dose, one.text, "", []) for one in texts]
    return found


def battery(path: Path) -> dict[str, dict[str, list[Sample]]]:
    """Return the texts of a run's stage of generations: at its largest dose, the first draw and seed.

    Parameters
    ----------
    path
        ``generated.parquet`` of the run.

    Raises
    ------
    StoreError
        If the file cannot be read.
    """
    from emovec_sae.interventions.comparison.generations_result import load_generations

    made = load_generations(path)
    texts = made.texts
    asked = [str(one) for one in made.provenance.get("prompts", [])]
    first = texts[(texts["draw"] == 0) & (texts["fold"] == 0) & (texts["seed"] == texts["seed"].min())]
    kept = first[(first["level"] == texts["level"].max()) | first["level"].isna()]
    read = made.frame().dropna(subset=["change"]).groupby(KEYS, dropna=False)
    scores = {_key(*name): some.to_dict("records") for name, some in read}
    found: dict[str, dict[str, list[Sample]]] = {}
    for emotion in made.emotions:
        for place in sorted(kept["prompt"].unique())[:MOST_PROMPTS]:
            rows = kept[(kept["prompt"] == place) & (kept["emotion"].isna() | (kept["emotion"] == emotion))]
            rows = rows.sort_values("arm", key=lambda arms: arms.map(_rank), kind="stable")
            prompt = asked[int(place)] if int(place) < len(asked) else f"Prompt {place}"
            found.setdefault(emotion, {})[prompt] = [
                _sample(row, scores.get(_key(*({**row, "emotion": emotion}[key] for key in KEYS)), []))
                for row in rows.to_dict("records")
            ]
    return found


def _key(*parts: Any) -> tuple[Any, ...]:
    """A key whose gaps equal each other."""
    return tuple(None if isinstance(one, float) and math.isnan(one) else one for one in parts)


def _rank(arm: str) -> int:
    """The order of reading: the base, the vector, its latents, then what they are held against."""
    return 0 if arm == BASE else 1 if arm == "raw" else 3 if arm.startswith(("random", "matched")) else 2


def _sample(row: dict[Any, Any], read: list[dict[Any, Any]]) -> Sample:
    dose = "" if math.isnan(row["level"]) else f"{row['level']:g} nats"
    if dose and not row["reached"]:
        dose += f", reached {number(row['kl'])}"
    scores = [
        (str(one["outcome"]), number(one["change"]), "change against the base text")
        for one in read
        if not one["masked"] and one["outcome"] in ("probe", "judge", "valence")
    ]
    return Sample(str(row["arm"]), dose, str(row["text"]), str(row["regime"]), scores)


def rows(samples: dict[str, dict[str, list[Sample]]]) -> pd.DataFrame:
    """Return the texts as a table to download: emotion, prompt, arm, dose, regime, text."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"emotion": emotion, "prompt": prompt, "arm": one.arm, "dose": one.dose, "regime": one.regime,
             "text": one.text}
            for emotion, prompts in samples.items()
            for prompt, texts in prompts.items()
            for one in texts
        ]
    )  # fmt: skip
