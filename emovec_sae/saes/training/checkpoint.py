"""Checkpoints: the whole state of a run beside the folder that it will become, in safetensors and JSON."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.provenance import plain, read_json, write_json
from emovec_sae.saes.folder import new_folder
from emovec_sae.saes.training.settings import differences
from emovec_sae.saes.training.trainer import Point, Trainer

if TYPE_CHECKING:
    import torch

STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a run had reached.

    Attributes
    ----------
    folder
        Where it lies.
    steps
        Steps done.
    seconds
        Time spent until then, over all its parts.
    curves
        By name of an SAE, the points of its curve.
    states
        By name of an SAE, its trainer's state.
    """

    folder: Path
    steps: int
    seconds: float
    curves: dict[str, list[Point]]
    states: dict[str, dict[str, torch.Tensor]]

    def restore(self, name: str, trainer: Trainer) -> None:
        """Give a trainer the state of an SAE.

        Raises
        ------
        ModelError
            If something is missing, or has another shape.
        """
        try:
            trainer.restore(self.states[name])
        except (KeyError, RuntimeError) as error:
            raise _unreadable(self.folder, error) from error


class Checkpoints:
    """Checkpoints of a run that will end in folder `out`; only the newest is kept.

    Parameters
    ----------
    out
        The folder to be; checkpoints lie beside it, in ``OUT.unfinished``.
    identities
        By name of an SAE, all settings that its weights depend on.
    """

    def __init__(self, out: Path, identities: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder, self.out = out.with_name(f"{out.name}.unfinished"), out
        self.identities = {name: plain(identity) for name, identity in identities.items()}

    def load(self, names: Collection[str], *, replace: bool = False) -> Checkpoint | None:
        """The newest checkpoint, if there is one.

        Parameters
        ----------
        names
            The SAEs that are not finished.
        replace
            Whether a run with other settings is removed; otherwise it is an error.

        Raises
        ------
        ConfigError
            If it belongs to a run with other settings.
        ModelError
            If it cannot be read.
        """
        newest = max(self.folder.glob("step-*"), default=None)
        if newest is None:
            return None
        try:
            told = read_json(newest / STATE)
            said = self._differences(told["identities"], names)
            if said and replace:
                self.remove()
                return None
            if said:
                raise ConfigError(
                    f"'{self.folder}' is an unfinished run with other settings ({said}); give those to go on, "
                    "remove it, or choose another name"
                )
            return Checkpoint(
                folder=newest,
                steps=int(told["steps"]),
                seconds=float(told["seconds"]),
                curves={name: [Point(**point) for point in told["curves"][name]] for name in names},
                states={name: _read(newest / _file(name)) for name in names},
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(newest, error) from error

    def _differences(self, there: Mapping[str, Mapping[str, Any]], names: Collection[str]) -> str:
        """Where the checkpoint is not of this run; SAEs of it may be finished already."""
        if not set(names) <= set(there) <= set(self.identities):
            return differences({"SAEs": sorted(there)}, {"SAEs": sorted(self.identities)})
        return next(filter(None, (differences(there[name], self.identities[name]) for name in there)), "")

    def save(self, steps: int, seconds: float, trainers: Mapping[str, Trainer], curves: Mapping[str, Any]) -> None:
        """Write a checkpoint whole, then remove the one before."""
        from safetensors.torch import save_file

        before = list(self.folder.glob("step-*"))
        with new_folder(self.folder / f"step-{steps:08d}", overwrite=True) as part:
            for name, trainer in trainers.items():
                save_file(trainer.state(), part / _file(name))
            told = {
                "steps": steps,
                "seconds": seconds,
                "identities": {name: self.identities[name] for name in trainers},
                "curves": {name: [asdict(point) for point in curve] for name, curve in curves.items()},
            }
            write_json(part / STATE, told)
        for old in before:
            if old.name != f"step-{steps:08d}":
                shutil.rmtree(old)

    def remove_own(self) -> None:
        """Remove what a kill between the last folder and the end left; another run's checkpoint stays."""
        newest = max(self.folder.glob("step-*"), default=None)
        try:
            there = {} if newest is None else read_json(newest / STATE)["identities"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        if not self._differences(there, ()):
            self.remove()

    def remove(self) -> None:
        """Remove all checkpoints of the run."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


def _unreadable(folder: Path, error: Exception) -> ModelError:
    said = " ".join(str(error).split())
    return ModelError(f"the checkpoint in '{folder}' cannot be read ({said}); remove '{folder.parent}' to start anew")


def _file(name: str) -> str:
    return f"{name.replace('/', '.')}.safetensors"


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
