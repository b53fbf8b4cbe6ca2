"""The site, built once for all tests of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT
from filelock import FileLock


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The built site; workers beside each other share one."""
    alone = worker_id == "master"
    out = (tmp_path_factory.mktemp("sites") if alone else tmp_path_factory.getbasetemp().parent) / "site"
    with FileLock(f"{out}.lock"):
        if not out.is_dir():
            build(part := out.with_name("site.part"))
            part.rename(out)
    return out


def build(out: Path) -> None:
    """Build the site into a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
