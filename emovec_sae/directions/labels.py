"""Match the labels of other people's texts with the emotions of fitted directions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from emovec_sae.corpora.layouts import suggest_emotion
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.store.reader import Activations

AUTO = "auto"
"""In place of a pair: take the suggested emotion for every label that has one."""
_INTENSITY = "intensity."


def labels_of(frame: pd.DataFrame) -> list[str]:
    """Labels that texts carry: of `emotion`, of the lists in `labels`, and of the columns ``intensity.<label>``."""
    found: set[str] = set()
    if "emotion" in frame:
        found |= set(frame["emotion"].dropna())
    if "labels" in frame:
        found |= {str(label) for text in frame["labels"].dropna() for label in json.loads(text)}
    found |= {str(name).removeprefix(_INTENSITY) for name in frame.columns if str(name).startswith(_INTENSITY)}
    return sorted(found)


def label_map(frame: pd.DataFrame, pairs: Sequence[str], *, known: Iterable[str]) -> dict[str, str]:
    """Labels of texts, and the emotion that each stands for.

    Parameters
    ----------
    frame
        One row a text, with any of the columns `emotion`, `labels`, ``intensity.<label>``.
    pairs
        ``"label=emotion"``, such as ``fear=afraid``; and ``"auto"``, which takes the suggested emotion for the labels
        that no pair names. A label that is the name of an emotion stands for it, unless a pair says otherwise.
    known
        Emotions that there are directions for.

    Returns
    -------
    dict
        Label -> emotion, in the order of the alphabet. Labels without an emotion are not in it.

    Raises
    ------
    ConfigError
        If a pair cannot be read, a label does not occur, or an emotion has no direction.
    """
    emotions, labels = list(known), labels_of(frame)
    table = {label: label for label in labels if label in emotions}
    if AUTO in pairs:
        suggested = {label: suggest_emotion(label, emotions) for label in labels}
        table = {label: emotion for label, emotion in suggested.items() if emotion is not None}
    for pair in pairs:
        if pair == AUTO:
            continue
        label, sign, emotion = pair.partition("=")
        if not (label and sign and emotion):
            raise ConfigError(f"cannot read the map '{pair}'; write LABEL=EMOTION, or auto")
        if label not in labels:
            raise ConfigError(f"no text is labelled '{label}'{suggest(label, labels)}; there are {_some(labels)}")
        if emotion not in emotions:
            raise ConfigError(f"there is no direction '{emotion}'{suggest(emotion, emotions)}")
        table[label] = emotion
    return dict(sorted(table.items()))


def told_map(frame: pd.DataFrame, chosen: Mapping[str, str]) -> str:
    """A map as people read it: which label stands for another emotion, and which labels for none."""
    renamed = [f"{label}={emotion}" for label, emotion in chosen.items() if label != emotion]
    left = [label for label in labels_of(frame) if label not in chosen]
    told = f"labels: {' '.join(renamed) or 'each is the name of a direction'}"
    return told + (f"; without a direction: {' '.join(left)}" if left else "")


def rename_emotions(acts: Activations, pairs: Sequence[str], *, known: Iterable[str]) -> Activations:
    """Rename the labels of texts; see `label_map`.

    Parameters
    ----------
    acts
        Activations whose texts carry labels.
    pairs
        Such as ``["fear=afraid", "joy=happy"]``: labels that are not named stay as they are. With ``"auto"``, texts
        whose label has no emotion lose it, and are left out of what reads labels.
    known
        Emotions that there are directions for.

    Raises
    ------
    ConfigError
        As `label_map` does; or if the texts have no single labels.
    """
    if not pairs:
        return acts
    if "emotion" not in acts.frame or acts.frame["emotion"].isna().all():
        raise ConfigError(
            "these texts have no column 'emotion' to map; emovec check labels reads several labels a text"
        )
    chosen = label_map(acts.frame[["emotion"]], pairs, known=known)
    given = acts.frame["emotion"]
    found = given.map(chosen) if AUTO in pairs else given.replace(chosen)
    return replace(acts, frame=acts.frame.assign(emotion=found))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:30]) + (f", ... ({len(names)})" if len(names) > 30 else "") if names else "no labels"
