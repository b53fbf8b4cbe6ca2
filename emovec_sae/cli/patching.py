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
    "residual", "direction", "subspace", "latents", "attn", "mlp", "other-direction", "random-direction",
    "matched-direction", "matched-subspace", "random-latents", "matched-latents",
]  # fmt: skip
_NAMES = {"attn": "attn_out", "mlp": "mlp_out"}


def patch(
    pairs: str = "pairs",
    *,
    out: Path,
    sites: str | None = None,
    what: Annotated[tuple[What, ...], Parameter(negative="")] = ("residual",),
    positions: str = "tokens",
    chat: Annotated[bool, Parameter(negative="")] = False,
    noise: Annotated[bool, Parameter(negative="")] = False,
    method: Literal["exact", "attribution", "both"] = "exact",
    align: Literal["token", "span"] = "token",
    directions: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    emotion: str | None = None,
    emotions: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    sae: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    sae_id: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    decomposition: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    figures: Path | None = None,
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
        emotion's direction, or in the span of several; latents: k of them. Controls: random-direction, random-latents
        (the component along a random one, as many others); matched-direction, matched-subspace, matched-latents (as
        far along a random direction); other-direction (another emotion's). Repeatable: all on the same pairs.
    positions
        tokens: each by itself; spans: each part of the text as a whole; or, as one place, all, last, from:N,
        span:FIRST-LAST (characters of the target text) or role:user.
    chat
        Read the texts as a user's messages in the chat template.
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
        For latents: a folder, a release, or user/repo; repeatable, one for each site.
    sae_id
        The SAE's id within a release, or its folder in a repository; one for each --sae, or several of one.
    decomposition
        What decompose wrote: it ranks the latents; repeatable, one for each SAE.
    figures
        Folder for the figure, named as --out is: the map, or of several things a curve each over layers.
    k
        Number of latents; repeatable.
    limit
        Use so many of the pairs that align, of every family equally many.
    seed
        Of the random controls.
    """
    from emovec_sae.corpora.pairs import load_pairs
    from emovec_sae.interventions.patches.alignment import check_positions
    from emovec_sae.interventions.patching import patch as patch_

    if out.suffix != ".parquet":
        raise ConfigError(f"--out is {out}; patching writes a table, so its name must end in .parquet")
    check_positions(positions, chat=chat)
    frame = load_pairs(pairs)
    names = [_NAMES.get(one, one.replace("-", "_")) for one in what]
    options: dict[str, Any] = {
        "sites": sites, "what": names, "positions": positions, "method": method, "align": align, "chat": chat,
        "mode": "noise" if noise else "denoise", "emotion": emotion, "k": list(k), "limit": limit, "seed": seed,
        "emotions": emotions or None, **_parts(directions, sae, sae_id, decomposition),
    }  # fmt: skip
    loaded = open_model(model, loading)
    with bar("patch pairs") as progress:
        found = patch_(loaded, frame, **options, progress=progress)
    found.save(out)
    if figures is not None:
        found.draw(figures, out.stem)
    _say(found)
    answer({**found.facts(), "out": str(out)}, json_=json_, text=_text(found))


def _parts(
    directions: tuple[Path, ...], sae: tuple[str, ...], sae_id: tuple[str, ...], decomposition: tuple[Path, ...]
) -> dict[str, Any]:
    """What was written by other verbs, read before the model is loaded."""
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.directions.files import load_directions
    from emovec_sae.saes.load import load_sae

    if not sae and sae_id:
        raise ConfigError("--sae-id names an SAE of a release or repository; give that with --sae")
    if not sae and decomposition:
        raise ConfigError("--decomposition ranks the latents of an SAE; give that with --sae")
    if sae_id and len(sae) not in (1, len(sae_id)):
        raise ConfigError(f"{len(sae)} --sae and {len(sae_id)} --sae-id; give one id for each, or all ids of one")
    names = [sae[0]] * len(sae_id) if len(sae) == 1 and sae_id else list(sae)
    ids: list[str | None] = list(sae_id) if sae_id else [None] * len(names)
    return {
        "directions": [load_directions(one) for one in directions],
        "decomposition": [load_decomposition(one) for one in decomposition],
        "sae": [load_sae(name, own) for name, own in zip(names, ids, strict=True)],
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
