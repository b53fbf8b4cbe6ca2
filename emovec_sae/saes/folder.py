"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from emovec_sae.errors import ConfigError


@contextmanager
def new_folder(path: str | Path, *, overwrite: bool = False) -> Generator[Path]:
    """Give a temporary folder beside `path`; on success sync and rename it, on failure remove it.

    Parameters
    ----------
    path
        The folder to be.
    overwrite
        Whether an existing folder is replaced (only once the new one is complete).

    Raises
    ------
    ConfigError
        If `path` exists and `overwrite` is false; nothing is written then.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ConfigError(f"'{path}' exists already; choose another name or say overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    old = part.with_name(f"{part.name}.old")
    try:
        yield part
        for written in part.iterdir():
            with written.open("rb") as handle:
                os.fsync(handle.fileno())
        part.chmod(0o755)
        if overwrite and path.exists():
            path.rename(old)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
