"""A stage of a run: done once for its settings and inputs; a death in the middle leaves nothing false."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from emovec_sae.provenance import digest, read_json, write_json

Progress = Callable[[int, int], None]


class Reporter(Protocol):
    """Who is told how a run goes; the command line draws bars."""

    def begin(self, name: str, about: str) -> Progress:
        """A stage begins; returns what to call with (done, in all)."""
        ...

    def end(self, name: str, *, seconds: float, cached: bool) -> None:
        """A stage has ended, or was found done."""
        ...


class Silent:
    """A reporter that tells nobody."""

    def begin(self, name: str, about: str) -> Progress:
        """Return a function that does nothing."""
        return lambda done, total: None

    def end(self, name: str, *, seconds: float, cached: bool) -> None:
        """Say nothing."""


@dataclass
class Run:
    """A run's folder and the keys of its stages.

    Attributes
    ----------
    path
        The folder.
    reporter
        Who is told.
    keys
        Stage -> digest of its settings and of the keys of the stages before it.
    """

    path: Path
    reporter: Reporter = field(default_factory=Silent)
    keys: dict[str, str] = field(default_factory=dict)

    def stage(
        self,
        name: str,
        about: str,
        *,
        settings: Any,
        after: Sequence[str] = (),
        outputs: Sequence[str],
        work: Callable[[Progress], None],
    ) -> None:
        """Do a stage unless its settings and inputs are those of the last time and its outputs are all there.

        Parameters
        ----------
        name, about
            Its name, and one line for people.
        settings
            JSON-serialisable settings that decide the result.
        after
            Stages whose results it reads.
        outputs
            Paths below the run's folder that it makes.
        work
            Makes them; every file is written atomically, and the record of the stage last.
        """
        key = digest(
            {"settings": settings, "after": [self.keys[one] for one in after], "version": version("emovec_sae")}
        )
        self.keys[name] = key
        record = self.path / "stages" / f"{name}.json"
        progress = self.reporter.begin(name, about)
        if self._done(record, key, outputs):
            self.reporter.end(name, seconds=read_json(record)["seconds"], cached=True)
            return
        record.unlink(missing_ok=True)
        began = time.monotonic()
        work(progress)
        seconds = round(time.monotonic() - began, 2)
        write_json(
            record, {"key": key, "about": about, "seconds": seconds, "settings": settings, "outputs": list(outputs)}
        )
        self.reporter.end(name, seconds=seconds, cached=False)

    def _done(self, record: Path, key: str, outputs: Sequence[str]) -> bool:
        if not record.is_file():
            return False
        try:
            return read_json(record)["key"] == key and all((self.path / one).exists() for one in outputs)
        except (ValueError, KeyError):
            return False
