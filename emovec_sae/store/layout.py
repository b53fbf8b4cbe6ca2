"""Names and versions of the format; ``docs/format.md`` is its specification."""

from __future__ import annotations

from typing import Any

FORMAT = "emovec-activations"
SHARD = "emovec-shard"
VERSION = "1"
MANIFEST = "manifest.json"
"""Written last: a folder with it is complete."""
UNFINISHED = "recording.json"
"""The settings of a recording that has not finished."""
CORPUS = "corpus.parquet"
LOCK = ".lock"
POOLS = ("mean", "last", "max", "span", "none")


def shard_name(index: int) -> str:
    """File name of a shard."""
    return f"shard-{index:05d}.h5"


def mark(node: Any, kind: str) -> None:
    """Write the type and version that every HDF5 node carries."""
    put_text(node, "encoding-type", kind)
    put_text(node, "encoding-version", VERSION)


def put_text(node: Any, name: str, value: str) -> None:
    """Write a text attribute of fixed length: it lies inside of the node's header, under that one's checksum."""
    import h5py

    node.attrs.create(name, value, dtype=h5py.string_dtype("utf-8", len(value.encode())))
