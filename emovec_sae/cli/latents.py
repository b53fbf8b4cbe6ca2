"""emovec latents show, probe: read latents, and what a dictionary is worth to a probe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading
from emovec_sae.cli.output import answer, say, table, write_answer

Many = Annotated[list[str] | None, Parameter(negative="")]


def show(
    sae: str,
    folder: Path,
    *,
    latent: Annotated[list[int], Parameter(negative="")],
    sae_id: str | None = None,
    model: str | None = None,
    labels: Path | None = None,
    passages: int = 8,
    seed: int = 0,
    loading: Loading = USUAL,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Read latents: passages, tokens of the decoder row, firing rate, the emotions that they tell apart.

    Parameters
    ----------
    sae
        A folder, a release of the sae-lens catalogue, or a repository user/repo.
    folder
        What record wrote, with pool none.
    latent
        Which; repeatable.
    sae_id
        The SAE's id within a release, or its folder in a repository.
    model
        The model that was recorded: words for token ids, and the tokens that decoder rows raise.
    labels
        A .json or .csv file of labels, such as a Neuronpedia export; nothing is fetched.
    passages
        Passages a latent.
    out
        Write all of it as JSON.
    """
    from emovec_sae.decomposition.labels import read_labels
    from emovec_sae.decomposition.reading import read_latents
    from emovec_sae.errors import MismatchError
    from emovec_sae.saes.load import load_sae
    from emovec_sae.saes.sample import at_site
    from emovec_sae.store.reader import open_activations

    known = None if labels is None else read_labels(labels)
    acts, coder = open_activations(folder), load_sae(sae, sae_id)
    source = at_site(coder, acts)
    loaded = None if model is None else open_model(model, loading)
    if loaded is None:
        say("no --model was given: passages show token ids, and the tokens of decoder rows are left out")
    elif loaded.fingerprint != acts.model["fingerprint"]:
        raise MismatchError(f"these activations were recorded on '{acts.model['name']}', the model given is '{model}'")
    found = read_latents(
        coder, source, latent,
        detokenize=_ids if loaded is None else loaded.token_strings,
        unembedding=None if loaded is None else loaded.unembedding(),
        labels=known, passages=passages, seed=seed,
    )  # fmt: skip
    if out is not None:
        found.save(out)
    answer({"latents": [found.card(one) for one in found.latents]}, json_=json_, text=found.text())


def probe(
    sae: str,
    folder: Path,
    *,
    sae_id: str | None = None,
    emotions: Many = None,
    folds: int = 4,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Tell emotions by 1 to 16 latents of an SAE, beside as many residual dimensions and the whole residual.

    Parameters
    ----------
    sae
        A folder, a release of the sae-lens catalogue, or a repository user/repo.
    folder
        What record wrote, with pool none, of texts with emotions and groups.
    sae_id
        The SAE's id within a release, or its folder in a repository.
    emotions
        Which; the core ones by default; repeatable.
    folds
        Folds of groups, each held out in turn.
    out
        Write all of it as JSON.
    """
    from emovec_sae.saes.load import load_sae
    from emovec_sae.saes.probing import probe_latents
    from emovec_sae.store.reader import open_activations

    acts = open_activations(folder)
    found = probe_latents(load_sae(sae, sae_id), acts, emotions=emotions, folds=folds, seed=seed)
    write_answer(found, out, json_=json_, text=table(found.frame()))


def _ids(tokens: list[int]) -> list[str]:
    return [f"<{token}>" for token in tokens]
