"""compare: arms at equal teacher-forced KL, scored by the log-odds of emotion words after prompts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.comparison.cells import Cell, Cells
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.interventions.comparison.starts import Starts
from emovec_sae.interventions.dose import Dose, calibrate
from emovec_sae.interventions.edits import Dosed
from emovec_sae.provenance import collect
from emovec_sae.scoring.damage import KLProbe, Reading, divergence
from emovec_sae.scoring.words import WordScorer, log_odds

TOLERANCE = 0.02
"""A dose is reached when its KL is within this share of the level."""
_READINGS = 6
"""Readings of raw vectors that are kept; one of 128 positions and 49k words takes 25 MB."""
_Key = tuple[str | None, int, float]
"""Emotion, fold and level of a raw vector."""


def compare(
    arms: Sequence[Arm],
    *,
    scorer: WordScorer,
    probe: KLProbe,
    lexicon: Mapping[str, list[str]],
    levels: Sequence[float] | Callable[[Arm], Sequence[float]],
    residual_norm: float,
    fidelity: bool = False,
    cells: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Bring every arm to the same KL on neutral text and measure what it does to the emotions' words.

    Parameters
    ----------
    arms
        From `raw_arms`, `latent_arms`, `random_arms`.
    scorer
        Words and the prompts to report on; doses never see them.
    probe
        Neutral positions at which the dose is matched.
    lexicon
        Emotion -> held-out words, none shared between emotions.
    levels
        KL in nats; a function gives each arm its own.
    residual_norm
        Mean residual norm at the site: the first guess of a dose, and the unit of ``strength``.
    fidelity
        Also measure how much of what the raw vector does to the model each arm of an emotion does (explained KL, and
        the cosine of the change after the last norm), from the last pass of the calibration. The raw arm of an
        emotion (and fold) must come before its others; arms of one emotion together need fewest passes.
    cells
        Folder in which every arm and level is kept once it is done; a comparison that was killed goes on there.
    progress
        Called with (conditions done, conditions in all).

    Raises
    ------
    ConfigError
        If the folder of cells was made with other settings, or an arm precedes the raw one that `fidelity` needs.
    """
    asked = [(arm, level) for arm in arms for level in sorted(levels(arm) if callable(levels) else levels)]
    work = _Work(scorer, probe, lexicon, residual_norm, fidelity=fidelity)
    store = None if cells is None else Cells(cells, work.settings())
    effects: list[np.ndarray] = []
    facts_of: list[dict[str, Any]] = []
    doses: list[dict[str, Any]] = []
    for done, (arm, level) in enumerate(asked, 1):
        cell = None if store is None else store.get(arm, level)
        if cell is None:
            cell = work.run(arm, level)
            if store is not None:
                store.put(arm, level, cell)
        work.note(arm, level, cell)
        facts: dict[str, Any] = {"arm": arm.name, "emotion": arm.emotion, "draw": arm.draw, "fold": arm.fold}
        facts["level"] = level
        facts |= {name: cell.dose[name] for name in ("kl", "coefficient", "reached")}
        more = {name: value for name, value in cell.dose.items() if name not in facts}
        doses.append({**facts, "strength": facts["coefficient"] / residual_norm, **more})
        effects.append(cell.effect)
        facts_of.append(facts)
        if progress is not None:
            progress(done, len(asked))
    about: dict[str, Any] = {
        "model": scorer.model.describe(),
        "arms": sorted({arm.name for arm in arms}),
        "levels": sorted({level for _, level in asked}),
    }
    about["folds"] = len({arm.fold for arm in arms})
    about |= {"prompts": len(scorer.prompts), "positions": probe.n_positions, "divergence": "KL(base || edited), nats"}
    return Comparison(_table(effects, facts_of, list(lexicon)), pd.DataFrame(doses), collect(**about))


def _table(effects: Sequence[np.ndarray], facts: Sequence[dict[str, Any]], scored: Sequence[str]) -> pd.DataFrame:
    """One row a (cell, emotion scored, prompt): the cell's facts, scored, prompt, effect."""
    prompts, names = len(effects[0]), np.asarray(scored, dtype=object)
    each = prompts * len(names)
    columns: dict[str, Any] = {}
    for key in facts[0]:
        kind = object if key in ("arm", "emotion") else None
        columns[key] = np.repeat(np.asarray([one[key] for one in facts], dtype=kind), each)
    columns["scored"] = np.tile(np.repeat(names, prompts), len(effects))
    columns["prompt"] = np.tile(np.arange(prompts), len(names) * len(effects))
    columns["effect"] = np.concatenate([one.T.ravel() for one in effects])
    return pd.DataFrame(columns).astype({"arm": "str", "scored": "str", "emotion": object})


class _Work:
    """Runs cells; what one cell teaches about the next is the same whether it was run now or found in its file."""

    def __init__(
        self,
        scorer: WordScorer,
        probe: KLProbe,
        lexicon: Mapping[str, list[str]],
        residual_norm: float,
        *,
        fidelity: bool,
    ) -> None:
        self._scorer, self._probe, self._lexicon = scorer, probe, dict(lexicon)
        self._residual_norm, self._fidelity = residual_norm, fidelity
        self._base = log_odds(scorer.log_probs(), scorer.tree.words, self._lexicon)
        # arms need much the same coefficient for a level, so what was reached before is the best first guess
        self._starts = Starts(0.1 * residual_norm)
        self._raw: dict[_Key, Any] = {}
        self._readings: OrderedDict[_Key, Reading] = OrderedDict()

    def settings(self) -> dict[str, Any]:
        """What decides a cell besides its arm and level."""
        return {
            "model": self._scorer.model.describe(),
            "prompts": [list(map(int, prompt)) for prompt in self._scorer.prompts],
            "lexicon": self._lexicon,
            "probe": self._probe.settings,
            "residual norm": self._residual_norm,
            "fidelity": self._fidelity,
        }

    def run(self, arm: Arm, level: float) -> Cell:
        """Calibrate an arm and score it."""
        kept = _Kept(self._probe)
        if arm.fixed is None:
            start, slope = self._starts.guess(arm, level), self._starts.slope(arm)
            dose = calibrate(arm.edit, kept, level=level, start=start, tolerance=TOLERANCE, slope=slope)
        else:
            kl = kept.kl([arm.edit.at(arm.fixed)])
            near = abs(kl / level - 1) <= TOLERANCE
            dose = Dose("kl", level, kl, arm.fixed, reached=near, monotone=True, evaluations=1)
        edit = arm.edit.at(dose.coefficient)
        change = log_odds(self._scorer.log_probs([edit]), self._scorer.tree.words, self._lexicon) - self._base
        facts: dict[str, Any] = {"kl": dose.kl, "coefficient": dose.coefficient, "reached": dose.reached}
        facts |= {"monotone": dose.monotone, "evaluations": dose.evaluations}
        if self._fidelity:
            facts |= self._compare_with_raw(arm, level, kept.reading(edit))
        return Cell(facts, change)

    def note(self, arm: Arm, level: float, cell: Cell) -> None:
        """Remember the dose of a cell."""
        self._starts.note(arm, level, cell)
        if arm.name == "raw":
            self._raw[arm.emotion, arm.fold, level] = arm.edit.at(cell.dose["coefficient"])

    def _compare_with_raw(self, arm: Arm, level: float, reading: Reading) -> dict[str, float | None]:
        key = (arm.emotion, arm.fold, level)
        if arm.name == "raw":
            self._keep(key, reading)
            return {"explained_kl": 1.0, "cosine": 1.0}
        if arm.emotion is None:  # a control of all emotions has no raw vector of its own
            return {"explained_kl": None, "cosine": None}
        if key not in self._raw:
            raise ConfigError(
                f"fidelity sets '{arm.name}' of '{arm.emotion}' at {level:g} nats beside the raw vector at that level, "
                "which was not run before it; put the raw arms first, and give them every level"
            )
        if key not in self._readings:
            self._keep(key, self._probe.read([self._raw[key]]))
        found = self._probe.fidelity(reading, self._readings[key])
        return {"explained_kl": found.explained_kl, "cosine": found.cosine}

    def _keep(self, key: _Key, reading: Reading) -> None:
        self._readings[key] = reading
        if len(self._readings) > _READINGS:
            self._readings.popitem(last=False)


class _Kept:
    """A probe of KL that keeps its last reading: the dose that a calibration ends with is mostly the last it tried."""

    def __init__(self, probe: KLProbe) -> None:
        self._probe = probe
        self._dose: float | None = None
        self._reading: Reading | None = None

    def kl(self, edits: Sequence[Dosed]) -> float:
        """Mean KL(base || edited) over the sampled positions, in nats."""
        self._reading, self._dose = self._probe.read(edits), edits[0].dose
        return divergence(self._probe.base.log_probs, self._reading.log_probs)

    def reading(self, edit: Dosed) -> Reading:
        """What the model does under an edit that was calibrated."""
        if self._reading is None or self._dose != edit.dose:
            return self._probe.read([edit])
        return self._reading
