"""Links to Neuronpedia: a list of a decomposition's latents, where their SAE is shown there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.saes.catalogue import NEURONPEDIA

if TYPE_CHECKING:
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.saes.coder import SparseCoder


def neuronpedia_list(
    parts: Decomposition,
    emotion: str,
    *,
    k: int | None = None,
    sae: SparseCoder | None = None,
    title: str | None = None,
) -> str:
    """The address of a Neuronpedia list that shows the first latents of an emotion, by rank.

    Nothing is fetched: whether a page exists for every latent is Neuronpedia's matter.

    Parameters
    ----------
    parts
        A decomposition with an SAE of sae-lens's catalogue.
    emotion
        Which.
    k
        How many latents; all of the decomposition by default.
    sae
        The SAE itself, if it was loaded under another name than the catalogue's.
    title
        Heading of the list; by default emotion, method and site.

    Raises
    ------
    ConfigError
        If the SAE is not on Neuronpedia (one that was trained here never is), or the emotion was not decomposed.
    MismatchError
        If `sae` is not the SAE of the decomposition.
    """
    latents, _ = parts.latents(emotion, k)
    if sae is not None and sae.fingerprint != parts.sae_fingerprint:
        raise MismatchError(f"'{sae.name}' is not the SAE of this decomposition, which is '{parts.sae}'")
    source = neuronpedia_id(parts.sae) or (None if sae is None else _told(sae))
    if source is None:
        raise ConfigError(
            f"SAE '{parts.sae}' is not on Neuronpedia by sae-lens's catalogue; emovec saes lists those that are"
        )
    model, _, layer = source.partition("/")
    chosen = [{"modelId": model, "layer": layer, "index": str(int(latent))} for latent in latents]
    name = title or f"{emotion}: {parts.method} at {parts.site}"
    told = {"name": name, "features": json.dumps(chosen, separators=(",", ":"))}
    return f"{NEURONPEDIA}/quick-list/?{urlencode(told, quote_via=quote)}"


def neuronpedia_id(sae: str) -> str | None:
    """Neuronpedia's ``model/source`` of an SAE by its name in sae-lens's catalogue, or None.

    Parameters
    ----------
    sae
        ``release/id``, or ``user/repo/folder`` of a repository that the catalogue knows.
    """
    from emovec_sae.saes.directory import of_repository, releases

    release, _, sae_id = sae.partition("/")
    if release in releases():
        return _text(releases()[release].saes.get(sae_id, {}).get("neuronpedia"))
    user, repo, folder = [*sae.split("/", 2), "", ""][:3]
    for one in of_repository(f"{user}/{repo}"):
        for name, entry in one.saes.items():
            if one.path(name) == folder and entry.get("neuronpedia"):
                return _text(entry["neuronpedia"])
    return None


def _told(sae: SparseCoder) -> str | None:
    """What the SAE's own files say."""
    return _text(sae.facts.get("neuronpedia") or sae.metadata.get("neuronpedia_id"))


def _text(told: object) -> str | None:
    return str(told) if told else None
