"""SparseCoder: one face for every sae-lens architecture, with coefficients on unit decoder rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.provenance import digest
from emovec_sae.saes.refusals import refuse, site_of
from emovec_sae.sites import Site

if TYPE_CHECKING:
    import torch

LATENT_BUDGET = 64 * 2**20
"""Bytes of dense latents held at once while many tokens are encoded."""


class SparseCoder:
    """Any sae-lens SAE as ``h = sum_j f_j d_j + b + error``, with unit rows ``d_j``.

    sae-lens leaves the scale of a latent to the architecture: decoder rows need not be unit, and TopK with
    ``rescale_acts_by_decoder_norm`` multiplies in `encode` and divides in `decode`. Here ``f_j`` is always the
    coefficient on the *unit* row, so `decode` is linear in it and coefficients compare over latents.

    Parameters
    ----------
    sae
        A ``sae_lens.SAE``; it is put into float32 (JumpReLU thresholds move in bfloat16) and is not copied.
    site
        Where the SAE reads; by default from its metadata's ``hook_name``.
    name
        How messages and tables call it.
    facts
        Content of ``emovec.json`` beside it: provenance, model, training texts.

    Raises
    ------
    UnfitError
        If the SAE's decoding is not linear in its latents, or it reads anything but a stream of a block.
    """

    def __init__(
        self, sae: Any, *, site: Site | None = None, name: str = "sae", facts: Mapping[str, Any] | None = None
    ) -> None:
        refuse(sae, name)
        import torch

        self.sae = sae.to(dtype=torch.float32).eval().requires_grad_(False)
        self.name = name
        self.facts: dict[str, Any] = dict(facts or {})
        self.site = site or site_of(sae, name)
        self._check_linear()

    def __repr__(self) -> str:
        return f"SparseCoder('{self.name}': {self.architecture}, {self.d_sae} latents, d_in {self.d_in}, {self.site})"

    @property
    def d_in(self) -> int:
        """Width of the activations that it reads."""
        return int(self.sae.cfg.d_in)

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return int(self.sae.cfg.d_sae)

    @property
    def architecture(self) -> str:
        """sae-lens's name of the architecture."""
        return str(self.sae.cfg.architecture())

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.sae.W_dec.device

    @property
    def metadata(self) -> dict[str, Any]:
        """sae-lens's metadata as a plain dict; what is not known is absent."""
        return dict(self.sae.cfg.metadata.to_dict())

    @property
    def model(self) -> dict[str, Any]:
        """Name of the model whose activations it reads and, for SAEs trained here, its fingerprint."""
        found = {"name": self.metadata.get("model_name"), **self.facts.get("model", {})}
        return {key: value for key, value in found.items() if value is not None}

    @cached_property
    def decoder_norms(self) -> torch.Tensor:
        """Norms of the decoder rows as stored, (d_sae,) float32."""
        return self.sae.W_dec.detach().norm(dim=-1)

    @cached_property
    def directions(self) -> torch.Tensor:
        """Unit decoder rows, (d_sae, d_in) float32; a row of zeros stays zero."""
        return self.sae.W_dec.detach() / self.decoder_norms.clamp_min(1e-12)[:, None]

    @cached_property
    def bias(self) -> torch.Tensor:
        """What `decode` adds, (d_in,) float32."""
        if self.architecture == "matching_pursuit" and not self.sae.cfg.apply_b_dec_to_input:
            return self.sae.b_dec.detach() * 0
        return self.sae.b_dec.detach()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights and of the settings that encode and decode by; device and notes left out."""
        settings = {
            key: value for key, value in self.sae.cfg.to_dict().items() if key not in {"device", "dtype", "metadata"}
        }
        state = hashlib.sha256(digest(settings).encode())
        for key, value in sorted(self.sae.state_dict().items()):
            state.update(f"{key} {tuple(value.shape)}".encode())
            state.update(value.detach().cpu().contiguous().numpy().tobytes())
        return state.hexdigest()

    def encode(self, x: Any) -> torch.Tensor:
        """Coefficients on unit decoder rows.

        Parameters
        ----------
        x
            Residuals (n, d_in), tensor or array of any float type; cast to float32.

        Returns
        -------
        torch.Tensor
            (n, d_sae) float32, dense; for many tokens use `encode_sparse` or chunks of `rows_at_once`.
        """
        import torch

        with torch.no_grad():
            latents = self.sae.encode(self._tensor(x))
            if latents.is_sparse:
                latents = latents.to_dense()
            return latents if self._scaled_inside else latents * self.decoder_norms

    def encode_sparse(self, x: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Coefficients of the active latents only; dense latents exist for one chunk of tokens at a time.

        Parameters
        ----------
        x
            Residuals (n, d_in).

        Returns
        -------
        values, indices
            (n, k_max) float32 and int64, k_max the largest number of active latents of a token; each row by
            falling magnitude, filled up with value 0 at index 0.
        """
        import torch

        x = self._tensor(x)
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        for part in x.split(self.rows_at_once()):
            latents = self.encode(part)
            width = int((latents != 0).sum(1).max()) if len(part) else 0
            indices = latents.abs().topk(width, dim=1).indices
            values = latents.gather(1, indices)
            found.append((values, torch.where(values != 0, indices, 0)))
        widest = max(values.shape[1] for values, _ in found)
        padded = [[torch.nn.functional.pad(part, (0, widest - part.shape[1])) for part in pair] for pair in found]
        return torch.cat([pair[0] for pair in padded]), torch.cat([pair[1] for pair in padded])

    def decode(self, f: torch.Tensor) -> torch.Tensor:
        """``f @ directions + bias`` for coefficients f (n, d_sae); returns (n, d_in) float32."""
        return f @ self.directions + self.bias

    def split(self, x: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode once and tell what is left: ``x = decode(latents) + error``.

        Returns
        -------
        latents, error
            (n, d_sae) and (n, d_in), float32.
        """
        x = self._tensor(x)
        latents = self.encode(x)
        return latents, x - self.bias - _sum_of_rows(latents, self.directions)

    def reconstruct(self, x: Any) -> torch.Tensor:
        """``decode(encode(x))``, (n, d_in) float32."""
        return self.decode(self.encode(x))

    def error(self, x: Any) -> torch.Tensor:
        """What the SAE leaves: ``x - reconstruct(x)``, (n, d_in) float32."""
        return self.split(x)[1]

    def rows_at_once(self, budget: int = LATENT_BUDGET) -> int:
        """How many tokens' dense latents fit into `budget` bytes (at least one)."""
        return max(1, budget // (4 * self.d_sae))

    def require(self, *, site: Site, d_model: int, model: Mapping[str, Any] | None = None) -> None:
        """Refuse activations (or directions) of another site, width or model.

        Raises
        ------
        MismatchError
            If the site or the width differs, or both sides carry a model fingerprint and those differ. SAEs of a
            catalogue name their model in words only; the passport's explained variance decides for them.
        """
        if site != self.site:
            raise MismatchError(
                f"SAE '{self.name}' reads {self.site}, these activations are {site}. "
                f"Record that site with --sites {self.site}, or choose an SAE of {site}"
            )
        if d_model != self.d_in:
            raise MismatchError(
                f"SAE '{self.name}' reads activations {self.d_in} wide, these are {d_model} wide: another model"
            )
        ours, theirs = self.model.get("fingerprint"), (model or {}).get("fingerprint")
        if ours and theirs and ours != theirs:
            raise MismatchError(
                f"SAE '{self.name}' was trained on model '{self.model.get('name')}' ({ours[:12]}), these activations "
                f"come from '{(model or {}).get('name')}' ({theirs[:12]}). Train an SAE on activations of that model"
            )

    @property
    def _scaled_inside(self) -> bool:
        """Whether sae-lens's own `encode` multiplies the decoder norms in already."""
        return bool(getattr(self.sae.cfg, "rescale_acts_by_decoder_norm", False))

    def _tensor(self, x: Any) -> torch.Tensor:
        import torch

        x = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else torch.as_tensor(x)
        if x.ndim != 2 or x.shape[1] != self.d_in:
            raise MismatchError(f"SAE '{self.name}' reads arrays (n, {self.d_in}), got {tuple(x.shape)}")
        return x.to(self.device, torch.float32)

    def _check_linear(self) -> None:
        """Hold our decode against the SAE's own on made-up latents, so that no architecture is taken on trust."""
        import torch

        made_up = torch.zeros(2, self.d_sae, device=self.device)
        made_up[1, :: max(1, self.d_sae // 64)] = 1.0
        scale = 1.0 if self._scaled_inside else self.decoder_norms
        with torch.no_grad():
            theirs = self.sae.decode(made_up)
        ours = self.decode(made_up * scale)
        if ours.shape != theirs.shape or not torch.allclose(
            ours, theirs, rtol=1e-3, atol=1e-4 * float(ours.abs().max())
        ):
            raise UnfitError(
                f"SAE '{self.name}' ({self.architecture}) does not decode as a sum of decoder rows plus a bias; "
                "its latents cannot be read as parts of a vector"
            )


def _sum_of_rows(latents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``latents @ rows`` through the active latents alone where these are few (about 3 times faster at k = 32)."""
    import torch

    where = latents.nonzero(as_tuple=True)
    if len(where[0]) > latents.numel() // 16:
        return latents @ rows
    counts = torch.bincount(where[0], minlength=len(latents))
    return torch.nn.functional.embedding_bag(
        where[1], rows, counts.cumsum(0) - counts, mode="sum", per_sample_weights=latents[where]
    )
