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
from emovec_sae.interventions.dose import Dose, calibrate
from emovec_sae.interventions.edits import Shift
from emovec_sae.provenance import collect
from emovec_sae.scoring.damage import KLProbe, Reading
from emovec_sae.scoring.words import WordScorer, log_odds

TOLERANCE = 0.02
"""A dose is reached when its KL is within this share of the level."""
_READINGS = 6
"""Readings of raw vectors that are kept; one of 128 positions and 49k words takes 25 MB."""


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
        the cosine of the change after the last norm); one more pass an arm and level. Raw arms must come first.
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
    effects: list[pd.DataFrame] = []
    doses: list[dict[str, Any]] = []
    for done, (arm, level) in enumerate(asked, 1):
        cell = None if store is None else store.get(arm, level)
        if cell is None:
            cell = work.run(arm, level)
            if store is not None:
                store.put(arm, level, cell)
        work.note(arm, level, cell)
        facts: dict[str, Any] = {"arm": arm.name, "emotion": arm.emotion, "draw": arm.draw, "level": level}
        facts |= {name: cell.dose[name] for name in ("kl", "coefficient", "reached")}
        more = {name: value for name, value in cell.dose.items() if name not in facts}
        doses.append({**facts, "strength": facts["coefficient"] / residual_norm, **more})
        prompts = np.arange(len(cell.effect))
        for column, name in enumerate(lexicon):
            table = {**facts, "scored": name, "prompt": prompts, "effect": cell.effect[:, column]}
            effects.append(pd.DataFrame(table))
        if progress is not None:
            progress(done, len(asked))
    about = {
        "model": scorer.model.describe(),
        "arms": sorted({arm.name for arm in arms}),
        "levels": sorted({level for _, level in asked}),
    }
    about |= {"prompts": len(scorer.prompts), "positions": probe.n_positions, "divergence": "KL(base || edited), nats"}
    whole = pd.concat(effects, ignore_index=True).astype({"emotion": object})
    return Comparison(whole, pd.DataFrame(doses), collect(**about))


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
        self._starts: dict[float, float] = {}
        self._raw: dict[tuple[str | None, float], Any] = {}
        self._readings: OrderedDict[tuple[str | None, float], Reading] = OrderedDict()

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
        # arms need much the same coefficient for a level, so the last one's is the best first guess
        start = self._starts.get(level, 0.1 * self._residual_norm)
        if arm.fixed is None:
            dose = calibrate(arm.edit, self._probe, level=level, start=start)
        else:
            kl = self._probe.kl([arm.edit.at(arm.fixed)])
            near = abs(kl / level - 1) <= TOLERANCE
            dose = Dose("kl", level, kl, arm.fixed, reached=near, monotone=True, evaluations=1)
        edit = arm.edit.at(dose.coefficient)
        change = log_odds(self._scorer.log_probs([edit]), self._scorer.tree.words, self._lexicon) - self._base
        facts: dict[str, Any] = {"kl": dose.kl, "coefficient": dose.coefficient, "reached": dose.reached}
        facts |= {"monotone": dose.monotone, "evaluations": dose.evaluations}
        if self._fidelity:
            facts |= self._compare_with_raw(arm, level, edit)
        return Cell(facts, change)

    def note(self, arm: Arm, level: float, cell: Cell) -> None:
        """Remember the dose of a cell."""
        if cell.dose["reached"] and isinstance(arm.edit, Shift):  # a clamp's doses are no guide to a shift's
            self._starts[level] = cell.dose["coefficient"]
        if arm.name == "raw":
            self._raw[arm.emotion, level] = arm.edit.at(cell.dose["coefficient"])

    def _compare_with_raw(self, arm: Arm, level: float, edit: Any) -> dict[str, float | None]:
        key = (arm.emotion, level)
        if arm.name == "raw" or arm.emotion is None:  # a control of all emotions has no raw vector of its own
            same = 1.0 if arm.name == "raw" else None
            return {"explained_kl": same, "cosine": same}
        if key not in self._raw:
            raise ConfigError(
                f"fidelity sets '{arm.name}' of '{arm.emotion}' at {level:g} nats beside the raw vector at that level, "
                "which was not run before it; put the raw arms first, and give them every level"
            )
        if key not in self._readings:
            self._readings[key] = self._probe.read([self._raw[key]])
            if len(self._readings) > _READINGS:
                self._readings.popitem(last=False)
        found = self._probe.fidelity(self._probe.read([edit]), self._readings[key])
        return {"explained_kl": found.explained_kl, "cosine": found.cosine}
