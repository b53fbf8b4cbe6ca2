"""What the stages of a run share: the model, the texts and the artefacts, each opened when a stage first needs it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovec_sae.config import Study
from emovec_sae.provenance import digest
from emovec_sae.sites import Site

if TYPE_CHECKING:
    from emovec_sae.corpora.frame import Corpus
    from emovec_sae.decomposition.result import Decomposition
    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.reader import Activations


@dataclass
class Context:
    """A study and its run folder.

    Attributes
    ----------
    study
        The settings.
    path
        The run's folder.
    base
        Folder that relative paths of the study start from.
    """

    study: Study
    path: Path
    base: Path

    @property
    def site(self) -> Site:
        """Site of the directions, the SAE and the interventions."""
        return Site.parse(self.study.directions.site)

    @cached_property
    def model(self) -> Model:
        """The model; loading it is what a finished run saves."""
        from emovec_sae.models.load import load_model

        section = self.study.model
        return load_model(self.named(section.name), device=section.device, dtype=section.dtype)

    @cached_property
    def corpus(self) -> Corpus:
        """The emotional texts."""
        from emovec_sae.corpora.packaged import load_corpus

        section = self.study.corpus
        return load_corpus(self.named(section.name), emotions=section.emotions, groups=section.groups)

    @cached_property
    def neutral(self) -> Corpus:
        """The neutral texts."""
        from emovec_sae.corpora.packaged import load_corpus

        return load_corpus(self.named(self.study.corpus.neutral))

    @property
    def recording_settings(self) -> dict[str, Any]:
        """What decides a recording."""
        return {
            "model": self.study.model.model_dump(),
            "corpus": [self.corpus.fingerprint, self.neutral.fingerprint],
            "recording": self.study.recording.model_dump(),
            "site": str(self.site),
        }

    @property
    def recorded(self) -> Path:
        """Folder of the recordings; other settings have another, so that a change back finds what was there."""
        return self.path / "activations" / digest(self.recording_settings)[:12]

    @cached_property
    def acts(self) -> Activations:
        """Activations of the emotional texts."""
        from emovec_sae.store.reader import open_activations

        return open_activations(self.recorded / "corpus")

    @cached_property
    def neutral_acts(self) -> Activations:
        """Activations of the neutral texts."""
        from emovec_sae.store.reader import open_activations

        return open_activations(self.recorded / "neutral")

    @cached_property
    def directions(self) -> DirectionSet:
        """The fitted directions."""
        from emovec_sae.directions.files import load_directions

        return load_directions(self.path / "directions.safetensors")

    @cached_property
    def coder(self) -> SparseCoder:
        """The trained SAE."""
        from emovec_sae.saes.load import load_sae

        return load_sae(self.path / "sae")

    def decomposition(self, method: str) -> Decomposition:
        """The decomposition by a method."""
        from emovec_sae.decomposition.files import load_decomposition

        return load_decomposition(self.path / f"{method}.parquet")

    def emotions(self, wanted: str | list[str] | None) -> list[str]:
        """Emotions of the corpus that a section asks for (``core``, a list, or None for all)."""
        if wanted is None:
            return list(self.corpus.emotions)
        return list(self.corpus.select(emotions=wanted).emotions)

    def named(self, name: str) -> str:
        """A packaged name or id as it is; a path that exists beside the study file in full."""
        beside = self.base / name
        return str(beside) if (beside.suffix and beside.is_file()) or ("/" in name and beside.is_dir()) else name
