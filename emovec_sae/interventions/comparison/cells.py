"""Cells: what one arm did at one level, each kept in a file of its own, so that a killed comparison goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.edits import ClampLatents, Shift
from emovec_sae.interventions.edits.latents import Latents
from emovec_sae.provenance import digest, read_json, write_json


@dataclass(frozen=True)
class Cell:
    """One arm at one level.

    Attributes
    ----------
    dose
        kl, coefficient, reached, monotone, evaluations; explained_kl and cosine where they were measured.
    effect
        Change of the log-odds of each scored emotion after each prompt, shape (prompts, emotions), nats.
    """

    dose: Mapping[str, Any]
    effect: np.ndarray


class Cells:
    """A folder of cells that were made with the same settings.

    Parameters
    ----------
    folder
        Made if it is missing.
    settings
        Whatever decides a cell besides its arm and level; JSON-serialisable.

    Raises
    ------
    ConfigError
        If the folder holds cells of other settings; what differs is named.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        record = self.folder / "settings.json"
        mine = {name: digest(value) for name, value in settings.items()}
        if not record.is_file():
            if any(self.folder.glob("*.json")):
                raise ConfigError(f"{self.folder} holds files but no settings.json; give a folder of its own to cells")
            write_json(record, mine)
            return
        theirs = read_json(record)
        differing = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
        if differing:
            raise ConfigError(
                f"the cells in {self.folder} were made with other settings ({', '.join(differing)} differ); "
                "give another folder, or delete this one"
            )

    def path(self, arm: Arm, level: float) -> Path:
        """File of a cell; an arm that points elsewhere under the same name has another."""
        fold = [arm.fold] if arm.fold else []  # one latent may lead in two folds, beside other raw vectors
        key = digest([arm.name, arm.emotion, arm.draw, level, str(arm.edit.site), _content(arm), *fold])[:16]
        words = f"{arm.emotion or 'all'}.{arm.name}.{level:g}".replace(" ", "_").replace(",", "").replace("/", "_")
        return self.folder / f"{words}.{key}.json"

    def get(self, arm: Arm, level: float) -> Cell | None:
        """The cell, or None if it was not run.

        Raises
        ------
        StoreError
            If the file is not what was written.
        """
        path = self.path(arm, level)
        if not path.is_file():
            return None
        try:
            found = read_json(path)
            dose = found["dose"] if found["dose"]["kl"] is not None else {**found["dose"], "kl": float("inf")}
            return Cell(dose, np.asarray(found["effect"], dtype=float))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the cell {path} cannot be read; delete it, and it is run again") from error

    def put(self, arm: Arm, level: float, cell: Cell) -> None:
        """Write a cell, whole or not at all."""
        write_json(self.path(arm, level), {"dose": dict(cell.dose), "effect": cell.effect.tolist()})


def _content(arm: Arm) -> Any:
    """What an edit is, its dose aside."""
    edit = arm.edit
    if isinstance(edit, Shift):
        return edit.unit.tolist()
    found: list[Any] = [type(edit).__name__, edit.positions, arm.fixed]
    if isinstance(edit, Latents):
        found += [edit.coder.fingerprint, list(edit.latents)]
    if isinstance(edit, ClampLatents):
        found.append(edit.targets.tolist())
    return found
