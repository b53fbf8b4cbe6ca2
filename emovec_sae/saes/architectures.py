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

SHORT = {"matryoshka": "matryoshka_batchtopk"}
"""Other names that are understood."""

TOPK_FAMILY = frozenset({"topk", "batchtopk", "matryoshka_batchtopk", "abstopk"})
"""Architectures that take k."""

ENCODER_START = 0.5
"""Encoder start in multiples of the decoder's transpose, for the TopK family.

k rows picked out of a random frame overlap, so their plain projections sum to more than the input.
"""


def full_name(architecture: str) -> str:
    """sae-lens's name of an architecture.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    name = SHORT.get(architecture, architecture)
    if name not in TRAINABLE:
        raise ConfigError(
            f"cannot train architecture '{architecture}'{suggest(architecture, [*TRAINABLE, *SHORT])}; "
            f"there are {', '.join(TRAINABLE)}"
        )
    return name


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
    architecture = full_name(architecture)
    from sae_lens.registry import get_sae_training_class

    _, config_class = get_sae_training_class(architecture)
    settings = _usual(architecture, d_sae=d_sae, k=k)
    known = {field.name for field in fields(config_class)} - {"d_in", "d_sae", "device", "metadata", "dtype"}
    for name in options:
        if name not in known:
            raise ConfigError(f"architecture '{architecture}' has no option '{name}'{suggest(name, known)}")
    settings.update(options)
    try:
        return config_class(d_in=d_in, d_sae=d_sae, device=device, metadata=metadata, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"architecture '{architecture}' refuses its options: {error}") from error


def _usual(architecture: str, *, d_sae: int, k: int) -> dict[str, Any]:
    """What is set unless an option says otherwise."""
    found: dict[str, Any] = {}
    if architecture in TOPK_FAMILY | {"matching_pursuit", "jumprelu"}:
        # Unit rows from the start: with sae-lens's 0.1 a short run spends its steps on growing the weights.
        found["decoder_init_norm"] = 1.0
    if architecture in TOPK_FAMILY:
        found["k"] = k
    if architecture == "matching_pursuit":
        found["max_iterations"] = k
    if architecture == "matryoshka_batchtopk":
        found["matryoshka_widths"] = sorted({max(1, d_sae // 8), max(1, d_sae // 2), d_sae})
    if architecture == "jumprelu":
        # The penalty of Gemma Scope 2 draws l0 to a number, so that k means the same for every architecture that has
        # it.
        found.update(jumprelu_sparsity_loss_mode="quadratic", target_l0=k)
    return found


def asked_l0(config: Any) -> float | None:
    """The number of active latents that a configuration asks for; None where a penalty decides it."""
    if config.architecture() in TOPK_FAMILY:
        return float(config.k)
    if config.architecture() == "matching_pursuit":
        return None if config.max_iterations is None else float(config.max_iterations)
    if config.architecture() == "jumprelu" and config.jumprelu_sparsity_loss_mode == "quadratic":
        return float(config.target_l0)
    return None


def training_sae(architecture: str, config: Any, *, mean: torch.Tensor) -> Any:
    """Make the SAE to train, its decoder bias at the mean of the scaled activations, (d_in,)."""
    from sae_lens.registry import get_sae_training_class

    sae_class, _ = get_sae_training_class(architecture)
    sae = sae_class(config)
    sae.b_dec.data.copy_(mean)
    if architecture in TOPK_FAMILY:
        sae.W_enc.data.mul_(ENCODER_START)
    return sae
