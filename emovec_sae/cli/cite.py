"""emovec cite: the BibTeX of what results were made with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, say


def cite(
    sources: list[str] | None = None,
    /,
    *,
    out: Path | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Print the BibTeX of the methods that results were made with.

    Parameters
    ----------
    sources
        Saved results, an SAE's folder, a run's folder, or names of methods; without any, the package and the protocol.
    out
        Write a .bib file.
    force
        Replace it if it is there.
    """
    from emovec_sae.exports.citing import cite as cite_

    found = cite_(*(sources or ()))
    if out is not None:
        found.save(out, overwrite=force)
    for what, method in found.missing:
        say(f"no entry for '{method}', used by {what}: its reference is still to be found")
    missing = [{"what": what, "method": method} for what, method in found.missing]
    answer({"keys": found.keys, "missing": missing, "bibtex": found.bibtex()}, json_=json_, text=found.bibtex())
