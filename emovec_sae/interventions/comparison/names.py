"""Names of arms: one grammar, written and read here, so that a table of effects explains itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

INSTRUCTION = "instruction"
"""The arm without an edit: a prompt that tells the model to feel the emotion."""
TOPICS = "raw, other topics"
"""In a rotation: the vector of the topics that the latents come from."""
SHARE = "share"
"""The selector by Delta share, which a name leaves out."""

_KINDS = {"latents": "", "remainder": "remainder of ", "clamped": "clamped "}
_PATTERN = re.compile(r"^(?P<kind>remainder of |clamped |)k=(?P<k>\d+)(?:, (?P<selector>.+))?$")


@dataclass(frozen=True)
class LatentArm:
    """What the name of an arm made of latents says.

    Attributes
    ----------
    kind
        ``latents`` (k of them), ``remainder`` (the vector without them), ``clamped``.
    k
        How many latents.
    selector
        Who chose them.
    """

    kind: str
    k: int
    selector: str = SHARE

    def __str__(self) -> str:
        by = "" if self.selector == SHARE else f", {self.selector}"
        return f"{_KINDS[self.kind]}k={self.k}{by}"


def read_name(name: str) -> LatentArm | None:
    """What a name says, or None if the arm is not made of selected latents (``raw``, ``random``)."""
    found = _PATTERN.match(name)
    if found is None:
        return None
    kind = next(kind for kind, words in _KINDS.items() if words == found["kind"])
    return LatentArm(kind, int(found["k"]), found["selector"] or SHARE)
