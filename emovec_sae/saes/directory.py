"""sae-lens's list of pretrained SAEs, read as the file that it is: importing sae_lens takes 6 s, the file one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emovec_sae.errors import ModelError

SAE_LENS = "sae_lens"
"""sae-lens's own layout: cfg.json and sae_weights.safetensors."""


@dataclass(frozen=True)
class Release:
    """A release of the list.

    Attributes
    ----------
    name
        What `load_sae` takes.
    repo
        Hugging Face repository.
    model
        Name of the model, in sae-lens's spelling.
    layout
        Which of sae-lens's loaders reads its files: ``sae_lens``, ``gemma_2``, ``gemma_3``, ``llama_scope``, ...
    saes
        Each SAE's entry by its id: ``path``, and where known ``l0``, ``neuronpedia``, ``norm_scaling_factor``.
    overrides
        Settings that are laid over each SAE's own.
    """

    name: str
    repo: str
    model: str
    layout: str
    saes: dict[str, dict[str, Any]]
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])

    def path(self, sae_id: str) -> str:
        """Folder or file of an SAE in the repository."""
        return str(self.saes[sae_id]["path"])


@cache
def releases() -> dict[str, Release]:
    """Every release of sae-lens's list by name; nothing is fetched.

    Raises
    ------
    ModelError
        If sae-lens is not installed or its list cannot be read.
    """
    import yaml

    spec = find_spec("sae_lens")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0]) / "pretrained_saes.yaml" if folders else None
    if path is None or not path.is_file():
        raise ModelError("the list of pretrained SAEs (sae_lens/pretrained_saes.yaml) is missing; install sae-lens")
    # libyaml's loader is some five times as fast, but PyYAML can be built without it; both are safe loaders
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open("rb") as handle:
        found: dict[str, dict[str, Any]] = yaml.load(handle, Loader=loader)  # noqa: S506
    return {name: _release(name, entry) for name, entry in found.items()}


def of_repository(repo: str) -> list[Release]:
    """The releases whose files lie in a repository."""
    return [release for release in releases().values() if release.repo == repo]


def _release(name: str, entry: dict[str, Any]) -> Release:
    return Release(
        name=name,
        repo=entry["repo_id"],
        model=entry["model"],
        layout=entry.get("conversion_func") or SAE_LENS,
        saes={str(one["id"]): one for one in entry["saes"]},
        overrides=dict(entry.get("config_overrides") or {}),
    )
