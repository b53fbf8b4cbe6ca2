"""A folder to hand on: every file listed with its size and hash, so that whoever fetches it can check all of it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.provenance import collect, file_digest, read_json, write_json

MANIFEST = "manifest.json"
FORMAT = "emovec-export"
VERSION = "1"
KINDS = ("directions", "decomposition", "sae")
SUFFIXES = (".safetensors", ".json", ".parquet", ".csv", ".md")
"""What an exported folder may hold: numbers, tables and words, nothing that runs when it is read."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Listed:
    """A file of an exported folder.

    Attributes
    ----------
    name
        Its name in the folder; there are no folders below.
    size
        Bytes.
    sha256
        Of its content, hex.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an exported folder says of itself.

    Attributes
    ----------
    kind
        ``directions``, ``decomposition`` or ``sae``.
    files
        All files but the manifest.
    """

    kind: str
    files: tuple[Listed, ...]

    @property
    def names(self) -> list[str]:
        """Names of the files."""
        return [one.name for one in self.files]


def write_manifest(folder: Path, kind: str) -> Path:
    """List what lies in a folder, last of all, so that a folder without a manifest is an unfinished one."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    told = [{"name": path.name, "size": path.stat().st_size, "sha256": file_digest(path)} for path in files]
    head = {"encoding-type": FORMAT, "encoding-version": VERSION, "kind": kind}
    return write_json(folder / MANIFEST, {**head, "files": told, "provenance": collect()})


def read_manifest(path: Path, *, source: str) -> Manifest:
    """Read a manifest that a stranger may have written, and believe none of it unseen.

    Parameters
    ----------
    path
        The file.
    source
        How messages call the place that it comes from.

    Raises
    ------
    StoreError
        If it is none, of another version, or names a file that does not belong into such a folder: one with a folder
        in its name, or of a kind that could hold code.
    """
    try:
        told: Any = read_json(path)
        kind, version = told["encoding-type"], told["encoding-version"]
        if (kind, version) != (FORMAT, VERSION):
            raise StoreError(f"{source}: {MANIFEST} is '{kind}' version {version}, wanted '{FORMAT}' version {VERSION}")
        found = Manifest(
            str(told["kind"]),
            tuple(Listed(str(one["name"]), int(one["size"]), str(one["sha256"])) for one in told["files"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{source}: {MANIFEST} is no list of exported files ({error})") from error
    if found.kind not in KINDS:
        raise StoreError(f"{source} holds '{found.kind}'; what can be read is {', '.join(KINDS)}")
    for name in found.names:
        if not _NAME.fullmatch(name) or name == MANIFEST or Path(name).suffix not in SUFFIXES:
            raise StoreError(
                f"{source}: {MANIFEST} lists '{name[:60]}'; an exported folder holds plain names that end in "
                f"{', '.join(SUFFIXES)}, and nothing else is fetched"
            )
    if len(set(found.names)) != len(found.names):
        raise StoreError(f"{source}: {MANIFEST} lists a file twice")
    return found


def check_files(folder: Path, manifest: Manifest, *, source: str) -> None:
    """Hold the files of a folder against its manifest.

    Raises
    ------
    StoreError
        If one is missing.
    MismatchError
        If one has another size or content.
    """
    for one in manifest.files:
        path = folder / one.name
        if not path.is_file():
            raise StoreError(f"{source} lacks {one.name}, which its {MANIFEST} lists")
        if path.stat().st_size != one.size or file_digest(path) != one.sha256:
            raise MismatchError(f"{source}: {one.name} is not the file that {MANIFEST} lists; it was changed or cut")


@contextmanager
def filled_folder(out: str | Path, *, overwrite: bool = False) -> Generator[Path]:
    """Give an empty folder to write into; on success its files stand in `out`, on failure nothing of it does.

    Other files of an existing `out` are left alone.

    Raises
    ------
    ConfigError
        If `out` is a file, or a file of the same name is there and `overwrite` is not set.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"'{out}' is a file; a folder is written, give the name of one")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield part
        written = sorted(part.iterdir(), key=lambda path: (path.name == MANIFEST, path.name))
        for path in written:
            path.chmod(0o644)
            refuse_existing(out / path.name, overwrite=overwrite)
        out.mkdir(exist_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)  # until the new one stands there, the folder counts as unfinished
        for path in written:
            path.replace(out / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unasked, with `ConfigError`."""
    if path.exists() and not overwrite:
        raise ConfigError(f"'{path}' exists and is not overwritten; choose another name, or say overwrite (--force)")
