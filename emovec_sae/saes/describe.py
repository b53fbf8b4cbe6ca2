"""What a release's names say about an SAE, with nothing fetched: site, width, l0, and whether we can read it.

The rules are those of sae-lens's loaders for each layout, which derive the same facts from the same names; a test
holds one against the other. What no name says stays unknown.
"""

from __future__ import annotations

import re
from typing import Any

from emovec_sae.errors import UnfitError
from emovec_sae.saes.directory import SAE_LENS, Release
from emovec_sae.saes.hooks import site_of_hook
from emovec_sae.saes.refusals import why_not
from emovec_sae.sites import Site

WIDTHS = {f"{label}k": value * 1024 for label, value in
          {4: 4, 16: 16, 32: 32, 64: 64, 65: 64, 80: 80, 128: 128, 131: 128, 262: 256, 524: 512}.items()} | {
    "1m": 1024 * 1024
}  # fmt: skip
"""Labels of widths: powers of two, rounded in decimal ("65k") or in binary ("64k"); Qwen's 80k is 80 x 1024."""

ARCHITECTURES = {
    "gemma_2_transcoder": "jumprelu_transcoder",
    "mwhanna_transcoder": "transcoder",
    "mntss_clt_layer_transcoder": "transcoder",
    "temporal": "temporal",
    "connor_rob_hook_z": "standard",
}
"""Layouts that hold one architecture, where that decides or sae-lens's loader fixes it."""

FIXED_WIDTH = {"goodfire": 65536, "deepseek_r1": 65536}
"""Widths that sae-lens's loaders have written into them."""

LLAMA_D_MODEL = 4096
"""Llama Scope says how many times d_model (of Llama 3.1 8B) an SAE is wide."""

SETTLED = frozenset({"gemma_2", "gemma_3", "qwen_scope", "goodfire", "deepseek_r1", "dictionary_learning_1"})
"""Layouts whose loaders always give an SAE that takes plain activations."""

_HOOK = re.compile(r"blocks\.\d+\.(?:attn\.)?hook_(?:resid_pre|resid_mid|resid_post|attn_out|mlp_out|z)")
_EXACT_WIDTH = (
    re.compile(r"_(\d{3,7})(?:_anthropic\w*)?(?::v\d+)?$"),
    re.compile(r"_ds(\d+)_"),
)
_LABEL = re.compile(r"(?:^|[-_])(\d+[km])(?=$|[-_/])", re.IGNORECASE)


def hook_of(release: Release, sae_id: str) -> str | None:
    """The hook name that an SAE reads, TransformerLens's spelling, or None where no name says."""
    path = release.path(sae_id)
    layer = re.search(r"layer_?(\d+)", path) or re.search(r"layer_?(\d+)", sae_id)
    number = layer[1] if layer else None
    if release.layout in {"gemma_2", "gemma_3"}:
        return _hook_of_gemma_scope(release, path, number)
    if release.layout == "gemma_2_transcoder" and number:
        return f"blocks.{number}.ln2.hook_normalized"
    if release.layout in {"llama_scope", "llama_scope_r1_distill"}:
        found = re.match(r"l(\d+)([ram])_", sae_id)
        streams = {"r": "resid_post", "a": "attn_out", "m": "mlp_out"}
        return f"blocks.{found[1]}.hook_{streams[found[2]]}" if found else None
    if release.layout in {"qwen_scope", "goodfire"} and number:
        return f"blocks.{number}.hook_resid_post"
    if release.layout == "goodfire" or release.layout in {"mwhanna_transcoder", "mntss_clt_layer_transcoder"}:
        number = number or path
        return f"blocks.{number}.hook_mlp_in" if "transcoder" in release.layout else None
    if found := _HOOK.search(sae_id):
        return found[0]
    found = re.search(r"(resid_post)_layer_(\d+)", sae_id)
    return f"blocks.{found[2]}.hook_{found[1]}" if found else None


def _hook_of_gemma_scope(release: Release, path: str, layer: str | None) -> str | None:
    if "embedding" in path:
        return "hook_embed"
    # Gemma Scope has a repository for each stream; in Gemma Scope 2 the folder says the stream
    kind = release.repo if release.layout == "gemma_2" else path
    for mark, hook in (
        ("transcoder", "hook_mlp_in"), ("clt", "hook_mlp_in"), ("res", "hook_resid_post"), ("mlp", "hook_mlp_out"),
        ("att", "attn.hook_z"),
    ):  # fmt: skip
        if mark in kind:
            return f"blocks.{layer}.{hook}"
    return None


def site_or_reason(release: Release, sae_id: str) -> tuple[Site | None, str | None]:
    """The site, if it is one, and why not, if it is known not to be."""
    hook = hook_of(release, sae_id)
    if hook is None:
        return None, None
    try:
        return site_of_hook(hook), None
    except UnfitError as error:
        return None, str(error)


def width_of(release: Release, sae_id: str) -> int | None:
    """Number of latents, or None where no name says."""
    if release.layout in FIXED_WIDTH:
        return FIXED_WIDTH[release.layout]
    if release.layout == "llama_scope":
        found = re.search(r"_(\d+)x$", sae_id)
        return int(found[1]) * LLAMA_D_MODEL if found else None
    if found := re.search(r"width-2pow(\d+)", release.name):
        return 2 ** int(found[1])
    names = (release.path(sae_id), sae_id, release.saes[sae_id].get("neuronpedia") or "", release.repo)
    if release.layout in {SAE_LENS, "connor_rob_hook_z"}:
        for name in names[:2]:
            for pattern in _EXACT_WIDTH:
                if found := pattern.search(name):
                    return int(found[1])
    if release.layout == "qwen_scope":
        found = re.search(r"-W(\d+)K-", release.repo)
        return int(found[1]) * 1024 if found else None
    for name in names:
        for label in _LABEL.findall(name):
            if label.lower() in WIDTHS:
                return WIDTHS[label.lower()]
    return None


def l0_of(release: Release, sae_id: str) -> float | None:
    """Latents active at a token as the release states it, or None; sae-lens says 0.0 for unknown."""
    stated = release.saes[sae_id].get("l0")
    if stated:
        return float(stated)
    found = re.search(r"average_l0_(\d+)", release.path(sae_id))
    return float(found[1]) if found else None


def model_of(release: Release) -> str:
    """The model, by the repository where that is more exact than the list (Gemma Scope's chat model, 9b-it)."""
    found = re.search(r"gemma-scope-(\d+b)-(pt|it)-", release.repo)
    if release.layout in {"gemma_2", "gemma_2_transcoder"} and found:
        return f"gemma-2-{found[1]}" + ("-it" if found[2] == "it" else "")
    return release.model


def usable(release: Release, sae_id: str) -> tuple[bool | None, str]:
    """Whether we can reproduce an SAE's input and read its latents, and why not.

    Returns
    -------
    usable, reason
        None where its own configuration decides, which is read first when it is loaded.
    """
    scale_known = release.saes[sae_id].get("norm_scaling_factor") is not None
    overrides: dict[str, Any] = release.overrides
    architecture = ARCHITECTURES.get(release.layout)
    if release.layout == "gemma_3" and re.search(r"transcoder|clt", release.path(sae_id)):
        architecture = "jumprelu_transcoder"
    settings = {
        "architecture": architecture,
        "normalize_activations": overrides.get("normalize_activations"),
        "metadata": {"model_from_pretrained_kwargs": overrides.get("model_from_pretrained_kwargs")},
    }
    reason = why_not(settings, scale_known=scale_known) or site_or_reason(release, sae_id)[1]
    if reason:
        return False, reason
    if release.layout in SETTLED or (release.layout.startswith("llama_scope") and scale_known):
        return True, ""
    return None, "its configuration decides; it is read before the weights are fetched"
