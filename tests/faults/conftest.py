"""Recordings small enough to be broken many times: a tiny model, nine texts, five shards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from emovec_sae.recording import record as room
from emovec_sae.recording.plan import make_plan
from emovec_sae.testing import tiny_corpus, tiny_model

SITES = {"resid_post.1": ("mean", "last", "none"), "resid_post.2": ("mean",)}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Record the tiny corpus, a few texts a shard."""
    monkeypatch.setattr(room, "make_plan", partial(make_plan, per_shard=2))

    def run(out: Path, **options: Any) -> Any:
        options = {"model": tiny_model(), "corpus": tiny_corpus(), "sites": SITES, "offset": 5, "budget": 130} | options
        return room.record(options.pop("model"), options.pop("corpus"), out=out, **options)

    return run
