"""emovec passport: how well an SAE fits recorded activations."""

from __future__ import annotations

from pathlib import Path

from emovec_sae.cli.options import USUAL, Json, Loading
from emovec_sae.cli.output import answer, say, table


def passport(
    sae: str,
    folder: Path,
    *,
    sae_id: str | None = None,
    model: str | None = None,
    tokens: int = 100_000,
    texts: int = 32,
    seed: int = 0,
    loading: Loading = USUAL,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Measure how well an SAE fits recorded activations: explained variance, l0, dead and dense latents, splice loss.

    Parameters
    ----------
    sae
        A folder, a release of the sae-lens catalogue (emovec saes lists them), or a repository user/repo.
    folder
        What record wrote, with pool none, on texts that the SAE was not trained on.
    sae_id
        The SAE's id within the release, or its folder in the repository.
    model
        The model that was recorded; the splice loss and the explained variance with position 0 need it.
    tokens
        About how many tokens to measure.
    texts
        Texts on which the model is run.
    out
        Write the passport as JSON.
    """
    from emovec_sae.cli.model import open_model
    from emovec_sae.saes.load import load_sae
    from emovec_sae.saes.passport import passport as passport_
    from emovec_sae.store.reader import open_activations

    acts, coder = open_activations(folder), load_sae(sae, sae_id)
    loaded = None if model is None else open_model(model, loading)
    found = passport_(coder, acts, model=loaded, tokens=tokens, texts=texts, seed=seed)
    if found.texts_trained_on:
        say(f"the SAE was trained on {found.texts_trained_on} of these {found.n_texts} texts: the numbers flatter")
    for note in found.notes:
        say(note)
    if not found.passes():
        say("the SAE explains less than half of the variance: decompose will refuse it")
    if out is not None:
        found.save(out)
    answer(found.facts(), json_=json_, text=table(found.frame()))
