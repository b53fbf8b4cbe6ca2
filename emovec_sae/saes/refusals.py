"""SAEs that cannot be read as parts of a vector, and why."""

from __future__ import annotations

from typing import Any

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.sites import Site

UNREADABLE = {
    "temporal": "its decoder sees only the novel part of the code",
    "transcoder": "it writes to another site than it reads",
    "skip_transcoder": "it writes to another site than it reads",
    "jumprelu_transcoder": "it writes to another site than it reads",
    "jumprelu_skip_transcoder": "it writes to another site than it reads",
}
"""Architectures of sae-lens for which h = sum_j f_j d_j + b + error has no meaning, with the reason."""


def refuse(sae: Any, name: str) -> None:
    """Say why an SAE cannot be used, before anything is computed with it."""
    cfg = sae.cfg
    if cfg.architecture() in UNREADABLE:
        raise UnfitError(f"SAE '{name}' is a {cfg.architecture()}: {UNREADABLE[cfg.architecture()]}")
    if cfg.normalize_activations == "expected_average_only_in":
        raise UnfitError(
            f"SAE '{name}' expects scaled input, but its scale is not folded into the weights; load it from its "
            "release, or call fold_activation_norm_scaling_factor and save_model once"
        )
    if cfg.normalize_activations != "none":
        raise UnfitError(
            f"SAE '{name}' normalises each activation ({cfg.normalize_activations}): a sum of its latents "
            "does not add up over tokens; choose an SAE with normalize_activations 'none'"
        )
    if cfg.reshape_activations != "none":
        raise UnfitError(f"SAE '{name}' reads attention heads ({cfg.reshape_activations}), not a stream of a block")
    if cfg.metadata.hook_head_index is not None:
        raise UnfitError(f"SAE '{name}' reads a single attention head, not a stream of a block")
    if (cfg.metadata.model_from_pretrained_kwargs or {}).get("center_writing_weights"):
        raise UnfitError(f"SAE '{name}' was trained on a model with centred writing weights; the plain model differs")


def site_of(sae: Any, name: str) -> Site:
    """Where an SAE reads, by its metadata."""
    hook = sae.cfg.metadata.hook_name
    if hook is None:
        raise MismatchError(f"SAE '{name}' does not say where it reads (no metadata.hook_name); give site=")
    return Site.from_hook_name(hook)
