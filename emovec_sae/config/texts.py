"""Sections of a study file: the model, the texts, and what is recorded of them."""

from __future__ import annotations

from pydantic import Field

from emovec_sae.config.section import Section


class ModelSection(Section):
    """Which model, and how it is held."""

    name: str = "smollm2-135m-instruct"
    """Embedded name, folder, .gguf file or Hugging Face id."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    dtype: str = "auto"
    """auto, bfloat16, float32, float16."""


class CorpusSection(Section):
    """Which texts the directions are fitted on."""

    name: str = "stories"
    """Packaged name, or a path relative to the study file."""
    emotions: str | list[str] | None = None
    """Emotions to keep; None keeps all, core keeps the 24."""
    groups: str | list[str] | None = None
    """Groups (topics) to keep; None keeps all, demo keeps the eight."""
    neutral: str = "neutral"
    """Neutral texts: denoising and dose matching use them."""


class RecordingSection(Section):
    """What is recorded."""

    sites: str = "resid_post.12-24"
    """Sites at which texts are pooled; the directions' site must be among them."""
    offset: int = Field(default=20, ge=0)
    """First token that is pooled, counted from 0."""
    budget: int | None = Field(default=None, gt=0)
    """Padded tokens of a batch; None takes what suits the device."""
