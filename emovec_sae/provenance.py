"""Who made an artefact, and from what: collected, written as JSON beside it, compared when it is read."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("emovec_sae", "torch", "transformers", "nnsight", "sae-lens", "numpy", "scikit-learn", "h5py")


def collect(**facts: Any) -> dict[str, Any]:
    """Return a provenance record: time, command, commit, package versions, machine, and the given facts.

    Parameters
    ----------
    **facts
        JSON-serialisable facts of the artefact: model, fingerprint, corpus hash, seed, hashes of inputs.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else [],
        "commit": _commit(),
        "packages": _versions(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **facts,
    }


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _commit() -> str | None:
    """Commit of the package's own checkout, or None where it is installed without one."""
    root = Path(__file__).resolve().parent.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:  # a virtual environment may lie in somebody else's repository
        return None
    return _git(root, "describe", "--always", "--dirty", "--abbrev=12")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON-serialisable value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_json(path: str | Path) -> Any:
    """Read a UTF-8 JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def plain(value: Any) -> Any:
    """Make a value fit for JSON: NumPy numbers and intervals unpacked, what is not finite as null, paths as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    for unpack in ("as_dict", "tolist"):
        if hasattr(value, unpack):
            return plain(getattr(value, unpack)())
    return str(value)


def write_json(path: str | Path, value: Any) -> Path:
    """Write a JSON file atomically (temporary name, fsync, rename)."""
    path = Path(path)
    with atomic(path) as part:
        part.write_text(
            json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    return path


@contextmanager
def atomic(path: str | Path) -> Generator[Path]:
    r"""Give a temporary path beside `path`; on success sync it and rename it, on failure remove it.

    Examples
    --------
    >>> with atomic("table.csv") as part:
    ...     _ = part.write_text("a,b\n")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
