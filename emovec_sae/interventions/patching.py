"""Activation patching: put a source text's activations into a target text's run, site by site, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import ConfigError, CorpusError, ModelError
from emovec_sae.interventions.edits import PatchResidual
from emovec_sae.models.model import Model
from emovec_sae.models.seam import Prefix, forward
from emovec_sae.models.tokens import Batch
from emovec_sae.provenance import atomic, collect, write_json
from emovec_sae.sites import Site, parse_sites
from emovec_sae.stats.bootstrap import bootstrap_ratio

if TYPE_CHECKING:
    import altair as alt

PARTS = ("changed word", "just after", "between", "last token")
"""Where a token stands, in words that fit every pair."""


@dataclass(frozen=True)
class AlignedPair:
    """Two texts that differ in a span of equally many tokens.

    Attributes
    ----------
    id, family
        Names of the pair.
    source, target
        Token ids, of equal length.
    answers
        The one-token answers (source's, target's).
    first, last
        First and last token at which they differ.
    """

    id: str
    family: str
    source: tuple[int, ...]
    target: tuple[int, ...]
    answers: tuple[int, int]
    first: int
    last: int

    def part(self, position: int) -> str:
        """Name of a token's place, one of `PARTS`."""
        if position == len(self.target) - 1:
            return "last token"
        if position <= self.last:
            return "changed word"
        return "just after" if position == self.last + 1 else "between"


@dataclass(frozen=True)
class Patching:
    """The result of patching: how much of the source's answer each patch brings into the target's run.

    Attributes
    ----------
    cells
        One row a (pair, site, position): pair, family, site, layer, position (from the end, -1 is the last token),
        part, patched, source, target (logit of the source's answer minus that of the target's), recovered.
    skipped
        Pairs that could not be aligned, with the reason: pair, reason.
    provenance
        Model, pairs, sites, what was patched.
    """

    cells: pd.DataFrame
    skipped: pd.DataFrame
    provenance: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row a (pair, site, position)."""
        return self.cells

    def map(self, *, seed: int = 0) -> pd.DataFrame:
        """Recovered fraction over the pairs, by site and part of the text.

        Returns
        -------
        pandas.DataFrame
            site, layer, where, recovered, low, high, n: the ratio of means over pairs (mean of patched minus target,
            over mean of source minus target), a pair's tokens of one part averaged, with a 95 % interval over pairs.
        """
        cells = self.cells.assign(
            moved=self.cells["patched"] - self.cells["target"], gap=self.cells["source"] - self.cells["target"]
        )
        by_pair = cells.groupby(["site", "layer", "part", "pair"], sort=False, as_index=False)[["moved", "gap"]].mean()
        rows = []
        for (site, layer, part), some in by_pair.groupby(["site", "layer", "part"], sort=False):
            ratio = bootstrap_ratio(some["moved"].to_numpy(), some["gap"].to_numpy(), seed=seed)
            rows.append(
                {
                    "site": site,
                    "layer": layer,
                    "where": part,
                    "recovered": ratio.value,
                    "low": ratio.low,
                    "high": ratio.high,
                    "n": len(some),
                }
            )
        found = pd.DataFrame(rows)
        found["where"] = pd.Categorical(found["where"], PARTS, ordered=True)
        return found.sort_values(["layer", "where"]).astype({"where": str}).reset_index(drop=True)

    def best(self, *, seed: int = 0) -> dict[str, Any]:
        """The (site, part) of the map with the largest recovered fraction: a maximum, so it flatters; see the map."""
        row = self.map(seed=seed).sort_values("recovered", ascending=False).iloc[0]
        return {str(name): value for name, value in row.items()}

    def plot(self) -> alt.TopLevelMixin:
        """The map as a heat map."""
        from emovec_sae.charts import draw

        return draw("patching", self.map())

    def save(self, path: str | Path) -> Path:
        """Write the cells as Parquet, with a JSON file of the skipped pairs and the provenance beside it."""
        path = Path(path)
        with atomic(path) as part:
            self.cells.to_parquet(part, index=False)
        facts = {"skipped": self.skipped.to_dict("records"), "provenance": self.provenance}
        write_json(path.with_suffix(".json"), facts)
        return path


def patch(
    model: Model,
    pairs: pd.DataFrame,
    *,
    sites: str | Site | Iterable[str | Site] = "resid_post.*",
    what: str = "residual",
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Patching:
    """Patch the whole residual of a source text into a target text, at every (site, token) from the changed word on.

    Recovered fraction = (m_patched - m_target) / (m_source - m_target), m the logit of the source's answer minus the
    logit of the target's at the last token: 0 nothing, 1 the source's answer whole (denoising; Zhang and Nanda 2023,
    arXiv 2309.16042). Tokens before the changed word have equal activations in both runs and are not tried.

    Parameters
    ----------
    model
        The model.
    pairs
        From `load_pairs`: id, family, source, target, source_answer, target_answer.
    sites
        Sites to patch.
    what
        ``residual``.
    limit
        Use the first so many pairs that align.
    progress
        Called with (pairs done, pairs in all).

    Raises
    ------
    ConfigError, CorpusError
        If `what` is unknown, `limit` is below 1, or no pair aligns.
    """
    if what != "residual":
        raise ConfigError(f"cannot patch '{what}'; what='residual' is supported")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; at least 1 pair must be patched")
    places = parse_sites(sites, model.n_layers)
    aligned, skipped = align(model, pairs)
    if not aligned:
        raise CorpusError(
            f"none of {len(pairs)} pairs aligns on {model.name}: "
            f"{skipped['reason'].iloc[0] if len(skipped) else 'no pair was given'}"
        )
    chosen = aligned[:limit]
    rows: list[dict[str, Any]] = []
    for done, pair in enumerate(chosen, start=1):
        rows += _patch_pair(model, pair, places)
        if progress is not None:
            progress(done, len(chosen))
    facts = {
        "model": model.describe(),
        "sites": [str(site) for site in places],
        "what": what,
        "pairs": [one.id for one in chosen],
    }
    return Patching(pd.DataFrame(rows), skipped, collect(**facts))


def align(model: Model, pairs: pd.DataFrame) -> tuple[list[AlignedPair], pd.DataFrame]:
    """Tokenise pairs and keep those that align token by token and have one-token answers.

    Returns
    -------
    list of AlignedPair
        The usable pairs.
    pandas.DataFrame
        The others: pair, reason.
    """
    found, skipped = [], []
    for row in pairs.to_dict("records"):
        source, target = model.tokens.encode([row["source"], row["target"]])
        answers = model.tokens.encode([row["source_answer"], row["target_answer"]], special=False)
        differing = [index for index, (a, b) in enumerate(zip(source, target, strict=False)) if a != b]
        if len(source) != len(target):
            reason = f"{len(source)} and {len(target)} tokens"
        elif not differing:
            reason = "source and target are the same"
        elif any(len(one) != 1 for one in answers):
            reason = f"answers of {len(answers[0])} and {len(answers[1])} tokens"
        elif answers[0] == answers[1]:
            reason = "both answers begin with the same token"
        else:
            ends = (answers[0][0], answers[1][0])
            family = str(row.get("family") or "all")
            found.append(
                AlignedPair(row["id"], family, tuple(source), tuple(target), ends, differing[0], differing[-1])
            )
            continue
        skipped.append({"pair": row["id"], "reason": reason})
    return found, pd.DataFrame(skipped, columns=["pair", "reason"])


def _patch_pair(model: Model, pair: AlignedPair, sites: Sequence[Site]) -> list[dict[str, Any]]:
    """Every (site, token) of one pair; a site's tokens are rows of one batch above the blocks run once."""
    import torch

    below = {Site("resid_post", layer) for site in sites if (layer := _base_layer(site)) >= 0}
    runs = [torch.tensor([ids], device=model.device) for ids in (pair.source, pair.target)]
    batches = [Batch(ids, torch.ones_like(ids, dtype=torch.bool)) for ids in runs]
    source = forward(model, batches[0], read=sites, final=True)
    target = forward(model, batches[1], read=below, final=True)
    m_source, m_target = (float(_margin(model, one.final, pair)[0]) for one in (source, target))
    positions = list(range(pair.first, len(pair.target)))
    rows = []
    for site in sites:
        layer = _base_layer(site)
        hidden = target.values[Site("resid_post", layer)] if layer >= 0 else None
        prefix = Prefix(batches[1], layer, hidden).rows([0] * len(positions))
        where = torch.zeros_like(prefix.batch.mask)
        where[range(len(positions)), positions] = True
        edit = PatchResidual(source.values[site], where, site)
        patched = _margin(model, forward(model, prefix.batch, edits=[edit], prefix=prefix, final=True).final, pair)
        for position, value in zip(positions, patched.tolist(), strict=True):
            rows.append(
                {
                    "pair": pair.id,
                    "family": pair.family,
                    "site": str(site),
                    "layer": site.layer,
                    "position": position - len(pair.target),
                    "part": pair.part(position),
                    "patched": value,
                    "source": m_source,
                    "target": m_target,
                    "recovered": (value - m_target) / (m_source - m_target) if m_source != m_target else np.nan,
                }
            )
    return rows


def _base_layer(site: Site) -> int:
    """The last block that runs unchanged below a patched site."""
    return site.layer if site.stream == "resid_post" else site.layer - 1


def _margin(model: Model, final: Any, pair: AlignedPair) -> Any:
    """Logit of the source's answer minus that of the target's, at the last token, (batch,)."""
    import torch

    if final is None:
        raise ModelError("the model gave no final state")
    with torch.no_grad():
        logits = model.head(final[:, -1])
    return logits[:, pair.answers[0]] - logits[:, pair.answers[1]]
