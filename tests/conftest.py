"""What every test run shares: no network, few threads, reproducible hypothesis examples.

Sockets other than the loopback are blocked by pytest-socket (``--allow-hosts`` in pyproject.toml); the environment
below keeps libraries and child processes from trying.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from emovec_sae.models.model import Model

# Set before a test imports the library that reads them at import.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_DATASETS_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    WANDB_MODE="disabled",
    TOKENIZERS_PARALLELISM="false",
)

settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_configure(config: pytest.Config) -> None:
    """Few threads: small tensors gain nothing from more, and workers beside each other would fight for the cores."""
    workers = config.getoption("numprocesses", 0)
    os.environ.setdefault("OMP_NUM_THREADS", "1" if workers else "2")


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Model]:
    """Tiny models by architecture, seed and precision, each made once; a test that changes one makes its own."""
    from emovec_sae.testing import tiny_model

    return cache(tiny_model)


RECORDED = {"resid_post.1": ("mean", "last", "none"), "resid_post.2": ("mean",)}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Record the tiny corpus, small enough to be broken many times: nine texts, five shards."""
    from emovec_sae.recording import job
    from emovec_sae.recording.plan import make_plan
    from emovec_sae.recording.record import record
    from emovec_sae.testing import tiny_corpus, tiny_model

    monkeypatch.setattr(job, "make_plan", partial(make_plan, per_shard=2))

    def run(out: Path, **options: Any) -> Any:
        options = {
            "model": tiny_model(),
            "corpus": tiny_corpus(),
            "sites": RECORDED,
            "offset": 5,
            "budget": 130,
        } | options
        return record(options.pop("model"), options.pop("corpus"), out=out, **options)

    return run
