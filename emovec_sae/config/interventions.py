"""Sections of a study file: which arms are compared, what they write, and what is patched."""

from __future__ import annotations

from pydantic import Field

from emovec_sae.config.section import Section


class GridSection(Section):
    """Further arms for some emotions, at levels of their own; what two parts of a study ask for is run once."""

    emotions: str | list[str] = "core"
    """Emotions (``core`` or a list), among those of interventions.emotions."""
    levels: list[float] = Field(default=[0.1], min_length=1)
    """KL levels of these arms, and of the raw and the random arm beside them."""
    selectors: list[str] = ["share"]
    """As in interventions."""
    sizes: list[int] = []
    """k of the latent arms."""
    remainders: list[int] = []
    """k of the arms without the first k latents."""
    clamped: list[int] = []
    """k of the clamped arms."""
    turns: int | None = Field(default=None, gt=0)
    """Run these in the first so many turns of a rotation; None runs them in all."""


class InterventionsSection(Section):
    """Which arms are compared, at which dose."""

    emotions: str | list[str] | None = "core"
    """Emotions of the raw and the random arm."""
    arms_for: list[str] = ["afraid", "angry", "happy", "sad"]
    """Emotions for which the latent arms are run too, and every level."""
    sizes: list[int] = [1, 4, 16]
    """k of the latent arms."""
    selectors: list[str] = ["share"]
    """Who chooses the latents: share, omp, auroc, attribution, output score, confidence, matched (random latents)."""
    remainders: list[int] = []
    """k of the arms that hold the vector without its first k latents by share."""
    clamped: list[int] = []
    """k of the arms that hold the first k latents by share at values instead of adding to them."""
    controls: list[str] = []
    """Further controls: covariance, permuted, other, flipped, pass-through, topics (the raw vector of the other topics,
    in a rotation)."""
    grid: list[GridSection] = []
    """Further arms: each entry has emotions, levels, selectors, sizes, remainders, clamped."""
    folds: int = Field(default=1, ge=1)
    """Folds of the rotation over groups: raw vectors come from the groups outside a fold, latents from those in it; 1
    fits and selects on all groups."""
    instruction: bool = False
    """Add the arm that is told in words to feel the emotion, for the emotions of arms_for: the ceiling."""
    prompts: int | None = Field(default=None, gt=0)
    """The first so many prompts of each kind marked report; None takes all 24."""
    fidelity: bool = False
    """Measure explained KL and the downstream cosine of every arm of an emotion; one more pass a cell."""
    random_draws: int = Field(default=4, gt=0)
    """Random directions; each is compared with every emotion."""
    level: float = Field(default=0.1, gt=0)
    """KL on neutral text, in nats, at which the main comparison is made."""
    levels: list[float] = [0.05, 0.1, 0.25]
    """KL levels of the dose curves."""
    positions: int = Field(default=128, gt=0)
    """Scored neutral positions."""
    per_text: int = Field(default=4, gt=0)
    """Scored positions of a neutral text; 8 take half of the texts, and about half of the time of a calibration."""
    new_tokens: int = Field(default=36, gt=0)
    """Length of the sample generations; their prompt is the first open one marked report."""


class GenerationsSection(Section):
    """Texts that the arms write at the doses of the comparison."""

    emotions: str | list[str] | None = None
    """Emotions whose arms write; None takes those of interventions.arms_for."""
    arms: list[str] = Field(default=["raw", "k=16", "random", "instruction"], min_length=1)
    """Arms of interventions by name, and ``instruction`` (the model is told to feel the emotion)."""
    levels: list[float] = []
    """KL levels, among those of interventions; none means interventions.level."""
    draws: int = Field(default=1, gt=0)
    """Draws of a random arm that write."""
    prompts: int = Field(default=8, gt=0)
    """The first so many open prompts marked report (there are 16)."""
    seeds: int = Field(default=2, gt=0)
    """Texts a prompt; the arms share their random numbers."""
    new_tokens: int = Field(default=40, gt=0)
    """Most tokens of a text."""
    temperature: float = Field(default=0.7, gt=0)
    """Of the sampling."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Of the sampling."""
    probe_site: str | None = None
    """Site of the probe that reads the texts, among recording.sites and not directions.site; None reads none."""
    judge: bool = False
    """Train a classifier of sentence embeddings on the corpus, and let it read the texts (extra ``judge``)."""
    batch: int = Field(default=24, gt=0)
    """Texts that are generated at once."""


class PatchingSection(Section):
    """What is patched."""

    pairs: str = "pairs"
    """Packaged name, or a path relative to the study file."""
    limit: int | None = Field(default=16, gt=0)
    """So many of the pairs that align, of every family equally many; None uses all."""
    sites: str = "resid_post.*"
    """Sites to patch."""
    carriers: list[str] = []
    """Moved besides by parts of the text, at the recorded sites, to see what carries the answer: ``residual``,
    ``direction``, ``subspace``, ``latents`` and the controls of `emovec_sae.patch`. Empty asks for none."""
    k: int = Field(default=16, gt=0)
    """Latents of ``latents``."""
