"""steered_preferences: what edits do to what a model would rather do, everywhere and on one option alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit

from emovec_sae.directions.checks.reading import told, values_of
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.readouts import ReadoutStats, check_readout, read
from emovec_sae.directions.source import PooledActivations
from emovec_sae.directions.threads import one_thread
from emovec_sae.errors import ConfigError
from emovec_sae.interventions.behaviour.conditions import (
    Condition,
    as_conditions,
    doses_of,
    place_of,
    run_conditions,
)
from emovec_sae.interventions.behaviour.steered import Asked, SteeredPreferences, summarise
from emovec_sae.interventions.edits import Dosed, Shift
from emovec_sae.models.model import Model
from emovec_sae.provenance import collect
from emovec_sae.scoring.answers import AnswerScorer
from emovec_sae.scoring.questions import form_of, letter_questions
from emovec_sae.stats.bradley_terry import balanced_pairs, bradley_terry

_LEAST = 8
"""Activities without which nothing can be said."""


def steered_preferences(
    model: Model,
    directions: DirectionSet,
    acts: PooledActivations,
    edits: Mapping[str, Dosed] | Sequence[Condition],
    *,
    pairs: int = 128,
    readout: str | None = None,
    pool: str = "mean",
    chat: bool | None = None,
    seed: int = 0,
    cells: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SteeredPreferences:
    """Let a model choose between activities under edits.

    Every pair is asked in both orders. An edit is tried in two ways: where its positions say (the whole question),
    which changes the Bradley-Terry scores of the activities; and on the tokens of one option alone, the first of each
    pair, which is how Sofroniew et al. steer: its effect is the change of the log-odds of that option.

    Parameters
    ----------
    model
        The model that the directions and activations come from.
    directions
        Fitted on other texts (stories).
    acts
        The recorded corpus "activities".
    edits
        Conditions from `match_doses`, or name of an emotion -> an edit at its own dose.
    pairs
        Most pairs to ask; rounded down to as many for every activity.
    readout, pool
        How the texts are read; None takes the readout of the directions.
    chat
        As in `forced_choice`.
    seed
        Of the pairs, resamples and permutations.
    cells
        Folder in which every condition is kept once it is done.
    progress
        Called with (conditions done, conditions in all).

    Raises
    ------
    ConfigError
        If there are fewer than 8 activities, fewer pairs than activities, or no edits; or if an edit acts on positions
        that depend on the text.
    MismatchError
        If model, directions and activations do not belong together.

    References
    ----------
    Sofroniew et al. 2026 (arXiv 2604.07729), section on preferences between activities.
    """
    directions.check_model({"name": model.name, "fingerprint": model.fingerprint})
    conditions = as_conditions(edits)
    used, values = check_readout(readout or directions.readout), values_of(directions, acts, pool)
    texts, n = [str(text) for text in acts.frame["text"]], len(acts.frame)
    if n < _LEAST or pairs < n:
        raise ConfigError(f"{pairs} pairs of {n} activities; at least {_LEAST} activities and as many pairs are needed")
    first, second = balanced_pairs(n, pairs, seed=seed)
    questions = letter_questions(model, [texts[row] for row in first], [texts[row] for row in second], chat=chat)
    scorer = AnswerScorer(model, questions, site=place_of(conditions))

    base = _measure(scorer, None)
    form = form_of(model, chat=chat)
    settings = {"model": model.describe(), "texts": texts, "pairs": [first.tolist(), second.tolist()], "form": form}
    found = run_conditions(
        conditions, lambda one: _measure(scorer, one), settings=settings, cells=cells, progress=progress
    )
    readings = directions.read(values, readout=used)
    own = _own_readings(conditions, values, directions, used)
    with one_thread():
        asked = _asked(conditions, directions.emotions, (first, second, n), [base, *found], readings, own, seed)
        emotions, numbers, table = summarise(asked, texts)
    return SteeredPreferences(
        numbers=numbers, table=table, emotions=emotions, doses=doses_of(conditions),
        settings=told(
            directions, readout=used, position=f"{pool} from token {acts.offset}", pairs=len(first), form=form,
            seed=seed,
        ),
        provenance=collect(directions=directions.fingerprint, activations=acts.fingerprint, seed=seed),
    )  # fmt: skip


def _asked(
    conditions: Sequence[Condition],
    names: Sequence[str],
    met: tuple[np.ndarray, np.ndarray, int],
    found: Sequence[np.ndarray],
    readings: np.ndarray,
    own: np.ndarray,
    seed: int,
) -> Asked:
    """Scores and effects from what was measured, the base first."""
    first, second, n = met
    scores = [bradley_terry(first, second, expit(one[:, 0]), n, resamples=0, seed=seed).scores for one in found]
    return Asked(
        conditions=tuple(conditions), names=names, first=first, n=n, scores=np.stack(scores),
        option=np.stack([one[:, 2] - found[0][:, 2] for one in found[1:]]),
        bias=np.array([one[:, 1].mean() for one in found]), readings=readings, own=own, seed=seed,
    )  # fmt: skip


def _measure(scorer: AnswerScorer, one: Condition | None) -> np.ndarray:
    """Log-odds and bias under a condition, everywhere and on the first option alone, (pairs, 4)."""
    edits = [] if one is None else [one.edit]
    whole = _log_odds(scorer.log_probs(edits))
    option = whole if one is None else _log_odds(scorer.log_probs(edits, marked=True))
    return np.concatenate([whole, option], axis=1)


def _log_odds(log_probs: np.ndarray) -> np.ndarray:
    """Log-odds of the first of each pair, mean of both orders, and those of the letter A, (pairs, 2)."""
    forth, back = np.split(log_probs[:, 0] - log_probs[:, 1], 2)
    return np.stack([(forth - back) / 2, (forth + back) / 2], axis=1)


def _own_readings(
    conditions: Sequence[Condition], values: np.ndarray, directions: DirectionSet, readout: str
) -> np.ndarray:
    """What each condition's own vector reads on the activities, (activities, conditions); 0 where it adds no vector."""
    found = np.zeros((len(values), len(conditions)))
    stats = ReadoutStats(directions.stats.mean, np.zeros(1), np.ones(1))
    for column, one in enumerate(conditions):
        if isinstance(one.edit, Shift):
            found[:, column] = read(values, one.edit.unit[None].astype(np.float64), stats, readout=readout)[:, 0]
    return found
