"""The study file: what a run does, from corpus to comparison. A misspelt key is an error that names the right one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emovec_sae.errors import ConfigError, suggest


class Section(BaseModel):
    """A part of a study: frozen, and without room for unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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


def load_study(path: str | Path) -> Study:
    """Read the file of a study with stages.

    Raises
    ------
    ConfigError
        As `read_study`; also if the study is one of checks.
    """
    found = read_study(path)
    if isinstance(found, CheckStudy):
        raise ConfigError(f"{path} is a study of checks (it has the key 'checks'); run it with: emovec run {path}")
    return found


def read_study(path: str | Path) -> Study | CheckStudy:
    """Read a study file: one with the key ``checks`` is a `CheckStudy`, any other a `Study`.

    Raises
    ------
    ConfigError
        If there is no such file, it is no YAML, or a key or value is wrong; the message names file, line and key.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no study file at {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the study file {file}: {error}") from error
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise ConfigError(f"{file}{f', line {line + 1}' if line is not None else ''}: not valid YAML") from error
    if found is not None and not isinstance(found, dict):
        raise ConfigError(f"{file} holds a {type(found).__name__}; a study is a mapping such as 'model: {{name: ...}}'")
    shape = CheckStudy if found and "checks" in found else Study
    try:
        return shape.model_validate(found or {})
    except ValidationError as error:
        raise ConfigError(_explain(file, text, error, shape)) from error


def _explain(file: Path, text: str, error: ValidationError, shape: type[Section]) -> str:
    """One line for the first problem: file, line, key, and the nearest right key."""
    first: dict[str, Any] = dict(error.errors()[0])
    keys = _keys(first["loc"], shape)
    where = f"{file}, line {_line(text, keys)}"
    name = ".".join(keys)
    if first["type"] == "extra_forbidden":
        known = _known(keys[:-1], shape)
        return f"{where}: unknown key '{name}'{suggest(keys[-1], known)}; keys here are {', '.join(known)}"
    return f"{where}: {name or 'the study'}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {first.get('input')!r}"


def _keys(loc: Sequence[Any], shape: type[Section]) -> list[str]:
    """Keys of the file on the way to a problem: pydantic appends the place in a list, and the union member tried."""
    found: list[str] = []
    for part in loc:
        found.append(str(part))
        if not _known(found, shape):
            break
    return found


def _known(parents: list[str], shape: type[Section]) -> list[str]:
    """Keys of a section; none below a plain value or an unknown key."""
    fields: Any = shape.model_fields
    for parent in parents:
        annotation = fields[parent].annotation if parent in fields else None
        if type(None) in get_args(annotation):  # a section that may be left out
            annotation = next(one for one in get_args(annotation) if one is not type(None))
        fields = annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}
    return list(fields)


def _line(text: str, keys: list[str]) -> int:
    """Line of a nested key, counted from 1."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for key in keys:
        for name, value in getattr(node, "value", []) if isinstance(node, yaml.MappingNode) else []:
            if name.value == key:
                line, node = name.start_mark.line + 1, value
                break
        else:
            break
    return line
