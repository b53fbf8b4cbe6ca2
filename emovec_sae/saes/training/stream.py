"""The tokens of a run: one store or several in proportion, shuffled, scaled, without sinks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.saes.sinks import without_sinks

if TYPE_CHECKING:
    import torch

    from emovec_sae.store.site_view import SiteActivations

BUFFER = 65536
"""Tokens of a site that are held while they are shuffled."""

MUST_AGREE = ("name", "fingerprint", "dtype", "d_model")
"""What the stores of one run must have in common."""


def leave_out(
    sources: Sequence[SiteActivations], groups: Sequence[str], *, inside: bool = False
) -> list[SiteActivations]:
    """The texts outside some groups (or, with `inside`, those in them); stores without any are dropped.

    Raises
    ------
    ConfigError
        If no text of any store has one of the groups, or nothing is left.
    """
    wanted = {str(group) for group in groups}
    known: set[str] = set()
    found: list[SiteActivations] = []
    for source in sources:
        if not wanted:
            found += [] if inside else [source]
            continue
        column = source.activations.frame["group"]
        known |= set(column.dropna().astype(str))
        rows = column.astype(str).isin(wanted).to_numpy() == inside
        if rows.all():
            found.append(source)
        elif rows.any():
            found.append(source.activations.where(rows)[source.site])
    unknown = sorted(wanted - known)
    if unknown:
        raise ConfigError(f"no text has the group '{unknown[0]}' that is to be held out")
    if not found and not inside:
        raise ConfigError("every text is held out; leave some for training")
    return found


def require_same(sources: Sequence[SiteActivations]) -> None:
    """Refuse stores of different models, precisions or sites.

    Raises
    ------
    ConfigError
        If there is none.
    MismatchError
        If two do not belong together.
    """
    if not sources:
        raise ConfigError("give the activations of at least one store")
    first = sources[0]
    for other in sources[1:]:
        pairs = [("site", str(first.site), str(other.site))]
        pairs += [(key, first.activations.model.get(key), other.activations.model.get(key)) for key in MUST_AGREE]
        for key, one, two in pairs:
            if one != two:
                raise MismatchError(
                    f"activations of different {'sites' if key == 'site' else 'models'} cannot be mixed: {key} is "
                    f"{one} in the first store, {two} in another; record both with the same model, --dtype and --sites"
                )


def shuffled(
    sources: Sequence[SiteActivations], *, batch: int, seed: int, buffer: int = BUFFER
) -> Iterator[np.ndarray]:
    """Endless shuffled batches, (batch, d) float32; several stores give to each in proportion to their tokens.

    Never more than about `buffer` tokens are held. The order depends on the seed, the stores and their texts, not on
    the site: SAEs of several sites see the same tokens.
    """
    if len(sources) == 1:
        yield from sources[0].shuffled(batch=batch, seed=seed, buffer=buffer)
        return
    counts = np.array([source.count_tokens() for source in sources], dtype=np.float64)
    shares = counts / counts.sum()
    cutters = [
        _Cutter(
            source.shuffled(
                batch=max(1, int(batch * share)),
                seed=int(np.random.SeedSequence([seed, index]).generate_state(1)[0]),
                buffer=max(batch, int(buffer * share)),
            )
        )
        for index, (source, share) in enumerate(zip(sources, shares, strict=True))
    ]
    # Where each store's part of a batch ends, rounded over the whole run: shares hold exactly in the long run.
    ends, given, step = np.cumsum(shares), np.zeros(len(sources), dtype=np.int64), 0
    while True:
        step += 1
        upto = np.diff(np.rint(ends * batch * step).astype(np.int64), prepend=0)
        yield np.concatenate([cutter.take(int(n)) for cutter, n in zip(cutters, upto - given, strict=True)])
        given = upto


class _Cutter:
    """Takes any number of rows from a stream of batches."""

    def __init__(self, batches: Iterator[np.ndarray]) -> None:
        self.batches, self.rest = batches, next(batches)

    def take(self, count: int) -> np.ndarray:
        """The next `count` rows."""
        parts: list[np.ndarray] = []
        while count > len(self.rest):
            parts.append(self.rest)
            count -= len(self.rest)
            self.rest = next(self.batches)
        parts.append(self.rest[:count])
        self.rest = self.rest[count:]
        return np.concatenate(parts)


class Scaled:
    """The stream of batches as a step takes it: tensors, scaled, without sinks (which it counts)."""

    def __init__(self, batches: Iterator[np.ndarray], *, scale: float, limit: float, device: str) -> None:
        self.batches, self.scale, self.limit, self.device, self.dropped = batches, scale, limit, device, 0

    def skip(self, count: int) -> None:
        """Pass over the batches that an interrupted run had taken already; sinks are counted as they were then."""
        for _ in range(count):
            batch = next(self.batches)
            self.dropped += len(batch) - len(without_sinks(batch, self.limit))

    def __iter__(self) -> Scaled:
        return self

    def __next__(self) -> torch.Tensor:
        import torch

        batch = next(self.batches)
        kept = without_sinks(batch, self.limit)
        self.dropped += len(batch) - len(kept)
        return torch.from_numpy(np.ascontiguousarray(kept, dtype=np.float32)).to(self.device) * self.scale
