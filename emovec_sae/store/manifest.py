"""Read the JSON file that vouches for a store, with an error that names what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emovec_sae.errors import StoreError
from emovec_sae.provenance import read_json
from emovec_sae.store.layout import FORMAT, MANIFEST, VERSION

_FINISHED = ("residual_norm", "shards", "fingerprint", "corpus_sha256", "provenance")
"""Keys of a manifest; the settings of an unfinished recording lack them."""
_SHARD = ("file", "bytes", "sha256")


def read_manifest(path: Path) -> dict[str, Any]:
    """Read ``manifest.json``, or the ``recording.json`` of an unfinished store.

    Raises
    ------
    StoreError
        If it is not JSON, describes something else or another version of the format, or lacks a key.
    """
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}; remove {path.parent} and record again") from error
    kind, version = (found.get("encoding-type"), found.get("encoding-version")) if isinstance(found, dict) else (0, 0)
    if not isinstance(found, dict) or kind is None:
        raise StoreError(f"{path} does not describe activations; remove {path.parent} and record again")
    if kind != FORMAT or version != VERSION:
        raise StoreError(f"{path} is of '{kind}' version {version}; this package reads '{FORMAT}' version {VERSION}")
    lacking = [key for key in ("settings", *(_FINISHED if path.name == MANIFEST else ())) if key not in found]
    if not lacking and path.name == MANIFEST:
        complete = [isinstance(shard, Mapping) and all(key in shard for key in _SHARD) for shard in found["shards"]]
        lacking = [] if all(complete) else ["shards"]
    if lacking:
        raise StoreError(f"{path} lacks '{lacking[0]}', or it is damaged; remove {path.parent} and record again")
    return found
