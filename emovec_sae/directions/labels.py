"""Match the labels of other people's texts with the emotions of fitted directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.store.reader import Activations


def rename_emotions(acts: Activations, pairs: Sequence[str], *, known: Iterable[str]) -> Activations:
    """Rename labels by ``"label=emotion"`` pairs.

    Parameters
    ----------
    acts
        Activations whose texts carry labels.
    pairs
        Such as ``["fear=afraid", "joy=happy"]``; labels that are not named stay as they are.
    known
        Emotions that there are directions for.

    Raises
    ------
    ConfigError
        If a pair cannot be read, a label does not occur, or an emotion has no direction.
    """
    emotions, labels, table = list(known), set(acts.frame["emotion"].dropna()), {}
    for pair in pairs:
        label, sign, emotion = pair.partition("=")
        if not sign:
            raise ConfigError(f"cannot read the map '{pair}'; write LABEL=EMOTION")
        if label not in labels:
            raise ConfigError(f"no text is labelled '{label}'{suggest(label, labels)}")
        if emotion not in emotions:
            raise ConfigError(f"there is no direction '{emotion}'{suggest(emotion, emotions)}")
        table[label] = emotion
    if not table:
        return acts
    return replace(acts, frame=acts.frame.assign(emotion=acts.frame["emotion"].replace(table)))
