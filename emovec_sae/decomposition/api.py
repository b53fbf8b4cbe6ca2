"""`decompose`: which latents of an SAE compose an emotion vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emovec_sae.decomposition.encode import check_allowed
from emovec_sae.decomposition.fitness import fitness
from emovec_sae.decomposition.methods import check_method, check_options
from emovec_sae.decomposition.request import Request
from emovec_sae.decomposition.result import Decomposition
from emovec_sae.decomposition.sources import check_acts
from emovec_sae.errors import ConfigError
from emovec_sae.saes.passport import FIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emovec_sae.directions.direction_set import Direction, DirectionSet
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.saes.passport import Passport
    from emovec_sae.store.reader import Activations


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
    model, prompts
        For ``attribution``: the model, and texts for all emotions or for each; None means the packaged prompts at
        whose end a feeling word is due, those marked ``tune``.
    attribution, contrast
        Further options of that method: of `emovec_sae.decomposition.attribution.attribution_parts` (score, steps,
        baseline, neutral), of `emovec_sae.decomposition.contrast.contrast_parts` (weights, dense, permutations).

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
    options = check_options(method, contrast=contrast, attribution=attribution)
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
    if method == "attribution" and model is None:
        raise ConfigError("method 'attribution' runs the model: give it (model=, --model)")
    fit = fitness(sae, acts, given=passport, least=min_explained, override=override, seed=seed)
    request = Request(whole, wanted, sae, acts, method=method, k=k, nulls=nulls, seed=seed)
    parts, cells = request.run(model, prompts, options)
    return request.result(parts, cells, fit)


def _unpack(directions: DirectionSet | Direction) -> tuple[DirectionSet, list[int]]:
    """The set, and which of its rows are asked for."""
    from emovec_sae.directions.direction_set import DirectionSet

    if isinstance(directions, DirectionSet):
        return directions, list(range(len(directions.emotions)))
    return directions.set, [directions.row]
