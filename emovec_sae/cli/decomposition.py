"""emovec decompose: a direction as SAE latents plus an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, say, table


def decompose(
    directions: Path,
    *,
    sae: str,
    activations: Path | None = None,
    sae_id: str | None = None,
    method: str = "contrast",
    emotions: Annotated[list[str] | None, Parameter(negative="")] = None,
    k: int = 16,
    seed: int = 0,
    min_explained: float = 0.5,
    override_passport: Annotated[bool, Parameter(negative="")] = False,
    out: Path,
    json_: Json = False,
) -> None:
    """Write emotion directions as latents of an SAE, with an error share and nulls.

    Parameters
    ----------
    directions
        What fit wrote.
    sae
        A folder, a release of the sae-lens catalogue (emovec saes lists them), or a repository user/repo.
    activations
        The texts that the directions were fitted on, recorded with pool none (contrast needs them).
    sae_id
        The SAE's id within the release, or its folder in the repository.
    method
        contrast (exact, signed, with the error share) or omp (signed sparse pursuit on the decoder).
    emotions
        Emotions to write down; all by default; repeatable.
    k
        Latents of the table.
    min_explained
        Explained variance of the SAE below which it is refused.
    override_passport
        Decompose with such an SAE all the same; the result is marked unfit.
    out
        The .parquet file to write.
    """
    from emovec_sae.decomposition.api import decompose as decompose_
    from emovec_sae.directions.files import load_directions
    from emovec_sae.saes.load import load_sae
    from emovec_sae.store.reader import open_activations

    fitted = load_directions(directions)
    acts = open_activations(activations) if activations else None
    found = decompose_(
        fitted, load_sae(sae, sae_id), acts, emotions=emotions, method=method, k=k, seed=seed,
        min_explained=min_explained, override=override_passport,
    )  # fmt: skip
    if found.unfit:
        say("the SAE explains too little of these activations (--override-passport): the result is marked unfit")
    found.save(out)
    answer({**found.facts(), "out": str(out)}, json_=json_, text=table(found.frame()))
