"""Which texts directions were fitted on: told by the hashes that a set keeps of them, or by its provenance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from emovec_sae.corpora.packaged import CORPORA, load_corpus
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.evaluate import text_digest

PACKAGED_LICENCE = "cc-by-4.0"
PACKAGED_WRITER = "a large language model, to a written brief"


@dataclass(frozen=True)
class Texts:
    """The texts of a direction set.

    Attributes
    ----------
    corpus
        Name of the corpus.
    n
        How many texts.
    writer
        Who wrote them.
    licence
        SPDX identifier in small letters, as the hub has it, or None where nobody said.
    """

    corpus: str
    n: int
    writer: str
    licence: str | None


def texts_of(directions: DirectionSet, *, corpus: str | None = None, licence: str | None = None) -> Texts:
    """Tell corpus, writer and licence of the texts.

    Texts that ship with this package are known by their hashes, so that their licence is stated for them alone,
    whatever a file was called.

    Parameters
    ----------
    directions
        A fitted set.
    corpus, licence
        What the caller knows, for texts of another source.
    """
    n = int(directions.n_texts.sum())
    seen = frozenset(str(one) for one in directions.provenance.get("texts", ()))
    for name in CORPORA if seen else ():
        known = _packaged(name)
        if seen <= known.keys():
            runs = sorted({known[one] for one in seen} - {""}, key=lambda run: (len(run), run))
            writers = f" ({_listed(runs)})" if runs else ""
            return Texts(f"{name} (packaged with emovec_sae)", n, PACKAGED_WRITER + writers, PACKAGED_LICENCE)
    told = corpus or directions.provenance.get("corpus") or f"not named; hash {directions.corpus_hash[:12]}"
    writers = [str(one) for one in directions.provenance.get("writers") or ()]
    return Texts(str(told), n, _listed(writers) if writers else "not stated", licence)


@cache
def _packaged(name: str) -> dict[str, str]:
    """Hash of each packaged text -> the writing run that it is of."""
    frame = load_corpus(name).frame
    runs = frame["writer"] if "writer" in frame else [""] * len(frame)
    return {text_digest(str(text)): str(run) for text, run in zip(frame["text"], runs, strict=True)}


def _listed(names: Iterable[str], *, most: int = 6) -> str:
    all_ = list(names)
    few = ", ".join(all_[:most])
    return few if len(all_) <= most else f"{few} and {len(all_) - most} more"
