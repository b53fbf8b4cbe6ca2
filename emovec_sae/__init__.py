"""Find out which sparse-autoencoder latents compose an emotion vector, and whether they do what the vector does.

Importing the package is light: each public name is imported from its room when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emovec_sae.corpora.batteries import load_battery as load_battery
    from emovec_sae.corpora.frame import Corpus as Corpus
    from emovec_sae.corpora.generation import generate_corpus as generate_corpus
    from emovec_sae.corpora.packaged import load_corpus as load_corpus
    from emovec_sae.corpora.pairs import load_pairs as load_pairs
    from emovec_sae.decomposition.across_saes import selected_matches as selected_matches
    from emovec_sae.decomposition.agreement import agreement as agreement
    from emovec_sae.decomposition.api import decompose as decompose
    from emovec_sae.decomposition.files import load_decomposition as load_decomposition
    from emovec_sae.decomposition.reading import read_latents as read_latents
    from emovec_sae.decomposition.sharing import sharing as sharing
    from emovec_sae.decomposition.stability import stability as stability
    from emovec_sae.directions.denoise import NeutralComponents as NeutralComponents
    from emovec_sae.directions.direction_set import DirectionSet as DirectionSet
    from emovec_sae.directions.estimators import DiffMean as DiffMean
    from emovec_sae.directions.estimators import LogisticProbe as LogisticProbe
    from emovec_sae.directions.estimators import PCADirection as PCADirection
    from emovec_sae.directions.estimators import RidgeAxis as RidgeAxis
    from emovec_sae.directions.estimators import ShrinkageLDA as ShrinkageLDA
    from emovec_sae.directions.estimators import WhitenedDiffMean as WhitenedDiffMean
    from emovec_sae.directions.evaluate import cross_validate as cross_validate
    from emovec_sae.directions.files import load_directions as load_directions
    from emovec_sae.directions.fit import fit_directions as fit_directions
    from emovec_sae.directions.logit_lens import logit_lens as logit_lens
    from emovec_sae.errors import EmovecError as EmovecError
    from emovec_sae.exports.artefact import export_directions as export_directions
    from emovec_sae.exports.citing import cite as cite
    from emovec_sae.exports.control_vector import export_gguf as export_gguf
    from emovec_sae.exports.hub import pull as pull
    from emovec_sae.exports.hub import push as push
    from emovec_sae.exports.neuronpedia import neuronpedia_list as neuronpedia_list
    from emovec_sae.exports.sae import export_sae_lens as export_sae_lens
    from emovec_sae.exports.table import export_table as export_table
    from emovec_sae.interventions.arms import clamped_arms as clamped_arms
    from emovec_sae.interventions.arms import latent_arms as latent_arms
    from emovec_sae.interventions.arms import random_arms as random_arms
    from emovec_sae.interventions.arms import raw_arms as raw_arms
    from emovec_sae.interventions.arms import remainder_arms as remainder_arms
    from emovec_sae.interventions.behaviour.battery import behaviour as behaviour
    from emovec_sae.interventions.behaviour.conditions import match_doses as match_doses
    from emovec_sae.interventions.behaviour.conditions import steering_arms as steering_arms
    from emovec_sae.interventions.behaviour.preferences import steered_preferences as steered_preferences
    from emovec_sae.interventions.breakdown import breakdown as breakdown
    from emovec_sae.interventions.compare import compare as compare
    from emovec_sae.interventions.comparison.result import load_comparison as load_comparison
    from emovec_sae.interventions.comparison.selectors import Sources as Sources
    from emovec_sae.interventions.comparison.selectors import select_latents as select_latents
    from emovec_sae.interventions.dose import calibrate as calibrate
    from emovec_sae.interventions.edits import Ablate as Ablate
    from emovec_sae.interventions.edits import AblateLatents as AblateLatents
    from emovec_sae.interventions.edits import AddLatents as AddLatents
    from emovec_sae.interventions.edits import ByRow as ByRow
    from emovec_sae.interventions.edits import ClampLatents as ClampLatents
    from emovec_sae.interventions.edits import ClampProjection as ClampProjection
    from emovec_sae.interventions.edits import PatchDirection as PatchDirection
    from emovec_sae.interventions.edits import PatchLatents as PatchLatents
    from emovec_sae.interventions.edits import PatchResidual as PatchResidual
    from emovec_sae.interventions.edits import SaePassThrough as SaePassThrough
    from emovec_sae.interventions.edits import ScaleLatents as ScaleLatents
    from emovec_sae.interventions.edits import Steer as Steer
    from emovec_sae.interventions.neutral import NeutralProbe as NeutralProbe
    from emovec_sae.interventions.patching import patch as patch
    from emovec_sae.interventions.rotation import rotate as rotate
    from emovec_sae.interventions.sweep import sweep as sweep
    from emovec_sae.models.generate import generate as generate
    from emovec_sae.models.load import load_model as load_model
    from emovec_sae.models.stream import stream as stream
    from emovec_sae.recording.record import record as record
    from emovec_sae.report.page import write_report as write_report
    from emovec_sae.saes.load import load_sae as load_sae
    from emovec_sae.saes.matching import match_latents as match_latents
    from emovec_sae.saes.passport import passport as passport
    from emovec_sae.saes.probing import probe_latents as probe_latents
    from emovec_sae.saes.train import train_sae as train_sae
    from emovec_sae.saes.train import train_saes as train_saes
    from emovec_sae.scoring.damage import KLProbe as KLProbe
    from emovec_sae.scoring.words import WordScorer as WordScorer
    from emovec_sae.sites import Site as Site
    from emovec_sae.store.reader import Activations as Activations
    from emovec_sae.store.reader import open_activations as open_activations
    from emovec_sae.store.verify import verify as verify
    from emovec_sae.studies.run import run_study as run_study

_PUBLIC = {
    "Ablate": "interventions.edits",
    "AblateLatents": "interventions.edits",
    "Activations": "store.reader",
    "AddLatents": "interventions.edits",
    "ByRow": "interventions.edits",
    "ClampLatents": "interventions.edits",
    "ClampProjection": "interventions.edits",
    "Corpus": "corpora.frame",
    "DiffMean": "directions.estimators",
    "DirectionSet": "directions.direction_set",
    "EmovecError": "errors",
    "KLProbe": "scoring.damage",
    "LogisticProbe": "directions.estimators",
    "NeutralComponents": "directions.denoise",
    "NeutralProbe": "interventions.neutral",
    "PCADirection": "directions.estimators",
    "PatchDirection": "interventions.edits",
    "PatchLatents": "interventions.edits",
    "PatchResidual": "interventions.edits",
    "RidgeAxis": "directions.estimators",
    "SaePassThrough": "interventions.edits",
    "ScaleLatents": "interventions.edits",
    "ShrinkageLDA": "directions.estimators",
    "Site": "sites",
    "Sources": "interventions.comparison.selectors",
    "Steer": "interventions.edits",
    "WhitenedDiffMean": "directions.estimators",
    "WordScorer": "scoring.words",
    "agreement": "decomposition.agreement",
    "behaviour": "interventions.behaviour.battery",
    "breakdown": "interventions.breakdown",
    "calibrate": "interventions.dose",
    "cite": "exports.citing",
    "clamped_arms": "interventions.arms",
    "compare": "interventions.compare",
    "cross_validate": "directions.evaluate",
    "decompose": "decomposition.api",
    "export_directions": "exports.artefact",
    "export_gguf": "exports.control_vector",
    "export_sae_lens": "exports.sae",
    "export_table": "exports.table",
    "fit_directions": "directions.fit",
    "generate": "models.generate",
    "generate_corpus": "corpora.generation",
    "latent_arms": "interventions.arms",
    "load_battery": "corpora.batteries",
    "load_comparison": "interventions.comparison.result",
    "load_corpus": "corpora.packaged",
    "load_decomposition": "decomposition.files",
    "load_directions": "directions.files",
    "load_model": "models.load",
    "load_pairs": "corpora.pairs",
    "load_sae": "saes.load",
    "logit_lens": "directions.logit_lens",
    "match_doses": "interventions.behaviour.conditions",
    "match_latents": "saes.matching",
    "neuronpedia_list": "exports.neuronpedia",
    "open_activations": "store.reader",
    "passport": "saes.passport",
    "patch": "interventions.patching",
    "probe_latents": "saes.probing",
    "pull": "exports.hub",
    "push": "exports.hub",
    "random_arms": "interventions.arms",
    "raw_arms": "interventions.arms",
    "read_latents": "decomposition.reading",
    "record": "recording.record",
    "remainder_arms": "interventions.arms",
    "rotate": "interventions.rotation",
    "run_study": "studies.run",
    "select_latents": "interventions.comparison.selectors",
    "selected_matches": "decomposition.across_saes",
    "sharing": "decomposition.sharing",
    "stability": "decomposition.stability",
    "steered_preferences": "interventions.behaviour.preferences",
    "steering_arms": "interventions.behaviour.conditions",
    "stream": "models.stream",
    "sweep": "interventions.sweep",
    "train_sae": "saes.train",
    "train_saes": "saes.train",
    "verify": "store.verify",
    "write_report": "report.page",
}
"""Public name -> module below the package that defines it."""

__all__ = sorted(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
