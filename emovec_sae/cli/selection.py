"""emovec latents agreement, stability, match, shared: whether methods, texts and SAEs agree on what is selected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, table, write_answer
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    from emovec_sae.decomposition.resampled import Resampler

Many = Annotated[list[str] | None, Parameter(negative="")]
Dense = Literal["keep", "drop"]


def agreement(
    decompositions: Annotated[list[Path], Parameter(negative="")],
    *,
    k: int | None = None,
    live: int | None = None,
    auroc: Annotated[bool, Parameter(negative="")] = False,
    directions: Path | None = None,
    sae: str | None = None,
    sae_id: str | None = None,
    activations: Path | None = None,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Compare which latents several decompositions by one SAE select, beside chance.

    Parameters
    ----------
    decompositions
        What decompose wrote, two or more.
    k
        Latents an emotion; the smallest k among them by default.
    live
        Latents that could be selected; by default what the decompositions say.
    auroc
        Compare the latents whose text means tell the emotion best, too; needs --directions, --sae and --activations.
    directions, sae, sae_id, activations
        What the decompositions were made from.
    out
        Write all of it as JSON.
    """
    from emovec_sae.decomposition.agreement import agreement as compare
    from emovec_sae.decomposition.agreement import auroc_support
    from emovec_sae.decomposition.files import load_decomposition

    found = [load_decomposition(path) for path in decompositions]
    more: dict[str, Any] = {}
    if auroc and found:
        cells = _cells(directions, sae, sae_id, activations, dense="keep").cells
        more["AUROC"] = auroc_support(cells, min(one.k for one in found) if k is None else k)
    told = compare(found, k=k, live=live, supports=more)
    write_answer(told, out, json_=json_, text=table(told.frame()))


def stability(
    directions: Path,
    *,
    sae: str,
    activations: Path,
    sae_id: str | None = None,
    emotions: Many = None,
    k: int = 16,
    dense: Dense = "keep",
    resamples: int = 200,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Draw the groups anew and count the latents that the contrast selects again.

    Parameters
    ----------
    directions
        What fit wrote.
    sae
        A folder, a release of the sae-lens catalogue, or a repository user/repo.
    activations
        The texts that the directions were fitted on, recorded with pool none.
    sae_id
        The SAE's id within a release, or its folder in a repository.
    emotions
        Which are told; all by default; repeatable.
    k
        Latents an emotion.
    dense
        keep latents that fire on more than a tenth of the tokens, or drop them.
    resamples
        Bootstrap resamples of the groups.
    out
        Write all of it as JSON.
    """
    from emovec_sae.decomposition.stability import stability as measure
    from emovec_sae.directions.files import load_directions
    from emovec_sae.saes.load import load_sae
    from emovec_sae.store.reader import open_activations

    found = measure(
        load_directions(directions), load_sae(sae, sae_id), open_activations(activations),
        emotions=emotions, k=k, dense=dense, resamples=resamples, seed=seed,
    )  # fmt: skip
    write_answer(found, out, json_=json_, text=table(found.summary))


def match(
    first: str,
    second: str,
    *,
    activations: Path,
    first_id: str | None = None,
    second_id: str | None = None,
    decompositions: Annotated[tuple[Path, Path] | None, Parameter(negative="")] = None,
    k: int | None = None,
    threshold: float = 0.7,
    by: Literal["cosine", "correlation"] = "cosine",
    tokens: int = 50_000,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Find the latents of one SAE in another of the same site: other seeds, other widths.

    Parameters
    ----------
    first, second
        Folders, releases of the sae-lens catalogue, or repositories user/repo.
    activations
        What record wrote at their site, with pool none.
    first_id, second_id
        Their ids within a release, or folders in a repository.
    decompositions
        Two decompositions, by the first SAE and by the second: are the latents that one selects matched and selected
        by the other?
    k, threshold, by
        Latents an emotion, and from which similarity on a pair counts.
    tokens
        About how many tokens to compare activations on.
    out
        Write all of it as JSON.
    """
    from emovec_sae.decomposition.across_saes import selected_matches
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.saes.load import load_sae
    from emovec_sae.saes.matching import match_latents
    from emovec_sae.store.reader import open_activations

    parts = [load_decomposition(path) for path in decompositions or ()]
    acts = open_activations(activations)
    found = match_latents(load_sae(first, first_id), load_sae(second, second_id), acts, tokens=tokens, seed=seed)
    text, facts = table(found.shares()), found.facts()
    if parts:
        told = selected_matches(found, parts[0], parts[1], k=k, threshold=threshold, by=by)
        facts["selected"] = told.facts()
        text += f"\n\n{table(told.summary())}"
    if out is not None:
        found.save(out)
    answer(facts, json_=json_, text=text)


def shared(
    decomposition: Path,
    *,
    generic: float = 0.25,
    directions: Path | None = None,
    sae: str | None = None,
    sae_id: str | None = None,
    activations: Path | None = None,
    dense: Dense = "keep",
    draws: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Tell latents that many emotions share from specific ones, and what the shared ones hold of each vector.

    Parameters
    ----------
    decomposition
        What decompose wrote.
    generic
        Share of the emotions that a latent must serve (effective number) to count as shared.
    directions, sae, sae_id, activations
        What the decomposition was made from: with them labels are permuted within groups and all is made anew; without
        them each latent's coefficients are permuted over the emotions.
    dense
        As the decomposition was made.
    draws
        Permutations.
    out
        Write all of it as JSON.
    """
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.decomposition.sharing import sharing

    found = load_decomposition(decomposition)
    given = directions or sae or activations
    cells = _cells(directions, sae, sae_id, activations, dense=dense) if given else None
    told = sharing(found, cells=cells, generic=generic, draws=draws, seed=seed)
    write_answer(
        told, out, json_=json_, text=f"{table(told.numbers)}\n\n{table(told.frame(), rows=20)}\n\nnull: {told.null}"
    )


def _cells(
    directions: Path | None, sae: str | None, sae_id: str | None, activations: Path | None, *, dense: str
) -> Resampler:
    """The contrast's cells, with what selects among them."""
    from emovec_sae.decomposition.resampled import Resampler
    from emovec_sae.decomposition.sources import cells_of
    from emovec_sae.directions.files import load_directions
    from emovec_sae.saes.load import load_sae
    from emovec_sae.store.reader import open_activations

    if directions is None or sae is None or activations is None:
        raise ConfigError("--directions, --sae and --activations are wanted together: what the decomposition came from")
    fitted, coder = load_directions(directions), load_sae(sae, sae_id)
    return Resampler(cells_of(fitted, coder, open_activations(activations)), coder, fitted.removed, dense=dense)
