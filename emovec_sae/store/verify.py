"""Check a store against its manifest, every byte by digest; repair by dropping what broke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.provenance import digest, file_digest, write_json
from emovec_sae.store.layout import CORPUS, FORMAT, MANIFEST, UNFINISHED, VERSION
from emovec_sae.store.manifest import read_manifest
from emovec_sae.store.shard import diagnose

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of an HDF5 file."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes
    ----------
    path
        The folder.
    complete
        Whether the recording has finished; of an unfinished one the shards that are there were checked.
    checked
        Number of shards that the manifest names, or that are there.
    broken
        File name -> what is wrong with it.
    repaired
        Whether the broken files were dropped, so that recording again makes just them.
    """

    path: Path
    complete: bool
    checked: int
    broken: dict[str, str]
    repaired: bool

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.broken

    def frame(self) -> pd.DataFrame:
        """One row a broken file: file, problem."""
        return pd.DataFrame({"file": list(self.broken), "problem": list(self.broken.values())})


def verify(path: str | Path, *, repair: bool = False) -> Verification:
    """Check every shard of a store: missing, cut short, changed, another's, twice there, of another version.

    A finished store is compared with the digests of its manifest. In an unfinished one each shard must belong to the
    recording and every array must pass its checksums.

    Parameters
    ----------
    path
        The folder.
    repair
        Drop the broken shards and reopen the recording; the same ``record`` then makes only those again.

    Raises
    ------
    StoreError
        If there is no store, or the texts themselves are damaged (then nothing can vouch for the shards).
    """
    folder = Path(path)
    if (folder / MANIFEST).is_file():
        return _finished(folder, repair=repair)
    if (folder / UNFINISHED).is_file():
        return _unfinished(folder, repair=repair)
    raise StoreError(f"there is no {MANIFEST} in {folder}; make a store with: emovec record")


def _finished(folder: Path, *, repair: bool) -> Verification:
    manifest = read_manifest(folder / MANIFEST)
    if not (folder / CORPUS).is_file() or file_digest(folder / CORPUS) != manifest["corpus_sha256"]:
        raise StoreError(f"{folder / CORPUS} is missing or changed; remove {folder} and record again")
    own = digest(manifest["settings"])
    named = {shard["sha256"]: shard["file"] for shard in manifest["shards"]}
    found = {shard["file"]: _problem(folder, shard, named, own) for shard in manifest["shards"]}
    broken = {name: problem for name, problem in found.items() if problem}
    broken |= {one.name: "not named in the manifest" for one in folder.glob("shard-*.h5") if one.name not in found}
    if broken and repair:
        header = {"encoding-type": FORMAT, "encoding-version": VERSION, "settings": manifest["settings"]}
        write_json(folder / UNFINISHED, {**header, "provenance": manifest["provenance"]})
        (folder / MANIFEST).unlink()
        for name in broken:
            (folder / name).unlink(missing_ok=True)
    return Verification(folder, True, len(found), broken, bool(broken) and repair)


def _unfinished(folder: Path, *, repair: bool) -> Verification:
    own = digest(read_manifest(folder / UNFINISHED)["settings"])
    shards = sorted(folder.glob("shard-*.h5"))
    seen: dict[str, str] = {}
    broken: dict[str, str] = {}
    for shard in shards:
        sha256 = file_digest(shard)
        problem = diagnose(shard, own) or (f"the same bytes as {seen[sha256]}" if sha256 in seen else None)
        if problem:
            broken[shard.name] = problem
        else:
            seen[sha256] = shard.name
    if repair:
        for name in broken:
            (folder / name).unlink(missing_ok=True)
    return Verification(folder, False, len(shards), broken, bool(broken) and repair)


def _problem(folder: Path, shard: Mapping[str, Any], named: Mapping[str, str], own: str) -> str | None:
    """What is wrong with a shard of a finished store."""
    path = folder / shard["file"]
    if not path.is_file():
        return "missing"
    sha256 = file_digest(path)
    if sha256 == shard["sha256"]:
        return None
    if sha256 in named:
        return f"the same bytes as {named[sha256]}"
    with path.open("rb") as file:
        start = file.read(len(_SIGNATURE))
    if start and start != _SIGNATURE:
        return "no HDF5 file"
    size = path.stat().st_size
    if size < shard["bytes"]:
        return f"cut short: {size} of {shard['bytes']} bytes"
    return diagnose(path, own) or "bytes changed since it was recorded"
