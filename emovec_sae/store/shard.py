"""One shard: written whole or not at all, read with errors that name the file and the node."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emovec_sae.errors import StoreError
from emovec_sae.provenance import atomic
from emovec_sae.store.layout import SHARD, VERSION, mark

_BLOCK = 2**22
"""Bytes by which a file in memory grows."""


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


def write_shard(path: Path, shard: Shard, *, recording: str) -> None:
    """Write a shard atomically, compressed with bitshuffle and lz4.

    Parameters
    ----------
    path
        The file.
    shard
        What goes into it.
    recording
        Digest of the recording's settings: a shard of another recording is never taken for one of this.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written.
    """
    try:
        image = _image(shard, recording)
        with atomic(path) as part:
            part.write_bytes(image)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; nothing of this shard was kept, record again to go on"
        ) from error


def _image(shard: Shard, recording: str) -> bytes:
    """The bytes of a shard's file. Made in memory: where HDF5 itself meets a full disk, the process may crash."""
    import h5py
    import hdf5plugin

    packed: Any = hdf5plugin.Bitshuffle(cname="lz4")
    with h5py.File("shard", "w", driver="core", backing_store=False, block_size=_BLOCK) as file:
        mark(file, SHARD)
        file.attrs["recording"] = recording
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
        node = group.create_dataset(key, data=array, **(options if array.size else {}))
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
        kind, version = file.attrs.get("encoding-type"), file.attrs.get("encoding-version")
        if kind != SHARD or version != VERSION:
            raise StoreError(f"{path} is '{kind}' version {version}; this package reads '{SHARD}' version {VERSION}")
        yield ShardReader(path, file)


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
        except (KeyError, OSError) as error:
            raise StoreError(
                f"cannot read node '{node}' of {self.path}: damaged; run: emovec verify {self.path.parent} --repair"
            ) from error

    @property
    def recording(self) -> str:
        """Digest of the settings of the recording that the shard belongs to."""
        return str(self.file.attrs.get("recording", ""))

    def norm(self, site: str) -> tuple[float, int]:
        """Sum of the L2 norms at a site, and the number of tokens in it."""
        attributes = self.file[f"sites/{site}"].attrs
        return float(attributes["norm_sum"]), int(attributes["norm_count"])
