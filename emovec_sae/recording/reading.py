"""How a text is put before the model, and which of its tokens are read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from emovec_sae.errors import ConfigError, suggest

FORMATS = ("plain", "chat")
ROLES = ("user", "assistant")
READ = ("text", "reply", "all")
LONG = ("error", "truncate", "split")
STORY_OFFSET = 20
"""First token that ``mean`` uses in stories and neutral texts: the emotion is clear from there on."""


@dataclass(frozen=True)
class Reading:
    """Format, role, tokens and policy of a recording.

    Attributes
    ----------
    format
        ``plain``: the text alone. ``chat``: the text as a message in the model's chat template.
    role
        Whose message the text is in chat format. An ``assistant`` text answers the corpus's column ``prompt``.
    read
        Tokens that are pooled and stored: ``text`` (the text's own), ``reply`` (what the template writes after it, up
        to where the assistant would begin: the place at which the model has read everything), ``all``. Position 0 and
        special tokens are never read.
    offset
        First token that ``mean`` and ``max`` use, counted from where reading begins; None takes 20, and 0 for
        ``reply``.
    long
        What happens to a text longer than the model's context: ``error``; ``truncate`` keeps its beginning; ``split``
        records pieces of equal length as texts of their own, with the same group.
    """

    format: str = "plain"
    role: str = "user"
    read: str = "text"
    offset: int | None = None
    long: str = "error"

    def __post_init__(self) -> None:
        for name, known in (("format", FORMATS), ("role", ROLES), ("read", READ), ("long", LONG)):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"unknown {name} '{value}'{suggest(str(value), known)}; choose {', '.join(known)}")
        if self.offset is not None and self.offset < 0:
            raise ConfigError(f"offset is {self.offset}; it counts tokens from 0")
        if self.format == "plain" and (self.role, self.read) not in (("user", "text"), ("user", "all")):
            raise ConfigError(f"role '{self.role}' and read '{self.read}' need chat format: format='chat'")
        if self.role == "assistant" and self.read == "reply":
            raise ConfigError("nothing follows a text of the assistant; read its text, or all")

    @property
    def first(self) -> int:
        """The offset that holds."""
        return (0 if self.read == "reply" else STORY_OFFSET) if self.offset is None else self.offset

    def settings(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return asdict(self) | {"offset": self.first}
