"""The embedded model and recordings of it, each made once in a session."""

from __future__ import annotations

import pytest

from emovec_sae.corpora import Corpus, load_corpus
from emovec_sae.models.load import load_model
from emovec_sae.models.model import Model
from emovec_sae.recording.record import record
from emovec_sae.store.reader import Activations

EMOTIONS = ("afraid", "angry", "happy", "sad")
SITE = "resid_post.18"


@pytest.fixture(scope="session")
def smollm() -> Model:
    """The embedded model, in the precision that this processor gets."""
    return load_model("smollm2-135m-instruct", device="cpu")


@pytest.fixture(scope="session")
def stories(smollm: Model, tmp_path_factory: pytest.TempPathFactory) -> Activations:
    """Four core emotions on the eight demo topics: means at three sites, every token at the middle one."""
    corpus = load_corpus("stories").select(emotions=EMOTIONS, groups="demo")
    sites = {"resid_post.12": ["mean"], SITE: ["mean", "none"], "resid_post.24": ["mean"]}
    return record(smollm, corpus, sites=sites, out=tmp_path_factory.mktemp("smollm") / "stories")


@pytest.fixture(scope="session")
def neutral_corpus() -> Corpus:
    """Forty neutral texts."""
    return load_corpus("neutral").head(40)


@pytest.fixture(scope="session")
def neutral_acts(smollm: Model, neutral_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Activations:
    """Their means at the middle site."""
    return record(smollm, neutral_corpus, sites=SITE, out=tmp_path_factory.mktemp("smollm") / "neutral")
