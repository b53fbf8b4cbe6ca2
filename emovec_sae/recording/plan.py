"""The plan of a recording: which texts share a batch, which batches share a shard. Deterministic, so it can resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emovec_sae.provenance import digest

TEXTS_PER_SHARD = 128
TOKENS_PER_SHARD = 65_536
"""Long texts close a shard sooner: it is held in memory, every token of it where pool ``none`` is asked for."""


@dataclass(frozen=True)
class Plan:
    """Batches of text rows, grouped into shards.

    Attributes
    ----------
    shards
        ``shards[i]`` is a list of batches; a batch is a tuple of row numbers of the corpus.
    """

    shards: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def fingerprint(self) -> str:
        """Digest: two recordings with the same plan have the same shards."""
        return digest(self.shards)

    def rows(self, shard: int) -> list[int]:
        """Row numbers of a shard in the order in which they are stored."""
        return [row for batch in self.shards[shard] for row in batch]


def make_plan(lengths: Sequence[int] | np.ndarray, *, budget: int, per_shard: int = TEXTS_PER_SHARD) -> Plan:
    """Sort texts by length into batches of at most `budget` padded tokens, and batches into shards.

    Parameters
    ----------
    lengths
        Tokens of each text.
    budget
        Padded tokens of a batch; a longer text is a batch by itself.
    per_shard
        A shard is closed once it holds this many texts, or `TOKENS_PER_SHARD` tokens.
    """
    batches: list[tuple[int, ...]] = []
    batch: list[int] = []
    for row in np.argsort(lengths, kind="stable").tolist():
        if batch and (len(batch) + 1) * lengths[row] > budget:
            batches.append(tuple(batch))
            batch = []
        batch.append(row)
    if batch:
        batches.append(tuple(batch))
    shards: list[tuple[tuple[int, ...], ...]] = []
    open_shard: list[tuple[int, ...]] = []
    texts = tokens = 0
    for one in batches:
        open_shard.append(one)
        texts += len(one)
        tokens += sum(int(lengths[row]) for row in one)
        if texts >= per_shard or tokens >= TOKENS_PER_SHARD:
            shards.append(tuple(open_shard))
            open_shard, texts, tokens = [], 0, 0
    if open_shard:
        shards.append(tuple(open_shard))
    return Plan(tuple(shards))
