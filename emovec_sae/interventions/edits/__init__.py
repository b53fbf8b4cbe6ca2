"""Edits: small functions (hidden states, mask) -> hidden states; generation, scoring and patching share them."""

from emovec_sae.interventions.edits.base import Blend, Dosed
from emovec_sae.interventions.edits.by_row import ByRow
from emovec_sae.interventions.edits.latents import AblateLatents, ClampLatents, SaePassThrough, ScaleLatents
from emovec_sae.interventions.edits.patches import PatchDirection, PatchLatents, PatchResidual
from emovec_sae.interventions.edits.projections import Ablate, ClampProjection
from emovec_sae.interventions.edits.shifts import AddLatents, Shift, Steer

__all__ = [
    "Ablate",
    "AblateLatents",
    "AddLatents",
    "Blend",
    "ByRow",
    "ClampLatents",
    "ClampProjection",
    "Dosed",
    "PatchDirection",
    "PatchLatents",
    "PatchResidual",
    "SaePassThrough",
    "ScaleLatents",
    "Shift",
    "Steer",
]
