"""The errors of the package: each says what was got, what would be right, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EmovecError(Exception):
    """Base of every error that the package raises on purpose; the command line prints it as one line."""


class CorpusError(EmovecError):
    """A text file that cannot be read as a corpus; the message names file, line and column."""


class ModelError(EmovecError):
    """A model that cannot be found, loaded or read at a site."""


class StoreError(EmovecError):
    """A folder of activations that is missing, incomplete, damaged or made by another run."""


class MismatchError(EmovecError):
    """Two artefacts that do not belong together (model, site, corpus or SAE differ)."""


class ConfigError(EmovecError):
    """A study file or an option that says something impossible."""


class UnfitError(EmovecError):
    """An SAE that does not fit the activations at hand well enough for a claim."""


def suggest(got: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""
