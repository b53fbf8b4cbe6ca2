"""What the explorer works with: the model of a run and the artefacts that the run left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from emovec_sae.errors import StoreError
from emovec_sae.provenance import read_json
from emovec_sae.report.run import Latent

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder


@dataclass(frozen=True, eq=False)
class Material:
    """A run, opened for exploring.

    Attributes
    ----------
    path
        The run's folder.
    title
        What the run calls itself.
    model, directions, coder, contrast
        The live model, the fitted directions, the SAE, and the contrast decomposition that ranks latents by emotion.
    cards
        Latents whose passages the run kept, by number.
    doses
        Calibrated doses of the run's arms (arm, emotion, level, kl, strength, reached); empty if it compared none.
    """

    path: Path
    title: str
    model: Model
    directions: DirectionSet
    coder: SparseCoder
    contrast: Decomposition
    cards: dict[int, Latent]
    doses: pd.DataFrame

    @property
    def norm(self) -> float:
        """Mean residual norm at the site: a strength of 1."""
        return self.directions.residual_norm


def open_material(run: str | Path, *, model: str | None = None) -> Material:
    """Open a finished run and load its model.

    Parameters
    ----------
    run
        Folder of a run.
    model
        Load this model instead of the one that the study names (a folder that has moved); it must be the same.

    Raises
    ------
    StoreError
        If the folder is no finished run.
    ModelError
        If the model cannot be loaded.
    MismatchError
        If model, directions, SAE and decomposition do not belong together.
    """
    from emovec_sae.models.load import load_model

    folder = Path(run)
    study = _study(folder)
    found = _artefacts(folder, str(study.get("title") or folder.name))
    named = study.get("model", {})
    loaded = load_model(
        model or named.get("name", ""), device=named.get("device", "auto"), dtype=named.get("dtype", "auto")
    )
    return join(found, loaded)


def join(found: Material, model: Model) -> Material:
    """Put a loaded model to a run's artefacts, after a check that they belong together.

    Raises
    ------
    MismatchError
        If they do not.
    """
    from emovec_sae.interventions.arms import latent_arms

    found.directions.check_model(model.describe())
    found.coder.require(site=found.directions.site, d_model=model.d_model, model=model.describe())
    latent_arms(found.contrast, found.coder, [], sizes=())  # refuses a decomposition of another SAE
    return replace(found, model=model)


def _artefacts(folder: Path, title: str) -> Material:
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.directions.files import load_directions
    from emovec_sae.saes.load import load_sae

    for name in ("directions.safetensors", "contrast.parquet", "sae/cfg.json"):
        if not (folder / name).is_file():
            raise StoreError(f"'{folder / name}' is missing; finish the run with: emovec run STUDY.yaml --out {folder}")
    nothing: Any = None
    return Material(
        path=folder,
        title=title,
        model=nothing,
        directions=load_directions(folder / "directions.safetensors"),
        coder=load_sae(folder / "sae"),
        contrast=load_decomposition(folder / "contrast.parquet"),
        cards=_cards(folder / "latents.json"),
        doses=_doses(folder / "comparison.doses.parquet"),
    )


def _study(folder: Path) -> dict[str, Any]:
    if not (folder / "study.json").is_file():
        raise StoreError(f"there is no run at '{folder}'; make one with: emovec run STUDY.yaml --out {folder}")
    try:
        return read_json(folder / "study.json")["study"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"'{folder / 'study.json'}' is no study of a run; run the study again") from error


def _cards(path: Path) -> dict[int, Latent]:
    if not path.is_file():
        return {}
    try:
        return {one.latent: one for one in TypeAdapter(list[Latent]).validate_json(path.read_bytes())}
    except ValidationError as error:
        raise StoreError(f"'{path}' holds no latents as a run writes them; run the study again") from error


def _doses(path: Path) -> pd.DataFrame:
    columns = ["arm", "emotion", "draw", "level", "kl", "coefficient", "reached", "strength"]
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=columns)
