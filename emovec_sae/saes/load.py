"""Load an SAE from a folder in sae-lens's format, or from a release of its catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from emovec_sae.errors import ConfigError, ModelError, suggest
from emovec_sae.models.embedded import cache_dir
from emovec_sae.provenance import read_json, write_json
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.folder import new_folder
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from sae_lens.loading.pretrained_saes_directory import PretrainedSAELookup

FACTS = "emovec.json"
"""Our own file beside sae-lens's two: provenance, model, training texts."""


def load_sae(
    source: str | Path, sae_id: str | None = None, *, device: str = "cpu", site: str | Site | None = None
) -> SparseCoder:
    """Load an SAE.

    Parameters
    ----------
    source
        A folder with ``cfg.json`` and ``sae_weights.safetensors``; or, with `sae_id`, a release of sae-lens's
        catalogue (`catalogue` lists them) or a Hugging Face repository ``user/repo``.
    sae_id
        Which SAE of the release. It is converted once into the user's cache; later loads need no network.
    device
        Where the weights go; they are float32 always.
    site
        Where it reads, for SAEs whose metadata does not say.

    Raises
    ------
    ConfigError
        If the release or the id does not exist.
    ModelError
        If the files are missing, damaged or cannot be fetched.
    UnfitError
        If its latents cannot be read as parts of a vector.
    """
    if sae_id is None:
        return _from_folder(_folder(source), device=device, site=site)
    release = str(source)
    cached = cache_folder() / _safe(release) / _safe(sae_id)
    if not (cached / "cfg.json").exists():
        _check_known(release, sae_id)
        _convert(release, sae_id, cached)
    return _from_folder(cached, device=device, site=site, name=f"{release}/{sae_id}")


def catalogue() -> pd.DataFrame:
    """List every SAE that sae-lens knows, offline: release, sae_id, model, repo (one row an SAE)."""
    rows = [
        (release, sae_id, entry.model, entry.repo_id)
        for release, entry in _directory().items()
        for sae_id in entry.saes_map
    ]
    return pd.DataFrame(rows, columns=["release", "sae_id", "model", "repo"])


def cache_folder() -> Path:
    """Where converted SAEs are kept: ``saes`` in the package's cache folder."""
    return cache_dir() / "saes"


def _directory() -> dict[str, PretrainedSAELookup]:
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    return get_pretrained_saes_directory()


def _safe(name: str) -> str:
    return name.replace("/", "--")


def _folder(source: str | Path) -> Path:
    """The folder that `source` names, or the error that helps most."""
    folder = Path(source)
    if (folder / "cfg.json").is_file():
        return folder
    if folder.exists():
        raise ModelError(f"'{folder}' holds no SAE: cfg.json and sae_weights.safetensors are wanted there")
    releases = _directory()
    if str(source) in releases:
        some = next(iter(releases[str(source)].saes_map))
        raise ConfigError(
            f"'{source}' is a release of {len(releases[str(source)].saes_map)} SAEs; name one, such as '{some}'"
        )
    raise ConfigError(f"no SAE folder '{source}', nor a release of that name{suggest(str(source), releases)}")


def _check_known(release: str, sae_id: str) -> None:
    releases = _directory()
    if release in releases:
        known = releases[release].saes_map
        if sae_id not in known:
            some = ", ".join(list(known)[:3])
            raise ConfigError(
                f"release '{release}' has no SAE '{sae_id}'{suggest(sae_id, known)}; there are {some}, ..."
            )
    elif "/" not in release:
        raise ConfigError(f"sae-lens knows no release '{release}'{suggest(release, releases)}")


def _convert(release: str, sae_id: str, target: Path) -> None:
    """Fetch an SAE through sae-lens and keep it in sae-lens's own folder format."""
    from httpx import HTTPError
    from sae_lens import SAE

    entry = _directory().get(release)
    repo = entry.repo_id if entry else release
    path = entry.saes_map[sae_id] if entry else sae_id
    try:
        sae = SAE.from_pretrained(release, sae_id, device="cpu", dtype="float32")
    except (OSError, HTTPError) as error:
        raise ModelError(
            f"SAE '{sae_id}' of '{release}' is not in the cache and cannot be fetched from "
            f"https://huggingface.co/{repo} ({path}): {_first_line(error)}"
        ) from error
    with new_folder(target, overwrite=True) as part:
        sae.save_model(part)
        write_json(part / FACTS, {"release": release, "sae_id": sae_id, "repo": repo, "path": path})


def _from_folder(folder: Path, *, device: str, site: str | Site | None = None, name: str | None = None) -> SparseCoder:
    from sae_lens import SAE
    from safetensors import SafetensorError

    facts: dict[str, Any] = read_json(folder / FACTS) if (folder / FACTS).exists() else {}
    try:
        sae = SAE.load_from_disk(folder, device=device, dtype="float32")
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        # sae-lens reads unchecked JSON into tensors: a damaged folder surfaces as any of these.
        raise ModelError(f"cannot read the SAE in '{folder}': {_first_line(error)}") from error
    return SparseCoder(sae, site=None if site is None else Site.parse(site), name=name or folder.name, facts=facts)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
