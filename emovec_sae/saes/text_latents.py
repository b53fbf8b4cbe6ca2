"""Mean latents of every text, kept sparse: a text of a hundred tokens fires a few thousand latents at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from emovec_sae.errors import StoreError

if TYPE_CHECKING:
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.site_view import SiteActivations


@dataclass(frozen=True, eq=False)
class TextLatents:
    """Means over the tokens that pool ``mean`` averaged, n texts.

    Attributes
    ----------
    latents
        Coefficients on unit decoder rows, shape (n, d_sae), float32, by row.
    residual
        Residuals, shape (n, d), float32.
    """

    latents: sparse.csr_array
    residual: np.ndarray


def text_latents(coder: SparseCoder, source: SiteActivations) -> TextLatents:
    """Encode every pooled token and average by text.

    Raises
    ------
    StoreError
        If tokens were not recorded, or a text has no pooled token.
    """
    import torch

    n = len(source.activations.frame)
    residual, count = np.zeros((n, coder.d_in)), np.zeros(n)
    order: list[np.ndarray] = []
    parts: list[sparse.csr_array] = []
    for chunk in source.tokens():
        values, owner = chunk.values[chunk.pooled], chunk.text[chunk.pooled]
        texts, local = np.unique(owner, return_inverse=True)
        sums = torch.zeros(len(texts), coder.d_sae, device=coder.device)
        for start in range(0, len(values), coder.rows_at_once()):
            rows = slice(start, start + coder.rows_at_once())
            sums.index_add_(0, torch.from_numpy(local[rows]).to(coder.device), coder.encode(values[rows]))
        np.add.at(residual, owner, values.astype(np.float64))
        np.add.at(count, owner, 1.0)
        order.append(texts)
        parts.append(sparse.csr_array((sums.cpu().numpy() / count[texts, None]).astype(np.float32)))
    if (count == 0).any():
        raise StoreError(
            f"{int((count == 0).sum())} texts have no pooled token at {source.site}: too short for the pooling offset"
        )
    places = np.argsort(np.concatenate(order))
    table = sparse.csr_array(sparse.vstack(parts, format="csr"))[places]
    return TextLatents(table, (residual / count[:, None]).astype(np.float32))
