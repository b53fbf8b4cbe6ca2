"""Token-level reading: whole texts in chunks, and a shuffled stream with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emovec_sae.errors import StoreError
from emovec_sae.store.shard import ShardReader, open_shard


@dataclass(frozen=True)
class TokenChunk:
    """Tokens of whole texts; a text's tokens are contiguous and in order.

    Attributes
    ----------
    text
        Row of each token's text in the view's frame, (tokens,) int64.
    position
        Its place in the text, counted from 0, (tokens,) int32.
    token_id
        Its id, (tokens,) int32.
    values
        (tokens, d_model) float32.
    pooled
        Whether pool ``mean`` used the token, (tokens,) bool.
    """

    text: np.ndarray
    position: np.ndarray
    token_id: np.ndarray
    values: np.ndarray
    pooled: np.ndarray


def token_chunks(paths: Sequence[Path], site: str, order: np.ndarray, *, chunk: int) -> Iterator[TokenChunk]:
    """Read the tokens of a site in storage order; `order` gives each corpus row's place in the view, or -1."""
    for path in paths:
        with open_shard(path) as shard:
            texts = order[shard.array("texts/row")]
            start = shard.array("tokens/start")
            for first, last in _spans(texts, start, chunk):
                found = _read(shard, site, texts, start, first, last)
                if len(found.text):
                    yield found


def pooled_chunks(paths: Sequence[Path], node: str, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read a pooled array shard by shard: rows of the view, and their values."""
    for path in paths:
        with open_shard(path) as shard:
            here = order[shard.array("texts/row")]
            kept = here >= 0
            if kept.any():
                yield here[kept], shard.array(node)[kept]


def _spans(texts: np.ndarray, start: np.ndarray, chunk: int) -> Iterator[tuple[int, int]]:
    """Runs of texts that hold about `chunk` tokens and at least one wanted text."""
    first = 0
    while first < len(texts):
        last = max(first + 1, int(np.searchsorted(start, start[first] + chunk, side="right")) - 1)
        if (texts[first:last] >= 0).any():
            yield first, last
        first = last


def _read(shard: ShardReader, site: str, texts: np.ndarray, start: np.ndarray, first: int, last: int) -> TokenChunk:
    rows = slice(int(start[first]), int(start[last]))
    owner = np.repeat(texts[first:last], np.diff(start[first : last + 1]))
    kept = owner >= 0
    return TokenChunk(
        text=owner[kept],
        position=shard.array("tokens/position", rows)[kept],
        token_id=shard.array("tokens/token_id", rows)[kept],
        values=shard.array(f"sites/{site}/none", rows)[kept],
        pooled=shard.array("tokens/pooled", rows)[kept],
    )


def shuffled(
    paths: Sequence[Path], site: str, order: np.ndarray, *, batch: int, seed: int, buffer: int
) -> Iterator[np.ndarray]:
    """Endless shuffled batches: shards in random order fill a buffer, whose random half is handed out and refilled.

    Raises
    ------
    StoreError
        If the view has no tokens at the site.
    """
    random = np.random.default_rng(seed)
    held: list[np.ndarray] = []
    count = 0
    while True:
        seen = 0
        for index in random.permutation(len(paths)):
            for piece in token_chunks([paths[index]], site, order, chunk=min(8192, buffer)):
                held.append(piece.values)
                count += len(piece.values)
                seen += len(piece.values)
                if count >= buffer:
                    pool = _mixed(held, random)
                    give = max(batch, (len(pool) // 2) // batch * batch)
                    for first in range(0, give, batch):
                        yield pool[first : first + batch]
                    held, count = [pool[give:]], len(pool) - give
        if not seen:
            raise StoreError(f"no token of {site} is in this view; choose texts that were recorded")
        if count < buffer and count >= batch:  # an epoch ended: a small store is handed out whole each time
            pool = _mixed(held, random)
            give = len(pool) // batch * batch
            for first in range(0, give, batch):
                yield pool[first : first + batch]
            held, count = [pool[give:]], len(pool) - give


def _mixed(held: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    pool = np.concatenate(held)
    return pool[random.permutation(len(pool))]
