"""sae-lens's trainable architectures: a checked configuration, and weights to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    import torch

TRAINABLE = (
    "topk",
    "batchtopk",
    "matryoshka_batchtopk",
    "abstopk",
    "jumprelu",
    "standard",
    "gated",
    "matching_pursuit",
)
"""What `train_sae` can train; batchtopk and matryoshka_batchtopk are saved as jumprelu."""

TOPK_FAMILY = frozenset({"topk", "batchtopk", "matryoshka_batchtopk", "abstopk"})
"""Architectures that take k."""

ENCODER_START = 0.5
"""Encoder start in multiples of the decoder's transpose, for the TopK family.

k rows picked out of a random frame overlap, so their plain projections sum to more than the input.
"""


def training_config(
    architecture: str,
    *,
    d_in: int,
    d_sae: int,
    k: int,
    options: Mapping[str, Any],
    device: str,
    metadata: Any,
) -> Any:
    """Make sae-lens's training configuration, refusing what it would drop in silence.

    Raises
    ------
    ConfigError
        If the architecture is unknown, or an option is no field of its configuration or has an impossible value.
    """
    if architecture not in TRAINABLE:
        raise ConfigError(
            f"cannot train architecture '{architecture}'{suggest(architecture, TRAINABLE)}; "
            f"there are {', '.join(TRAINABLE)}"
        )
    from sae_lens.registry import get_sae_training_class

    _, config_class = get_sae_training_class(architecture)
    settings: dict[str, Any] = {}
    if architecture in TOPK_FAMILY:
        # Unit rows from the start: with sae-lens's 0.1 a short run spends its steps on growing the weights.
        settings.update(k=k, decoder_init_norm=1.0)
    if architecture == "matching_pursuit":
        settings.update(max_iterations=k, decoder_init_norm=1.0)
    if architecture == "matryoshka_batchtopk":
        settings.update(matryoshka_widths=[max(1, d_sae // 8), max(2, d_sae // 2), d_sae])
    known = {field.name for field in fields(config_class)} - {"d_in", "d_sae", "device", "metadata", "dtype"}
    for name in options:
        if name not in known:
            raise ConfigError(f"architecture '{architecture}' has no option '{name}'{suggest(name, known)}")
    settings.update(options)
    try:
        return config_class(d_in=d_in, d_sae=d_sae, device=device, metadata=metadata, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"architecture '{architecture}' refuses its options: {error}") from error


def training_sae(architecture: str, config: Any, *, mean: torch.Tensor) -> Any:
    """Make the SAE to train, its decoder bias at the mean of the scaled activations, (d_in,)."""
    from sae_lens.registry import get_sae_training_class

    sae_class, _ = get_sae_training_class(architecture)
    sae = sae_class(config)
    sae.b_dec.data.copy_(mean)
    if architecture in TOPK_FAMILY:
        sae.W_enc.data.mul_(ENCODER_START)
    return sae
