"""emovec naming: latents that write an emotion's word, and latents that do more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading, ModelName
from emovec_sae.cli.output import answer, say, table

SHOWN = ("emotion", "rank", "latent", "naming", "naming_p", "kept", "kept_null_mean", "valence", "valence_p", "kind")


def naming(
    decomposition: Path,
    *,
    sae: str,
    model: ModelName,
    sae_id: str | None = None,
    emotions: Annotated[list[str] | None, Parameter(negative="")] = None,
    k: int | None = None,
    strength: float = 0.2,
    prompts: str | None = None,
    nulls: int = 128,
    seed: int = 0,
    loading: Loading = USUAL,
    out: Path,
    json_: Json = False,
) -> None:
    """Tell latents that only write an emotion's word from latents that evoke it.

    Parameters
    ----------
    decomposition
        What decompose wrote (.parquet), made with activations.
    sae
        The SAE of the decomposition: a folder, a release of the sae-lens catalogue, or a repository user/repo.
    sae_id
        The SAE's id within the release, or its folder in the repository.
    emotions
        Emotions of the decomposition; all by default; repeatable.
    k
        Latents an emotion; all of the decomposition by default.
    strength
        Length that is added of each latent, in units of the mean residual norm over the prompts.
    prompts
        A file of neutral prompts; by default twelve packaged stems at whose end a feeling word is due.
    nulls
        Random latents of each sign; each latent is held against those that fire about as often.
    seed
        Of the random latents and of intervals.
    out
        Folder for naming.json and the figure.
    """
    from emovec_sae.charts import save_chart
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.decomposition.naming import naming as naming_
    from emovec_sae.saes.load import load_sae

    parts = load_decomposition(decomposition)
    coder = load_sae(sae, sae_id)
    texts = None if prompts is None else load_prompts(prompts)["text"].tolist()
    found = naming_(
        parts, coder, open_model(model, loading), emotions=emotions, k=k, prompts=texts, strength=strength, nulls=nulls,
        seed=seed,
    )  # fmt: skip
    if found.frame()["valence"].notna().any():
        save_chart(
            found.plot(), out, "naming", table=found.frame(), provenance=found.provenance, caption=found.caption()
        )
    else:
        say("no figure: this tokenizer gives the emotions no words of a side of valence as single tokens")
    found.save(out / "naming.json")
    told = f"{table(found.frame()[list(SHOWN)])}\n\n{table(found.summary())}"
    answer({**found.facts(), "out": str(out)}, json_=json_, text=told)
