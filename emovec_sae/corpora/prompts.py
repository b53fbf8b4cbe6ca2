"""Prompts: stems at which a feeling word is due, and open prompts; marked for tuning or for reporting."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from emovec_sae.corpora.emotions import DATA
from emovec_sae.corpora.readers import read_table
from emovec_sae.errors import CorpusError, suggest

USES = ("tune", "report")
"""`tune` rows choose doses and latents; effects are reported on `report` rows only."""


def load_prompts(
    name_or_path: str | Path = "prompts", *, kind: str | Iterable[str] | None = None, use: str | None = None
) -> pd.DataFrame:
    """Load prompts.

    Parameters
    ----------
    name_or_path
        ``"prompts"`` for the 60 packaged ones, or a ``.jsonl``, ``.csv`` or ``.parquet`` file with the columns `text`,
        `kind` and `use`.
    kind
        Keep these kinds only; the packaged ones are ``word_third``, ``word_first`` and ``open``.
    use
        ``"tune"`` or ``"report"``; both by default.

    Returns
    -------
    pandas.DataFrame
        `id`, `text`, `kind`, `use`; one row a prompt, RangeIndex.

    Raises
    ------
    CorpusError
        If the file cannot be read, a value is blank or unknown, or nothing is left.
    """
    table = read_table(DATA / "prompts.jsonl" if str(name_or_path) == "prompts" else name_or_path)
    table.require(["text", "kind", "use"])
    frame = pd.DataFrame({"id": table.identifiers()} | {name: table.texts(name) for name in ("text", "kind", "use")})
    for row, value in enumerate(frame["use"]):
        if value not in USES:
            raise CorpusError(f"{table.at(row, 'use')} is '{value}'; it should be tune or report")
    if kind is not None:
        frame = frame[frame["kind"].isin(_known([kind] if isinstance(kind, str) else kind, set(frame["kind"]), "kind"))]
    if use is not None:
        frame = frame[frame["use"].isin(_known([use], set(USES), "use"))]
    if frame.empty:
        raise CorpusError(f"{table.source} has no prompts of kind={kind!r} and use={use!r}")
    return frame.reset_index(drop=True)


def _known(wanted: Iterable[str], present: set[str], column: str) -> list[str]:
    names = list(wanted)
    for name in names:
        if name not in present:
            raise CorpusError(
                f"unknown {column} of prompt '{name}'{suggest(name, present)}; there are {', '.join(sorted(present))}"
            )
    return names
