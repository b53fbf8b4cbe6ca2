"""Site: a place in a model where activations are read and edited, such as ``resid_post.17``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from emovec_sae.errors import ConfigError, suggest

STREAMS = ("resid_pre", "attn_out", "mlp_out", "resid_post")
"""Streams of a block in the order in which a forward pass reaches them."""

_SITE = re.compile(r"(?P<stream>[a-z_]+)\.(?P<layers>\d+|\d+-\d+|\*)")
_HOOK = re.compile(r"blocks\.(?P<layer>\d+)\.hook_(?P<stream>[a-z_]+)")


@dataclass(frozen=True)
class Site:
    """A stream at a block; layers count from 0.

    Attributes
    ----------
    stream
        One of ``resid_pre``, ``attn_out``, ``mlp_out``, ``resid_post``.
    layer
        The block, counted from 0.
    """

    stream: str
    layer: int

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise ConfigError(
                f"unknown stream '{self.stream}'{suggest(self.stream, STREAMS)}; streams are {', '.join(STREAMS)}"
            )
        if self.layer < 0:
            raise ConfigError(f"layer {self.layer} of site '{self}' is negative; layers count from 0")

    def __str__(self) -> str:
        return f"{self.stream}.{self.layer}"

    def __lt__(self, other: Site) -> bool:
        return self.order < other.order

    @property
    def order(self) -> tuple[int, int]:
        """Sort key in the order of the forward pass."""
        return (self.layer, STREAMS.index(self.stream))

    @property
    def hook_name(self) -> str:
        """The TransformerLens name, ``blocks.17.hook_resid_post``."""
        return f"blocks.{self.layer}.hook_{self.stream}"

    @classmethod
    def from_hook_name(cls, name: str) -> Site:
        """Read a TransformerLens hook name.

        Raises
        ------
        ConfigError
            If the hook is none of the four streams of a block.
        """
        match = _HOOK.fullmatch(name)
        if match is None or match["stream"] not in STREAMS:
            raise ConfigError(
                f"hook '{name}' is no site that can be recorded; sites are {', '.join(STREAMS)} of a block"
            )
        return cls(match["stream"], int(match["layer"]))

    @classmethod
    def parse(cls, text: str | Site) -> Site:
        """Read ``"resid_post.17"`` (or pass a `Site` through)."""
        if isinstance(text, Site):
            return text
        found = parse_sites(text)
        if len(found) != 1:
            raise ConfigError(f"'{text}' names {len(found)} sites where one is wanted, such as resid_post.17")
        return found[0]


def parse_sites(text: str | Site | Iterable[str | Site], n_layers: int | None = None) -> list[Site]:
    """Read a list of sites: ``"resid_post.12-24,mlp_out.3"``, ``"resid_post.*"``, or any iterable of such.

    Parameters
    ----------
    text
        What to read; ranges include both ends.
    n_layers
        Number of blocks of the model; needed for ``*`` and used to refuse layers that do not exist.

    Returns
    -------
    list of Site
        Without duplicates, in the order of the forward pass.

    Raises
    ------
    ConfigError
        If a part cannot be read or names a block that the model lacks.
    """
    if isinstance(text, Site):
        parts: list[str | Site] = [text]
    elif isinstance(text, str):
        parts = [part.strip() for part in text.split(",") if part.strip()]
    else:
        parts = list(text)
    found: set[Site] = set()
    for part in parts:
        found.update([part] if isinstance(part, Site) else _parse_part(part, n_layers))
    if not found:
        raise ConfigError("no site was given; write for example resid_post.12-24")
    for site in found:
        if n_layers is not None and site.layer >= n_layers:
            raise ConfigError(f"site '{site}' does not exist: the model has {n_layers} blocks, 0 to {n_layers - 1}")
    return sorted(found)


def _parse_part(part: str, n_layers: int | None) -> list[Site]:
    match = _SITE.fullmatch(part)
    if match is None:
        raise ConfigError(f"cannot read site '{part}'; write STREAM.LAYER, such as resid_post.17, resid_post.12-24")
    stream, layers = match["stream"], match["layers"]
    if layers == "*":
        if n_layers is None:
            raise ConfigError(f"'{part}' needs a model to know how many blocks there are")
        return [Site(stream, layer) for layer in range(n_layers)]
    first, _, last = layers.partition("-")
    if last and int(last) < int(first):
        raise ConfigError(f"site range '{part}' runs backwards; write {stream}.{last}-{first}")
    return [Site(stream, layer) for layer in range(int(first), int(last or first) + 1)]
