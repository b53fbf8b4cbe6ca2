"""Sections of a study file: the directions, the SAE, and the directions written as latents."""

from __future__ import annotations

from pydantic import Field

from emovec_sae.config.section import Section


class DirectionsSection(Section):
    """How the directions are fitted and tested."""

    site: str = "resid_post.18"
    """Site of the directions, the SAE and the interventions."""
    readout: str = "zscore"
    """Readout by which sites are compared."""
    remove_neutral: bool = True
    """Project the leading components of the neutral texts out."""
    test_emotions: str | list[str] | None = "core"
    """Emotions among which held-out texts are told apart."""


class SaeSection(Section):
    """The SAE: one that is there, or one that is trained on the site's tokens."""

    source: str | None = None
    """Folder of an SAE, or a release of the catalogue or a repository with sae_id; None trains one."""
    sae_id: str | None = None
    """Which SAE of the release, or which folder of the repository."""
    d_sae: int = Field(default=3072, gt=0)
    """Number of latents."""
    k: int = Field(default=32, gt=0)
    """Latents active at a token."""
    tokens: int = Field(default=300_000, gt=0)
    """Tokens to train on, counted with repeats."""
    held_out: list[str] = ["hospital", "walk"]
    """Groups left out of training; the passport is measured on them. With a source it may be empty: on all then."""


class DecompositionSection(Section):
    """How vectors are written as latents."""

    emotions: str | list[str] | None = "core"
    """Emotions whose decomposition is tabulated and drawn."""
    k: int = Field(default=24, gt=0)
    """Latents of an emotion's table and of the sparse pursuit; arms take the first of them that are not dense."""
    shown: str = "afraid"
    """Emotion of the composition chart."""
    passages: int = Field(default=3, gt=0)
    """Passages shown for a latent."""
    cards: int = Field(default=4, gt=0)
    """Latents of each emotion that the report shows with passages and tokens."""
