"""Fetch a pretrained SAE once, through sae-lens's loaders, and keep it so that later loads need no network."""

from __future__ import annotations

import logging
import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from emovec_sae.errors import ConfigError, MismatchError, ModelError, UnfitError
from emovec_sae.models.embedded import cache_dir
from emovec_sae.provenance import collect, file_digest, read_json, write_json
from emovec_sae.saes.folder import new_folder
from emovec_sae.saes.hooks import site_of_hooks
from emovec_sae.saes.refusals import refuse, why_not
from emovec_sae.saes.source import Source, find_source

FACTS = "emovec.json"
"""Our own file beside sae-lens's two: where it comes from, checksums; for trained SAEs provenance and texts."""

_WEIGHTS_ONLY, _ANY_PICKLE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_LOG = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where converted SAEs are kept: ``saes`` in the package's cache folder."""
    return cache_dir() / "saes"


def converted(source: str, sae_id: str, *, site_given: bool = False, trust_pickle: bool = False) -> Path:
    """The folder of a pretrained SAE in sae-lens's format, fetched and converted if no process has done so yet.

    A lock lets processes race; the folder appears whole. A copy whose checksum is wrong is made again.

    Parameters
    ----------
    source
        A release of the catalogue, or a repository ``user/repo``.
    sae_id
        Which SAE of it.
    site_given
        Whether the caller knows the site, so that the SAE need not say it.
    trust_pickle
        Let files in Python's pickle format run code, if they ask for more than tensors.

    Raises
    ------
    ConfigError
        If there is no such release or SAE.
    UnfitError
        If it cannot be used; nothing but its configuration was fetched then.
    ModelError
        If it cannot be fetched or read.
    """
    if not (state := _state(_folder(source, sae_id), source, sae_id)):
        return _folder(source, sae_id)
    found = find_source(source, sae_id)
    folder = _folder(found.name, found.sae_id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder, found.title):
        state = _state(folder, found.name, found.sae_id)
        if state and folder.exists():
            _LOG.warning("the copy of SAE '%s' in the cache is damaged (%s) and is made again", found.title, state)
        if state:
            for left in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed while it converted
                shutil.rmtree(left, ignore_errors=True)
            _convert(found, folder, site_given=site_given, trust_pickle=trust_pickle)
    return folder


@contextmanager
def _alone(folder: Path, title: str) -> Generator[None]:
    """Hold the lock of a copy, saying so where that means to wait."""
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("another process is fetching SAE '%s'; waiting for it", title)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _folder(source: str, sae_id: str) -> Path:
    parts = [name.replace("/", "--") for name in (source, sae_id)]
    if any(part.strip(".") == "" for part in parts):
        raise ConfigError(f"'{source}' and '{sae_id}' do not name an SAE; give a release, or user/repo and a folder")
    return cache_folder() / parts[0] / parts[1]


def _state(folder: Path, source: str, sae_id: str) -> str | None:
    """What is wrong with the copy in the cache, or None if it is the one that was written."""
    try:
        facts = read_json(folder / FACTS)
        if (facts["release"], facts["sae_id"]) != (source, sae_id):
            return f"it is {facts['sae_id']} of {facts['release']}"
        for name, sha256 in facts["files"].items():
            if file_digest(folder / name) != sha256:
                return f"{name} has changed"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{FACTS}: {first_line(error)}"
    return None if facts["files"] else f"{FACTS} names no file"


def _convert(found: Source, folder: Path, *, site_given: bool, trust_pickle: bool) -> None:
    sae = _fetch(found, site_given=site_given, trust_pickle=trust_pickle)
    refuse(sae, found.title)
    for weight in sae.parameters():  # some loaders transpose, which safetensors refuses to write
        weight.data = weight.data.contiguous()
    with new_folder(folder, overwrite=True) as part:
        sae.save_model(part)
        files = {path.name: file_digest(path) for path in sorted(part.iterdir())}
        write_json(part / FACTS, {**found.facts(), "files": files, "provenance": collect()})


def _fetch(found: Source, *, site_given: bool, trust_pickle: bool) -> Any:
    """Read the configuration, refuse what it rules out, and only then fetch the weights."""
    from httpx import HTTPError
    from safetensors import SafetensorError

    where = f"https://huggingface.co/{found.repo} ({found.path})"
    try:
        with _pickles(trust=trust_pickle), warnings.catch_warnings():
            # sae-lens warns of what is refused here with a reason: settings of the model, scales that are not folded
            warnings.simplefilter("ignore")
            return _from_sae_lens(found, site_given=site_given)
    except pickle.UnpicklingError as error:
        if not (asked := re.search(r"GLOBAL (\S+)", str(error))):
            raise _unreadable(found, where, "its pickle is damaged") from error
        raise ModelError(
            f"SAE '{found.title}' ({where}) holds more than tensors: reading it would run {asked[1]} from that file. "
            "If you trust it, say trust_pickle=True or --trust-pickle"
        ) from error
    except (OSError, HTTPError) as error:
        raise ModelError(
            f"SAE '{found.title}' is not in the cache and cannot be fetched from {where}: {first_line(error)} "
            f"(where there is a network, run emovec saes --fetch {found.name} --sae-id {found.sae_id}; "
            "EMOVEC_CACHE names a cache to share)"
        ) from error
    except (SafetensorError, zipfile.BadZipFile, ValueError, KeyError, RuntimeError, TypeError, EOFError) as error:
        # unchecked files of strangers go through sae-lens's loaders: damage surfaces as any of these
        raise _unreadable(found, where, first_line(error)) from error


def _unreadable(found: Source, where: str, reason: str) -> ModelError:
    return ModelError(f"the files of SAE '{found.title}' ({where}) cannot be read as layout '{found.layout}': {reason}")


def _from_sae_lens(found: Source, *, site_given: bool) -> Any:
    from sae_lens import SAE
    from sae_lens.loading.pretrained_sae_loaders import load_sae_config_from_huggingface

    settings = load_sae_config_from_huggingface(found.name, found.sae_id)
    if reason := why_not(settings, scale_known=found.scale_known):
        raise UnfitError(f"SAE '{found.title}' {reason}")
    if not site_given:
        _check_site(found, settings.get("metadata") or {})
    return SAE.from_pretrained(found.name, found.sae_id, device="cpu", dtype="float32")


def _check_site(found: Source, known: dict[str, Any]) -> None:
    """The SAE says one site, and the same as the catalogue."""
    try:
        site = site_of_hooks(known.get("hook_name"), known.get("hf_hook_name"), model=known.get("model_name"))
    except (MismatchError, UnfitError) as error:
        raise type(error)(f"SAE '{found.title}' {error}") from None
    if found.site is not None and site != found.site:
        raise MismatchError(
            f"SAE '{found.title}' says that it reads {site}, sae-lens's catalogue says {found.site}; "
            "give site= if you know which"
        )


@contextmanager
def _pickles(*, trust: bool) -> Generator[None]:
    """Hold torch.load, which sae-lens calls without a word on it, to tensors alone, whatever the environment says."""
    before = {name: os.environ.pop(name, None) for name in (_WEIGHTS_ONLY, _ANY_PICKLE)}
    os.environ[_ANY_PICKLE if trust else _WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
