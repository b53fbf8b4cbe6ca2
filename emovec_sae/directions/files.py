"""Direction sets on disk: ``NAME.safetensors`` for the numbers, ``NAME.json`` for what they are.

The pair is one artefact: the tensors carry the hash of what the sidecar says, the sidecar carries the hash of the
tensor file, so that a truncated file, an edited one or a sidecar of another set is noticed when it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from emovec_sae.directions.baseline import WordCentroids
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.readouts import ReadoutStats
from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.provenance import atomic, digest, file_digest, read_json, write_json
from emovec_sae.sites import Site

FORMAT = "emovec-directions"
VERSION = "1"


def save_directions(directions: DirectionSet, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a direction set and its sidecar, each atomically.

    Parameters
    ----------
    directions
        What to write.
    path
        A path that ends in ``.safetensors``; the sidecar ends in ``.json``.
    overwrite
        Whether an existing pair may be replaced.

    Returns
    -------
    Path
        The ``.safetensors`` file.

    Raises
    ------
    ConfigError
        If the path has another ending, or a file is there and `overwrite` is not set.
    """
    target = _checked(path)
    for old in (target, target.with_suffix(".json")):
        if old.exists() and not overwrite:
            raise ConfigError(f"{old} exists and is not overwritten; choose another name or ask for overwriting")
    facts = directions.facts()
    arrays = {name: np.ascontiguousarray(array) for name, array in directions.arrays().items()}
    provenance = dict(directions.provenance)
    metadata = {"encoding-type": FORMAT, "encoding-version": VERSION, "sidecar": digest([facts, provenance])}
    with atomic(target) as part:
        save_file(arrays, part, metadata=metadata)
        tensors = file_digest(part)
    write_json(
        target.with_suffix(".json"),
        {
            "encoding-type": FORMAT,
            "encoding-version": VERSION,
            "tensors": tensors,
            "fingerprint": directions.fingerprint,
            "facts": facts,
            "provenance": provenance,
        },
    )
    return target


def load_directions(path: str | Path) -> DirectionSet:
    """Read a direction set that `DirectionSet.save` wrote, and check that the pair belongs together.

    Parameters
    ----------
    path
        The ``.safetensors`` file (or its sidecar).

    Raises
    ------
    StoreError
        If a file is missing, truncated, or of another kind or version.
    MismatchError
        If the two files are not of one pair, or one was changed.
    """
    given = Path(path)
    target = _checked(given.with_suffix(".safetensors") if given.suffix == ".json" else given)
    sidecar = target.with_suffix(".json")
    for file in (target, sidecar):
        if not file.is_file():
            raise StoreError(f"no file {file}; a direction set is the pair {target.name} and {sidecar.name}")
    told = _sidecar(sidecar)
    metadata, arrays = _tensors(target)
    for where, kind in ((target, metadata), (sidecar, told)):
        if kind.get("encoding-type") != FORMAT or kind.get("encoding-version") != VERSION:
            raise StoreError(
                f"{where} is {kind.get('encoding-type')!r} version {kind.get('encoding-version')!r}; "
                f"this version reads {FORMAT!r} version {VERSION!r}"
            )
    if file_digest(target) != told["tensors"] or digest([told["facts"], told["provenance"]]) != metadata.get("sidecar"):
        raise MismatchError(f"{target.name} and {sidecar.name} are not of one pair, or one was changed; fit them again")
    found = _build(told, arrays)
    if found.fingerprint != told.get("fingerprint"):
        raise MismatchError(f"{sidecar} names a fingerprint that its own set does not have; fit the directions again")
    return found


def _build(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> DirectionSet:
    facts = told["facts"]
    vocabulary = facts["vocabulary"]
    return DirectionSet(
        emotions=tuple(facts["emotions"]),
        vectors=arrays["vectors"],
        removed=arrays["removed"],
        site=Site.parse(facts["site"]),
        model=facts["model"],
        corpus_hash=facts["corpus_hash"],
        activations=facts["activations"],
        pool=facts["pool"],
        offset=facts["offset"],
        residual_norm=facts["residual_norm"],
        residual_norm_of=facts["residual_norm_of"],
        n_texts=arrays["n_texts"],
        groups=tuple(facts["groups"]),
        stats=ReadoutStats(arrays["stats.mean"], arrays["stats.proj_mean"], arrays["stats.proj_std"]),
        readout=facts["readout"],
        estimator=facts["estimator"],
        provenance=told["provenance"],
        words=None if vocabulary is None else WordCentroids.from_arrays(arrays, vocabulary),
    )


def _checked(path: str | Path) -> Path:
    target = Path(path)
    if target.suffix != ".safetensors":
        raise ConfigError(f"{target} does not end in .safetensors; directions are written as NAME.safetensors")
    return target


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        told = read_json(path)
    except ValueError as error:
        raise StoreError(f"{path} is no JSON: {error}; the sidecar is damaged, fit the directions again") from error
    wanted = ("encoding-type", "encoding-version", "tensors", "fingerprint", "facts", "provenance")
    missing = [key for key in wanted if not isinstance(told, dict) or key not in told]
    if missing:
        raise StoreError(f"{path} lacks '{missing[0]}'; it is no sidecar of a direction set")
    return told


def _tensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    try:
        with safe_open(path, framework="numpy") as handle:
            return handle.metadata() or {}, {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise StoreError(f"{path} cannot be read: {error}; it is truncated or no safetensors file") from error
