"""Files of GoEmotions, ISEAR, crowd-enVENT, EmoBank and BRIGHTER, each turned into the columns of a corpus."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emovec_sae.corpora.separated import read_foreign
from emovec_sae.corpora.table import Table, missing
from emovec_sae.errors import CorpusError

log = logging.getLogger(__name__)

GOEMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
"""Labels in the order of their numbers."""
ISEAR = ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")
"""Labels in the order of their numbers, from 1 on."""
ENVENT = ("anger", "boredom", "disgust", "fear", "guilt", "joy", "pride", "relief", "sadness", "shame", "surprise",
          "trust", "no-emotion")  # fmt: skip
BRIGHTER = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
AGREED = 2
"""Raters of the raw GoEmotions files who must agree on a label, as in the files that its authors filtered."""

_NO_ANSWER = re.compile(r"^\W*(?:no response|not applicable|none|do not remember)\W*$", re.IGNORECASE)
_LANGUAGES = {
    "afr": "af", "amh": "am", "arq": "ar", "ary": "ar", "chn": "zh", "deu": "de", "eng": "en", "esp": "es", "hau": "ha",
    "hin": "hi", "ibo": "ig", "ind": "id", "jav": "jv", "kin": "rw", "mar": "mr", "orm": "om", "pcm": "pcm",
    "ptbr": "pt", "ptmz": "pt", "ron": "ro", "rus": "ru", "som": "so", "sun": "su", "swa": "sw", "swe": "sv",
    "tat": "tt", "tir": "ti", "ukr": "uk", "vmw": "vmw", "xho": "xh", "yor": "yo", "zul": "zu",
}  # fmt: skip
"""Names of BRIGHTER's folders and files -> language."""


def goemotions(path: Path) -> Table:
    """The filtered files (text, numbers of labels, id; no header), their Parquet, or the raw files of single raters."""
    table = read_foreign(path, header=("text", "labels", "id"), known=("text", "labels"))
    if "rater_id" in table.columns:
        return _raters(table)
    table.require(["text", "labels"])
    rows: list[dict[str, Any]] = []
    for row, text in enumerate(table.texts("text")):
        given = table.rows[row].get("labels")
        found = [] if missing(given) else given.split(",") if isinstance(given, str) else given
        labels = [_numbered(table, row, one) for one in (found if isinstance(found, list) else [found])]
        rows.append({"id": table.rows[row].get("id"), "text": text, "labels": labels})
    return _made(table, rows, range(len(rows)))


def _numbered(table: Table, row: int, given: object) -> str:
    shown = str(given).strip()
    if shown in GOEMOTIONS:
        return shown
    if not shown.isdigit() or int(shown) >= len(GOEMOTIONS):
        raise CorpusError(f"{table.at(row, 'labels')} holds {shown!r}; labels are numbers from 0 to 27, or their names")
    return GOEMOTIONS[int(shown)]


def _raters(table: Table) -> Table:
    """One row a text of the raw files: the labels on which two raters agree; texts without one are left out."""
    table.require(["text", "id", *GOEMOTIONS])
    texts, ids = table.texts("text"), table.labels("id")
    votes: dict[str, Counter[str]] = {}
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name is None:
            raise CorpusError(f"{table.at(row, 'id')} is empty; raw files name the comment in every row")
        first.setdefault(name, row)
        votes.setdefault(name, Counter()).update(
            label for label in GOEMOTIONS if _number(table, row, label) not in (None, 0.0)
        )
    rows, places = [], []
    for name, row in first.items():
        labels = [label for label in GOEMOTIONS if votes[name][label] >= AGREED]
        if labels:
            rows.append({"id": name, "text": texts[row], "labels": labels})
            places.append(row)
    if not rows:
        raise CorpusError(f"{table.source}: no label was given by {AGREED} raters; read all raw files as one")
    _left_out(table, len(first) - len(rows), f"have no label on which {AGREED} raters agree")
    return _made(table, rows, places)


def isear(path: Path) -> Table:
    """The respondents' database (SIT, EMOT or Field1, ID, INTS) in any separated form, or a file of label and text."""
    table = _renamed(read_foreign(path, header=("emotion", "text"), known=("SIT", "text", "content", "sentence")))
    text = _one_of(table, ("sit", "text", "content", "sentence"))
    label = _one_of(table, ("field1", "emotion", "emot", "label", "sentiment"))
    table.require([text, label])
    rows, places = [], []
    for row, raw in enumerate(table.rows):
        words = " ".join(re.sub(r"[áà]\s*\n", " ", str(raw.get(text) or "")).replace(" á ", " ").split())
        if not words or _NO_ANSWER.match(words):
            continue
        emotion = _isear_label(table, row, label)
        made: dict[str, Any] = {"text": words, "emotion": emotion, "group": raw.get("id") if text == "sit" else None}
        if "ints" in table.columns:
            made[f"intensity.{emotion}"] = _number(table, row, "ints")
        rows.append(made)
        places.append(row)
    _left_out(table, len(table.rows) - len(rows), "hold no answer")
    return _made(table, rows, places)


def _isear_label(table: Table, row: int, column: str) -> str:
    given = str(table.rows[row].get(column) or "").strip().lower()
    if given in ISEAR:
        return given
    if given.isdigit() and 1 <= int(given) <= len(ISEAR):
        return ISEAR[int(given) - 1]
    raise CorpusError(
        f"{table.at(row, column)} holds {given!r}; labels are {', '.join(ISEAR)}, or 1 to 7 in this order"
    )


def crowd_envent(path: Path) -> Table:
    """The generated texts: generated_text, emotion, text_id, prolific_id (the group), intensity, hidden_emo_text."""
    table = read_foreign(path)
    table.require(["generated_text", "emotion"])
    texts, emotions = table.texts("generated_text"), table.labels("emotion")
    rows: list[dict[str, Any]] = []
    for row, (text, emotion) in enumerate(zip(texts, emotions, strict=True)):
        raw = table.rows[row]
        if emotion not in ENVENT:
            raise CorpusError(f"{table.at(row, 'emotion')} holds {emotion!r}; labels are {', '.join(ENVENT)}")
        made = {"id": raw.get("text_id"), "text": text, "emotion": emotion, "group": raw.get("prolific_id"),
                "masked_text": raw.get("hidden_emo_text")}  # fmt: skip
        if "intensity" in table.columns and emotion != "no-emotion":
            made[f"intensity.{emotion}"] = _number(table, row, "intensity")
        rows.append(made)
    return _made(table, rows, range(len(rows)))


def emobank(path: Path) -> Table:
    """id, split, V, A, D, text; the group is the document, which the id begins with."""
    table = read_foreign(path)
    table.require(["text", "V", "A"])
    rows: list[dict[str, Any]] = []
    for row, text in enumerate(table.texts("text")):
        raw = table.rows[row]
        name = raw.get("id")
        document = re.sub(r"_\d+_\d+$", "", str(name)) if name is not None else None
        ratings = {"valence": "V", "arousal": "A", "dominance": "D"}
        rows.append({"id": name, "text": text, "group": document, "split": raw.get("split"),
                     **{long: _number(table, row, short) for long, short in ratings.items()
                        if short in table.columns}})  # fmt: skip
    return _made(table, rows, range(len(rows)))


def brighter(path: Path) -> Table:
    """A column for each of six emotions: 0 and 1, or intensities 0 to 3; the language is told by the file's name."""
    table = _renamed(read_foreign(path))
    emotions = [name for name in BRIGHTER if name in table.columns]
    table.require(["text", *(emotions or BRIGHTER[:1])])
    values = [[_number(table, row, name) for name in emotions] for row in range(len(table.rows))]
    graded = any(one is not None and one > 1 for row in values for one in row)
    codes = [re.split(r"[^a-z]", part.lower())[0] for part in (path.stem, path.parent.name)]
    lang = next((_LANGUAGES[code] for code in codes if code in _LANGUAGES), None)
    rows: list[dict[str, Any]] = []
    for row, text in enumerate(table.texts("text")):
        told = {name: value for name, value in zip(emotions, values[row], strict=True) if value is not None}
        made = {"id": table.rows[row].get("id"), "text": text, "lang": table.rows[row].get("lang") or lang,
                "labels": [name for name, value in told.items() if value > 0]}  # fmt: skip
        if graded:
            made |= {f"intensity.{name}": value for name, value in told.items()}
        rows.append(made)
    return _made(table, rows, range(len(rows)))


def _made(table: Table, rows: list[dict[str, Any]], places: Sequence[int]) -> Table:
    """A table of new rows that remembers where each stood; columns that are empty throughout are left out."""
    columns = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(not missing(row.get(name)) for row in rows)
    ]
    kept = [{name: row.get(name) for name in columns} for row in rows]
    return Table(table.source, tuple(columns), kept, [table.lines[place] for place in places], table.unit)


def _renamed(table: Table) -> Table:
    """The same table with names of columns in small letters."""
    rows = [{str(name).lower(): value for name, value in row.items()} for row in table.rows]
    return Table(table.source, tuple(name.lower() for name in table.columns), rows, table.lines, table.unit)


def _one_of(table: Table, names: Sequence[str]) -> str:
    """The first of the names that is a column; the first of all otherwise, for the error to name."""
    return next((name for name in names if name in table.columns), names[0])


def _number(table: Table, row: int, column: str) -> float | None:
    value = table.rows[row].get(column)
    if missing(value) or (isinstance(value, str) and value.strip().lower() in ("", "na", "nan", "none")):
        return None
    try:
        found = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{table.at(row, column)} holds {value!r}; it should be a number") from error
    return found if math.isfinite(found) else None


def _left_out(table: Table, count: int, why: str) -> None:
    if count:
        log.warning("%s: %d texts %s and are left out", table.source, count, why)
