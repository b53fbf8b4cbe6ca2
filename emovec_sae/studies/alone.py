"""One process at a time works in a run's folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from emovec_sae.errors import StoreError


class alone:
    """Hold a run's folder; another process that wants it is told at once."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.lock = FileLock(str(path / ".lock"), timeout=0)

    def __enter__(self) -> None:
        try:
            self.lock.acquire()
        except Timeout as error:
            raise StoreError(
                f"another process runs a study into {self.path}; wait for it or choose another folder"
            ) from error

    def __exit__(self, *_: object) -> None:
        self.lock.release()
