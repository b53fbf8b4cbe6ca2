"""behaviour: what edits do to the answers of a battery, each item asked in both orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from emovec_sae.corpora.batteries import TEXTS, load_battery
from emovec_sae.errors import CorpusError
from emovec_sae.interventions.behaviour.conditions import (
    Condition,
    as_conditions,
    doses_of,
    place_of,
    run_conditions,
)
from emovec_sae.interventions.behaviour.headroom import Headroom
from emovec_sae.interventions.behaviour.result import Behaviour
from emovec_sae.interventions.edits import Dosed
from emovec_sae.models.model import Model
from emovec_sae.provenance import collect
from emovec_sae.scoring.answers import AnswerScorer
from emovec_sae.scoring.questions import form_of, whole_questions


def behaviour(
    model: Model,
    battery: str | Path | pd.DataFrame,
    edits: Mapping[str, Dosed] | Sequence[Condition],
    *,
    use: str | None = "report",
    chat: bool | None = None,
    seed: int = 0,
    cells: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Behaviour:
    """Measure how edits move a model between two answers; whether it can move at all is measured first.

    Both answers are told, in both orders, and each is scored as a whole: the log-odds of the behaviour are the mean of
    the orders, so that a preference for a place cancels. The edit acts on question and answers.

    Parameters
    ----------
    model
        The model.
    battery
        A name of `BATTERIES`, a file, or a frame from `load_battery`.
    edits
        Conditions from `match_doses`, or name -> an edit at its own dose.
    use
        Items that are asked: ``report``, ``tune``, or None for all.
    chat
        Ask in the model's chat template; None does so if it has one.
    seed
        Of the intervals and tests.
    cells
        Folder in which every condition is kept once it is done.
    progress
        Called with (conditions done, conditions in all).

    Raises
    ------
    CorpusError
        If the battery cannot be read, lacks a column, or no item is of that use.
    ConfigError
        If there are no edits, or one acts on positions that two answers do not have in common.
    ModelError
        If answers cannot be scored behind a question on this model.
    """
    items = _items(battery, use)
    conditions = as_conditions(edits)
    questions = whole_questions(model, *(items[name].tolist() for name in TEXTS), chat=chat)
    scorer = AnswerScorer(model, questions, site=place_of(conditions))
    base = _log_odds(scorer.log_probs())
    form = form_of(model, chat=chat)
    settings = {"model": model.describe(), "items": items[list(TEXTS)].to_numpy().tolist(), "form": form}
    found = run_conditions(
        conditions, lambda one: _log_odds(scorer.log_probs([one.edit])), settings=settings, cells=cells,
        progress=progress,
    )  # fmt: skip
    name = str(items["battery"].iloc[0])
    facts = {"model": model.describe(), "battery": name, "form": form, "use": use, "seed": seed}
    return Behaviour(
        battery=name,
        model=model.name,
        form=form,
        cells=_cells(items, conditions, base, found),
        doses=doses_of(conditions),
        headroom=Headroom.of(base[:, 0], base[:, 1]),
        seed=seed,
        provenance=collect(**facts, items=settings["items"]),
    )


def _cells(
    items: pd.DataFrame, conditions: Sequence[Condition], base: np.ndarray, found: Sequence[np.ndarray]
) -> pd.DataFrame:
    """One row an item and condition."""
    about = items[["id", "group", "kind"]].assign(base=base[:, 0], base_bias=base[:, 1])
    parts = [
        about.assign(
            arm=one.arm.name, emotion=one.arm.emotion, draw=one.arm.draw, level=one.level, log_odds=values[:, 0],
            effect=values[:, 0] - base[:, 0], bias=values[:, 1],
        )
        for one, values in zip(conditions, found, strict=True)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"emotion": object})


def _items(battery: str | Path | pd.DataFrame, use: str | None) -> pd.DataFrame:
    if not isinstance(battery, pd.DataFrame):
        return load_battery(battery, use=use)
    missing = [name for name in ("id", "battery", "group", "kind", *TEXTS, "use") if name not in battery]
    if missing:
        raise CorpusError(
            f"the battery has no column '{missing[0]}'; read it with load_battery, which adds what it may"
        )
    items = battery if use is None else battery[battery["use"] == use]
    if items.empty:
        raise CorpusError(f"the battery has no items of use '{use}'")
    return items.reset_index(drop=True)


def _log_odds(log_probs: np.ndarray) -> np.ndarray:
    """Log-odds of the behaviour, mean of both orders, and those of the answer listed first, (items, 2)."""
    forth, back = np.split(log_probs[:, 0] - log_probs[:, 1], 2)
    return np.stack([(forth + back) / 2, (forth - back) / 2], axis=1)
