"""Conditions: edits at their doses, brought to the same KL on neutral text once and used for every battery."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError
from emovec_sae.interventions.arms import Arm, Chosen, latent_arms, random_arms, raw_arms
from emovec_sae.interventions.comparison.cells import Cell, Cells
from emovec_sae.interventions.comparison.controls import flipped_arms
from emovec_sae.interventions.dose import calibrate
from emovec_sae.interventions.edits import Dosed, Shift
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.sites import Site

RANDOM = "random"
GIVEN = "edit"
"""Name of the arm of an edit that was given with a dose of its own."""


@dataclass(frozen=True)
class Condition:
    """An edit at a dose.

    Attributes
    ----------
    arm
        Whose edit it is: name, emotion (None for a control of all), number of the random draw.
    level
        KL that was asked for, in nats; NaN where the edit's own dose was taken.
    edit
        The edit at its dose.
    kl
        KL that was reached; NaN where it was not measured.
    reached
        Whether that is within the tolerance.
    """

    arm: Arm
    level: float
    edit: Dosed
    kl: float = math.nan
    reached: bool = True

    def facts(self) -> dict[str, Any]:
        """One row of a table of doses."""
        told = {"arm": self.arm.name, "emotion": self.arm.emotion, "draw": self.arm.draw, "level": self.level}
        return {**told, "kl": self.kl, "coefficient": self.edit.dose, "reached": self.reached}


def steering_arms(
    directions: DirectionSet,
    emotions: Sequence[str],
    *,
    flip: bool = True,
    random: int = 8,
    chosen: Chosen | None = None,
    coder: SparseCoder | None = None,
    k: int = 16,
    seed: int = 0,
) -> list[Arm]:
    """The vectors of emotions, their first k latents if a decomposition is given, sign flips and random directions.

    Parameters
    ----------
    directions, emotions
        Which vectors.
    flip
        Add the vectors with their signs turned.
    random
        Isotropic random directions; 0 leaves them out.
    chosen, coder, k
        A decomposition and its SAE, given together: add k latents of each emotion.
    seed
        Of the random directions.

    Raises
    ------
    ConfigError
        If there are no emotions, or only one of decomposition and SAE.
    """
    if not emotions:
        raise ConfigError("there are no emotions to steer with; name at least 1")
    if (chosen is None) != (coder is None):
        raise ConfigError("give a decomposition and its SAE together, or neither")
    names = list(emotions)
    found = raw_arms(directions, names)
    if chosen is not None and coder is not None:
        found += latent_arms(chosen, coder, names, sizes=(k,))
    if flip:
        found += flipped_arms(directions, names)
    return found + random_arms(directions.site, directions.vectors.shape[1], draws=random, seed=seed)


def match_doses(
    arms: Sequence[Arm],
    probe: KLProbe,
    *,
    levels: Sequence[float],
    residual_norm: float,
    cells: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Condition]:
    """Bring every arm to each KL on neutral text.

    Parameters
    ----------
    arms
        From `steering_arms`, or any others.
    probe
        Neutral positions at which the dose is matched.
    levels
        KL in nats.
    residual_norm
        Mean residual norm at the site: the first guess is a tenth of it.
    cells
        Folder in which every dose is kept once it is found; a search that was killed goes on there.
    progress
        Called with (doses found, doses in all).

    Raises
    ------
    ConfigError
        If there is no arm or level, or the folder was made with other settings.
    """
    asked = [(arm, float(level)) for level in levels for arm in arms]
    if not asked:
        raise ConfigError(f"{len(arms)} arms and {len(levels)} levels: at least 1 of each is due")
    settings = {"model": probe.model.describe(), "probe": probe.settings, "residual norm": residual_norm}
    store = None if cells is None else Cells(cells, settings)
    starts: dict[float, float] = {}
    found: list[Condition] = []
    for done, (arm, level) in enumerate(asked, 1):
        cell = None if store is None else store.get(arm, level)
        if cell is None:
            dose = calibrate(arm.edit, probe, level=level, start=starts.get(level, 0.1 * residual_norm))
            facts = {"kl": dose.kl, "coefficient": dose.coefficient, "reached": dose.reached}
            cell = Cell(facts, np.zeros(0))
            if store is not None:
                store.put(arm, level, cell)
        kl, coefficient, reached = (cell.dose[name] for name in ("kl", "coefficient", "reached"))
        if reached and isinstance(arm.edit, Shift):  # arms need much the same coefficient for a level
            starts[level] = coefficient
        found.append(Condition(arm, level, arm.edit.at(coefficient), kl, reached))
        if progress is not None:
            progress(done, len(asked))
    return found


def as_conditions(edits: Mapping[str, Dosed] | Sequence[Condition]) -> list[Condition]:
    """Conditions as they are, or one for each named edit at its own dose.

    Raises
    ------
    ConfigError
        If there are none, or two have the same arm, emotion, draw and level.
    """
    if isinstance(edits, Mapping):
        found = [Condition(Arm(GIVEN, name, edit), math.nan, edit) for name, edit in edits.items()]
    else:
        found = list(edits)
    if not found:
        raise ConfigError("there are no edits to try; give at least 1")
    keys = [(one.arm.name, one.arm.emotion, one.arm.draw, str(one.level)) for one in found]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise ConfigError(f"the condition {twice[0]} (arm, emotion, draw, level) stands twice; give each once")
    return found


def place_of(conditions: Sequence[Condition]) -> Site:
    """The lowest site of conditions, below which a model runs once a prompt."""
    return min(one.edit.site for one in conditions)


def doses_of(conditions: Sequence[Condition]) -> pd.DataFrame:
    """One row a condition: arm, emotion, draw, level, kl, coefficient, reached."""
    return pd.DataFrame([one.facts() for one in conditions])


def run_conditions(
    conditions: Sequence[Condition],
    measure: Callable[[Condition], np.ndarray],
    *,
    settings: Mapping[str, Any],
    cells: str | Path | None,
    progress: Callable[[int, int], None] | None,
) -> list[np.ndarray]:
    """What each condition gives, kept in files if a folder is named; found again there, it is not measured.

    Raises
    ------
    ConfigError
        If a folder is given and a condition has a dose of its own, by which its file could not be told.
    """
    store = None if cells is None else Cells(cells, settings)
    if store is not None and any(math.isnan(one.level) for one in conditions):
        raise ConfigError("a folder of cells is for doses that were matched to a level; leave it out, or match them")
    found: list[np.ndarray] = []
    for done, one in enumerate(conditions, 1):
        cell = None if store is None else store.get(one.arm, one.level)
        if cell is None or cell.dose["coefficient"] != one.edit.dose:
            facts = {"kl": one.kl, "coefficient": one.edit.dose, "reached": one.reached}
            cell = Cell(facts, measure(one))
            if store is not None:
                store.put(one.arm, one.level, cell)
        found.append(cell.effect)
        if progress is not None:
            progress(done, len(conditions))
    return found
