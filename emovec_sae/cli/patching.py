"""emovec patch: activation patching between minimal pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading, ModelName
from emovec_sae.cli.output import answer, bar, say, table


def patch(
    pairs: str = "pairs",
    *,
    out: Path,
    sites: str = "resid_post.*",
    what: Literal["residual"] = "residual",
    limit: int | None = None,
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
        Sites to patch.
    what
        residual: the whole stream.
    limit
        Use the first so many pairs that align.
    """
    from emovec_sae.corpora.pairs import load_pairs
    from emovec_sae.interventions.patching import patch as patch_

    frame = load_pairs(pairs)
    loaded = open_model(model, loading)
    with bar("patch pairs") as progress:
        found = patch_(loaded, frame, sites=sites, what=what, limit=limit, progress=progress)
    found.save(out)
    map_ = found.map()
    facts = {
        "pairs": int(found.cells["pair"].nunique()),
        "skipped": len(found.skipped),
        "sites": found.provenance["sites"],
    }
    wide = map_.pivot(index=["layer", "site"], columns="where", values="recovered").reset_index().drop(columns="layer")
    if map_["recovered"].isna().any():
        say("NaN: over so few pairs source and target do not differ clearly, so the fraction has no denominator")
    answer({**facts, "recovered": map_.to_dict("records"), "out": str(out)}, json_=json_, text=table(wide))
