"""emovec models, saes: what is there, what is supported, where it would come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, table
from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from emovec_sae.saes.catalogue import Listed


def models(*, json_: Json = False) -> None:
    """List the embedded models, and the architectures whose streams were checked."""
    import pandas as pd

    from emovec_sae.models.architectures import architectures
    from emovec_sae.models.embedded import EMBEDDED

    rows = [
        {"name": one.name, "installed": one.installed, "about": one.about, "install": one.install}
        for one in EMBEDDED.values()
    ]
    checked = architectures()
    others = (
        "\nAny of these loads by Hugging Face id, folder or .gguf file. So does another causal language model if its "
        "blocks are found; if not, name them: --module blocks=PATH."
    )
    parts = [
        "Embedded models",
        table(pd.DataFrame(rows)),
        "\nArchitectures: all four streams read and written, checked on tiny models (L is the block)",
        table(checked.drop(columns="examples")),
        "\nExamples",
        table(checked[["architecture", "examples"]]),
        others,
    ]
    answer({"models": rows, "architectures": checked.to_dict("records")}, json_=json_, text="\n".join(parts))


def saes(
    *,
    model: str | None = None,
    site: str | None = None,
    fetch: str | None = None,
    sae_id: str | None = None,
    trust_pickle: bool = False,
    json_: Json = False,
) -> None:
    """List the pretrained SAEs of the sae-lens catalogue (offline), or fetch one into the cache.

    Parameters
    ----------
    model
        A model in any spelling: Hugging Face id, sae-lens's name, an embedded name.
    site
        A site, such as resid_post.12.
    fetch
        A release, or a repository user/repo: fetch and convert its SAE --sae-id, so that later uses need no network.
    sae_id
        The SAE's id within the release, or its folder in the repository.
    trust_pickle
        Let the files to be fetched run code, if they hold more than tensors.
    """
    if fetch is not None or sae_id is not None or trust_pickle:
        _fetch(fetch, sae_id, site=site, trust_pickle=trust_pickle, json_=json_)
        return
    from emovec_sae.saes.catalogue import listed

    found = listed(model, site)
    answer({"saes": [vars(one) for one in found]}, json_=json_, text="" if json_ else _catalogue(found, model, site))


def _catalogue(found: list[Listed], model: str | None, site: str | None) -> str:
    """The catalogue for people: models, the releases of one, or every SAE of a site."""
    import pandas as pd

    from emovec_sae.models.embedded import EMBEDDED
    from emovec_sae.saes import catalogue as about

    if not found:
        at = f" at {site}" if site else ""
        near = "" if model is None or about.listed(model) else suggest(model, about.models_of_catalogue())
        return f"the catalogue has no SAE for '{model}'{at}{near}; emovec train-sae trains one on recorded tokens"
    if model is None and site is None:
        return table(about.by_model(found)) + "\n--model MODEL lists the releases of one."
    notes: list[str] = []
    if site is None:
        shown = about.by_release(found)
        notes.append("--site resid_post.N lists each SAE of a site.")
    else:
        shown = pd.DataFrame([vars(one) for one in found])
        shown["usable"] = [about.told(one.usable, one.reason) for one in found]
        shown["neuronpedia"] = shown["neuronpedia"].fillna("")
        shown = shown[["release", "sae_id", "model", "d_sae", "l0", "neuronpedia", "usable"]].astype({"d_sae": "Int64"})
        shown = shown.drop(columns=["model"] if model else [])
        notes.append(f"Neuronpedia lists the latents at {about.NEURONPEDIA}/ and the name above.")
    if model in EMBEDDED:
        notes.append(f"'{model}' is quantised, and these were trained on the model as published: see emovec passport.")
    return "\n".join([table(shown, rows=len(shown)), *notes])


def _fetch(source: str | None, sae_id: str | None, *, site: str | None, trust_pickle: bool, json_: bool) -> None:
    if source is None or sae_id is None:
        raise ConfigError("to fetch an SAE, give --fetch (a release or user/repo) and --sae-id")
    from emovec_sae.saes.load import load_sae

    coder = load_sae(source, sae_id, site=site, trust_pickle=trust_pickle)
    facts = {"sae": coder.name, "site": str(coder.site), "d_in": coder.d_in, "d_sae": coder.d_sae}
    answer({**facts, "architecture": coder.architecture, "fingerprint": coder.fingerprint}, json_=json_)
