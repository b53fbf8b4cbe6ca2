"""An SAE made of given arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import numpy as np


def jump_relu(
    rows: np.ndarray,
    encoder: np.ndarray,
    bias: np.ndarray,
    *,
    threshold: float | np.ndarray,
    site: str | Site,
    name: str = "sae",
    model_name: str = "",
) -> SparseCoder:
    """A JumpReLU SAE: latents are ``(h - bias) @ encoder`` where that is above the threshold.

    Parameters
    ----------
    rows, encoder, bias
        Decoder rows (d_sae, d), encoder (d, d_sae) and the decoder's bias (d,); cast to float32.
    threshold
        One for all latents, or of each, shape (d_sae,); on the stored rows, whose norms are kept.
    site
        Where it reads.
    name, model_name
        How messages call the SAE, and its model.
    """
    import torch
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    d_sae, d = rows.shape
    metadata = SAEMetadata(hook_name=Site.parse(site).hook_name, model_name=model_name)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=d, d_sae=d_sae, metadata=metadata))
    sae.W_dec.data = torch.from_numpy(rows).float()
    sae.W_enc.data = torch.from_numpy(encoder).float().contiguous()
    sae.b_enc.data = torch.zeros(d_sae)
    sae.threshold.data = torch.as_tensor(threshold).float().expand(d_sae).clone()
    sae.b_dec.data = torch.from_numpy(bias).float()
    return SparseCoder(sae, name=name)
