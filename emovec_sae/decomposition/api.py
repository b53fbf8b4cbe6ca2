"""`decompose`: which latents of an SAE compose an emotion vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.decomposition.contrast import contrast_parts
from emovec_sae.decomposition.encode import check_allowed, diagnose, encode_method
from emovec_sae.decomposition.fitness import fitness
from emovec_sae.decomposition.methods import check_method
from emovec_sae.decomposition.parts import Parts
from emovec_sae.decomposition.pursuit_nulls import null_targets
from emovec_sae.decomposition.pursuit_parts import pursuit_parts
from emovec_sae.decomposition.pursuits import PURSUITS
from emovec_sae.decomposition.result import Decomposition
from emovec_sae.decomposition.sources import cells_of, check_acts, check_same_texts, text_means
from emovec_sae.decomposition.targets import project
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect
from emovec_sae.saes.passport import FIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.directions.direction_set import Direction, DirectionSet
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.saes.passport import Passport
    from emovec_sae.store.reader import Activations

PROMPTS = 16
"""Texts of each emotion that `attribution` runs on where no prompts are given."""


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
    allow_encode: bool = False,
    model: Model | None = None,
    prompts: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    attribution: Mapping[str, Any] | None = None,
    contrast: Mapping[str, Any] | None = None,
) -> Decomposition:
    """Write emotion vectors as SAE latents plus an error term.

    Parameters
    ----------
    directions
        A set, or one direction of it.
    sae
        An SAE of the same site.
    acts
        The activations that the directions were fitted on; texts of other emotions or groups in them are passed over.
        `contrast` needs them, with tokens; other methods take from them firing rates (with tokens) and the nulls of
        covariance and of permuted labels (pooled values will do).
    emotions
        Which emotions of the set to write down; None means all of it.
    method
        ``contrast``: ``P v = sum_j Delta_j P d_j + P Delta_e``, exact, with Delta the differences of mean latents
        (encoded per token, averaged over the tokens that made v) and of mean errors; latents by falling share.
        ``omp``, ``gp``, ``nnls``, ``lasso``, ``cosine``: sparse pursuits on the decoder rows, see
        `emovec_sae.decomposition.pursuits`. ``attribution``: latents by their part in a score, see
        `emovec_sae.decomposition.attribution`. ``encode``: refused unless `allow_encode`.
    k
        Latents an emotion (`nnls`, `lasso` and `encode` may find fewer).
    nulls
        Draws of each null, see `emovec_sae.decomposition.nulls.NULLS`; 0 for none.
    seed
        Of nulls and intervals.
    passport
        The SAE's passport; without it a quick one is measured on some of the activations.
    min_explained
        Explained variance below which the SAE is refused.
    override
        Go on with such an SAE; the result is marked `unfit`.
    allow_encode
        Ask for ``encode`` a second time; its summary then says what fires on v, on 0 and on -v.
    model, prompts, attribution
        For ``attribution``: the model; texts for all emotions or for each (None: the first 16 texts of each emotion in
        `acts`); and further options of `emovec_sae.decomposition.attribution.attribution_parts`.
    contrast
        For ``contrast``: `weights`, `dense` and `permutations` of `emovec_sae.decomposition.contrast.contrast_parts`.

    Returns
    -------
    Decomposition

    Raises
    ------
    ConfigError
        If the method is unknown or not allowed, k impossible, or something that the method needs is not given.
    MismatchError
        If site, width, model or texts do not belong together.
    StoreError
        If `contrast` is asked of activations without tokens.
    UnfitError
        If the SAE explains too little of the activations and `override` is not set.
    """
    check_method(method)
    if method == "encode":
        check_allowed(allowed=allow_encode)
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
        check_acts(whole, sae, acts)
    work = _Work(whole, wanted, sae, acts, method=method, k=k, nulls=nulls, seed=seed)
    if method == "attribution":
        work.check_attribution(model, prompts)
    fit = fitness(sae, acts, given=passport, least=min_explained, override=override, seed=seed)
    parts, cells = work.run(model, prompts, {"contrast": contrast, "attribution": attribution}.get(method) or {})
    return _result(work, parts, cells, fit)


@dataclass(frozen=True, eq=False)
class _Work:
    """A checked request."""

    whole: DirectionSet
    wanted: list[int]
    sae: SparseCoder
    acts: Activations | None
    method: str
    k: int
    nulls: int
    seed: int

    @property
    def emotions(self) -> tuple[str, ...]:
        return tuple(self.whole.emotions[row] for row in self.wanted)

    def check_attribution(self, model: Model | None, prompts: Any) -> None:
        if model is None:
            raise ConfigError("method 'attribution' runs the model: give it (model=, --model)")
        self.whole.check_model({"name": model.name, "fingerprint": model.fingerprint})
        if prompts is None and self.acts is None:
            raise ConfigError("method 'attribution' needs texts to run the model on: give prompts, or the activations")

    def run(self, model: Model | None, prompts: Any, options: Mapping[str, Any]) -> tuple[Parts, Cells | None]:
        """Run the method; the cells of latents are those that it needed or that tell firing rates."""
        import torch

        removed = torch.from_numpy(np.array(self.whole.removed, dtype=np.float32)).to(self.sae.device)
        tokens = self.acts is not None and self.acts.has_tokens(self.whole.site) and self.whole.pool == "mean"
        cells = None
        with torch.no_grad():
            if self.acts is not None and (tokens or self.method == "contrast"):
                cells = cells_of(self.whole, self.sae, self.acts)
            if self.method == "contrast" and cells is not None:
                check_same_texts(self.whole, cells, removed)
                found = contrast_parts(
                    cells,
                    self.sae,
                    removed=removed,
                    wanted=self.wanted,
                    k=self.k,
                    nulls=self.nulls,
                    seed=self.seed,
                    **options,
                )
                return found, cells
        rates = None if cells is None else cells.firing_rate
        if self.method == "attribution" and model is not None:
            return self._attribution(model, prompts, options, removed, rates), cells
        with torch.no_grad():
            return self._pursuit(removed, rates), cells

    def _pursuit(self, removed: torch.Tensor, rates: np.ndarray | None) -> Parts:
        import torch

        vectors = torch.from_numpy(self.whole.vectors[self.wanted].astype(np.float32)).to(self.sae.device)
        targets = project(vectors, removed)
        texts = None if self.acts is None else text_means(self.whole, self.acts)
        drawn, missing = null_targets(self.whole, targets, texts, removed=removed, n=self.nulls, seed=self.seed)
        method = PURSUITS["omp"] if self.method == "encode" else PURSUITS[self.method]
        common: dict[str, Any] = {
            "removed": removed, "k": self.k, "n_texts": self.whole.n_texts[self.wanted], "firing_rate": rates,
            "settings": {"nulls_not_drawn": missing},
        }  # fmt: skip
        if self.method != "encode":
            return pursuit_parts(self.emotions, targets, self.sae, method=method, nulls=drawn, **common)
        # The encoder, unlike a pursuit, sees the length of a target: chance gets the mean length of the vectors.
        length = targets.norm(dim=1).mean()
        drawn = {prefix: units * length for prefix, units in drawn.items()}
        signed = pursuit_parts(self.emotions, targets, self.sae, method=method, nulls={}, **common)
        wrong = encode_method(self.sae, removed)
        found = pursuit_parts(self.emotions, targets, self.sae, method=wrong, nulls=drawn, **common)
        told = diagnose(targets, self.sae, signed=signed.coefficients, found=found.coefficients)
        return replace(found, summary=pd.concat([found.summary, told], axis=1))

    def _attribution(
        self, model: Model, prompts: Any, options: Mapping[str, Any], removed: torch.Tensor, rates: np.ndarray | None
    ) -> Parts:
        from emovec_sae.decomposition.attribution import attribution_parts

        texts: Any = prompts
        if prompts is None and self.acts is not None:
            frame = self.acts.frame
            texts = {name: frame.loc[frame["emotion"] == name, "text"].tolist()[:PROMPTS] for name in self.emotions}
        return attribution_parts(
            self.emotions, self.whole.vectors[self.wanted], self.sae, removed=removed, k=self.k, nulls=self.nulls,
            seed=self.seed, n_texts=self.whole.n_texts[self.wanted], model=model, prompts=texts, firing_rate=rates,
            **options,
        )  # fmt: skip


def _unpack(directions: DirectionSet | Direction) -> tuple[DirectionSet, list[int]]:
    """The set, and which of its rows are asked for."""
    from emovec_sae.directions.direction_set import DirectionSet

    if isinstance(directions, DirectionSet):
        return directions, list(range(len(directions.emotions)))
    return directions.set, [directions.row]


def _result(work: _Work, parts: Parts, cells: Cells | None, fit: Mapping[str, Any]) -> Decomposition:
    import torch

    whole, sae = work.whole, work.sae
    return Decomposition(
        method=work.method,
        k=work.k,
        emotions=work.emotions,
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
        interval=parts.interval,
        provenance=collect(
            seed=work.seed,
            nulls=work.nulls,
            fitness=dict(fit),
            settings=dict(parts.settings),
            d_sae=sae.d_sae,
            live=None if cells is None else int((cells.fired > 0).sum()),
            directions=whole.fingerprint,
            sae=sae.fingerprint,
            activations=whole.activations,
            corpus=whole.corpus_hash,
        ),
        firing_rate=parts.firing_rate if parts.firing_rate is not None or cells is None else cells.firing_rate,
        tests=parts.tests,
    )
