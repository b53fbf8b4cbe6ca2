"""Loss and gradients of the TopK family through the active latents alone.

At k = 32 of 4,608 latents all but one dense product of a step multiply zeros. Here the encoder's product stays dense,
as every pre-activation takes part in the choice, and the other five become sums over the active latents. The results
are sae-lens's own to rounding (``tests/agreement/test_training_sae_lens.py``).

Where ``rescale_acts_by_decoder_norm`` is set, latents are chosen by pre-activation times decoder norm; the norm divides
out of the reconstruction again, and so out of the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emovec_sae.saes.training.active import Active, Parts, over_each_token, over_the_batch

if TYPE_CHECKING:
    import torch

ARCHITECTURES = frozenset({"topk", "batchtopk", "matryoshka_batchtopk"})
"""Architectures whose step is known here."""


@dataclass(frozen=True)
class StepResult:
    """What a step computed: loss, residual ``x - reconstruction`` (n, d), latents fired (d_sae,) bool, mean l0."""

    loss: torch.Tensor
    residual: torch.Tensor
    fired: torch.Tensor
    l0: torch.Tensor


def applies(sae: Any) -> bool:
    """Whether an SAE's step is the one known here: of the TopK family, without a normalisation of its own."""
    return (
        sae.cfg.architecture() in ARCHITECTURES
        and sae.cfg.normalize_activations == "none"
        and not getattr(sae.cfg, "use_matryoshka_aux_loss", False)
    )


class SparseStep:
    """Loss of a batch, and its gradients, written into the parameters' ``grad``.

    Parameters
    ----------
    sae
        The training SAE. ``W_enc`` is laid out by latent from here on: same values, other strides.
    bfloat16
        Whether the pre-activations that latents are chosen by are computed in bfloat16.
    """

    def __init__(self, sae: Any, *, bfloat16: bool = False) -> None:
        sae.W_enc.data = sae.W_enc.data.T.contiguous().T
        self.sae, self.bfloat16, self.low = sae, bfloat16, 0.0

    def __call__(self, x: torch.Tensor, dead: torch.Tensor) -> StepResult:
        """Compute loss and gradients.

        Parameters
        ----------
        x
            Scaled activations, (n, d_in).
        dead
            Which latents count as dead, (d_sae,) bool.
        """
        import torch

        with torch.no_grad():
            sae = self.sae
            centred = x - sae.b_dec if sae.cfg.apply_b_dec_to_input else x
            pre = self._pre(centred)
            active = self._choose(pre, centred)
            parts = Parts(active, self._widths, sae.W_dec, len(x))
            residuals = [x - sae.b_dec - decoded for decoded in parts.decoded]
            loss = torch.stack([residual.square().sum() for residual in residuals]).sum() / len(x)
            upstreams = _upstreams(residuals)
            encoder, decoder, b_enc = parts.gradients(centred, upstreams)
            b_dec = upstreams[0].sum(0)
            if bool(dead.any()):
                loss = loss + self._revive(pre, centred, residuals[-1], dead, (encoder, decoder, b_enc))
            if sae.cfg.apply_b_dec_to_input:
                b_dec = b_dec - sae.W_enc @ b_enc
            sae.W_enc.grad, sae.W_dec.grad, sae.b_enc.grad, sae.b_dec.grad = encoder.T, decoder, b_enc, b_dec
            return self._told(loss, residuals[-1], active)

    @property
    def _widths(self) -> list[int]:
        return list(getattr(self.sae.cfg, "matryoshka_widths", None) or [self.sae.cfg.d_sae])

    def _pre(self, centred: torch.Tensor) -> torch.Tensor:
        import torch

        sae = self.sae
        if self.bfloat16:
            return (centred.bfloat16() @ sae.W_enc.bfloat16()).to(sae.W_enc.dtype) + sae.b_enc
        return torch.addmm(sae.b_enc, centred, sae.W_enc)

    def _choose(self, pre: torch.Tensor, centred: torch.Tensor) -> Active:
        """The active latents; their values are not rounded, whatever the precision of the choice."""
        sae = self.sae
        by = pre * sae.W_dec.norm(dim=-1) if sae.cfg.rescale_acts_by_decoder_norm else pre
        if sae.cfg.architecture() == "topk":
            rows, columns = over_each_token(by, int(sae.cfg.k))
        else:
            rows, columns, lowest = over_the_batch(by, int(sae.cfg.k * len(by)), above=self.low)
            self.low = 0.8 * lowest
        active = Active(rows, columns, pre[rows, columns].relu())
        if self.bfloat16:
            exact = active.dots(centred, sae.W_enc.T) + sae.b_enc[columns]
            active = Active(rows, columns, exact.relu())
        return active

    def _revive(
        self,
        pre: torch.Tensor,
        centred: torch.Tensor,
        residual: torch.Tensor,
        dead: torch.Tensor,
        gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Let dead latents explain what the living leave (Gao et al. 2024, appendix A.2); dense over the dead alone."""
        import torch

        sae = self.sae
        where = dead.nonzero().flatten()
        wanted = max(1, centred.shape[1] // 2)
        weight = sae.cfg.aux_loss_coefficient * min(len(where) / wanted, 1.0)
        acts, rows = pre[:, where], sae.W_dec[where]
        kept: torch.Tensor | float = 1.0
        if len(where) > wanted:
            by = acts * rows.norm(dim=-1) if sae.cfg.rescale_acts_by_decoder_norm else acts
            kept = torch.zeros_like(acts).scatter_(-1, by.topk(wanted, sorted=False).indices, 1.0)
        acts = acts * kept
        error = acts @ rows - residual
        upstream = weight * 2 / len(error) * error
        d_acts = (upstream @ rows.T) * kept
        encoder, decoder, b_enc = gradients
        encoder.index_add_(0, where, d_acts.T @ centred)
        decoder.index_add_(0, where, acts.T @ upstream)
        b_enc.index_add_(0, where, d_acts.sum(0))
        return weight * error.square().sum() / len(error)

    def _told(self, loss: torch.Tensor, residual: torch.Tensor, active: Active) -> StepResult:
        import torch

        sae, fires = self.sae, active.values > 0
        columns = active.columns[fires]
        fired = torch.zeros(sae.cfg.d_sae, dtype=torch.bool, device=residual.device)
        fired[columns] = True
        if hasattr(sae, "topk_threshold"):
            scale = sae.W_dec.norm(dim=-1)[columns] if sae.cfg.rescale_acts_by_decoder_norm else 1.0
            sae.update_topk_threshold(active.values[fires] * scale)
        return StepResult(loss, residual, fired, fires.sum() / max(1, len(residual)))


def _upstreams(residuals: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradient of the loss by what each nested level adds: its own reconstruction, and all that contain it."""
    found: list[torch.Tensor] = []
    for residual in reversed(residuals):
        own = residual * (-2 / len(residual))
        found.insert(0, own + found[0] if found else own)
    return found
