"""The contrast method: latents ranked by their share in the exact identity, with intervals and nulls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.contrast_nulls import ContrastNulls, best_latents
from emovec_sae.decomposition.identity import Contrast, contrast_of
from emovec_sae.decomposition.intervals import group_intervals, interval_name
from emovec_sae.decomposition.parts import DENSE, Parts, at_k, curve_frame, frame_of_ranks
from emovec_sae.decomposition.passed import passed
from emovec_sae.decomposition.significance import Significance, significance
from emovec_sae.decomposition.targets import project, sizes
from emovec_sae.errors import ConfigError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.saes.coder import SparseCoder


DENSE_LATENTS = ("keep", "drop")
"""What becomes of latents that fire on more than a tenth of the tokens: ranked and marked, or left out of ranks."""
WEIGHTS = ("texts", "groups")
"""What weighs the same in an emotion's mean."""


def contrast_parts(
    cells: Cells,
    coder: SparseCoder,
    *,
    removed: torch.Tensor,
    wanted: Sequence[int],
    k: int,
    nulls: int,
    seed: int,
    weights: str = "texts",
    dense: str = "keep",
    permutations: int = 9999,
) -> Parts:
    """Decompose the emotions numbered `wanted`; see `emovec_sae.decomposition.decompose`.

    Parameters
    ----------
    cells, coder, removed, wanted, k, nulls, seed
        Sums by emotion and group; the SAE; the rows that are projected out of vectors, latents and errors alike (none
        of them decomposes the plain difference of means); the rest as in `decompose`.
    weights
        ``texts``: every text of an emotion weighs the same, as in the fitted vector. ``groups``: every group does, so
        that a topic with more texts does not count for more; the vector that is decomposed is then the difference of
        such means, and its cosine with the other is in the summary (`cosine_texts`).
    dense
        ``keep`` marks dense latents; ``drop`` also leaves them out of ranks, curves and nulls. The identity holds all
        latents in either case: what is not ranked is in other_share.
    permutations
        Of the tests of latents; 0 for none.

    Raises
    ------
    ConfigError
        If an option makes no sense, or fewer latents are left than ranks are asked for.
    """
    _check(weights, dense, permutations)
    spread = cells.within_spread
    plain = cells.contrast(cells.residual)
    counted, cells = cells, cells.balanced() if weights == "groups" else cells
    whole = _identity(cells, coder, removed)
    tests = significance(counted, wanted, permutations=permutations, seed=seed) if permutations else None
    ranked, kept = _ranked(cells, coder, whole, dense=dense, k=k)
    at = sizes(k, len(kept))
    chance = ContrastNulls(
        ranked.cells, ranked.whole, ranked.coder, removed=removed, wanted=wanted, nulls=nulls, at=at, k=k, seed=seed
    )
    levels = tuple(cells.group_means(table) for table in (cells.latents, cells.residual, cells.error))
    work = _Work(
        cells, counted, whole, ranked, kept, removed, k=k, at=at, seed=seed, spread=spread, levels=levels, tests=tests
    )
    done = [_decompose_one(work, row, e, chance) for row, e in enumerate(wanted)]
    settings: dict[str, Any] = {
        "weights": weights, "dense": dense, "denoised": len(removed) > 0, "components_removed": len(removed),
        "permutations": permutations,
    }  # fmt: skip
    found = _parts(work, list(wanted), done, settings)
    if weights == "groups":
        found.summary["cosine_texts"] = _cosines(whole.vectors[list(wanted)], plain[list(wanted)], removed)
    return found


def _parts(work: _Work, wanted: list[int], done: list[_Done], settings: dict[str, Any]) -> Parts:
    """The tables of all emotions together."""
    frame = pd.concat([one.ranks for one in done], ignore_index=True)
    frame["auroc"] = _aurocs(work.counted, frame)
    index = np.unique(frame["latent"].to_numpy())
    names = [work.cells.emotions[e] for e in wanted]
    return Parts(
        frame=frame,
        summary=pd.DataFrame([one.summary for one in done]),
        curve=pd.concat([one.curve for one in done], ignore_index=True),
        index=index,
        coefficients=work.whole.delta[wanted][:, index].cpu().numpy(),
        vectors=work.whole.vectors[wanted].cpu().numpy(),
        interval=interval_name(len(work.cells.groups)),
        settings=settings,
        firing_rate=work.counted.firing_rate,
        tests=None if work.tests is None else passed(work.tests, work.whole, names, wanted),
    )


def _check(weights: str, dense: str, permutations: int) -> None:
    for name, value, known in (("weights", weights, WEIGHTS), ("dense", dense, DENSE_LATENTS)):
        if value not in known:
            raise ConfigError(f"{name} is '{value}'{suggest(value, known)}; there are {' and '.join(known)}")
    if permutations < 0:
        raise ConfigError(f"permutations must be 0 or more, got {permutations}")


def _identity(cells: Cells, coder: Any, removed: torch.Tensor) -> Contrast:
    tables = (cells.contrast(table) for table in (cells.latents, cells.residual, cells.error))
    return contrast_of(*tables, coder=coder, removed=removed)


def _cosines(vectors: torch.Tensor, plain: np.ndarray, removed: torch.Tensor) -> np.ndarray:
    """Cosines of vectors (n, d) with others before the removed rows were taken out of these."""
    import torch

    others = project(torch.from_numpy(plain).to(removed), removed)
    return torch.nn.functional.cosine_similarity(vectors, others, dim=1).cpu().numpy().astype(float)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some rows of a dictionary, with what ranking needs of a coder."""

    directions: torch.Tensor

    @property
    def d_sae(self) -> int:
        """How many."""
        return len(self.directions)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Cells, dictionary and identity of the latents that may be ranked."""

    cells: Cells
    coder: Any
    whole: Contrast


def _ranked(cells: Cells, coder: SparseCoder, whole: Contrast, *, dense: str, k: int) -> tuple[_Ranked, np.ndarray]:
    """What may be ranked, and the numbers of those latents."""
    import torch

    if dense == "keep":
        return _Ranked(cells, coder, whole), np.arange(coder.d_sae)
    kept = np.flatnonzero(cells.firing_rate <= DENSE)
    if len(kept) < k:
        raise ConfigError(f"{len(kept)} latents are left when dense ones are dropped, k is {k}; ask for fewer")
    places = torch.from_numpy(kept).to(whole.delta.device)
    part = replace(whole, delta=whole.delta[:, places], along=whole.along[:, places])
    return _Ranked(cells.only(kept), _Rows(coder.directions[places]), part), kept


@dataclass(frozen=True, eq=False)
class _Work:
    """What the decomposition of every emotion needs."""

    cells: Cells
    counted: Cells
    """The cells as they were measured, for counts of texts."""
    whole: Contrast
    ranked: _Ranked
    kept: np.ndarray
    removed: torch.Tensor
    k: int
    at: tuple[int, ...]
    seed: int
    spread: np.ndarray
    levels: tuple[np.ndarray, ...]
    """Group means of latents, residuals and errors."""
    tests: Significance | None


@dataclass(frozen=True, eq=False)
class _Done:
    """The tables of one emotion."""

    ranks: pd.DataFrame
    curve: pd.DataFrame
    summary: dict[str, object]


def _decompose_one(work: _Work, row: int, e: int, chance: ContrastNulls) -> _Done:
    cells, whole, k, at = work.counted, work.whole, work.k, work.at
    one, part = slice(e, e + 1), work.ranked.whole
    order, curve = best_latents(
        part.delta[one], part.along[one], part.vectors[one], work.ranked.coder, work.removed, at
    )
    nulls, null_shares = chance.of(e)
    top = work.kept[order[0, :k].cpu().numpy()]
    delta, shares = whole.delta[e, top].cpu().numpy(), whole.shares(e)[top].cpu().numpy()
    intervals = _intervals(work, e, top)
    ranks = frame_of_ranks(
        emotion=cells.emotions[e],
        latents=top,
        coefficients=delta,
        shares=shares,
        low=intervals.latents[0],
        high=intervals.latents[1],
        null_shares=null_shares,
        decoder_cosine=(whole.along[e, top] / whole.squared[e].sqrt()).cpu().numpy(),
        firing_rate=cells.firing_rate[top],
        cohens_d=delta / work.spread[top],
        more={
            **_rates(cells, e, top),
            **_permuted(chance.permuted_shares),
            **({} if work.tests is None else _tested(work.tests, row, top)),
        },
    )
    summary: dict[str, object] = {
        "emotion": cells.emotions[e],
        "error_share": float(whole.error_share[e]),
        "error_low": intervals.error[0],
        "error_high": intervals.error[1],
        "other_share": float(1 - whole.error_share[e] - shares.sum()),
        "other_low": intervals.other[0],
        "other_high": intervals.other[1],
        "identity_error": float(whole.identity_error[e]),
        **at_k(curve, nulls, at.index(k)),
        "n_texts": int(cells.n_texts[e].sum()),
        **({} if work.tests is None else work.tests.summary(row)),
    }
    return _Done(ranks, curve_frame(cells.emotions[e], at, curve, nulls), summary)


def _rates(cells: Cells, e: int, top: np.ndarray) -> dict[str, np.ndarray]:
    """Share of an emotion's tokens, of its texts and of all texts in which latents fire."""
    n_texts = cells.n_texts.sum(1)
    return {
        "emotion_rate": cells.fired_tokens[e, top] / cells.tokens[e],
        "emotion_text_rate": cells.fired_texts[e, top] / n_texts[e],
        "text_rate": cells.fired_texts[:, top].sum(0) / n_texts.sum(),
    }


def _permuted(shares: np.ndarray) -> dict[str, np.ndarray]:
    """What permuted labels give at each rank: 95 % of the draws."""
    if len(shares) == 0:
        return {}
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return {"permuted_low": low, "permuted_high": high}


def _tested(tests: Significance, row: int, top: np.ndarray) -> dict[str, np.ndarray]:
    return {name: getattr(tests, name)[row, top] for name in ("z", "p", "p_max_t", "q")}


def _aurocs(cells: Cells, frame: pd.DataFrame) -> np.ndarray:
    """AUROC of each row's latent for its emotion against the others, by text."""
    latents = np.unique(frame["latent"].to_numpy())
    table = cells.texts.aurocs(latents, len(cells.emotions))
    places = {name: e for e, name in enumerate(cells.emotions)}
    return table[frame["emotion"].map(places).to_numpy(), np.searchsorted(latents, frame["latent"].to_numpy())]


@dataclass(frozen=True)
class _Intervals:
    latents: tuple[np.ndarray, np.ndarray]
    error: tuple[float, float]
    other: tuple[float, float]


def _intervals(work: _Work, e: int, top: np.ndarray) -> _Intervals:
    """Intervals over groups of the shares of an emotion; v and the choice of latents are held as they are.

    The share of a latent is the mean over groups of (its mean for the emotion there minus that over all emotions
    there), times what its row holds of v: the topic's own level, which all emotions share, does not widen it.
    """
    cells, whole = work.cells, work.whole
    v = whole.vectors[e].cpu().numpy().astype(float)
    squared = float(v @ v)
    weight = whole.along[e, top].cpu().numpy().astype(float) / squared
    latents = (cells.within_groups(cells.latents, work.levels[0], e, columns=top) * weight).T
    residual = cells.within_groups(cells.residual, work.levels[1], e) @ v / squared
    error = cells.within_groups(cells.error, work.levels[2], e) @ v / squared
    other = residual - error - latents.sum(0)
    point = np.append(whole.shares(e)[top].cpu().numpy(), [whole.error_share[e], 0.0]).astype(float)
    point[-1] = 1 - point[:-1].sum()
    low, high = group_intervals(np.vstack([latents, error, other]), point, seed=work.seed)
    return _Intervals((low[:-2], high[:-2]), (float(low[-2]), float(high[-2])), (float(low[-1]), float(high[-1])))
