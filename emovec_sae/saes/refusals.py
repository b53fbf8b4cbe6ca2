"""SAEs that cannot be read as parts of a vector, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.saes.hooks import site_of_hooks
from emovec_sae.sites import Site

UNREADABLE = {
    "temporal": "its decoder sees only the novel part of the code",
    "transcoder": "it writes to another site than it reads",
    "skip_transcoder": "it writes to another site than it reads",
    "jumprelu_transcoder": "it writes to another site than it reads",
    "jumprelu_skip_transcoder": "it writes to another site than it reads",
}
"""Architectures of sae-lens for which h = sum_j f_j d_j + b + error has no meaning, with the reason."""

CENTRED = "was trained on a model with centred writing weights; the plain model differs"
"""Folded layer norms (``fold_ln``) are no reason: they leave the four streams as they are."""


def why_not(settings: Mapping[str, Any], *, scale_known: bool = False) -> str | None:
    """Why an SAE with these settings cannot be used, or None.

    Parameters
    ----------
    settings
        sae-lens's configuration as a dict: architecture, normalize_activations, reshape_activations, metadata.
    scale_known
        Whether loading folds the scale of the activations into the weights.
    """
    known: Mapping[str, Any] = settings.get("metadata") or {}
    architecture = settings.get("architecture")
    normalise = settings.get("normalize_activations") or "none"
    reshape = settings.get("reshape_activations") or "none"
    if architecture in UNREADABLE:
        return f"is a {architecture}: {UNREADABLE[str(architecture)]}"
    if normalise == "expected_average_only_in" and not scale_known:
        return (
            "expects scaled input, but its scale is not folded into the weights; load it from its "
            "release, or call fold_activation_norm_scaling_factor and save_model once"
        )
    if normalise == "covariance_whitening":
        return "expects whitened input, and the whitening is not folded into its weights"
    if normalise not in {"none", "expected_average_only_in"}:
        return (
            f"normalises each activation ({normalise}): a sum of its latents does not add up over tokens; "
            "choose an SAE with normalize_activations 'none'"
        )
    if reshape != "none":
        return f"reads attention heads ({reshape}), not a stream of a block"
    if known.get("hook_head_index") is not None:
        return "reads a single attention head, not a stream of a block"
    if (known.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights"):
        return CENTRED
    return None


def refuse(sae: Any, name: str) -> None:
    """Say why an SAE cannot be used, before anything is computed with it.

    Raises
    ------
    UnfitError
        With the reason.
    """
    cfg = sae.cfg
    settings = {
        "architecture": cfg.architecture(),
        "normalize_activations": cfg.normalize_activations,
        "reshape_activations": cfg.reshape_activations,
        "metadata": cfg.metadata.to_dict(),
    }
    if reason := why_not(settings):
        raise UnfitError(f"SAE '{name}' {reason}")


def site_of(sae: Any, name: str) -> Site:
    """Where an SAE reads, by its metadata's two hook names.

    Raises
    ------
    MismatchError
        If it does not say, or says two different things.
    UnfitError
        If it is no stream of a block.
    """
    known = sae.cfg.metadata
    try:
        return site_of_hooks(known.hook_name, known.hf_hook_name, model=known.model_name)
    except (MismatchError, UnfitError) as error:
        raise type(error)(f"SAE '{name}' {error}") from None
