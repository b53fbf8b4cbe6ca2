"""`decompose`: which latents of an SAE compose an emotion vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.decomposition.cells import Cells, measure_cells
from emovec_sae.decomposition.contrast import contrast_parts
from emovec_sae.decomposition.fitness import fitness
from emovec_sae.decomposition.intervals import interval_name
from emovec_sae.decomposition.parts import Parts
from emovec_sae.decomposition.pursuit import pursuit_parts
from emovec_sae.decomposition.result import METHODS, Decomposition
from emovec_sae.decomposition.targets import project
from emovec_sae.errors import ConfigError, MismatchError, suggest
from emovec_sae.provenance import collect
from emovec_sae.saes.passport import FIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from emovec_sae.directions.direction_set import Direction, DirectionSet
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.saes.passport import Passport
    from emovec_sae.store.reader import Activations

TOLERANCE = 1e-3
"""How far, relative to its norm, a vector may lie from what the activations give: pooled values are float32."""


def decompose(
    directions: DirectionSet | Direction,
    sae: SparseCoder,
    acts: Activations | None = None,
    *,
    emotions: Sequence[str] | None = None,
    method: str = "contrast",
    k: int = 16,
    nulls: int = 100,
    seed: int = 0,
    passport: Passport | None = None,
    min_explained: float = FIT,
    override: bool = False,
) -> Decomposition:
    """Write emotion vectors as SAE latents plus an error term.

    Parameters
    ----------
    directions
        A set, or one direction of it.
    sae
        An SAE of the same site.
    acts
        The activations that the directions were fitted on, with tokens; texts of other emotions or groups in them are
        passed over. `contrast` needs them; `omp` takes firing rates from them if they are given.
    emotions
        Which emotions of the set to write down; None means all of it.
    method
        ``contrast``: ``P v = sum_j Delta_j P d_j + P Delta_e``, exact, with Delta the differences of mean latents
        (encoded per token, averaged over the tokens that made v) and of mean errors; latents by falling share.
        ``omp``: signed orthogonal matching pursuit on the decoder rows.
    k
        Latents an emotion.
    nulls
        Draws of each null: random targets of the same norm, and for `contrast` permuted labels; 0 for none.
    seed
        Of nulls and intervals.
    passport
        The SAE's passport; without it a quick one is measured on some of the activations.
    min_explained
        Explained variance below which the SAE is refused.
    override
        Go on with such an SAE; the result is marked `unfit`.

    Returns
    -------
    Decomposition

    Raises
    ------
    ConfigError
        If the method is unknown or k impossible.
    MismatchError
        If site, width, model or texts do not belong together.
    StoreError
        If `contrast` is asked of activations without tokens.
    UnfitError
        If the SAE explains too little of the activations and `override` is not set.
    """
    _check_method(method)
    if nulls < 0:
        raise ConfigError(f"nulls must be 0 or more, got {nulls}")
    if method == "contrast" and acts is None:
        raise ConfigError("method 'contrast' needs the activations that the directions were fitted on (acts)")
    whole, wanted = _unpack(directions)
    if emotions is not None:
        wanted = [whole[emotion].row for emotion in emotions]
    sae.require(site=whole.site, d_model=whole.vectors.shape[1], model=whole.model)
    most = min(sae.d_sae, sae.d_in - len(whole.removed))
    if not 1 <= k <= most:
        raise ConfigError(f"k must lie between 1 and {most} with this SAE, got {k}")
    if acts is not None:
        _check_acts(whole, sae, acts)
    fit = fitness(sae, acts, given=passport, least=min_explained, override=override, seed=seed)
    cells = None if acts is None else _cells(whole, sae, acts)
    parts = _parts(whole, wanted, sae, cells, method=method, k=k, nulls=nulls, seed=seed)
    names = tuple(whole.emotions[row] for row in wanted)
    run = {"seed": seed, "nulls": nulls, "fitness": fit}
    return _result(parts, whole, sae, method=method, k=k, emotions=names, cells=cells, run=run)


def _parts(
    whole: DirectionSet,
    wanted: list[int],
    sae: SparseCoder,
    cells: Cells | None,
    *,
    method: str,
    k: int,
    nulls: int,
    seed: int,
) -> Parts:
    """Run the method."""
    import torch

    removed = torch.from_numpy(np.array(whole.removed, dtype=np.float32)).to(sae.device)
    with torch.no_grad():
        if method == "contrast" and cells is not None:
            _check_same_texts(whole, cells, removed)
            return contrast_parts(cells, sae, removed=removed, wanted=wanted, k=k, nulls=nulls, seed=seed)
        return pursuit_parts(
            [whole.emotions[row] for row in wanted],
            whole.vectors[wanted],
            sae,
            removed=removed,
            k=k,
            nulls=nulls,
            seed=seed,
            n_texts=whole.n_texts[wanted],
            firing_rate=None if cells is None else cells.firing_rate,
        )


def _check_method(method: str) -> None:
    if method == "encode":
        raise ConfigError(
            "method 'encode' is refused: a difference vector lies far below the norm of activations, so biases and "
            "thresholds decide which latents fire, and the negative coefficients that it needs cannot exist behind a "
            "ReLU (Mayne et al. 2024, arXiv 2411.08790); use 'contrast' or 'omp'"
        )
    if method not in METHODS:
        raise ConfigError(f"unknown method '{method}'{suggest(method, METHODS)}; there are {', '.join(METHODS)}")


def _unpack(directions: DirectionSet | Direction) -> tuple[DirectionSet, list[int]]:
    """The set, and which of its rows are asked for."""
    from emovec_sae.directions.direction_set import DirectionSet

    if isinstance(directions, DirectionSet):
        return directions, list(range(len(directions.emotions)))
    return directions.set, [directions.row]


def _check_acts(whole: DirectionSet, sae: SparseCoder, acts: Activations) -> None:
    """Refuse activations that are not those of the directions."""
    if whole.pool != "mean":
        raise MismatchError(
            f"these directions were fitted on the pool '{whole.pool}'; latents are averaged over the tokens of 'mean'"
        )
    sae.require(site=whole.site, d_model=int(acts.model["d_model"]), model=acts.model)
    whole.check_model(acts.model)
    if whole.site not in acts.sites:
        have = ", ".join(map(str, acts.sites))
        raise MismatchError(f"these directions live at {whole.site}, the activations were recorded at {have}")


def _cells(whole: DirectionSet, sae: SparseCoder, acts: Activations) -> Cells:
    """One pass over the texts that the directions were fitted on."""
    emotion = _codes(acts.frame["emotion"].tolist(), whole.emotions)
    group = _codes(acts.frame["group"].tolist(), whole.groups)
    emotion[group < 0] = -1
    missing = [name for row, name in enumerate(whole.emotions) if not (emotion == row).any()]
    if missing:
        raise MismatchError(
            f"the activations hold no text of '{missing[0]}' in the groups that the directions were fitted on"
        )
    return measure_cells(
        sae, acts[whole.site], emotion=emotion, group=group, emotions=whole.emotions, groups=whole.groups
    )


def _codes(values: Sequence[Any], names: Sequence[str]) -> np.ndarray:
    """Place of each value among the names, -1 for what is none of them."""
    places = {name: row for row, name in enumerate(names)}
    return np.array([places.get(str(value), -1) for value in values], dtype=np.int64)


def _check_same_texts(whole: DirectionSet, cells: Cells, removed: torch.Tensor) -> None:
    """Hold the vectors against the differences of means that these activations give."""
    import torch

    found = project(torch.from_numpy(cells.contrast(cells.residual)).to(removed), removed).cpu().numpy()
    off = np.linalg.norm(found - whole.vectors, axis=1) / np.linalg.norm(whole.vectors, axis=1)
    worst = int(off.argmax())
    if off[worst] > TOLERANCE:
        raise MismatchError(
            f"these activations give a vector of '{whole.emotions[worst]}' that differs by {off[worst]:.1%} from the "
            "one to be decomposed: it was fitted on other texts, or not as a difference of means. Give the activations "
            "(and the view of them) that fit_directions had"
        )


def _result(
    parts: Parts,
    whole: DirectionSet,
    sae: SparseCoder,
    *,
    method: str,
    k: int,
    emotions: tuple[str, ...],
    cells: Cells | None,
    run: dict[str, Any],
) -> Decomposition:
    import torch

    return Decomposition(
        method=method,
        k=k,
        emotions=emotions,
        site=whole.site,
        model=dict(whole.model),
        sae=sae.name,
        sae_fingerprint=sae.fingerprint,
        ranks=parts.frame,
        summary=parts.summary,
        curves=parts.curve,
        index=parts.index,
        rows=sae.directions[torch.from_numpy(parts.index).to(sae.device)].cpu().numpy(),
        coefficients=parts.coefficients,
        vectors=parts.vectors,
        removed=np.array(whole.removed, dtype=np.float32),
        interval=interval_name(len(cells.groups)) if cells is not None and method == "contrast" else "no intervals",
        provenance=collect(
            **run,
            d_sae=sae.d_sae,
            live=None if cells is None else int((cells.fired > 0).sum()),
            directions=whole.fingerprint,
            sae=sae.fingerprint,
            activations=whole.activations,
            corpus=whole.corpus_hash,
        ),
    )
