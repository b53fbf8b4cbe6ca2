"""What chance gives a pursuit: targets that stand for each null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.draws import covariance_units, random_units, rotated
from emovec_sae.decomposition.nulls import NULLS
from emovec_sae.decomposition.pseudo import pseudo_vectors, why_not
from emovec_sae.decomposition.targets import project

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.sources import PooledTexts
    from emovec_sae.directions.direction_set import DirectionSet


def null_targets(
    whole: DirectionSet, targets: torch.Tensor, texts: PooledTexts | None, *, removed: torch.Tensor, n: int, seed: int
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Unit targets of each null.

    A pursuit sees a direction only, not its length, and turning the dictionary is turning the target back; so the
    rotations' draws of all emotions make one sample for each of them, and what they add to isotropic targets is that
    the emotions keep their angles.

    Parameters
    ----------
    whole
        The directions.
    targets
        Those that are decomposed, shape (B, d), `removed` taken out.
    texts
        Mean residuals of their texts, or None.
    removed
        Rows that were projected out, shape (m, d).
    n, seed
        Draws of each null (of rotations at least as many, in whole rotations), and their seed.

    Returns
    -------
    targets, missing
        By prefix, shape (>= n, d); and the names of nulls that cannot be drawn, with the reason.
    """
    import torch

    if n == 0:
        return {}, {}
    units = targets / targets.norm(dim=1, keepdim=True).clamp_min(1e-30)
    found = {"null": random_units(n, removed, seed=seed)}
    missing = {"shuffled": "Deltas belong to contrast"}
    if texts is None:
        missing["covariance"] = missing["permuted"] = "no activations were given"
    else:
        found["covariance"] = covariance_units(texts.values, n, removed, seed=seed + 2)
        reason = why_not(whole)
        if reason is None:
            drawn = pseudo_vectors(whole, texts, n=n, seed=seed + 1).astype(np.float32)
            pseudo = project(torch.from_numpy(drawn).to(removed), removed)
            found["permuted"] = pseudo / pseudo.norm(dim=1, keepdim=True).clamp_min(1e-30)
        else:
            missing["permuted"] = reason
    turned = rotated(units, removed, n=-(-n // len(units)), seed=seed + 3)
    found["rotated"] = turned.reshape(-1, units.shape[1])
    return found, {NULLS[prefix]: reason for prefix, reason in missing.items()}
