"""Hook names of SAEs, in TransformerLens's spelling and in Hugging Face's, as sites; or why they are none."""

from __future__ import annotations

import re

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.sites import STREAMS, Site

HEADS = "reads attention heads, before their output matrix; that is no stream of a block"
MIDDLE = "reads the stream between attention and MLP, which is not recorded"
EMBEDDING = "reads the embedding, before the first block"
MLP_INPUT = "reads what enters the MLP, which is no stream of a block"
BEFORE_NORM = "reads before the norm that stands between this part and the stream"
BEHIND_NORM = "reads the norm before the MLP, which is no stream of a block"

_LENS = re.compile(r"blocks\.(\d+)\.(?:attn\.)?hook_([a-z_]+)")
_LENS_OTHER = {"z": HEADS, "resid_mid": MIDDLE, "mlp_in": MLP_INPUT}
_FACE = re.compile(r"(?:^|.*\.)(?:layers|h)\.(\d+)(?:\.(.+))?")
_SANDWICH = re.compile(r"gemma-?[23]\b|olmo-?2", re.IGNORECASE)


def site_of_hook(name: str, *, model: str | None = None) -> Site:
    """The site that a hook name means.

    Parameters
    ----------
    name
        ``blocks.12.hook_resid_post`` (TransformerLens), or ``model.layers.12.output`` (Hugging Face modules).
    model
        Name of the model; Gemma 2, Gemma 3 and OLMo 2 have a norm between a part and the stream, so that the same
        module name means another place there.

    Raises
    ------
    UnfitError
        If it is none of the four streams; the message is the reason, without the SAE's name.
    """
    if name in {"hook_embed", "model.embed_tokens", "model.embed_tokens.output"}:
        raise UnfitError(EMBEDDING)
    if found := _LENS.fullmatch(name):
        if found[2] in STREAMS and ".attn." not in name:
            return Site(found[2], int(found[1]))
        raise UnfitError(_LENS_OTHER.get(found[2], _unknown(name)))
    if found := _FACE.fullmatch(name):
        return _of_module(name, int(found[1]), found[2], sandwich=bool(_SANDWICH.search(model or "")))
    raise UnfitError(MLP_INPUT if "ln2.hook_normalized" in name else _unknown(name))


def site_of_hooks(hook: str | None, face: str | None, *, model: str | None = None) -> Site:
    """The site that both names mean; either may be missing.

    Raises
    ------
    MismatchError
        If there is no name, or the two mean different sites.
    UnfitError
        If a name is none of the four streams.
    """
    found = [site_of_hook(name, model=model) for name in (hook, face) if name]
    if not found:
        raise MismatchError("does not say where it reads (no metadata.hook_name); give site=")
    if len(set(found)) > 1:
        raise MismatchError(
            f"says that it reads {hook} ({found[0]}) and {face} ({found[1]}), which differ; give site= if you know"
        )
    return found[0]


def _of_module(name: str, layer: int, part: str | None, *, sandwich: bool) -> Site:
    """A module below block `layer`; `part` is the path below the block, with ``.input`` or ``.output``."""
    path, _, end = (part or "output").rpartition(".")
    if path == "":
        streams = {"output": "resid_post", "input": "resid_pre"}
        if end in streams:
            return Site(streams[end], layer)
    if path == "self_attn.o_proj" and end == "input":
        raise UnfitError(HEADS)
    if end == "output":
        if path == "post_feedforward_layernorm":
            return Site("mlp_out", layer)
        if path == "post_attention_layernorm":
            if not sandwich:
                raise UnfitError(BEHIND_NORM)
            return Site("attn_out", layer)
        streams = {"mlp": "mlp_out", "self_attn": "attn_out", "self_attn.o_proj": "attn_out"}
        if path in streams:
            if sandwich:
                raise UnfitError(BEFORE_NORM)
            return Site(streams[path], layer)
    if path == "pre_feedforward_layernorm" or (path, end) == ("mlp", "input"):
        raise UnfitError(MLP_INPUT)
    raise UnfitError(_unknown(name))


def _unknown(name: str) -> str:
    return f"reads '{name}', which is no site that can be recorded; sites are {', '.join(STREAMS)} of a block"
