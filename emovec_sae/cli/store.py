"""emovec verify, repack: the check of shards, and a copy that any HDF5 library reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, table
from emovec_sae.errors import StoreError


def verify(folder: Path, *, repair: bool = False, json_: Json = False) -> None:
    """Check a folder of activations: digests, schema, completeness. Exit code 2 if something is broken.

    Parameters
    ----------
    folder
        What record wrote, finished or not.
    repair
        Drop what is broken; recording again then makes just that.
    """
    from emovec_sae.store.verify import verify as verify_

    found = verify_(folder, repair=repair)
    facts = {
        "complete": found.complete,
        "checked": found.checked,
        "broken": found.broken,
        "repaired": found.repaired,
    }
    whole = f"{found.checked} shards whole"
    if not found.complete:
        whole += "; the recording has not finished, run the same record command again to go on"
    answer(facts, json_=json_, text=whole if found.ok else table(found.frame()))
    if not found.ok and not found.repaired:
        raise StoreError(f"{len(found.broken)} of {found.checked} shards of {folder} are broken; --repair drops them")
    if found.repaired:
        raise StoreError(
            f"{len(found.broken)} broken shards of {folder} were dropped; run the same record command again"
        )


def repack(
    folder: Path,
    *,
    out: Path,
    filter_: Annotated[Literal["gzip", "lz4"], Parameter(name="--filter")] = "gzip",
    json_: Json = False,
) -> None:
    """Copy a store with another compression, values compared.

    Parameters
    ----------
    folder
        What record wrote.
    out
        New folder.
    filter_
        gzip: any HDF5 library reads it without plugins. lz4: fast, needs the bitshuffle plugin.
    """
    from emovec_sae.store.reader import open_activations
    from emovec_sae.store.repack import repack as repack_

    before = open_activations(folder)
    after = repack_(before, out, packing=filter_)
    sizes = [sum(shard["bytes"] for shard in acts.manifest["shards"]) for acts in (before, after)]
    facts = {"out": str(out), "filter": filter_, "bytes_before": sizes[0], "bytes": sizes[1]}
    answer(facts | {"fingerprint": after.fingerprint}, json_=json_, text=repr(after))
