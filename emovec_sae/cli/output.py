"""What a verb prints: tables and bars for people, one JSON object for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from emovec_sae.provenance import plain

if TYPE_CHECKING:
    from rich.console import Console


def say(text: str) -> None:
    """Print a line for people (standard error, so that standard output stays for results)."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def answer(result: Mapping[str, Any], *, json_: bool, text: str | None = None) -> None:
    """Print a verb's result: one JSON object on the last line with ``--json``, otherwise `text` or ``key: value``."""
    if json_:
        sys.stdout.write(json.dumps(plain(result), ensure_ascii=False) + "\n")
        return
    lines = text if text is not None else "\n".join(f"{key}: {_told(value)}" for key, value in result.items())
    sys.stdout.write(lines.rstrip("\n") + "\n")


class Result(Protocol):
    """A result that tells its summary and writes itself."""

    def facts(self) -> dict[str, Any]:
        """The summary for machines."""
        ...

    def save(self, path: str | Path) -> Path:
        """Write all of it."""
        ...


def write_answer(found: Result, out: Path | None, *, json_: bool, text: str) -> None:
    """Write a result if `out` is given, and print it."""
    if out is not None:
        found.save(out)
    answer(found.facts(), json_=json_, text=text)


def table(frame: pd.DataFrame, *, rows: int = 40) -> str:
    """A frame as text, three significant digits."""
    shown = frame.head(rows).to_string(index=False, float_format=lambda value: f"{value:.3g}")
    return shown if len(frame) <= rows else f"{shown}\n... {len(frame) - rows} more rows (--out writes them all)"


def _told(value: Any) -> str:
    found = plain(value)
    if isinstance(found, dict) and {"value", "low", "high"} <= set(found):
        if found["low"] is None:
            return f"{found['value']:.3g}"
        n = f", n = {found['n']}" if found.get("n") is not None else ""
        return f"{found['value']:.3g} [{found['low']:.3g}, {found['high']:.3g}]{n}"
    if isinstance(found, dict):
        return ", ".join(f"{key} {_told(one)}" for key, one in found.items())
    if isinstance(found, list):
        return ", ".join(_told(one) for one in found)
    return f"{found:.4g}" if isinstance(found, float) else str(found)


@cache
def _console() -> Console:
    """Standard error; bars and messages share it, so that neither writes into the other."""
    from rich.console import Console

    return Console(stderr=True)


def show_messages() -> None:
    """Send the package's messages to standard error: warnings of any room, and what recording decides."""
    from rich.logging import RichHandler

    package = logging.getLogger("emovec_sae")
    if not package.handlers:
        package.addHandler(RichHandler(console=_console(), show_time=False, show_level=False, show_path=False))
    for room in ("recording", "saes"):
        logging.getLogger(f"emovec_sae.{room}").setLevel(logging.INFO)
    # transformers loads it wherever it is installed, and it warns of a CPU kernel that nothing here uses
    logging.getLogger("bitsandbytes.backends.cpu").setLevel(logging.ERROR)


class Update(Protocol):
    """Moves a bar: work done, work in all, and words in place of the bar's own."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Move the bar."""


@contextmanager
def bar(about: str) -> Generator[Update]:
    """A progress bar on standard error while something runs; gives what to call with (done, in all)."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<40}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console()) as progress:
        task = progress.add_task(about, total=None)

        def update(done: int, total: int, note: str = "") -> None:
            """Move this bar."""
            progress.update(task, completed=done, total=total, description=note or about)

        yield update
