"""Linear emotion directions: estimators, denoising, readouts, held-out evaluation, geometry, logit lens."""

from __future__ import annotations

from emovec_sae.directions.denoise import NeutralComponents
from emovec_sae.directions.direction import Direction
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.directions.estimators import DiffMean
from emovec_sae.directions.evaluate import cross_validate, evaluate_directions
from emovec_sae.directions.evaluation import Evaluation
from emovec_sae.directions.files import load_directions, save_directions
from emovec_sae.directions.fit import fit_directions
from emovec_sae.directions.geometry import Geometry, fit_geometry
from emovec_sae.directions.logit_lens import logit_lens, word_ranks
from emovec_sae.directions.readouts import READOUTS, TRANSDUCTIVE, ReadoutStats, read

__all__ = [
    "READOUTS",
    "TRANSDUCTIVE",
    "DiffMean",
    "Direction",
    "DirectionSet",
    "Evaluation",
    "Geometry",
    "NeutralComponents",
    "ReadoutStats",
    "cross_validate",
    "evaluate_directions",
    "fit_directions",
    "fit_geometry",
    "load_directions",
    "logit_lens",
    "read",
    "save_directions",
    "word_ranks",
]
