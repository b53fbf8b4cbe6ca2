"""What a release and an id, or a repository and a folder, name; refused here if the catalogue knows why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from emovec_sae.errors import ConfigError, UnfitError, suggest
from emovec_sae.saes.describe import l0_of, model_of, site_or_reason, usable
from emovec_sae.saes.directory import SAE_LENS, Release, of_repository, releases
from emovec_sae.sites import Site

_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """An SAE on the Hugging Face Hub.

    Attributes
    ----------
    name, sae_id
        As sae-lens takes them: release and id, or repository and folder.
    release
        The release, where the catalogue has it.
    """

    name: str
    sae_id: str
    release: Release | None = None

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.name}/{self.sae_id}"

    @property
    def repo(self) -> str:
        """Its repository."""
        return self.release.repo if self.release else self.name

    @property
    def path(self) -> str:
        """Its folder or file there."""
        return self.release.path(self.sae_id) if self.release else self.sae_id

    @property
    def layout(self) -> str:
        """Which of sae-lens's loaders reads it."""
        return self.release.layout if self.release else SAE_LENS

    @property
    def site(self) -> Site | None:
        """Where it reads by the catalogue."""
        return site_or_reason(self.release, self.sae_id)[0] if self.release else None

    @property
    def scale_known(self) -> bool:
        """Whether the catalogue has the scale of its activations, which sae-lens folds in then."""
        return self.release is not None and self.release.saes[self.sae_id].get("norm_scaling_factor") is not None

    def facts(self) -> dict[str, Any]:
        """What is kept beside the converted SAE."""
        found: dict[str, Any] = {"release": self.name, "sae_id": self.sae_id, "repo": self.repo, "path": self.path}
        if self.release:
            found["model"] = {"name": model_of(self.release)}
            found["l0_stated"] = l0_of(self.release, self.sae_id)
            found["neuronpedia"] = self.release.saes[self.sae_id].get("neuronpedia")
        return found


def find_source(name: str, sae_id: str) -> Source:
    """Find an SAE by release and id, or by repository and folder.

    A repository that holds releases of the catalogue is read as such, so that their layout, scale and refusals apply.

    Raises
    ------
    ConfigError
        If there is no such release or SAE, or the name is neither a release nor ``user/repo``.
    UnfitError
        If the catalogue knows that it cannot be used.
    """
    known = releases()
    if name in known:
        release = known[name]
        if sae_id not in release.saes:
            some = ", ".join(list(release.saes)[:3])
            raise ConfigError(
                f"release '{name}' has no SAE '{sae_id}'{suggest(sae_id, release.saes)}; there are {some}, ..."
            )
        can, reason = usable(release, sae_id)
        if can is False:
            raise UnfitError(f"SAE '{name}/{sae_id}' {reason}")
        return Source(name, sae_id, release)
    if not _REPO.fullmatch(name):
        raise ConfigError(f"sae-lens knows no release '{name}'{suggest(name, known)}; a repository is user/repo")
    if any(part in {"", ".", ".."} for part in sae_id.split("/")):
        raise ConfigError(f"'{sae_id}' is no folder of repository '{name}'; write it as folder/below")
    return _in_repository(name, sae_id)


def _in_repository(repo: str, folder: str) -> Source:
    here = of_repository(repo)
    for release in here:
        for sae_id in release.saes:
            if folder in {sae_id, release.path(sae_id)}:
                return find_source(release.name, sae_id)
    if any(release.layout != SAE_LENS for release in here):
        paths = [release.path(sae_id) for release in here for sae_id in release.saes]
        raise ConfigError(
            f"repository '{repo}' has no SAE '{folder}' that sae-lens can read{suggest(folder, paths)}; it holds "
            f"{', '.join(release.name for release in here)}"
        )
    return Source(repo, folder)
