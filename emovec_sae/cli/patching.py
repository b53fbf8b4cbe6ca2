"""emovec patch: activation patching between minimal pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
from cyclopts import Parameter

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading, ModelName
from emovec_sae.cli.output import answer, bar, say, table
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    from emovec_sae.interventions.patches.result import Patching

What = Literal[
    "residual", "direction", "subspace", "latents", "attn", "mlp", "random-direction", "random-latents",
]  # fmt: skip
_NAMES = {"attn": "attn_out", "mlp": "mlp_out"}


def patch(
    pairs: str = "pairs",
    *,
    out: Path,
    sites: str | None = None,
    what: Annotated[tuple[What, ...], Parameter(negative="")] = ("residual",),
    positions: Literal["tokens", "spans"] = "tokens",
    noise: Annotated[bool, Parameter(negative="")] = False,
    method: Literal["exact", "attribution", "both"] = "exact",
    align: Literal["token", "span"] = "token",
    directions: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    emotion: str | None = None,
    emotions: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    sae: str | None = None,
    sae_id: str | None = None,
    decomposition: Path | None = None,
    k: Annotated[tuple[int, ...], Parameter(negative="")] = (16,),
    limit: int | None = None,
    seed: int = 0,
    model: ModelName = "smollm2-135m-instruct",
    loading: Loading = USUAL,
    json_: Json = False,
) -> None:
    """Put a source text's activations into a target text's run and watch the answer, at every site and token.

    Parameters
    ----------
    pairs
        Packaged name, or a file with columns source, target, source_answer, target_answer.
    out
        The .parquet file to write.
    sites
        Sites to patch; by default every block, or where there are directions or an SAE.
    what
        residual: the whole stream; attn, mlp: what the blocks add; direction, subspace: only the component along an
        emotion's direction, or in the span of several; latents: k of them; random-direction, random-latents: controls.
        Repeatable: all are compared on the same pairs.
    positions
        tokens: each by itself; spans: each part of the text as a whole.
    noise
        Put the target's activations into the source's run instead, and watch the answer go.
    method
        exact; attribution: what a gradient promises, much faster; both: and how well they agree.
    align
        span: also use pairs of unequal token counts, aligned around the words that differ.
    directions
        What fit wrote; repeatable, one for each site.
    emotion
        Whose direction or latents; by default each pair's own (its column emotion, else source_emotion).
    emotions
        Those that span the subspace; all by default; repeatable.
    sae
        For latents: a folder, a release, or user/repo.
    sae_id
        The SAE's id within a release, or its folder in a repository.
    decomposition
        What decompose wrote: it ranks the latents.
    k
        Number of latents; repeatable.
    limit
        Use the first so many pairs that align.
    seed
        Of the random controls.
    """
    from emovec_sae.corpora.pairs import load_pairs
    from emovec_sae.interventions.patching import patch as patch_

    if out.suffix != ".parquet":
        raise ConfigError(f"--out is {out}; patching writes a table, so its name must end in .parquet")
    frame = load_pairs(pairs)
    names = [_NAMES.get(one, one.replace("-", "_")) for one in what]
    options: dict[str, Any] = {
        "sites": sites, "what": names, "positions": positions, "method": method, "align": align,
        "mode": "noise" if noise else "denoise", "emotion": emotion, "k": list(k), "limit": limit, "seed": seed,
        "emotions": emotions or None, **_parts(directions, sae, sae_id, decomposition),
    }  # fmt: skip
    loaded = open_model(model, loading)
    with bar("patch pairs") as progress:
        found = patch_(loaded, frame, **options, progress=progress)
    found.save(out)
    _say(found)
    answer({**found.facts(), "out": str(out)}, json_=json_, text=_text(found))


def _parts(
    directions: tuple[Path, ...], sae: str | None, sae_id: str | None, decomposition: Path | None
) -> dict[str, Any]:
    """What was written by other verbs, read before the model is loaded."""
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.directions.files import load_directions
    from emovec_sae.saes.load import load_sae

    if sae is None and sae_id is not None:
        raise ConfigError("--sae-id names an SAE of a release or repository; give that with --sae")
    if sae is None and decomposition is not None:
        raise ConfigError("--decomposition ranks the latents of an SAE; give that with --sae")
    return {
        "directions": [load_directions(one) for one in directions],
        "decomposition": None if decomposition is None else load_decomposition(decomposition),
        "sae": None if sae is None else load_sae(sae, sae_id),
    }


def _say(found: Patching) -> None:
    """Tell on standard error what was left out, and where numbers are missing."""
    if len(found.skipped):
        reasons = found.skipped["reason"].value_counts()
        say(f"{len(found.skipped)} pairs skipped; most often: {reasons.index[0]} ({reasons.iloc[0]}); see the .json")
    for name, sites in found.provenance["patched"].items():
        if len(sites) < len(found.provenance["sites"]):
            say(f"{name}: at {len(sites)} of {len(found.provenance['sites'])} sites ({sites[0]} to {sites[-1]})")
    if found.map()["recovered"].isna().any():
        say("NaN: over so few pairs source and target do not differ clearly, so the fraction has no denominator")


def _text(found: Patching) -> str:
    wide = found.map().pivot(index=["layer", "what", "site"], columns="where", values="recovered").reset_index()
    several = wide["what"].nunique() > 1
    told = table(pd.DataFrame(wide.drop(columns=["layer"] if several else ["layer", "what"])))
    if "attributed" in found.cells:
        told += f"\n\nattribution against exact patching\n{table(found.agreement())}"
    return told
