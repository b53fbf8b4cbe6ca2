"""Random targets: isotropic, with a covariance, and the vectors turned by one rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emovec_sae.decomposition.targets import project

if TYPE_CHECKING:
    import torch


def random_units(n: int, removed: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Isotropic random unit targets, shape (n, d), with `removed` (m, d) taken out as it was of the vectors."""
    draws = np.random.default_rng(seed).standard_normal((n, removed.shape[1]), dtype=np.float32)
    return _units(draws, removed)


def covariance_units(values: np.ndarray, n: int, removed: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Random unit targets with the covariance of rows `values` (m, d), shape (n, d), `removed` taken out.

    A Gaussian mixture of the centred rows has exactly their covariance; no matrix (d, d) is made.
    """
    rng = np.random.default_rng(seed)
    centred = values - values.mean(axis=0, dtype=np.float64)
    return _units(rng.standard_normal((n, len(values))) @ centred, removed)


def rotated(vectors: torch.Tensor, removed: torch.Tensor, *, n: int, seed: int) -> torch.Tensor:
    """Vectors (B, d) turned by n random rotations of the space that `removed` (m, d) leaves, shape (n, B, d).

    Turning the dictionary against fixed vectors is turning the vectors back against the fixed dictionary. A rotation
    of the whole space is never made: it takes an orthonormal basis of the vectors to a random orthonormal frame (the
    Haar law on both counts), so that norms and angles among the vectors stay.
    """
    import torch

    wide = vectors.double()
    _, sizes, basis = torch.linalg.svd(wide, full_matrices=False)
    basis = basis[sizes > 1e-9 * sizes.max()]
    inside = wide @ basis.T
    rng = np.random.default_rng(seed)
    turned = vectors.new_empty(n, *vectors.shape)
    for draw in range(n):
        gaussian = torch.from_numpy(rng.standard_normal((len(basis), vectors.shape[1]))).to(wide)
        frame, triangle = torch.linalg.qr(project(gaussian, removed.double()).T)
        turned[draw] = inside @ (frame * triangle.diagonal().sign()).T
    return turned


def _units(draws: np.ndarray, removed: torch.Tensor) -> torch.Tensor:
    import torch

    targets = project(torch.from_numpy(draws).to(removed.device), removed.to(torch.from_numpy(draws).dtype))
    return (targets / targets.norm(dim=1, keepdim=True)).to(removed.dtype)
