"""Copy a store with another compression: the portable one for publishing, the fast one for work."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emovec_sae.errors import ConfigError, StoreError, suggest
from emovec_sae.provenance import collect, digest
from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.shard import FILTERS, Shard, open_shard
from emovec_sae.store.writer import StoreWriter, writing


def repack(acts: Activations, out: str | Path, *, packing: str = "gzip") -> Activations:
    """Copy a store shard by shard; the values are compared before the manifest is written.

    Parameters
    ----------
    acts
        The whole store (a view of some texts is refused).
    out
        A new folder; the same call goes on where it was interrupted.
    packing
        ``gzip``: any HDF5 library reads it without plugins. ``lz4``: fast, needs the bitshuffle plugin.

    Returns
    -------
    Activations
        The copy, with the same settings and fingerprint.

    Raises
    ------
    ConfigError, StoreError
        If the compression is unknown, a shard is damaged, or the folder cannot be written.
    """
    if packing not in FILTERS:
        raise ConfigError(f"unknown filter '{packing}'{suggest(packing, FILTERS)}; filters are {', '.join(FILTERS)}")
    whole = open_activations(acts.path)
    if len(acts) != len(whole):
        raise StoreError(f"this view shows {len(acts)} of {len(whole)} texts; repack the whole store")
    target = Path(out)
    if target.resolve() == whole.path.resolve():
        raise StoreError(f"{target} is the store itself; choose another folder")
    with writing(target, whole.settings, whole.frame, packing=packing) as writer:
        if not writer.complete:
            for index, path in enumerate(whole.shards):
                with open_shard(path) as shard:
                    contents, own = shard.contents(), shard.recording == digest(whole.settings)
                if not own:
                    raise StoreError(f"{path} is of another recording; run: emovec verify {whole.path} --repair")
                if not writer.has(index, contents.rows.tolist()):
                    _copy(writer, index, contents)
            packed = {"packed": collect(), "from": whole.path.name, "filter": packing}
            facts = {**whole.provenance, "repacked": packed}
            writer.finish(len(whole.shards), facts, fingerprint=whole.fingerprint)
    return open_activations(target)


def _copy(writer: StoreWriter, index: int, contents: Shard) -> None:
    path = writer.write(index, contents)
    with open_shard(path) as shard:
        again = shard.contents()
    same = all(
        np.array_equal(array, again.values[site][pool], equal_nan=True)
        for site, pools in contents.values.items()
        for pool, array in pools.items()
    )
    if not same or again.norms != contents.norms:
        raise StoreError(f"{path} does not hold what was written; the disk may be failing")
