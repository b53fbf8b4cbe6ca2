"""The state of the page in its address: what is shared by a link is restored, and what is wrong in it is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError, CorpusError, suggest
from emovec_sae.report.app.mix import Mix
from emovec_sae.report.app.requests import MOST_PROMPT, MOST_SENTENCE, MOST_TOKENS
from emovec_sae.report.app.texts import MOST_CHARACTERS, check_latent, check_text

if TYPE_CHECKING:
    from emovec_sae.report.app.material import Material

VIEWS = ("mix", "text", "latents", "patch")
WHAT = ("residual", "attn_out", "mlp_out")


@dataclass(frozen=True)
class State:
    """What the page shows, field by field as in the address.

    Attributes
    ----------
    view
        Which tab.
    emotions, strengths, k, prompt, seed, tokens, temperature
        Of the mix; ``emotions=afraid,calm&strengths=0.15,-0.05``.
    text, read
        The text of the map, and what is read in it: an emotion's name or a latent's number.
    latent
        The latent of the dashboard.
    source, target, source_answer, target_answer, what
        Of the patching.
    """

    view: str = "mix"
    emotions: tuple[str, ...] = ()
    strengths: tuple[float, ...] = ()
    k: int = 16
    prompt: str = "Describe the room that you are in."
    seed: int = 0
    tokens: int = 60
    temperature: float = 0.0
    text: str = ""
    read: str = ""
    latent: int = 0
    source: str = ""
    target: str = ""
    source_answer: str = ""
    target_answer: str = ""
    what: str = "residual"

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def parse(material: Material, query: Mapping[str, str], start: State) -> tuple[State, list[str]]:
    """Read an address.

    Parameters
    ----------
    material
        The run, which knows the emotions and latents.
    query
        Its parameters.
    start
        What holds for those that are not there, or wrong.

    Returns
    -------
    State
        What can be restored.
    list of str
        What was refused, a line each.
    """
    found, refused = start, list[str]()
    for name, text in query.items():
        if name in ("emotions", "strengths"):
            continue
        reader = _READERS.get(name)
        try:
            if reader is None:
                known = [*_READERS, "emotions", "strengths"]
                raise ConfigError(f"the address has no '{name}'{suggest(name, known)}")
            found = replace(found, **{name: reader(material, name, text)})
        except (ConfigError, CorpusError) as error:
            refused.append(str(error))
    if "emotions" in query or "strengths" in query:
        try:
            mix = _mix(material, query.get("emotions", ""), query.get("strengths", ""))
            found = replace(found, emotions=mix.emotions, strengths=mix.strengths)
        except ConfigError as error:
            refused.append(str(error))
    return found, refused


def _mix(material: Material, emotions: str, strengths: str) -> Mix:
    names = [one.strip() for one in emotions.split(",") if one.strip()]
    numbers = [_float("strengths", one) for one in strengths.split(",") if one.strip()]
    return Mix.of(material, names, numbers)


def _float(name: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ConfigError(f"{name} in the address is '{text[:20]}'; it must be a number")
    return found


def _whole(least: int, most: int) -> Callable[[Material, str, str], int]:
    def _reader(_material: Material, name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
            raise ConfigError(f"{name} in the address is '{text[:20]}'; it must be a whole number, {least} to {most}")
        return int(text)

    return _reader


def _latent(material: Material, name: str, text: str) -> int:
    return check_latent(material, _whole(0, 2**31)(material, name, text))


def _temperature(_material: Material, name: str, text: str) -> float:
    found = _float(name, text)
    if not 0 <= found <= 2:
        raise ConfigError(f"{name} in the address is {found:g}; it must be from 0 to 2")
    return found


def _one_of(known: tuple[str, ...]) -> Callable[[Material, str, str], str]:
    def _reader(_material: Material, name: str, text: str) -> str:
        if text not in known:
            raise ConfigError(f"{name} in the address is '{text[:20]}'{suggest(text, known)}; it is {', '.join(known)}")
        return text

    return _reader


def _text(most: int) -> Callable[[Material, str, str], str]:
    def _reader(_material: Material, name: str, text: str) -> str:
        return check_text(text, what=f"{name} in the address", most=most) if text else text

    return _reader


def _read(material: Material, name: str, text: str) -> str:
    if text.isascii() and text.isdigit():
        return str(_latent(material, name, text))
    material.directions.index(text)
    return text


_READERS: dict[str, Callable[[Any, str, str], Any]] = {
    "view": _one_of(VIEWS),
    "k": _whole(1, 10**6),
    "prompt": _text(MOST_PROMPT),
    "seed": _whole(0, 2**31 - 1),
    "tokens": _whole(1, MOST_TOKENS),
    "temperature": _temperature,
    "text": _text(MOST_CHARACTERS),
    "read": _read,
    "latent": _latent,
    "source": _text(MOST_SENTENCE),
    "target": _text(MOST_SENTENCE),
    "source_answer": _text(MOST_SENTENCE),
    "target_answer": _text(MOST_SENTENCE),
    "what": _one_of(WHAT),
}
"""Parameter of the address -> (run, name, text) to its value."""
