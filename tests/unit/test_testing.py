"""The public helpers for tests do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from emovec_sae.errors import ConfigError
from emovec_sae.testing import tiny_corpus, tiny_model, tiny_store


def test_a_tiny_store_has_every_pool_and_a_row_a_text(tmp_path: Path) -> None:
    acts = tiny_store(tmp_path / "acts", corpus=tiny_corpus(emotions=2, groups=2, repeats=2))
    assert len(acts) == 8
    assert acts.pools_of("resid_post.1") == ("mean", "last", "none")
    assert acts.pooled("resid_post.2").shape == (8, 32)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'llama'"):
        tiny_model("lama")
