"""What the scripts of several experiments share: a model's part of a study, its steps, and the numbers in a README.

Scripts import it as ``experiments.shared``: the editable install that ``make`` leaves has the repository's root on the
path.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import emovec_sae as ev

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- numbers: begin -->", "<!-- numbers: end -->"


def say(text: str) -> None:
    """A line for people."""
    sys.stderr.write(f"{text}\n")


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    began = time.monotonic()
    say(f"{name} ...")
    yield
    say(f"{name}: {time.monotonic() - began:.0f} s")


class ModelPart:
    """One model's part of a study; `study` holds the settings, the run lies in ``runs/FOLDER/MODEL``."""

    study: ClassVar[Mapping[str, Any]]
    folder: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def settings(self) -> dict[str, Any]:
        """What the study says of this model."""
        return self.study["models"][self.name]

    @property
    def path(self) -> Path:
        """The run's folder."""
        return ROOT / "runs" / self.folder / self.name

    @cached_property
    def model(self) -> Any:
        """The model, loaded when it is first needed."""
        return ev.load_model(self.name)


def asked_models(study: Mapping[str, Any], about: str | None) -> list[str]:
    """The model that ``--model`` names, or all of the study."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(study["models"]))
    given = parser.parse_args()
    return [given.model] if given.model else list(study["models"])


def fill_numbers(readme: Path, lines: Iterable[str]) -> None:
    """Put lines between a README's marks, in place of those that were there."""
    text = readme.read_text(encoding="utf-8")
    block = "\n".join([BEGIN, *lines, END])
    filled, count = re.subn(f"{BEGIN}.*?{END}", lambda _: block, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{readme} has {count} places for numbers; it needs one, between {BEGIN} and {END}")
    readme.write_text(filled, encoding="utf-8")
