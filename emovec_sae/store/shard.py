"""One shard: written whole or not at all, read with errors that name the file and the node."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.provenance import atomic
from emovec_sae.sites import Site
from emovec_sae.store.layout import POOLS, SHARD, VERSION, mark, put_text

_BLOCK = 2**22
"""Bytes by which a file in memory grows."""
_CHUNK = 2**18
"""Values of a compressed chunk, whole rows: what is read, checked and unpacked at once."""
_LIBRARY = ("v110", "v110")
"""Groups, attributes and chunk indices of this version carry checksums, as the older default's do not."""
FILTERS = ("lz4", "gzip")
"""``lz4``: bitshuffle and lz4, fast, needs hdf5plugin to read. ``gzip``: shuffle and gzip, which HDF5 itself reads."""


@dataclass(frozen=True)
class Shard:
    """The contents of a shard.

    Attributes
    ----------
    rows
        Row of each text in the corpus, (texts,) int64.
    n_tokens
        Length of each text in tokens, all of them, (texts,) int32.
    start
        Where each text's kept tokens begin, (texts + 1,) int64.
    token_id, position, pooled
        Of every kept token (neither first nor special): its id, its place in the text, and whether ``mean`` used it.
    values
        ``{site: {pool: array}}``: ``mean`` and ``last`` (texts, d_model), ``none`` (tokens, d_model), all float32.
    norms
        ``{site: (sum of L2 norms, number of tokens)}`` over the tokens that ``mean`` uses.
    """

    rows: np.ndarray
    n_tokens: np.ndarray
    start: np.ndarray
    token_id: np.ndarray
    position: np.ndarray
    pooled: np.ndarray
    values: Mapping[str, Mapping[str, np.ndarray]]
    norms: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def write_shard(path: Path, shard: Shard, *, recording: str, packing: str = "lz4") -> None:
    """Write a shard atomically, compressed, every array with a checksum over its stored bytes.

    Parameters
    ----------
    path
        The file.
    shard
        What goes into it.
    recording
        Digest of the recording's settings: a shard of another recording is never taken for one of this.
    packing
        One of `FILTERS`.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written.
    """
    try:
        image = _image(shard, recording, packing)
        with atomic(path) as part:
            part.write_bytes(image)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; nothing of this shard was kept, record again to go on"
        ) from error


def _image(shard: Shard, recording: str, packing: str) -> bytes:
    """The bytes of a shard's file. Made in memory: where HDF5 itself meets a full disk, the process may crash."""
    import h5py
    import hdf5plugin

    gzip = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    packed: Any = gzip if packing == "gzip" else hdf5plugin.Bitshuffle(cname="lz4")
    with h5py.File("shard", "w", driver="core", backing_store=False, block_size=_BLOCK, libver=_LIBRARY) as file:
        mark(file, SHARD)
        put_text(file, "recording", recording)
        _put(file, "texts", {"row": shard.rows, "n_tokens": shard.n_tokens}, {})
        tokens = {
            "start": shard.start,
            "token_id": shard.token_id,
            "position": shard.position,
            "pooled": shard.pooled,
        }
        _put(file, "tokens", tokens, {})
        mark(file.create_group("sites"), "group")
        for site, pools in shard.values.items():
            group = _put(file, f"sites/{site}", pools, packed)
            group.attrs["norm_sum"], group.attrs["norm_count"] = shard.norms[site]
        file.flush()
        return file.id.get_file_image()


def _put(file: Any, name: str, arrays: Mapping[str, np.ndarray], options: Any) -> Any:
    group = file.create_group(name)
    mark(group, "group")
    for key, array in arrays.items():
        rows = max(1, _CHUNK // max(1, array[:1].size))
        chunked = {"chunks": (min(len(array), rows), *array.shape[1:]), "fletcher32": True, **options}
        node = group.create_dataset(key, data=array, **(chunked if array.size else {}))
        mark(node, "array")
    return group


@contextmanager
def open_shard(path: Path) -> Generator[ShardReader]:
    """Open a shard for reading.

    Raises
    ------
    StoreError
        If the file is missing, cut short, damaged, or no shard of this version.
    """
    import h5py
    import hdf5plugin  # noqa: F401  # pyright: ignore[reportUnusedImport]  registers the filters

    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise StoreError(f"shard {path} is missing; run: emovec verify {path.parent} --repair") from error
    except OSError as error:
        raise StoreError(f"shard {path} is damaged or cut short; run: emovec verify {path.parent} --repair") from error
    with file:
        reader = ShardReader(path, file)
        kind, version = reader.attribute("encoding-type"), reader.attribute("encoding-version")
        if kind != SHARD or version != VERSION:
            raise StoreError(f"{path} is '{kind}' version {version}; this package reads '{SHARD}' version {VERSION}")
        yield reader


@dataclass(frozen=True)
class ShardReader:
    """An open shard; reads one array at a time."""

    path: Path
    file: Any

    def array(self, node: str, rows: Any = slice(None)) -> np.ndarray:
        """Read an array, or a slice of its first axis.

        Raises
        ------
        StoreError
            If the node is missing or its bytes cannot be read.
        """
        try:
            return self.file[node][rows]
        except (KeyError, OSError, RuntimeError) as error:
            raise self._damaged(node) from error

    def contents(self) -> Shard:
        """Everything, in memory.

        Raises
        ------
        StoreError
            If a node is missing or its bytes cannot be read.
        """
        try:
            # h5py's items() holds its lock while suspended: an error between would lock every other thread out
            names = sorted(self.file["sites"], key=Site.parse)  # in the order in which they were written
            pools = {name: set(self.file[f"sites/{name}"]) for name in names}
            sites = {name: [pool for pool in POOLS if pool in pools[name]] for name in names}
        except (KeyError, OSError, RuntimeError, ConfigError) as error:
            raise self._damaged("sites") from error
        norms = {site: self.norm(site) for site in sites}
        return Shard(
            rows=self.array("texts/row"),
            n_tokens=self.array("texts/n_tokens"),
            start=self.array("tokens/start"),
            token_id=self.array("tokens/token_id"),
            position=self.array("tokens/position"),
            pooled=self.array("tokens/pooled"),
            values={
                site: {pool: self.array(f"sites/{site}/{pool}") for pool in pools} for site, pools in sites.items()
            },
            norms=norms,
        )

    @property
    def recording(self) -> str:
        """Digest of the settings of the recording that the shard belongs to."""
        return str(self.attribute("recording") or "")

    def attribute(self, name: str, node: str = "/") -> Any:
        """An attribute of a node, None where there is none.

        Raises
        ------
        StoreError
            If its bytes cannot be read.
        """
        try:
            found = self.file[node].attrs.get(name)
            return found.decode() if isinstance(found, bytes) else found
        except (KeyError, OSError, RuntimeError, ValueError) as error:  # h5py has no class of its own for damage
            raise self._damaged(node) from error

    def _damaged(self, node: str) -> StoreError:
        return StoreError(
            f"cannot read node '{node}' of {self.path}: damaged; run: emovec verify {self.path.parent} --repair"
        )

    def norm(self, site: str) -> tuple[float, int]:
        """Sum of the L2 norms at a site, and the number of tokens in it."""
        total, count = (self.attribute(name, f"sites/{site}") for name in ("norm_sum", "norm_count"))
        if total is None or count is None:
            raise StoreError(f"site '{site}' of {self.path} has no norm: the shard is damaged; record it again")
        return float(total), int(count)


def diagnose(path: Path, recording: str) -> str | None:
    """What is wrong with a file as a shard of a recording, or None if every array of it can be read.

    Parameters
    ----------
    path
        The file.
    recording
        Digest of the recording's settings.
    """
    try:
        with open_shard(path) as shard:
            if shard.recording != recording:
                return "of another recording"
            shard.contents()
    except StoreError as error:
        if "; this package reads" in str(error):
            return str(error).removeprefix(f"{path} ")
        return "bytes changed: it cannot be read"
    return None
