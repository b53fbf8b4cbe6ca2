"""What others call a latent: its page on Neuronpedia, and labels from a file. Nothing here uses the network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from emovec_sae.errors import ConfigError
from emovec_sae.provenance import read_json
from emovec_sae.saes.coder import SparseCoder

_PAGE = "https://www.neuronpedia.org"


def neuronpedia_link(coder: SparseCoder, latent: int) -> str | None:
    """The latent's page on Neuronpedia, if the SAE's metadata says that it has one."""
    place = coder.metadata.get("neuronpedia_id")
    return f"{_PAGE}/{str(place).strip('/')}/{int(latent)}" if place else None


def read_labels(path: str | Path) -> dict[int, str]:
    """Labels of latents from a file of the user's.

    Parameters
    ----------
    path
        ``.json``: an object from latent to label, or a list of objects with ``index`` (or ``latent``) and
        ``description`` (or ``label``), as Neuronpedia exports them; ``.csv``: columns ``latent`` and ``label``.

    Raises
    ------
    ConfigError
        If the file is missing or says something else.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"there is no file of labels {file}")
    try:
        if file.suffix == ".csv":
            rows = pd.read_csv(file)[["latent", "label"]].dropna().to_dict("records")
            return {int(row["latent"]): str(row["label"]) for row in rows}
        found = read_json(file)
        if isinstance(found, dict):
            return {int(key): str(value) for key, value in found.items()}
        return {int(row.get("index", row.get("latent"))): str(row.get("description") or row["label"]) for row in found}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"cannot read labels from {file}: {error}; give JSON {{latent: label}}, a list of objects with index and "
            "description, or a CSV with the columns latent and label"
        ) from error
