"""Which token of one text stands for which token of the other, and what the places are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, CorpusError, suggest
from emovec_sae.models.model import Model
from emovec_sae.models.positions import HOW, NAMES, locate
from emovec_sae.models.positions import Positions as EditPositions

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("changed word", "just after", "between", "last token")
"""Where a token stands, in words that fit every pair."""

Positions = Literal["tokens", "spans"] | str | Sequence[str] | Sequence[int]
"""Places to patch: every token, every part as a whole, named parts as wholes, tokens counted from the end, or what an
edit's positions name (``all``, ``last``, ``from:N``, ``span:FIRST-LAST``, ``role:user``) as a whole."""


@dataclass(frozen=True)
class AlignedPair:
    """Two texts that differ in one span; what is before it is the same, what follows aligns from the end.

    Attributes
    ----------
    id, family
        Names of the pair.
    source, target
        Token ids.
    answers
        The one-token answers (source's, target's).
    first, last
        First and last token of the target's span.
    source_last
        Last token of the source's span, which begins at `first` too.
    emotion
        Whose direction or latents are patched for this pair (its `emotion`, else its `source_emotion`), None where none
        is known.
    marked
        Tokens of the target that an edit's positions name; None where parts are patched.
    """

    id: str
    family: str
    source: tuple[int, ...]
    target: tuple[int, ...]
    answers: tuple[int, int]
    first: int
    last: int
    source_last: int
    emotion: str | None = None
    marked: tuple[int, ...] | None = None

    def part(self, position: int) -> str:
        """Name of a token's place, one of `PARTS`."""
        if position == len(self.target) - 1:
            return "last token"
        if position <= self.last:
            return "changed word"
        return "just after" if position == self.last + 1 else "between"

    def swapped(self) -> AlignedPair:
        """The pair with source and target exchanged; the emotion stays the one that it was."""
        return replace(
            self,
            source=self.target,
            target=self.source,
            answers=(self.answers[1], self.answers[0]),
            last=self.source_last,
            source_last=self.last,
            marked=None if self.marked is None else self._onto_source(self.marked),
        )

    def _onto_source(self, marked: Sequence[int]) -> tuple[int, ...]:
        """The source's tokens that stand where these of the target's stand; a span of uneven length goes as a whole."""
        if self.source_last == self.last:
            return tuple(marked)
        found = {one + (self.source_last - self.last if one > self.last else 0) for one in marked}
        inside = set(range(self.first, self.source_last + 1))
        touched = any(self.first <= one <= self.last for one in marked)
        return tuple(sorted((found - inside) | (inside if touched else set())))

    def onto_target(self, source: Tensor) -> Tensor:
        """Values of the source's tokens, (source tokens, d), at the places of the target's, (target tokens, d).

        Spans of unequal length have no tokens in common: each token of the target's gets the mean over the source's.
        """
        import torch

        if self.source_last == self.last:
            return source
        span = source[self.first : self.source_last + 1].mean(dim=0, keepdim=True)
        wide = span.expand(self.last + 1 - self.first, -1)
        return torch.cat([source[: self.first], wide, source[self.source_last + 1 :]])

    def places(self, positions: Positions) -> list[tuple[str, tuple[int, ...]]]:
        """The places to patch: name of the part, and the target's tokens that are replaced together.

        Tokens before the span have equal states in both runs and are none; a number from the end that falls there (or
        into a span of uneven length) gives no place of this pair.
        """
        tokens, even = range(self.first, len(self.target)), self.source_last == self.last
        singles = tokens if even else tokens[self.last + 1 - self.first :]  # an uneven span goes as a whole
        if self.marked is not None:
            return self._marked(str(positions), even=even)
        if positions == "tokens":
            whole = [] if even else [("changed word", tuple(tokens[: self.last + 1 - self.first]))]
            return whole + [(self.part(one), (one,)) for one in singles]
        if positions != "spans" and any(isinstance(one, int) for one in positions):
            wanted = [len(self.target) + int(one) for one in positions]
            return [(self.part(one), (one,)) for one in wanted if one in singles]
        names = PARTS if positions == "spans" else tuple(str(one) for one in positions)
        spans = [(name, tuple(one for one in tokens if self.part(one) == name)) for name in names]
        return [(name, some) for name, some in spans if some]

    def _marked(self, name: str, *, even: bool) -> list[tuple[str, tuple[int, ...]]]:
        """The marked tokens from the changed word on, as one place."""
        found = {one for one in self.marked or () if one >= self.first}
        if not even and any(one <= self.last for one in found):
            found |= set(range(self.first, self.last + 1))
        return [(name, tuple(sorted(found)))] if found else []


def of_an_edit(positions: Positions, *, chat: bool = False) -> EditPositions | None:
    """Read positions that are written as those of an edit; None for parts and tokens.

    Raises
    ------
    ConfigError
        If they are neither, or name tokens that no pair has.
    """
    if not isinstance(positions, str) or positions in ("tokens", "spans"):
        return None
    if positions not in NAMES and not positions.startswith(("from:", "span:", "role:")):
        raise ConfigError(
            f"positions is '{positions}'{suggest(positions, ('tokens', 'spans', *NAMES, *PARTS))}; it must be tokens, "
            f"spans, a list of parts ({', '.join(PARTS)}), a list of numbers from the end such as [-1], or {HOW}"
        )
    found = EditPositions.parse(positions)
    if found.kind == "generated" or found.role == "assistant":
        raise ConfigError(f"patching generates nothing: no token lies at '{positions}'")
    if found.kind == "role" and not chat:
        raise ConfigError(f"positions '{positions}' need the chat template (chat=True); these pairs are plain texts")
    return found


def check_positions(positions: Positions, *, chat: bool = False) -> None:
    """Refuse what names no place.

    Raises
    ------
    ConfigError
        If a part is unknown, a number is not negative, nothing is named, or no token can lie there.
    """
    of_an_edit(positions, chat=chat)
    if isinstance(positions, str):
        return
    if not positions:
        raise ConfigError("positions is an empty list; name at least one part or token")
    for one in positions:
        if isinstance(one, int) and one >= 0:
            raise ConfigError(f"position {one} is not negative; tokens are counted from the end, -1 is the last")
        if isinstance(one, str) and one not in PARTS:
            raise ConfigError(f"unknown part '{one}'{suggest(one, PARTS)}; parts are {', '.join(PARTS)}")
    if len({isinstance(one, int) for one in positions}) > 1:
        raise ConfigError(f"positions mixes parts and numbers: {list(positions)}; give one kind")


def align(
    model: Model,
    pairs: pd.DataFrame,
    *,
    by: Literal["token", "span"] = "token",
    positions: Positions = "tokens",
    chat: bool = False,
) -> tuple[list[AlignedPair], pd.DataFrame]:
    """Tokenise pairs and keep those that align and have one-token answers.

    Parameters
    ----------
    model
        Its tokenizer decides.
    pairs
        From `load_pairs`.
    by
        ``token``: both texts have equally many tokens. ``span``: the differing spans may differ in length; where one is
        empty (an insertion) it is widened by the token after it.
    positions
        Where these are an edit's, the tokens that they name in the target text are marked in each pair.
    chat
        Read the texts as a user's messages in the chat template; the answer is then the reply's first token.

    Returns
    -------
    list of AlignedPair
        The usable pairs.
    pandas.DataFrame
        The others: pair, reason.

    Raises
    ------
    ConfigError
        If `by` is unknown.
    """
    if by not in ("token", "span"):
        raise ConfigError(f"align is '{by}'{suggest(by, ('token', 'span'))}; it must be token or span")
    found: list[AlignedPair] = []
    skipped: list[dict[str, str]] = []
    for row in pairs.to_dict("records"):
        one = _aligned(model, row, by, of_an_edit(positions, chat=chat), chat=chat)
        if isinstance(one, str):
            skipped.append({"pair": str(row["id"]), "reason": one})
        else:
            found.append(one)
    return found, pd.DataFrame(skipped, columns=["pair", "reason"])


def balanced(pairs: Sequence[AlignedPair], limit: int | None) -> list[AlignedPair]:
    """The first pair of every family, then the second of every family and so on up to `limit`; in the order given."""
    if limit is None:
        return list(pairs)
    seen: dict[str, int] = {}
    rounds: list[tuple[int, int]] = []
    for index, pair in enumerate(pairs):
        rounds.append((seen.get(pair.family, 0), index))
        seen[pair.family] = seen.get(pair.family, 0) + 1
    return [pairs[index] for index in sorted(index for _, index in sorted(rounds)[:limit])]


def _aligned(
    model: Model, row: dict[Any, Any], by: str, place: EditPositions | None, *, chat: bool
) -> AlignedPair | str:
    """The pair, or why it cannot be used."""
    try:
        (target,), named = locate(model.tokens, [row["target"]], [] if place is None else [str(place)], chat=chat)
        (source,), _ = locate(model.tokens, [row["source"]], [], chat=chat)
    except CorpusError as error:  # a span that this text does not have
        return str(error)
    answers = model.tokens.encode([row["source_answer"], row["target_answer"]], special=False)
    if source == target:
        return "source and target are the same"
    if by == "token" and len(source) != len(target):
        return f"{len(source)} and {len(target)} tokens"
    span = _span(source, target)
    if isinstance(span, str):
        return span
    if any(len(one) != 1 for one in answers):
        return f"answers of {len(answers[0])} and {len(answers[1])} tokens"
    if answers[0] == answers[1]:
        return "both answers begin with the same token"
    first, after = span
    emotion = next((row[name] for name in ("emotion", "source_emotion") if isinstance(row.get(name), str)), None)
    family = str(row["family"]) if isinstance(row.get("family"), str) else "all"
    return AlignedPair(
        str(row["id"]), family, tuple(source), tuple(target), (answers[0][0], answers[1][0]),
        first, len(target) - after - 1, len(source) - after - 1, emotion, _marked(place, named, len(target)),
    )  # fmt: skip


def _marked(place: EditPositions | None, named: Mapping[str, list[np.ndarray]], size: int) -> tuple[int, ...] | None:
    if place is None:
        return None
    if place.named:
        return tuple(np.flatnonzero(named[str(place)][0]).tolist())
    return tuple(range({"from": place.first, "last": size - 1}.get(place.kind, 0), size))


def _span(source: list[int], target: list[int]) -> tuple[int, int] | str:
    """First differing token and the number of equal tokens after the span, or why there is no usable span."""
    least = min(len(source), len(target))
    first = next((i for i in range(least) if source[i] != target[i]), least)
    after = next((i for i in range(least - first) if source[-1 - i] != target[-1 - i]), least - first)
    if len(source) == len(target):
        return first, after
    if least - first == after:  # one span is empty: the token after an insertion is the first that can know of it
        after -= 1
    if after < 1:
        return "texts of unequal length that differ up to the end: no token after the difference is left to align"
    if first == 0:
        return "spans of unequal length that begin at the first token, whose state is the attention sink"
    return first, after
