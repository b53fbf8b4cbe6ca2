"""Character spans of a text (the answer only, the name only), as its column ``span`` gives them."""

from __future__ import annotations

import json
from typing import Any

from emovec_sae.errors import CorpusError


def read_spans(value: Any, text: str, *, name: str) -> list[tuple[int, int]]:
    """Read the column ``span`` of a text.

    Parameters
    ----------
    value
        ``[first, last]`` in characters, `last` excluded, or a list of such pairs, as JSON or as they are; or a piece
        of the text that occurs in it just once.
    text
        The text.
    name
        Its id, for errors.

    Returns
    -------
    list of (first, last)

    Raises
    ------
    CorpusError
        If it is missing, cannot be read, or lies outside of the text.
    """
    found = _parsed(value)
    if isinstance(found, str) and found:
        count = text.count(found)
        if count != 1:
            raise CorpusError(
                f"the span {found!r} of text '{name}' occurs {count} times in it; give its characters: [first, last]"
            )
        return [(text.index(found), text.index(found) + len(found))]
    pairs: Any = [found] if _pair(found) else found
    if not isinstance(pairs, list) or not pairs or not all(map(_pair, pairs)):
        raise CorpusError(
            f"text '{name}' has span {value!r}; its column 'span' gives characters as [first, last], a list of such "
            "pairs, or a piece of the text"
        )
    for first, last in pairs:
        if not 0 <= first < last <= len(text):
            raise CorpusError(
                f"the span [{first}, {last}] of text '{name}' is not inside of its {len(text)} characters"
            )
    return [(int(first), int(last)) for first, last in pairs]


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return list(value) if isinstance(value, tuple) else value


def _pair(value: Any) -> bool:
    whole = isinstance(value, list | tuple) and len(value) == 2
    return whole and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
