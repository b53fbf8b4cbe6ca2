"""Write a store: one writer at a time, shards whole or not at all, the manifest last, any death resumed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from emovec_sae.errors import StoreError
from emovec_sae.provenance import atomic, collect, digest, file_digest, write_json
from emovec_sae.store.layout import CORPUS, FORMAT, LOCK, MANIFEST, UNFINISHED, VERSION, shard_name
from emovec_sae.store.manifest import read_manifest
from emovec_sae.store.shard import Shard, diagnose, open_shard, write_shard


class StoreWriter:
    """The writing side of a store; get one from `writing`.

    Attributes
    ----------
    path
        The folder.
    settings
        What decides the content: model, corpus, sites, pools, offset, budget, plan. Another recording into the same
        folder must have the same.
    packing
        How arrays are compressed, one of `FILTERS`; the values do not depend on it.
    complete
        Whether the folder already holds the finished recording.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, packing: str = "lz4") -> None:
        self.path = path
        self.settings = dict(settings)
        self.packing = packing
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
            self._same(read_manifest(found))
            self.complete = found.name == MANIFEST
        else:
            others = [one.name for one in self.path.iterdir() if not one.name.startswith(".")]
            if others:
                raise StoreError(
                    f"{self.path} is not empty and holds no recording ({others[0]}, ...); choose another folder"
                )
            header = {"encoding-type": FORMAT, "encoding-version": VERSION, "settings": self.settings}
            write_json(self.path / UNFINISHED, {**header, "provenance": collect()})
        self.sweep()
        if not (self.path / CORPUS).is_file() and not self.complete:
            with atomic(self.path / CORPUS) as part:
                frame.to_parquet(part, index=False)

    def sweep(self) -> None:
        """Remove what processes left behind that were killed while they wrote."""
        for name in ("shard-*", CORPUS, UNFINISHED, MANIFEST):
            for left in self.path.glob(f".{name}.*"):
                left.unlink(missing_ok=True)

    def has(self, index: int, rows: Sequence[int]) -> bool:
        """Whether the shard with these texts is already there; a damaged one, or another under its name, is dropped."""
        path = self.path / shard_name(index)
        if not path.is_file():
            return False
        own = diagnose(path, digest(self.settings)) is None
        if own:
            with open_shard(path) as shard:
                own = shard.array("texts/row").tolist() == list(rows)
        if not own:
            path.unlink()
        return own

    def write(self, index: int, shard: Shard) -> Path:
        """Write one shard; several may be written at once, from other threads and processes."""
        path = self.path / shard_name(index)
        write_shard(path, shard, recording=digest(self.settings), packing=self.packing)
        return path

    def finish(self, count: int, provenance: Mapping[str, Any], *, fingerprint: str | None = None) -> None:
        """Write the manifest with the digest of every shard; the store is complete from then on.

        Parameters
        ----------
        count
            Number of shards.
        provenance
            Of the recording.
        fingerprint
            Of the same values packed otherwise; None takes the digest of the shards.
        """
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
            "filter": self.packing,
            "residual_norm": {site: total / tokens for site, (total, tokens) in norms.items()},
            "shards": shards,
            "fingerprint": fingerprint or digest([shard["sha256"] for shard in shards]),
            "corpus_sha256": file_digest(self.path / CORPUS),
            "provenance": dict(provenance),
        }
        with _writable(self.path):
            write_json(self.path / MANIFEST, manifest)
            (self.path / UNFINISHED).unlink(missing_ok=True)
        self.complete = True

    def _same(self, found: Mapping[str, Any]) -> None:
        said = "; ".join(_differences(found["settings"], self.settings))
        if said:
            raise StoreError(
                f"{self.path} holds another recording ({said}); there: {_who(found.get('provenance'))}; now: "
                f"{_who(collect())}; choose another folder or remove it"
            )


@contextmanager
def writing(
    path: str | Path, settings: Mapping[str, Any], frame: pd.DataFrame, *, packing: str = "lz4"
) -> Generator[StoreWriter]:
    """Open a folder for recording, alone.

    Parameters
    ----------
    path
        The folder; made if it is not there.
    settings
        What decides the content.
    frame
        One row a text.
    packing
        How arrays are compressed: ``lz4`` or ``gzip``.

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
        writer = StoreWriter(folder, settings, packing=packing)
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


def _who(provenance: Mapping[str, Any] | None) -> str:
    """When, by which command and code something was made."""
    if not provenance:
        return "of unknown origin"
    command = " ".join(map(str, provenance.get("command", []))) or "an unknown command"
    code = provenance.get("commit") or (provenance.get("packages") or {}).get("emovec_sae", "unknown version")
    return f"{provenance.get('made', 'at an unknown time')} by '{command}' (emovec_sae {code})"


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
