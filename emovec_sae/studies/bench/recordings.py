"""The recordings that a score card reads: each packaged corpus, once, at all candidate sites."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emovec_sae.provenance import digest
from emovec_sae.studies.bench.settings import BenchSettings, default_sites
from emovec_sae.studies.stage import Progress, Run

if TYPE_CHECKING:
    from emovec_sae.models.model import Model
    from emovec_sae.store.reader import Activations


@dataclass(frozen=True)
class Reading:
    """A recording: the corpus, and how it is read.

    Attributes
    ----------
    corpus
        Packaged name.
    pools
        Pools.
    options
        Keyword arguments of `record`: offset, format, read.
    chat
        Whether it needs a chat template.
    """

    corpus: str
    pools: tuple[str, ...]
    options: dict[str, Any]
    chat: bool = False


READINGS = {
    "stories": Reading("stories", ("mean",), {}),
    "scenarios": Reading("scenarios", ("mean", "last"), {"offset": 4}),
    "scenarios_chat": Reading("scenarios", ("mean", "last"), {"offset": 4, "format": "chat"}, chat=True),
    "scenarios_reply": Reading("scenarios", ("mean", "last"), {"format": "chat", "read": "reply"}, chat=True),
    "intensity": Reading("intensity", ("mean", "last"), {"offset": 4}),
    "multilingual": Reading("multilingual", ("mean",), {}),
    "activities": Reading("activities", ("mean",), {"offset": 1}),
}
"""Stage name -> what is recorded."""


@dataclass
class Bench:
    """A score card in the making: settings, folder, and the model once it is needed.

    Attributes
    ----------
    settings
        What decides the card.
    run
        Its folder and stages.
    """

    settings: BenchSettings
    run: Run
    _model: Model | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        return self.run.path

    @property
    def model(self) -> Model:
        """The model; loading it is what a finished card saves."""
        if self._model is None:
            from emovec_sae.models.load import load_model

            self._model = load_model(self.settings.model, device=self.settings.device, dtype=self.settings.dtype)
        return self._model

    @property
    def recorded(self) -> Path:
        """Folder of the recordings; other settings have another."""
        keys = {"model", "device", "dtype", "sites", "emotions", "groups"}
        return self.path / "activations" / digest(self.settings.model_dump(include=keys))[:12]

    def acts(self, name: str) -> Activations:
        """A recording by its stage."""
        from emovec_sae.store.reader import open_activations

        return open_activations(self.recorded / name)

    def has(self, name: str) -> bool:
        """Whether a recording applies to this model."""
        return (self.recorded / name / "manifest.json").is_file()


def record_all(bench: Bench, names: Collection[str] = READINGS) -> None:
    """Record every corpus that applies; a base model without a chat template leaves the chat readings out."""
    for name in READINGS:
        if name in names:
            _record(bench, name)


def _record(bench: Bench, name: str) -> None:
    reading, settings = READINGS[name], bench.settings

    def work(progress: Progress) -> None:
        """Record the texts; a model without a chat template has nothing to record of a chat."""
        from emovec_sae.corpora.packaged import load_corpus
        from emovec_sae.recording.record import record

        model = bench.model
        if reading.chat and not model.tokens.chat:
            return
        chosen = {"emotions": settings.emotions, "groups": settings.groups} if name == "stories" else {}
        sites = settings.sites or default_sites(model.n_layers)
        record(
            model, load_corpus(reading.corpus, **chosen), sites=sites, pool=reading.pools,
            out=bench.recorded / name, progress=progress, **reading.options,
        )  # fmt: skip

    keys = ("model", "device", "dtype", "sites") + (("emotions", "groups") if name == "stories" else ())
    told = {"reading": [reading.corpus, reading.pools, reading.options], **settings.model_dump(include=set(keys))}
    bench.run.stage(f"record {name}", f"record {name.replace('_', ', ')}", settings=told, outputs=[], work=work)
