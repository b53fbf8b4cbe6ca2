"""What is trained and how: checked, kept in ``emovec.json``, and compared before a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from emovec_sae.errors import ConfigError, suggest
from emovec_sae.saes.architectures import full_name

PRECISIONS = ("float32", "bfloat16")
"""bfloat16 chooses the active latents by pre-activations in bfloat16; their values, and all else, stay float32."""

PASSES = 2
"""How often each recorded token is seen where no number of tokens is given."""


class TrainingOptions(TypedDict, total=False):
    """Settings that a run of one SAE and a run of several share; `Settings` explains them."""

    architecture: str
    k: int
    tokens: int | None
    batch: int
    lr: float
    warm_up: float
    decay: float
    dead_after: int | None
    order_seed: int
    precision: str
    options: Mapping[str, Any] | None


@dataclass(frozen=True)
class Settings:
    """What was trained and how, as ``emovec.json`` keeps it.

    The defaults of `batch` and `lr` were chosen on 161k story tokens of SmolLM2-135M (block 18, 2,304 latents, k = 32),
    by explained variance on other topics. 120k tokens: 0.53 with batches of 4,096 at lr 1e-3 and sae-lens's decoder
    norm of 0.1, 0.73 with 2,048 at 3e-3 and unit rows, 0.76 with 1,024. 300k tokens: 0.80 (0.81 with 4,608 latents,
    0.80 at lr 2e-3). With 4,608 latents and 200k tokens: 0.797; at lr 1e-3 0.768, in batches of 2,048 0.782, of 512 at
    lr 2e-3 0.801; latents chosen in bfloat16 0.797. Runs of many millions of tokens want a lower lr.

    Attributes
    ----------
    architecture, d_sae, k
        One of `emovec_sae.saes.architectures.TRAINABLE`; number of latents; active latents a token.
    tokens, batch
        Tokens of the run, repeats counted, and of one step.
    lr, warm_up, decay
        Adam's learning rate; the shares of the steps over which it rises to it from zero at the start, and falls to
        zero at the end, both linearly.
    dead_after
        Steps without firing after which a latent counts as dead, and is trained to explain what the others leave.
    seed, order_seed
        Of the initial weights, and of the order of tokens (which several SAEs of one run share).
    precision
        One of `PRECISIONS`; other than float32 only for the TopK family.
    options
        Further fields of sae-lens's training configuration.
    """

    architecture: str
    d_sae: int
    k: int
    tokens: int
    batch: int = 1024
    lr: float = 3e-3
    warm_up: float = 0.02
    decay: float = 1 / 3
    dead_after: int = 0
    seed: int = 0
    order_seed: int = 0
    precision: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def steps(self) -> int:
        """Optimiser steps; at least one."""
        return max(1, round(self.tokens / self.batch))


def settings(d_sae: int, seed: int, given: TrainingOptions, *, unique: int) -> Settings:
    """Fill in the defaults and refuse what is impossible.

    Parameters
    ----------
    d_sae, seed
        Number of latents, and the seed of the initial weights.
    given
        The other settings.
    unique
        How many tokens there are to train on.

    Raises
    ------
    ConfigError
        If a number lies outside its range, or fewer tokens than a batch are recorded.
    """
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    found["architecture"] = full_name(found.get("architecture", "topk"))
    found.setdefault("k", 32)
    found.setdefault("tokens", PASSES * unique)
    plan = Settings(d_sae=d_sae, seed=seed, **found)
    _check(plan, unique)
    # Latents that fire rarely must not pass for dead: half the run at most, and a thousand steps.
    window = plan.dead_after or min(1000, max(10, plan.steps // 2))
    return replace(plan, dead_after=window)


def _check(plan: Settings, unique: int) -> None:
    if plan.d_sae < 1 or plan.batch < 1 or plan.tokens < 1 or plan.lr <= 0:
        raise ConfigError(
            f"d_sae, batch, tokens and lr must be positive, got {plan.d_sae}, {plan.batch}, {plan.tokens}, {plan.lr}"
        )
    if not 0 < plan.k <= plan.d_sae:
        raise ConfigError(f"k must lie between 1 and d_sae = {plan.d_sae}, got {plan.k}")
    if min(plan.warm_up, plan.decay) < 0 or plan.warm_up + plan.decay > 1:
        raise ConfigError(
            f"warm_up and decay are shares of the steps, together at most 1; got {plan.warm_up} and {plan.decay}"
        )
    if plan.dead_after < 0:
        raise ConfigError(f"dead_after counts steps and must be positive, got {plan.dead_after}")
    if plan.precision not in PRECISIONS:
        raise ConfigError(
            f"unknown precision '{plan.precision}'{suggest(plan.precision, PRECISIONS)}; "
            f"there are {', '.join(PRECISIONS)}"
        )
    if unique < plan.batch:
        raise ConfigError(
            f"{unique} tokens are recorded, one batch takes {plan.batch}; record more, or lower the batch"
        )


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say where two runs differ, setting by setting; empty where they do not."""
    names = [name for name in {**there, **asked} if there.get(name) != asked.get(name)]
    return "; ".join(f"{name} {_short(there.get(name))} there, {_short(asked.get(name))} asked" for name in names)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def schedule(step: int, plan: Settings) -> float:
    """Share of the learning rate at a step, counted from 0: up over the warm-up, down to zero over the decay."""
    rise, fall = round(plan.warm_up * plan.steps), round(plan.decay * plan.steps)
    if step < rise:
        return (step + 1) / rise
    left = plan.steps - step
    return left / fall if left < fall else 1.0
