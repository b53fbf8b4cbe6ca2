"""emovec decompose: a direction as SAE latents plus an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading
from emovec_sae.cli.output import answer, say, table

if TYPE_CHECKING:
    import pandas as pd

    from emovec_sae.decomposition.result import Decomposition

Flag = Annotated[bool, Parameter(negative="")]


def decompose(
    directions: Path,
    *,
    sae: str,
    activations: Path | None = None,
    sae_id: str | None = None,
    method: str = "contrast",
    emotions: Annotated[list[str] | None, Parameter(negative="")] = None,
    k: int = 16,
    nulls: int = 100,
    seed: int = 0,
    weights: Literal["texts", "groups"] | None = None,
    dense: Literal["keep", "drop"] | None = None,
    permutations: int | None = None,
    model: str | None = None,
    prompts: str | None = None,
    steps: int | None = None,
    baseline: Literal["zero", "mean"] | None = None,
    yes_encode: Flag = False,
    min_explained: float = 0.5,
    override_passport: Flag = False,
    loading: Loading = USUAL,
    out: Path,
    json_: Json = False,
) -> None:
    """Write emotion directions as latents of an SAE, with an error share, beside what chance gives.

    Parameters
    ----------
    directions
        What fit wrote.
    sae
        A folder, a release of the sae-lens catalogue (emovec saes lists them), or a repository user/repo.
    activations
        The texts that the directions were fitted on. contrast needs them recorded with pool none; the others take from
        them firing rates and the nulls of covariance and permuted labels.
    sae_id
        The SAE's id within the release, or its folder in the repository.
    method
        contrast (exact, signed, with the error share); omp, gp, nnls, lasso, cosine (sparse pursuits on the decoder);
        attribution (part in a score of the emotion; needs --model); encode (wrong, refused unless --yes-encode).
    emotions
        Emotions to write down; all by default; repeatable.
    k
        Latents of the table.
    nulls
        Draws of each null; 0 for none.
    seed
        Of nulls, tests and intervals.
    weights
        contrast: texts (the default), or groups: every group weighs the same.
    dense
        contrast: keep latents that fire on more than a tenth of the tokens (the default), or drop them from the ranks.
    permutations
        contrast: of the tests of latents; 9999 by default, 0 for none.
    model
        attribution: embedded name, folder, .gguf file or Hugging Face id.
    prompts
        attribution: a file of prompts or a packaged name; by default the packaged ones marked tune at whose end a
        feeling word is due.
    steps
        attribution: 0 (the default) for the gradient at the activations, more for integrated gradients.
    baseline
        attribution: zero (the default) or mean.
    yes_encode
        Ask for the method encode a second time.
    min_explained
        Explained variance of the SAE below which it is refused.
    override_passport
        Decompose with such an SAE all the same; the result is marked unfit.
    out
        The .parquet file to write.
    """
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.decomposition.api import decompose as decompose_
    from emovec_sae.decomposition.methods import check_method
    from emovec_sae.directions.files import load_directions
    from emovec_sae.saes.load import load_sae
    from emovec_sae.store.reader import open_activations

    check_method(method)
    fitted = load_directions(directions)
    acts = open_activations(activations) if activations else None
    coder = load_sae(sae, sae_id)
    texts = None if prompts is None else load_prompts(prompts)["text"].tolist()
    found = decompose_(
        fitted, coder, acts, emotions=emotions, method=method, k=k, nulls=nulls, seed=seed,
        min_explained=min_explained, override=override_passport, allow_encode=yes_encode,
        model=open_model(model, loading) if model and method == "attribution" else None, prompts=texts,
        contrast=_given(weights=weights, dense=dense, permutations=permutations),
        attribution=_given(steps=steps, baseline=baseline),
    )  # fmt: skip
    _remark(found)
    found.save(out)
    answer(
        {**found.facts(), "out": str(out)},
        json_=json_,
        text=f"{table(_known(found.frame()))}\n\n{table(_chance(found))}",
    )


def _given(**options: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _known(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that the method has no values for."""
    return frame.dropna(axis="columns", how="all")


def _chance(found: Decomposition) -> pd.DataFrame:
    """R^2, cosine and effective number of latents at k, each beside every null, over emotions."""
    frame = found.excess()
    return frame[(frame["k"] == found.k) & frame["quantity"].isin(["r2", "cosine", "count"])]


def _remark(found: Decomposition) -> None:
    """Say what a reader of the table must know."""
    if found.unfit:
        say("the SAE explains too little of these activations (--override-passport): the result is marked unfit")
    for name, reason in found.provenance["settings"].get("nulls_not_drawn", {}).items():
        if name != "shuffled rows":
            say(f"null not drawn: {name}: {reason}")
    if found.method == "encode":
        told = found.summary[["overlap_zero", "overlap_minus", "negative_wanted"]].mean()
        say(
            f"encode is wrong: of the latents that fire on a vector and on nothing {told['overlap_zero']:.0%} are the "
            f"same, on the vector and on its opposite {told['overlap_minus']:.0%}; {told['negative_wanted']:.0%} of "
            "the coefficients should be negative and none can be"
        )
