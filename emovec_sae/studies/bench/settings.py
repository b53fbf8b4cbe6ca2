"""What decides a score card."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from emovec_sae.directions.estimators import DiffMean, ShrinkageLDA, WhitenedDiffMean
from emovec_sae.directions.folds import DirectionEstimator

READOUTS = ("dot", "cosine", "centred_cosine", "zscore", "batch_centred")


class BenchSettings(BaseModel):
    """Settings of a score card; the defaults are the standard that cards are compared by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "smollm2-135m-instruct"
    """Embedded name, folder, .gguf file or Hugging Face id."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    dtype: str = "auto"
    """auto, bfloat16, float32 or float16."""
    sites: str | None = None
    """Sites to choose among; None means resid_post from a third to five sixths of the depth."""
    emotions: str | None = None
    """Emotions of the stories; None means all 171."""
    groups: str | None = None
    """Topics of the stories; None means all 16."""
    pairs: int = Field(default=640, gt=0)
    """Pairs of activities of the preference check."""
    shrinkages: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Shares, beside the formula, among which the shrinkage of the discriminants is chosen."""
    seed: int = 0
    """The one seed."""

    def candidates(self) -> list[DirectionEstimator]:
        """Estimators among which the training topics choose."""
        fixed = [ShrinkageLDA(shrinkage=share) for share in self.shrinkages]
        return [DiffMean(), WhitenedDiffMean(), ShrinkageLDA(), *fixed]


def default_sites(n_layers: int) -> str:
    """Sites from a third to five sixths of the depth."""
    return f"resid_post.{n_layers // 3}-{(5 * n_layers) // 6}"
