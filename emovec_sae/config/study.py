"""The two shapes of a study file: one with stages, and one of checks."""

from __future__ import annotations

from pydantic import Field

from emovec_sae.config.interventions import GenerationsSection, InterventionsSection, PatchingSection
from emovec_sae.config.latents import DecompositionSection, DirectionsSection, SaeSection
from emovec_sae.config.section import Section
from emovec_sae.config.texts import CorpusSection, ModelSection, RecordingSection


class Study(Section):
    """A study: every setting has a default, so an empty file is the demo's pipeline on the default model."""

    title: str = "Which latents compose an emotion vector?"
    """Title of the report."""
    seed: int = 0
    """The one seed of every random choice."""
    model: ModelSection = ModelSection()
    """The model."""
    corpus: CorpusSection = CorpusSection()
    """The texts."""
    recording: RecordingSection = RecordingSection()
    """The recording."""
    directions: DirectionsSection = DirectionsSection()
    """The directions."""
    sae: SaeSection = SaeSection()
    """The SAE."""
    decomposition: DecompositionSection = DecompositionSection()
    """The decomposition."""
    interventions: InterventionsSection = InterventionsSection()
    """The interventions."""
    generations: GenerationsSection | None = None
    """Texts of the arms and what they say; None writes none."""
    patching: PatchingSection = PatchingSection()
    """The patching."""


class CheckStudy(Section):
    """A study that holds direction sets against checks of the score card; it has the key ``checks``."""

    title: str = "Emotion directions under test"
    """The question."""
    checks: list[str] = Field(default=["topics"], min_length=1)
    """Checks of the score card, such as shape_steer; held-out topics choose the directions first."""
    models: list[str] = Field(default=["smollm2-135m-instruct"], min_length=1)
    """Embedded names, folders, .gguf files or Hugging Face ids."""
    emotions: list[str] | None = None
    """Emotions of the stories; None takes all 171."""
    groups: list[str] | None = None
    """Topics of the stories; None takes all 16."""
    sites: str | None = None
    """Sites to choose among; None takes resid_post from a third to five sixths of the depth."""
    across: bool = False
    """Also ask whether emotions are alike in the same way in all models."""
    seed: int = 0
    """The one seed of every random choice."""
