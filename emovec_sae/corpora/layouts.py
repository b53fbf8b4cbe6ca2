"""Layouts of other people's labelled texts, and which of the 171 emotions their labels are nearest to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emovec_sae.corpora import layout_readers as readers
from emovec_sae.corpora.frame import Corpus, from_table
from emovec_sae.corpora.table import Table
from emovec_sae.errors import CorpusError, suggest

SUGGESTED: dict[str, tuple[str, ...]] = {
    "amusement": ("amused",), "anger": ("angry",), "annoyance": ("annoyed", "irritated"), "boredom": ("bored",),
    "caring": ("compassionate", "kind", "loving"), "confusion": ("bewildered", "perplexed"),
    "disgust": ("disgusted",), "embarrassment": ("embarrassed", "ashamed"), "excitement": ("excited",),
    "fear": ("afraid", "frightened"), "gratitude": ("grateful", "thankful"),
    "grief": ("grief-stricken", "heartbroken"), "guilt": ("guilty",), "happiness": ("happy", "joyful"),
    "joy": ("happy", "joyful"), "love": ("loving",), "nervousness": ("nervous", "anxious"),
    "optimism": ("optimistic", "hopeful"), "pride": ("proud",), "relief": ("relieved",),
    "remorse": ("remorseful", "regretful", "guilty"), "sadness": ("sad", "unhappy"), "shame": ("ashamed",),
    "surprise": ("surprised", "astonished"),
}  # fmt: skip
"""Label -> emotions that mean the same or nearly so, the best first. Labels without a near emotion (admiration,
approval, curiosity, desire, trust, neutral and others) have none."""


@dataclass(frozen=True)
class Layout:
    """A data set's files.

    Attributes
    ----------
    name
        As ``load_corpus(path, layout=...)`` takes it.
    about
        What it is.
    source
        Publication, and where its authors give it away.
    labels
        The labels that its texts carry.
    gives
        Columns of the frame beside `text` and `group`.
    read
        Reads a file into a table with these columns.
    """

    name: str
    about: str
    source: str
    labels: tuple[str, ...]
    gives: str
    read: Callable[[Path], Table]


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "goemotions", "Reddit comments, 27 emotions and neutral, several a text",
            "Demszky et al. 2020, arXiv 2005.00547; github.com/google-research/google-research/tree/master/goemotions",
            readers.GOEMOTIONS, "labels", readers.goemotions,
        ),
        Layout(
            "isear", "situations in which students of 37 countries felt one of 7 emotions",
            "Scherer & Wallbott 1994, J. Pers. Soc. Psychol. 66(2); unige.ch/cisa (research materials)",
            readers.ISEAR, "emotion, intensity.<label>", readers.isear,
        ),
        Layout(
            "crowd-envent", "events that made writers feel one of 12 emotions, or none",
            "Troiano et al. 2023, Computational Linguistics 49(1); ims.uni-stuttgart.de/data/appraisalemotion",
            readers.ENVENT, "emotion, intensity.<label>, masked_text", readers.crowd_envent,
        ),
        Layout(
            "emobank", "sentences of many genres, rated for valence, arousal and dominance from 1 to 5",
            "Buechel & Hahn 2017, EACL; github.com/JULIELab/EmoBank",
            (), "valence, arousal, dominance", readers.emobank,
        ),
        Layout(
            "brighter", "texts in 28 languages, six emotions, several a text, in one track with intensities 0 to 3",
            "Muhammad et al. 2025, arXiv 2502.11926; huggingface.co/brighter-dataset",
            readers.BRIGHTER, "labels, intensity.<label>", readers.brighter,
        ),
    )
}  # fmt: skip
"""Layouts by name."""


def read_layout(path: str | Path, layout: str, *, name: str | None = None) -> Corpus:
    """Read a file of one of the known data sets.

    Parameters
    ----------
    path
        The file, as its authors distribute it.
    layout
        A key of `LAYOUTS`.
    name
        What the corpus is called; the file's name otherwise.

    Raises
    ------
    CorpusError
        If there is no such layout or file, or the file has other columns.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise CorpusError(f"unknown layout '{layout}'{suggest(layout, LAYOUTS)}; layouts are {', '.join(LAYOUTS)}")
    return from_table(LAYOUTS[layout].read(path), name=name or path.stem, path=path)


def suggest_emotion(label: str, known: Iterable[str]) -> str | None:
    """The emotion that a label is nearest to among those that are known: itself, or a suggested one, or None."""
    there = set(known)
    return next((one for one in (label, *SUGGESTED.get(label.lower(), ())) if one in there), None)


def layout_frame() -> pd.DataFrame:
    """One row a layout: `layout`, `about`, `gives`, `map` (label=emotion), `unmapped`, `source`."""
    rows = []
    for layout in LAYOUTS.values():
        mapped = {label: SUGGESTED[label][0] for label in layout.labels if label in SUGGESTED}
        rows.append({
            "layout": layout.name, "about": layout.about, "gives": layout.gives,
            "map": " ".join(f"{label}={emotion}" for label, emotion in mapped.items()),
            "unmapped": " ".join(label for label in layout.labels if label not in mapped), "source": layout.source,
        })  # fmt: skip
    return pd.DataFrame(rows)
