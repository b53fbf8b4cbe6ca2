"""Checks that a reviewer would ask for: each a `Check` with numbers, a table, a picture and its settings."""

from __future__ import annotations

from emovec_sae.directions.checks.intensity import Intensity, check_intensity
from emovec_sae.directions.checks.labelled import LabelledTexts, check_labelled
from emovec_sae.directions.checks.languages import Languages, check_languages
from emovec_sae.directions.checks.learning import LearningCurve, learning_curve
from emovec_sae.directions.checks.lens import Lens, check_lens
from emovec_sae.directions.checks.result import NUMBERS, Check
from emovec_sae.directions.checks.scenarios import Scenarios, check_scenarios
from emovec_sae.directions.checks.shape import Shape, Similarity, check_shape, compare_similarity
from emovec_sae.directions.checks.speaker import Speaker, check_speaker

__all__ = [
    "NUMBERS",
    "Check",
    "Intensity",
    "LabelledTexts",
    "Languages",
    "LearningCurve",
    "Lens",
    "Scenarios",
    "Shape",
    "Similarity",
    "Speaker",
    "check_intensity",
    "check_labelled",
    "check_languages",
    "check_lens",
    "check_scenarios",
    "check_shape",
    "check_speaker",
    "compare_similarity",
    "learning_curve",
]
