"""The 171 emotions with their families and topics, as the package ships them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from emovec_sae.provenance import read_json

DATA = Path(__file__).resolve().parent / "data"
"""The folder of the packaged texts; its README says how each was made."""


@dataclass(frozen=True)
class Emotions:
    """Names of emotions and of the topics of their stories.

    Attributes
    ----------
    emotions
        All 171 names, in the order of the alphabet.
    core
        The 24 that the demo and most studies use.
    families
        Name of a family -> its emotions; each emotion is in exactly one of the ten.
    topics
        Name of a story topic -> the setting that it stands for.
    demo_topics
        The eight topics of the demo.

    References
    ----------
    Names and families: Sofroniew et al. 2026, Emotion Concepts and their Function in a Large Language Model.
    """

    emotions: tuple[str, ...]
    core: tuple[str, ...]
    families: Mapping[str, tuple[str, ...]]
    topics: Mapping[str, str]
    demo_topics: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row an emotion: `emotion`, `family`, `core` (bool)."""
        family = {emotion: name for name, members in self.families.items() for emotion in members}
        return pd.DataFrame(
            {
                "emotion": list(self.emotions),
                "family": [family[emotion] for emotion in self.emotions],
                "core": [emotion in self.core for emotion in self.emotions],
            }
        )


@cache
def load_emotions() -> Emotions:
    """Read the packaged names of emotions, families and topics."""
    found = read_json(DATA / "emotions.json")
    return Emotions(
        emotions=tuple(found["emotions"]),
        core=tuple(found["core"]),
        families={name: tuple(members) for name, members in found["families"].items()},
        topics=found["topics"],
        demo_topics=tuple(found["demo_topics"]),
    )


def family_codes(emotions: Sequence[str]) -> np.ndarray | None:
    """Family of each emotion as a code, shape (n,); None unless all are of the 171 and from two families at least."""
    family = {name: code for code, members in enumerate(load_emotions().families.values()) for name in members}
    if not set(emotions) <= set(family):
        return None
    codes = np.array([family[name] for name in emotions])
    return codes if len(np.unique(codes)) > 1 else None
