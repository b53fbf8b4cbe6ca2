"""A JSONL file that grows over hours: rows and progress are kept together, so that any death is resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from emovec_sae.errors import CorpusError
from emovec_sae.provenance import collect, plain, read_json, write_json


class Ledger:
    """The file, and beside it a JSON file with settings, progress and the bytes that it stands for.

    Rows go to ``NAME.part.jsonl``; what was written after the progress was last noted is cut off when the run goes on.
    The file gets its own name once it is finished.

    Attributes
    ----------
    path
        The finished file.
    settings
        What decides the content; another run into the same file must have the same.
    progress
        Whatever the run notes; None in a new file.
    finished
        Whether the file is complete.
    rows
        The rows that count.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = plain(dict(settings))
        self.progress: dict[str, Any] | None = None
        self.finished = False
        self.rows: list[dict[str, Any]] = []
        self._part = path.with_name(f"{path.stem}.part.jsonl")
        self._beside = path.with_suffix(".json")
        self._bytes = 0

    def start(self) -> None:
        """Take up what is there.

        Raises
        ------
        CorpusError
            If the file was made otherwise or with other settings, or has lost rows.
        """
        if not self._beside.is_file():
            for there in (self.path, self._part):
                if there.exists():
                    raise CorpusError(
                        f"{there} exists without the notes of a run ({self._beside.name}); choose another name"
                    )
            return
        notes = _notes(self._beside)
        _same(self.path, self.settings, notes["settings"])
        self.progress, self._bytes = notes["progress"], notes["bytes"]
        done = self.path if self.path.is_file() else self._part
        size = done.stat().st_size if done.is_file() else 0
        if size < self._bytes:
            raise CorpusError(f"{done} has {size} bytes where {self._bytes} were written; delete it and start again")
        if done == self._part and size > self._bytes:
            os.truncate(done, self._bytes)
        if self._bytes:
            text = done.read_bytes()[: self._bytes].decode("utf-8")
            self.rows = [json.loads(line) for line in text.split("\n") if line]
        self.finished = done == self.path

    def write(self, rows: Sequence[Mapping[str, Any]], progress: Mapping[str, Any]) -> None:
        """Append rows, and note the progress that they stand for."""
        if rows:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._part.open("ab") as handle:
                handle.write(text.encode())
                handle.flush()
                os.fsync(handle.fileno())
            self._bytes += len(text.encode())
            self.rows.extend(map(dict, rows))
        self.progress = dict(progress)
        self._note(finished=False)

    def finish(self, **facts: Any) -> None:
        """Give the file its name, and note who made it."""
        self._note(finished=True, **facts)
        self._part.replace(self.path)
        self.finished = True

    def discard(self) -> None:
        """Remove what this run wrote."""
        self._part.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)

    def _note(self, *, finished: bool, **facts: Any) -> None:
        notes = {"settings": self.settings, "progress": self.progress, "bytes": self._bytes, "finished": finished}
        write_json(self._beside, {**collect(**facts), **notes})


@contextmanager
def opened(path: Path, settings: Mapping[str, Any]) -> Generator[Ledger]:
    """Open a ledger, alone.

    Raises
    ------
    CorpusError
        If the name does not end in .jsonl, another process writes it, or `Ledger.start` refuses it.
    """
    if path.suffix != ".jsonl":
        raise CorpusError(f"{path} ends in '{path.suffix}'; generated texts go into a .jsonl file")
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(str(place), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CorpusError(f"another process writes {path}; wait for it or choose another name") from error
    try:
        ledger = Ledger(path, settings)
        ledger.start()
        yield ledger
    finally:
        place.unlink(missing_ok=True)
        lock.release()


def _notes(path: Path) -> dict[str, Any]:
    try:
        notes = read_json(path)
        if {"settings", "progress", "bytes"} <= set(notes):
            return notes
    except (ValueError, TypeError) as error:
        raise CorpusError(f"{path} cannot be read as the notes of a run: {error}") from error
    raise CorpusError(f"{path} holds no notes of a run that wrote texts; choose another name")


def _same(path: Path, wanted: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    for name in {**there, **wanted}:
        if wanted.get(name) != there.get(name):
            raise CorpusError(
                f"{path} was begun with {name} {_short(there.get(name))}, this is {_short(wanted.get(name))}; "
                "give the same settings to go on, or another name"
            )


def _short(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
