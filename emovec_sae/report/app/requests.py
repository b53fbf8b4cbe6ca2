"""What the page asks for; every field is checked here, and a wrong one is named in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emovec_sae.errors import ConfigError, suggest

MOST_TOKENS = 200
MOST_PROMPT = 2000
MOST_SENTENCE = 300
Given = TypeVar("Given", bound="Asked")


class Asked(BaseModel):
    """A request: frozen, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AnswersAsked(Asked):
    """Answers side by side: without an edit, with the raw directions, with latents at the same dose."""

    prompt: str
    emotions: list[str] = []
    strengths: list[float] = []
    k: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    tokens: int = Field(default=60, ge=1, le=MOST_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=2)
    beyond: bool = False
    arms: list[Literal["none", "raw", "latents"]] = ["none", "raw", "latents"]


class HeatAsked(Asked):
    """A map of a text for an emotion or a latent."""

    text: str
    emotion: str | None = None
    latent: int | None = None
    readout: str = "centred_cosine"


class PatchAsked(Asked):
    """Two sentences, and what is moved from the first into the second."""

    source: str
    target: str
    source_answer: str = ""
    target_answer: str = ""
    what: Literal["residual", "attn_out", "mlp_out"] = "residual"


def read(kind: type[Given], given: Any) -> Given:
    """Check a request.

    Raises
    ------
    ConfigError
        If a field is missing, unknown or out of range: the first of them, in one line.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"a request is a JSON object, this is a {type(given).__name__}")
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError(_line(kind, error)) from error


def _line(kind: type[Asked], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"])) or "the request"
    if first["type"] == "extra_forbidden":
        known = list(kind.model_fields)
        return f"unknown field '{name}'{suggest(name, known)}; there are {', '.join(known)}"
    got = str(first["input"])
    told = got if len(got) <= 40 else f"{got[:40]}..."
    return f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {told!r}"
