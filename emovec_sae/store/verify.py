"""Check a store against its manifest, every byte by digest; repair by dropping what broke."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.provenance import file_digest, write_json
from emovec_sae.store.layout import CORPUS, FORMAT, MANIFEST, UNFINISHED, VERSION
from emovec_sae.store.manifest import read_manifest
from emovec_sae.store.shard import open_shard


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes
    ----------
    path
        The folder.
    checked
        Number of shards that the manifest names.
    broken
        File name -> what is wrong with it.
    repaired
        Whether the broken files were dropped, so that recording again makes just them.
    """

    path: Path
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
    """Check every shard of a finished store.

    Parameters
    ----------
    path
        The folder.
    repair
        Drop the broken shards and reopen the recording; the same ``record`` then makes only those again.

    Raises
    ------
    StoreError
        If there is no manifest, or the texts themselves are damaged (then nothing can vouch for the shards).
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        raise StoreError(f"there is no {MANIFEST} in {folder}; record again to finish or make it")
    manifest = read_manifest(folder / MANIFEST)
    if not (folder / CORPUS).is_file() or file_digest(folder / CORPUS) != manifest["corpus_sha256"]:
        raise StoreError(f"{folder / CORPUS} is missing or changed; remove {folder} and record again")
    broken: dict[str, str] = {}
    for shard in manifest["shards"]:
        problem = _problem(folder / shard["file"], shard["sha256"])
        if problem:
            broken[shard["file"]] = problem
    known = {shard["file"] for shard in manifest["shards"]}
    broken |= {one.name: "not named in the manifest" for one in folder.glob("shard-*.h5") if one.name not in known}
    if broken and repair:
        header = {"encoding-type": FORMAT, "encoding-version": VERSION, "settings": manifest["settings"]}
        write_json(folder / UNFINISHED, header)
        (folder / MANIFEST).unlink()
        for name in broken:
            (folder / name).unlink(missing_ok=True)
    return Verification(folder, len(known), broken, bool(broken) and repair)


def _problem(path: Path, sha256: str) -> str | None:
    if not path.is_file():
        return "missing"
    if file_digest(path) == sha256:
        return None
    try:
        with open_shard(path):
            return "bytes changed since it was recorded"
    except StoreError:
        return "cut short or unreadable"
