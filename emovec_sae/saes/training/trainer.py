"""One SAE in training: a step, its counters, and its whole state for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError
from emovec_sae.saes.training.settings import Settings, schedule
from emovec_sae.saes.training.sparse_step import SparseStep, StepResult, applies

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Point:
    """The curve at a step.

    Attributes
    ----------
    step, tokens
        Steps done, and tokens of these, sinks counted.
    loss
        Squared error of a token's scaled activation, penalties and dead latents' part included.
    explained_variance, l0
        Of the step's own batch, before the step.
    dead_share
        Share of the latents that count as dead.
    lr
        Learning rate of the step.
    """

    step: int
    tokens: int
    loss: float
    explained_variance: float
    l0: float
    dead_share: float
    lr: float


class Trainer:
    """An SAE with its optimiser and the count of steps since each latent fired.

    The step is sae-lens's: loss, gradient clipped to norm 1, Adam; the TopK family's gradients come from `SparseStep`.

    Parameters
    ----------
    sae
        A training SAE of sae-lens.
    plan
        The settings.

    Raises
    ------
    ConfigError
        If another precision than float32 is asked of an architecture whose step is sae-lens's.
    """

    def __init__(self, sae: Any, plan: Settings) -> None:
        import torch

        sparse = applies(sae)
        if plan.precision != "float32" and not sparse:
            raise ConfigError(f"precision {plan.precision} is for topk, batchtopk and matryoshka; leave it at float32")
        self.sae, self.plan, self.steps_done = sae, plan, 0
        self.sparse = SparseStep(sae, bfloat16=plan.precision == "bfloat16") if sparse else None
        self.optimizer = torch.optim.Adam(sae.parameters(), lr=plan.lr, fused=True)
        self.idle = torch.zeros(sae.cfg.d_sae, dtype=torch.int64, device=sae.device)
        sae.train()

    @property
    def dead(self) -> torch.Tensor:
        """Which latents have not fired for longer than the settings allow, (d_sae,) bool."""
        return self.idle > self.plan.dead_after

    def step(self, x: torch.Tensor, *, measure: bool = False) -> Point | None:
        """Take a step on scaled activations (n, d_in); with `measure`, say how the batch fared."""
        import torch

        lr = self.plan.lr * schedule(self.steps_done, self.plan)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        dead = self.dead
        found = self.sparse(x, dead) if self.sparse is not None else self._dense(x, dead)
        torch.nn.utils.clip_grad_norm_(self.sae.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.idle += 1
        self.idle[found.fired] = 0
        self.steps_done += 1
        return self._point(x, found, lr) if measure else None

    def _dense(self, x: torch.Tensor, dead: torch.Tensor) -> StepResult:
        """sae-lens's forward pass and torch's gradients."""
        from sae_lens.saes.sae import TrainStepInput

        output = self.sae.training_forward_pass(
            step_input=TrainStepInput(
                sae_in=x,
                dead_neuron_mask=dead,
                coefficients=self._coefficients(),
                n_training_steps=self.steps_done,
                is_logging_step=False,
            )
        )
        output.loss.backward()
        acts = output.feature_acts.detach()
        fires = (acts.to_dense() if acts.is_sparse else acts) != 0
        return StepResult(output.loss.detach(), x - output.sae_out.detach(), fires.any(0), fires.sum() / max(1, len(x)))

    def _coefficients(self) -> dict[str, float]:
        """Weights of the penalties, each rising from zero over its own warm-up."""
        found: dict[str, float] = {}
        for name, asked in self.sae.get_coefficients().items():
            value, rise = (float(asked), 0) if isinstance(asked, int | float) else (asked.value, asked.warm_up_steps)
            found[name] = value * min(1.0, self.steps_done / rise) if rise > 0 else value
        return found

    def _point(self, x: torch.Tensor, found: StepResult, lr: float) -> Point:
        spread = (x - x.mean(0)).square().sum()
        return Point(
            step=self.steps_done,
            tokens=self.steps_done * self.plan.batch,
            loss=float(found.loss),
            explained_variance=1 - float(found.residual.square().sum() / spread),
            l0=float(found.l0),
            dead_share=float(self.dead.float().mean()),
            lr=lr,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that later steps depend on: weights, buffers, Adam's moments, counters."""
        import torch

        found = {f"sae.{name}": value for name, value in self.sae.state_dict().items()}
        for name, parameter in self.sae.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                found[f"adam.{name}.{key}"] = torch.as_tensor(value)
        found["idle"] = self.idle
        found["steps_done"] = torch.tensor(self.steps_done)
        return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up a state; strides stay as they are here, so that later steps are the same bit for bit."""
        import torch

        with torch.no_grad():
            for name, value in self.sae.state_dict().items():
                value.copy_(state[f"sae.{name}"])
            for name, parameter in self.sae.named_parameters():
                moments = {
                    key: torch.empty_like(parameter).copy_(state[f"adam.{name}.{key}"])
                    for key in ("exp_avg", "exp_avg_sq")
                }
                count = state[f"adam.{name}.step"].to(parameter.device, copy=True)
                self.optimizer.state[parameter] = {"step": count, **moments}
            self.idle.copy_(state["idle"])
        self.steps_done = int(state["steps_done"])
