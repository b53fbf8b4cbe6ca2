"""Load an SAE from a folder in sae-lens's format, from a release of its catalogue, or from a repository."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from emovec_sae.errors import ConfigError, ModelError, suggest
from emovec_sae.provenance import read_json
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.convert import FACTS, converted, first_line
from emovec_sae.saes.directory import releases
from emovec_sae.sites import Site


def load_sae(
    source: str | Path,
    sae_id: str | None = None,
    *,
    device: str = "cpu",
    site: str | Site | None = None,
    trust_pickle: bool = False,
) -> SparseCoder:
    """Load an SAE.

    Parameters
    ----------
    source
        A folder with ``cfg.json`` and ``sae_weights.safetensors``; or, with `sae_id`, a release of sae-lens's
        catalogue (`catalogue` lists them) or a Hugging Face repository ``user/repo``.
    sae_id
        Which SAE of the release, or which folder of the repository. It is converted once into the user's cache;
        later loads need no network.
    device
        Where the weights go; they are float32 always.
    site
        Where it reads, for SAEs whose metadata does not say.
    trust_pickle
        Some releases are files in Python's pickle format. They are read as tensors alone; one that asks for more is
        refused, unless this says that its code may run.

    Raises
    ------
    ConfigError
        If the release or the id does not exist.
    ModelError
        If the files are missing, damaged or cannot be fetched.
    MismatchError
        If it does not say where it reads, and neither does `site`.
    UnfitError
        If its latents cannot be read as parts of a vector, or it needs other activations than the plain model's.
    """
    wanted = None if site is None else Site.parse(site)
    folder = sae_folder(source, sae_id, site_given=site is not None, trust_pickle=trust_pickle)
    name = None if sae_id is None else f"{source}/{sae_id}"
    return _from_folder(folder, device=device, site=wanted, name=name)


def sae_folder(
    source: str | Path, sae_id: str | None = None, *, site_given: bool = False, trust_pickle: bool = False
) -> Path:
    """The folder in which an SAE lies: its own, or the one in the cache into which a release was converted.

    Parameters and errors as in `load_sae`.
    """
    if sae_id is None:
        return _folder(source)
    return converted(str(source), sae_id, site_given=site_given, trust_pickle=trust_pickle)


def _folder(source: str | Path) -> Path:
    """The folder that `source` names, or the error that helps most."""
    folder = Path(source)
    if (folder / "cfg.json").is_file():
        return folder
    if folder.exists():
        raise ModelError(f"'{folder}' holds no SAE: cfg.json and sae_weights.safetensors are wanted there")
    known = releases()
    if str(source) in known:
        some = next(iter(known[str(source)].saes))
        raise ConfigError(
            f"'{source}' is a release of {len(known[str(source)].saes)} SAEs; name one (sae_id, --sae-id), "
            f"such as '{some}'"
        )
    raise ConfigError(
        f"no SAE folder '{source}', nor a release of that name{suggest(str(source), known)}; a repository user/repo "
        "needs its folder too (sae_id, --sae-id)"
    )


def _from_folder(folder: Path, *, device: str, site: Site | None, name: str | None = None) -> SparseCoder:
    from sae_lens import SAE
    from safetensors import SafetensorError

    facts: dict[str, Any] = {}
    try:
        if (folder / FACTS).exists():
            facts = read_json(folder / FACTS)
        with warnings.catch_warnings():
            # sae-lens warns of settings of the model; those that matter are refused below, with the reason
            warnings.simplefilter("ignore")
            sae = SAE.load_from_disk(folder, device=device, dtype="float32")
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        # sae-lens reads unchecked JSON into tensors: a damaged folder surfaces as any of these.
        raise ModelError(f"cannot read the SAE in '{folder}': {first_line(error)}") from error
    return SparseCoder(sae, site=site, name=name or folder.name, facts=facts)
