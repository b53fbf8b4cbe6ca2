"""The pretrained SAEs that sae-lens knows: for which model and site, how wide, how sparse, and can we use them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

from emovec_sae.saes.describe import l0_of, model_of, site_or_reason, usable, width_of
from emovec_sae.saes.directory import Release, releases
from emovec_sae.saes.model_names import same_spelling
from emovec_sae.sites import Site

NEURONPEDIA = "https://www.neuronpedia.org"


@dataclass(frozen=True)
class Listed:
    """An SAE of the catalogue; None is what nobody says offline.

    Attributes
    ----------
    release, sae_id
        What `load_sae` takes.
    model
        sae-lens's name of the model.
    site
        Where it reads, such as ``resid_post.12``.
    d_sae
        Number of latents.
    l0
        Latents active at a token, as the release states it.
    usable
        True, False, or None where its own configuration decides.
    reason
        Why it is not usable, or not yet known to be; empty otherwise.
    neuronpedia, url
        Its name on Neuronpedia and the page that lists its latents.
    repo, path, layout
        Where its files lie, and which of sae-lens's loaders reads them.
    """

    release: str
    sae_id: str
    model: str
    site: str | None
    d_sae: int | None
    l0: float | None
    usable: bool | None
    reason: str
    neuronpedia: str | None
    url: str | None
    repo: str
    path: str
    layout: str


def listed(model: str | None = None, site: str | Site | None = None) -> list[Listed]:
    """The SAEs of the catalogue, offline.

    Parameters
    ----------
    model
        Keep those of this model, in any spelling: a Hugging Face id, sae-lens's or Neuronpedia's name, an embedded
        name, a path.
    site
        Keep those that read this site.

    Raises
    ------
    ConfigError
        If the site cannot be read.
    """
    wanted = None if model is None else same_spelling(model)
    where = None if site is None else str(Site.parse(site))
    chosen = [one for one in releases().values() if wanted is None or same_spelling(model_of(one)) == wanted]
    found = [_listed(release, sae_id) for release in chosen for sae_id in release.saes]
    found = [one for one in found if where is None or one.site == where]
    return sorted(found, key=_order)


def catalogue(model: str | None = None, site: str | Site | None = None) -> pd.DataFrame:
    """List the SAEs of sae-lens's catalogue, offline, one row an SAE.

    Parameters
    ----------
    model, site
        As in `listed`.

    Returns
    -------
    pandas.DataFrame
        The attributes of `Listed` as columns; unknown is missing (``<NA>``, NaN or None).
    """
    frame = pd.DataFrame([asdict(one) for one in listed(model, site)], columns=list(Listed.__dataclass_fields__))
    return frame.astype({"d_sae": "Int64", "l0": "float64", "usable": "boolean"})


def by_release(found: list[Listed]) -> pd.DataFrame:
    """One row a release and answer to "can it be used?": sites, widths, range of l0, how many are on Neuronpedia."""
    rows: dict[tuple[str, bool | None, str], list[Listed]] = {}
    for one in found:
        rows.setdefault((one.release, one.usable, one.reason), []).append(one)
    return pd.DataFrame(
        {
            "release": release,
            "saes": len(ones),
            "sites": _ranges(ones),
            "d_sae": " ".join(str(width) for width in sorted({one.d_sae for one in ones if one.d_sae})) or "unknown",
            "l0": _span([one.l0 for one in ones if one.l0]),
            "neuronpedia": sum(one.neuronpedia is not None for one in ones),
            "usable": told(can, reason),
        }
        for (release, can, reason), ones in rows.items()
    )


def by_model(found: list[Listed]) -> pd.DataFrame:
    """One row a model: releases, SAEs, how many of them can be used and are on Neuronpedia."""
    rows: dict[str, list[Listed]] = {}
    for one in found:
        rows.setdefault(one.model, []).append(one)
    return pd.DataFrame(
        {
            "model": model,
            "releases": len({one.release for one in ones}),
            "saes": len(ones),
            "usable": sum(one.usable is True for one in ones),
            "not_known_yet": sum(one.usable is None for one in ones),
            "neuronpedia": sum(one.neuronpedia is not None for one in ones),
        }
        for model, ones in rows.items()
    )


def told(can: bool | None, reason: str) -> str:  # noqa: FBT001
    """`Listed.usable` and its reason in words."""
    return {True: "yes", False: f"no: it {reason}", None: "not known until its configuration is read"}[can]


def models_of_catalogue() -> list[str]:
    """The names of all models in the catalogue, sae-lens's spelling."""
    return sorted({model_of(release) for release in releases().values()})


def _ranges(ones: list[Listed]) -> str:
    """Sites of a stream together: ``resid_post.0-17``."""
    layers: dict[str, set[int]] = {}
    for one in ones:
        if one.site:
            site = Site.parse(one.site)
            layers.setdefault(site.stream, set()).add(site.layer)
    parts: list[str] = []
    for stream, found in layers.items():
        first, last = min(found), max(found)
        whole = len(found) > 2 and found == set(range(first, last + 1))
        parts.append(f"{stream}.{first}-{last}" if whole else f"{stream}." + ",".join(map(str, sorted(found))))
    return " ".join(parts) or "none"


def _span(values: list[float]) -> str:
    if not values:
        return "unknown"
    return f"{min(values):.0f}" if min(values) == max(values) else f"{min(values):.0f}-{max(values):.0f}"


def _listed(release: Release, sae_id: str) -> Listed:
    site, _ = site_or_reason(release, sae_id)
    name = release.saes[sae_id].get("neuronpedia")
    can, reason = usable(release, sae_id)
    return Listed(
        release=release.name,
        sae_id=sae_id,
        model=model_of(release),
        site=None if site is None else str(site),
        d_sae=width_of(release, sae_id),
        l0=l0_of(release, sae_id),
        usable=can,
        reason=reason,
        neuronpedia=name,
        url=f"{NEURONPEDIA}/{name}" if name else None,
        repo=release.repo,
        path=release.path(sae_id),
        layout=release.layout,
    )


def _order(one: Listed) -> tuple[object, ...]:
    """Usable ones first; then by site, release, width and l0."""
    site = Site.parse(one.site).order if one.site else (10**6, 0)
    return (
        one.model,
        {True: 0, None: 1, False: 2}[one.usable],
        site,
        one.release,
        one.d_sae or 0,
        one.l0 or 0.0,
        one.sae_id,
    )
