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
    node.attrs["encoding-type"] = kind
    node.attrs["encoding-version"] = VERSION
