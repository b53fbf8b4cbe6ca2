"""A store in memory with the reader's attributes, and planted residuals whose latents are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.sites import Site
from emovec_sae.store.site_view import SiteActivations
from emovec_sae.store.stream import TokenChunk

SITE = Site("resid_post", 2)


class MemoryStore:
    """Texts as arrays (t, d) of token residuals."""

    def __init__(self, texts, frame, *, offset=2, site=SITE, has_tokens=True, fingerprint="f" * 64):
        self.texts = [np.asarray(text, dtype=np.float32) for text in texts]
        self.frame = frame.reset_index(drop=True)
        self.offset, self.sites, self.pools = offset, (site,), ("mean", "none") if has_tokens else ("mean",)
        d = self.texts[0].shape[1]
        self.model = {"name": "planted", "fingerprint": fingerprint, "dtype": "float32", "d_model": d, "n_layers": 4}
        self.residual_norm = {str(site): float(np.mean([np.linalg.norm(t, axis=1).mean() for t in self.texts]))}
        self.corpus_hash, self.fingerprint, self.provenance = "corpus", "store", {}

    def __len__(self):
        return len(self.frame)

    def __getitem__(self, site):
        return SiteActivations(self, Site.parse(site))

    def where(self, rows):
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        other = MemoryStore(
            [self.texts[r] for r in rows], self.frame.iloc[rows], offset=self.offset, site=self.sites[0]
        )
        other.pools, other.model, other.fingerprint = self.pools, self.model, self.fingerprint
        return other

    def pooled(self, site, pool="mean"):
        return np.stack([text[self.offset :].mean(0) for text in self.texts]).astype(np.float32)

    def has_tokens(self, site):
        return "none" in self.pools

    def count_tokens(self, site):
        return sum(map(len, self.texts))

    def tokens(self, site, *, chunk=8192):
        if not self.has_tokens(site):
            raise StoreError("pooled values only")
        rows, held = [], 0
        for row, text in enumerate(self.texts):
            rows.append(row)
            held += len(text)
            if held >= chunk:
                yield self._chunk(rows)
                rows, held = [], 0
        if rows:
            yield self._chunk(rows)

    def shuffled(self, site, *, batch, seed, buffer=65536):
        values, rng = np.concatenate(self.texts), np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(values))
            for start in range(0, len(order) - batch + 1, batch):
                yield values[order[start : start + batch]]

    def _chunk(self, rows):
        position = np.concatenate([np.arange(len(self.texts[r]), dtype=np.int32) for r in rows])
        return TokenChunk(
            text=np.repeat(np.array(rows, dtype=np.int64), [len(self.texts[r]) for r in rows]),
            position=position,
            token_id=position % 7,
            values=np.concatenate([self.texts[r] for r in rows]),
            pooled=position >= self.offset,
        )


@dataclass
class Planted:
    """Residuals made of known latents on an orthonormal dictionary, and an SAE that reads them back exactly."""

    store: MemoryStore
    latents: list[np.ndarray]
    directions: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    own: dict[str, int] = field(default_factory=dict)


def plant(*, seed=0, emotions=3, groups=4, repeats=1, d=24, d_sae=16, tokens=9, noise=0.0, uneven=False):
    """Emotion e raises latent e and lowers latent 8 + e; latent 15 fires everywhere, each group has a latent."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((d, d)))[0][:d_sae]
    bias = rng.standard_normal(d)
    texts, latents, rows = [], [], []
    for e in range(emotions):
        for g in range(groups):
            for r in range(repeats + (uneven and e == 0 and g == 0)):
                t = tokens + int(rng.integers(4))
                f = np.maximum(rng.standard_normal((t, d_sae)) - 0.8, 0)
                f[:, e] += 1.0 + 0.2 * rng.random(t)
                f[:, 8 + e] = 0
                f[:, 6 + g % 2] += 2.0
                f[:, 15] += 3.0
                f[f < 0.02] = 0
                texts.append(f @ directions + bias + noise * rng.standard_normal((t, d)))
                latents.append(f)
                rows.append({"id": f"e{e}.g{g}.{r}", "emotion": f"e{e}", "group": f"g{g}", "n_tokens": t})
    frame = pd.DataFrame(rows).assign(text=[f"text {i}" for i in range(len(rows))])
    return Planted(MemoryStore(texts, frame), latents, directions, bias, rng.uniform(0.4, 2.5, d_sae))


def planted_coder(planted, *, site=SITE, **options):
    """A JumpReLU SAE with non-unit decoder rows whose latents on unit rows are the planted ones."""
    import torch
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    from emovec_sae.saes.coder import SparseCoder

    d_sae, d = planted.directions.shape
    metadata = SAEMetadata(hook_name=site.hook_name, model_name="planted")
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=d, d_sae=d_sae, metadata=metadata))
    rows, scale = torch.tensor(planted.directions).float(), torch.tensor(planted.scale).float()
    sae.W_dec.data = rows * scale[:, None]
    sae.W_enc.data = (rows / scale[:, None]).T.contiguous()
    sae.b_enc.data = torch.zeros(d_sae)
    # Above the rounding of float32, below the smallest planted latent.
    sae.threshold.data = 1e-3 / scale
    sae.b_dec.data = torch.tensor(planted.bias).float()
    return SparseCoder(sae, name="planted", **options)
