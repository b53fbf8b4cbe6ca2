"""Generations: texts of the arms at the doses of a finished comparison, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.conditions import BASE, Condition, conditions_of
from emovec_sae.interventions.comparison.generations_result import KEYS, Generations
from emovec_sae.interventions.comparison.instruction import WORDING
from emovec_sae.interventions.comparison.readers import TextReader, check_apart
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.interventions.comparison.text_cells import TextCells
from emovec_sae.interventions.comparison.writing import Sampling, Writer
from emovec_sae.models.model import Model
from emovec_sae.provenance import collect
from emovec_sae.scoring.regimes import distinct, repeated, tell_regimes
from emovec_sae.scoring.valence import emotion_words, mask_emotions, valence


def compare_generations(
    comparison: Comparison,
    arms: Sequence[Arm],
    *,
    model: Model,
    prompts: Sequence[str],
    emotions: Sequence[str],
    levels: Sequence[float],
    sampling: Sampling | None = None,
    readers: Sequence[TextReader] = (),
    instruction: bool = False,
    batch: int = 24,
    cells: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Generations:
    """Let every arm write at the doses of a comparison, and measure its texts beside the model's own.

    Parameters
    ----------
    comparison
        Finished; doses are taken from it.
    arms
        Those of the comparison that are to write.
    model, prompts
        The model of the comparison, and open prompts on which nothing was tuned.
    emotions, levels
        Whose arms write, and KL levels of the comparison.
    sampling, batch
        How texts are drawn, and how many at once.
    readers
        A `TextProbe` at another site than the edited one, a trained `Judge`, or both.
    instruction
        Let the model write that is told in words to feel the emotion, too.
    cells
        Folder that keeps the texts of each arm and level once they are whole; a run that was killed goes on there.
    progress
        Called with (texts done, texts in all).

    Raises
    ------
    ConfigError
        If there is nothing to write, the comparison lacks a dose, a probe reads where an arm edits, or the cells in the
        folder were made with other settings.
    """
    if not (prompts and emotions and levels):
        raise ConfigError(
            f"{len(prompts)} prompts, {len(emotions)} emotions, {len(levels)} levels; at least 1 of each is due"
        )
    how = Sampling() if sampling is None else sampling
    check_apart(readers, {arm.edit.site for arm in arms})
    asked = conditions_of(comparison, arms, levels=levels, emotions=emotions, instruction=instruction)
    settings = {
        "model": model.describe(),
        "prompts": list(prompts),
        "sampling": how.settings(),
        "readers": {reader.name: reader.fingerprint for reader in readers},
        "mask": list(emotion_words()),
    }
    found = _write(Writer(model, prompts, how, readers, batch=batch), asked, settings, cells, progress)
    texts, scores = _tables(asked, found, readers)
    about: dict[str, Any] = {"model": model.describe(), "prompts": list(prompts), "emotions": list(emotions)}
    about |= {"levels": sorted(levels), "sampling": how.settings(), "readers": settings["readers"]}
    about |= {"wording": WORDING} if instruction else {}
    return Generations(texts, scores, collect(**about))


def _write(
    writer: Writer,
    asked: Sequence[Condition],
    settings: dict[str, Any],
    cells: str | Path | None,
    progress: Callable[[int, int], None] | None,
) -> list[pd.DataFrame]:
    """Texts of each condition in the order asked, from their files where they are there."""
    store = None if cells is None else TextCells(cells, settings)
    kept = {} if store is None else {row: store.get(one) for row, one in enumerate(asked)}
    found: dict[int, pd.DataFrame] = {row: texts for row, texts in kept.items() if texts is not None}
    total, done = len(asked) * writer.per_condition, len(found) * writer.per_condition

    def told(more: int) -> None:
        """Count texts."""
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    told(0)
    place = {id(one): row for row, one in enumerate(asked)}
    for one, texts in writer.write([one for row, one in enumerate(asked) if row not in found], told):
        if store is not None:
            store.put(one, texts)
        found[place[id(one)]] = texts
    return [found[row] for row in range(len(asked))]


def _tables(
    asked: Sequence[Condition], found: Sequence[pd.DataFrame], readers: Sequence[TextReader]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The texts with their numbers, and the scores of the readers."""
    plain = ["prompt", "seed", "text", "surprise"]
    parts = [table[plain].assign(**one.facts(), ids=table["tokens"]) for one, table in zip(asked, found, strict=True)]
    texts = pd.concat([part.astype({"emotion": object, "level": float, "kl": float, "coefficient": float})
                       for part in parts], ignore_index=True)  # fmt: skip
    ids = [list(map(int, one)) for one in texts.pop("ids")]
    written = texts["text"].tolist()
    texts["tokens"] = [len(one) for one in ids]
    texts["valence"], texts["valence_masked"] = valence(written), valence([mask_emotions(one) for one in written])
    for n in (1, 2, 3):
        texts[f"distinct_{n}"] = [distinct(one, n) for one in ids]
    texts["repeated"] = [repeated(one) for one in ids]
    texts["perplexity"] = np.exp(texts["surprise"])
    usual = float(texts.loc[texts["arm"] == BASE, "surprise"].mean())
    texts["regime"] = tell_regimes(texts["surprise"], texts["repeated"], usual=usual)
    scores = [
        _scores(one, table, reader, masked=masked)
        for one, table in zip(asked, found, strict=True)
        for reader in readers
        for masked in (False, True)
    ]
    order = [*KEYS, "kl", "coefficient", "reached", "tokens", "text"]
    columns = [*order, *(name for name in texts.columns if name not in order)]
    return texts[columns], pd.concat(scores, ignore_index=True) if scores else pd.DataFrame(columns=_SCORES)


_SCORES = [*KEYS, "outcome", "masked", "scored", "value"]


def _scores(one: Condition, table: pd.DataFrame, reader: TextReader, *, masked: bool) -> pd.DataFrame:
    """Long table of one reader's scores of a condition's texts."""
    values = np.stack(list(table[f"{reader.name}, masked" if masked else reader.name]))
    count = len(reader.emotions)
    facts = {name: value for name, value in one.facts().items() if name in KEYS}
    found = pd.DataFrame(
        {
            **{name: np.repeat(np.array([value], dtype=object), values.size) for name, value in facts.items()},
            "prompt": np.repeat(table["prompt"].to_numpy(), count),
            "seed": np.repeat(table["seed"].to_numpy(), count),
            "outcome": reader.name,
            "masked": masked,
            "scored": np.tile(np.array(reader.emotions, dtype=object), len(table)),
            "value": values.ravel(),
        }
    )
    return found.astype({"draw": int, "fold": int, "level": float})[_SCORES]
