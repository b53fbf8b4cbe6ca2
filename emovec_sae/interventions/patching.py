"""Activation patching: put a part of one text's activations into another text's run, site by site, place by place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from emovec_sae.corpora.emotions import load_emotions
from emovec_sae.decomposition.result import Decomposition
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError, CorpusError, suggest
from emovec_sae.interventions.patches.alignment import AlignedPair, Positions, balanced, check_positions
from emovec_sae.interventions.patches.alignment import align as align_pairs
from emovec_sae.interventions.patches.attribution import attributed_margins
from emovec_sae.interventions.patches.carriers import Carrier
from emovec_sae.interventions.patches.exact import exact_margins, plain_runs
from emovec_sae.interventions.patches.request import Request
from emovec_sae.interventions.patches.result import Patching
from emovec_sae.models.model import Model
from emovec_sae.provenance import collect
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site

METHODS = ("exact", "attribution", "both")
MODES = ("denoise", "noise")


def patch(
    model: Model,
    pairs: pd.DataFrame,
    *,
    sites: str | Site | Iterable[str | Site] | None = None,
    what: str | Sequence[str] = "residual",
    positions: Positions = "tokens",
    mode: Literal["denoise", "noise"] = "denoise",
    method: Literal["exact", "attribution", "both"] = "exact",
    align: Literal["token", "span"] = "token",
    chat: bool = False,
    directions: DirectionSet | Sequence[DirectionSet] | None = None,
    emotion: str | Mapping[str, str] | None = None,
    emotions: str | Sequence[str] | None = None,
    sae: SparseCoder | Sequence[SparseCoder] | None = None,
    decomposition: Decomposition | Sequence[Decomposition] | None = None,
    k: int | Sequence[int] = 16,
    latents: Sequence[int] | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Patching:
    """Patch a source text's activations, or a part of them, into a target text's run, from the changed word on.

    Recovered fraction = (m_patched - m_target) / (m_source - m_target), m the logit of the source's answer minus the
    logit of the target's at the last token: 0 nothing, 1 the source's answer whole (denoising; Zhang and Nanda 2023,
    arXiv 2309.16042). With ``mode="noise"`` the target's activations go into the source's run, and the fraction is what
    of the difference that takes away. Tokens before the changed word have equal activations in both runs and are not
    tried.

    Parameters
    ----------
    model
        The model.
    pairs
        From `load_pairs`: id, family, source, target, source_answer, target_answer.
    sites
        Sites to patch; by default all blocks' ``resid_post`` (``attn_out``, ``mlp_out`` for these), or where there are
        directions or an SAE. What is tied to sites of its own is patched at those of them that are named.
    what
        One or several of ``residual`` (the whole state of a site), ``attn_out``, ``mlp_out`` (what the blocks of
        `sites` add), ``direction`` (the component along an emotion's direction), ``subspace`` (in the span of several),
        ``latents`` (as deltas, the SAE's error stays), and the controls ``random_direction`` and ``random_latents``
        (the component along a random one; as many others among those that fire), ``matched_direction``,
        ``matched_subspace`` and ``matched_latents`` (a random direction along which every token moves as far as with
        the real thing), and ``other_direction`` (the component along another emotion's, drawn for each pair).
    positions
        ``tokens``: each by itself; ``spans``: each part of the text as a whole; a list of parts, or of numbers from
        the end (-1 is the last token); or an edit's positions (``all``, ``last``, ``from:N``, ``span:FIRST-LAST`` in
        characters of the target text, ``role:user``), whose tokens from the changed word on are patched as a whole.
    mode, method
        See above; ``attribution`` is the gradient's first-order approximation, ``both`` gives their agreement.
    align
        ``token`` skips pairs of unequal token counts; ``span`` aligns them around the differing span, whose tokens get
        the mean over the other's.
    chat
        Read the texts as a user's messages in the chat template; the answers are then the reply's first token.
    directions
        One or several sets, one a site.
    emotion
        Whose direction or latents: one for all pairs, or one a family. By default the pair's `emotion`, where its row
        has one, else its `source_emotion`; pairs whose emotion is not among the directions are skipped.
    emotions
        Those that span the subspace, ``core`` for the 24; all of the set by default.
    sae, decomposition
        One or several, one a site; the decomposition ranks the latents of each emotion (dense ones are left out).
    k
        Number of latents, one or several.
    latents
        These latents for every pair, in place of a decomposition's.
    limit
        Use so many of the pairs that align, of every family equally many where there are enough: its first ones.
    seed
        Of the random controls.
    progress
        Called with (pairs done, pairs in all).

    Returns
    -------
    Patching
        The same pairs for everything that is patched.

    Raises
    ------
    ConfigError, CorpusError, MismatchError
        If an option is impossible, no pair can be used, or directions or SAE belong elsewhere.
    """
    request = Request(
        _several(what), sites, _several(directions), _several(sae), _several(decomposition),
        emotion, _named(emotions), _several(k),
        None if latents is None else tuple(int(one) for one in latents), seed,
    )  # fmt: skip
    _check(mode=mode, method=method, limit=limit)
    check_positions(positions, chat=chat)
    request.check()
    carriers = request.carriers(model)
    aligned = align_pairs(model, pairs, by=align, positions=positions, chat=chat)
    chosen, skipped = _usable(model, *aligned, request, carriers)
    chosen = balanced(chosen, limit)
    rows: list[dict[str, Any]] = []
    for done, pair in enumerate(chosen, start=1):
        rows += _patch_pair(model, pair, carriers, positions, mode=mode, method=method)
        if progress is not None:
            progress(done, len(chosen))
    if not rows:
        raise ConfigError(f"none of the positions {positions} lies in or after the changed word of a pair")
    facts = _facts(model, request, carriers, chosen)
    places = positions if isinstance(positions, str) else list(positions)
    facts |= {"positions": places, "mode": mode, "method": method, "align": align, "chat": chat}
    return Patching(pd.DataFrame(rows), skipped, collect(**facts))


def _several(one: Any) -> tuple[Any, ...]:
    """One thing or several as a tuple; nothing is none."""
    return () if one is None else tuple(one) if isinstance(one, list | tuple) else (one,)


def _named(emotions: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if emotions == "core":
        return load_emotions().core
    return None if emotions is None else (emotions,) if isinstance(emotions, str) else tuple(emotions)


def _check(*, mode: str, method: str, limit: int | None) -> None:
    if mode not in MODES:
        raise ConfigError(f"mode is '{mode}'{suggest(mode, MODES)}; it must be {' or '.join(MODES)}")
    if method not in METHODS:
        raise ConfigError(f"method is '{method}'{suggest(method, METHODS)}; it must be one of {', '.join(METHODS)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; at least 1 pair must be patched")


def _usable(
    model: Model, aligned: list[AlignedPair], skipped: pd.DataFrame, request: Request, carriers: Sequence[Carrier]
) -> tuple[list[AlignedPair], pd.DataFrame]:
    """The pairs whose emotion is known to all carriers, and those that cannot be used with the reason."""
    given = len(aligned) + len(skipped)
    kept, unknown = request.assign(aligned, carriers)
    skipped = pd.concat([skipped, pd.DataFrame(unknown, columns=["pair", "reason"])], ignore_index=True)
    if not kept:
        reason = skipped["reason"].iloc[-1 if aligned else 0] if len(skipped) else "no pair was given"
        done = "can be patched" if aligned else "aligns"
        raise CorpusError(f"none of {given} pairs {done} on {model.name}: {reason}")
    return kept, skipped


def _facts(model: Model, request: Request, carriers: Sequence[Carrier], pairs: Sequence[AlignedPair]) -> dict[str, Any]:
    patched = {one.name: [str(site) for site in one.sites] for one in carriers}
    return {
        "model": model.describe(),
        "what": list(request.what),
        "patched": patched,
        "sites": [str(site) for site in sorted({site for one in carriers for site in one.sites})],
        "pairs": [one.id for one in pairs],
        "emotions": {one.id: one.emotion for one in pairs if one.emotion is not None},
        "directions": [one.fingerprint for one in request.directions],
        "saes": [one.fingerprint for one in request.coders],
        "seed": request.seed,
    }


def _patch_pair(
    model: Model, pair: AlignedPair, carriers: Sequence[Carrier], positions: Positions, *, mode: str, method: str
) -> list[dict[str, Any]]:
    """Every cell of one pair. Noising is denoising with the texts exchanged, which turns the sign of every margin."""
    runs = plain_runs(model, pair.swapped() if mode == "noise" else pair, carriers)
    cells = list(runs.cells(carriers, positions))
    columns: dict[str, list[float]] = {}
    if method != "attribution":
        columns["patched"] = exact_margins(model, runs, cells)
    if method != "exact":
        columns["patched" if method == "attribution" else "attributed"] = attributed_margins(model, runs, cells)
    sign = -1.0 if mode == "noise" else 1.0
    m_source, m_target = (runs.m_target, runs.m_source) if mode == "noise" else (runs.m_source, runs.m_target)
    gap = runs.m_source - runs.m_target
    rows: list[dict[str, Any]] = []
    for cell, *found in zip(cells, *columns.values(), strict=True):
        values = dict(zip(columns, found, strict=True))
        rows.append(
            {
                "pair": pair.id,
                "family": pair.family,
                "what": cell.what,
                "site": str(cell.site),
                "layer": cell.site.layer,
                "position": cell.tokens[-1] - len(runs.pair.target),
                "part": cell.part,
                "patched": sign * values["patched"],
                "source": sign * m_source,
                "target": sign * m_target,
                "recovered": (values["patched"] - runs.m_target) / gap if gap else np.nan,
                **({"attributed": sign * values["attributed"]} if method == "both" else {}),
            }
        )
    return rows
