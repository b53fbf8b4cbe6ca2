"""The score card of a model: every check of its emotion directions, in one command."""

from __future__ import annotations

from emovec_sae.studies.bench.card import ScoreCard, load_card
from emovec_sae.studies.bench.run import bench

__all__ = ["ScoreCard", "bench", "load_card"]
