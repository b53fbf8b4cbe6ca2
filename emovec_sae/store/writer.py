"""Write a store: one writer at a time, shards whole or not at all, the manifest last, any death resumed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from emovec_sae.errors import StoreError
from emovec_sae.provenance import atomic, digest, file_digest, write_json
from emovec_sae.store.layout import CORPUS, FORMAT, LOCK, MANIFEST, UNFINISHED, VERSION, shard_name
from emovec_sae.store.manifest import read_manifest
from emovec_sae.store.shard import Shard, open_shard, write_shard


class StoreWriter:
    """The writing side of a store; get one from `writing`.

    Attributes
    ----------
    path
        The folder.
    settings
        What decides the content: model, corpus, sites, pools, offset, budget, plan. Another recording into the same
        folder must have the same.
    complete
        Whether the folder already holds the finished recording.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = dict(settings)
        self.complete = False

    def start(self, frame: pd.DataFrame) -> None:
        """Check what is in the folder, and write the settings and the texts if it is new.

        Raises
        ------
        StoreError
            If the folder holds another recording, or something else.
        """
        found = next((self.path / name for name in (MANIFEST, UNFINISHED) if (self.path / name).is_file()), None)
        if found is not None:
            self._same(read_manifest(found)["settings"], found)
            self.complete = found.name == MANIFEST
        else:
            others = [one.name for one in self.path.iterdir() if not one.name.startswith(".")]
            if others:
                raise StoreError(
                    f"{self.path} is not empty and holds no recording ({others[0]}, ...); choose another folder"
                )
            header = {"encoding-type": FORMAT, "encoding-version": VERSION, "settings": self.settings}
            write_json(self.path / UNFINISHED, header)
        for left in self.path.glob(".shard-*"):  # of a process that was killed while it wrote
            left.unlink()
        if not (self.path / CORPUS).is_file() and not self.complete:
            with atomic(self.path / CORPUS) as part:
                frame.to_parquet(part, index=False)

    def has(self, index: int) -> bool:
        """Whether a shard of this recording is already there; another's, or a damaged one, is dropped."""
        path = self.path / shard_name(index)
        if not path.is_file():
            return False
        try:
            with open_shard(path) as shard:
                own = shard.recording == digest(self.settings)
        except StoreError:
            own = False
        if not own:
            path.unlink()
        return own

    def write(self, index: int, shard: Shard) -> None:
        """Write one shard."""
        write_shard(self.path / shard_name(index), shard, recording=digest(self.settings))

    def finish(self, count: int, provenance: Mapping[str, Any]) -> None:
        """Write the manifest with the digest of every shard; the store is complete from then on."""
        shards: list[dict[str, Any]] = []
        norms: dict[str, list[float]] = {}
        for index in range(count):
            path = self.path / shard_name(index)
            with open_shard(path) as shard:
                for site in self.settings["sites"]:
                    total, tokens = shard.norm(site)
                    sums = norms.setdefault(site, [0.0, 0.0])
                    sums[0] += total
                    sums[1] += tokens
                texts, tokens = len(shard.array("texts/row")), len(shard.array("tokens/position"))
            facts = {"file": path.name, "texts": texts, "tokens": tokens, "bytes": path.stat().st_size}
            shards.append({**facts, "sha256": file_digest(path)})
        manifest = {
            "encoding-type": FORMAT,
            "encoding-version": VERSION,
            "settings": self.settings,
            "residual_norm": {site: total / tokens for site, (total, tokens) in norms.items()},
            "shards": shards,
            "fingerprint": digest([shard["sha256"] for shard in shards]),
            "corpus_sha256": file_digest(self.path / CORPUS),
            "provenance": dict(provenance),
        }
        with _writable(self.path):
            write_json(self.path / MANIFEST, manifest)
            (self.path / UNFINISHED).unlink(missing_ok=True)
        self.complete = True

    def _same(self, found: Mapping[str, Any], where: Path) -> None:
        said = "; ".join(_differences(found, self.settings))
        if said:
            raise StoreError(f"{where.parent} holds another recording ({said}); choose another folder or remove it")


@contextmanager
def writing(path: str | Path, settings: Mapping[str, Any], frame: pd.DataFrame) -> Generator[StoreWriter]:
    """Open a folder for recording, alone.

    Raises
    ------
    StoreError
        If another process records into it, it cannot be written, or it holds another recording.
    """
    folder = Path(path)
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder / LOCK), timeout=0)
        lock.acquire()
    try:
        writer = StoreWriter(folder, settings)
        with _writable(folder):
            writer.start(frame)
        yield writer
    finally:
        lock.release()


@contextmanager
def _writable(folder: Path) -> Generator[None]:
    try:
        yield
    except Timeout as error:
        raise StoreError(f"another process is recording into {folder}; wait for it or choose another folder") from error
    except OSError as error:
        raise StoreError(f"cannot write into {folder}: {error.strerror or error}") from error


def _differences(there: Mapping[str, Any], now: Mapping[str, Any], name: str = "") -> list[str]:
    """What two settings disagree about, down to the fact: the same model in another precision is named as that."""
    said: list[str] = []
    for key in sorted({*there, *now}):
        one, other = there.get(key), now.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            said += _differences(one, other, f"{name}{key}.")
        elif one != other:
            said.append(f"{name}{key}: there {_short(one)}, now {_short(other)}")
    return said


def _short(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 4:
        return f"[{value[0]}, ..., {value[-1]}]"
    return str(value)
