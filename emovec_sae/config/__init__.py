"""The study file: what a run does, from corpus to comparison. Every key has a docstring."""

from __future__ import annotations

from emovec_sae.config.interventions import GenerationsSection, GridSection, InterventionsSection, PatchingSection
from emovec_sae.config.latents import DecompositionSection, DirectionsSection, SaeSection
from emovec_sae.config.reading import load_study, read_study
from emovec_sae.config.section import Section
from emovec_sae.config.study import CheckStudy, Study
from emovec_sae.config.texts import CorpusSection, ModelSection, RecordingSection

__all__ = [
    "CheckStudy",
    "CorpusSection",
    "DecompositionSection",
    "DirectionsSection",
    "GenerationsSection",
    "GridSection",
    "InterventionsSection",
    "ModelSection",
    "PatchingSection",
    "RecordingSection",
    "SaeSection",
    "Section",
    "Study",
    "load_study",
    "read_study",
]
