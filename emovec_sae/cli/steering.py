"""emovec steer, calibrate: text under an edit, and the dose of an edit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading, ModelName
from emovec_sae.cli.output import answer, bar, table, write_answer
from emovec_sae.errors import ConfigError

STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2)
"""Strengths at which a break-down is looked for."""


def steer(
    directions: Path,
    *,
    emotion: str,
    prompt: str,
    strength: float,
    positions: str = "all",
    model: ModelName = "smollm2-135m-instruct",
    sae: str | None = None,
    sae_id: str | None = None,
    decomposition: Path | None = None,
    k: int = 16,
    max_new_tokens: int = 60,
    temperature: float = 0.0,
    seed: int = 0,
    plain: bool = False,
    loading: Loading = USUAL,
    json_: Json = False,
) -> None:
    """Generate with an emotion added to the stream: the direction, or k latents of its decomposition.

    Parameters
    ----------
    directions
        What fit wrote.
    emotion
        Which emotion.
    prompt
        What the model is told.
    strength
        Multiple of the mean residual norm at the site; negative steers away.
    positions
        Where: all, prompt, generated, last (of the prompt, then each new token), from:N (the token N and all behind
        it, from 0), span:FIRST-LAST (tokens that touch these characters of the prompt, LAST excluded), role:user,
        role:assistant or role:system.
    sae
        With --decomposition: add its k latents instead of the direction. A folder, a release, or user/repo.
    sae_id
        The SAE's id within a release, or its folder in a repository.
    decomposition
        What decompose wrote.
    k
        Number of latents.
    plain
        Continue the prompt as it is, without the chat template.
    """
    from emovec_sae.models.generate import generate

    place = _place(positions, span=len(prompt), chat=not plain)
    fitted, loaded = _open(directions, emotion, model, loading)
    edit = _edit(fitted, emotion, (sae, sae_id), decomposition, k, place).at(strength * fitted.residual_norm)
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    options["chat"] = False if plain else None
    base, steered = (generate(loaded, prompt, edits=edits, **options)[0] for edits in ([], [edit]))
    facts = {
        "emotion": emotion,
        "strength": strength,
        "coefficient": edit.coefficient,
        "positions": place,
        "site": str(fitted.site),
        "base": base,
        "steered": steered,
    }
    answer(facts, json_=json_, text=f"base:    {base}\n\nsteered: {steered}")


def calibrate(
    directions: Path,
    *,
    emotion: str,
    level: float = 0.1,
    match: Literal["kl", "norm", "perplexity"] = "kl",
    positions: str = "all",
    out: Path | None = None,
    model: ModelName = "smollm2-135m-instruct",
    sae: str | None = None,
    sae_id: str | None = None,
    decomposition: Path | None = None,
    k: int = 16,
    breakdown: bool = False,
    strengths: tuple[float, ...] = STRENGTHS,
    seed: int = 0,
    loading: Loading = USUAL,
    json_: Json = False,
) -> None:
    """Find the strength at which an emotion moves the model by a wanted amount on neutral text.

    Parameters
    ----------
    directions
        What fit wrote.
    emotion
        Which emotion.
    level
        Wanted value of what is matched.
    match
        kl (of the next token, in nats), norm (of the change at the site, in mean residual norms), or perplexity (of
        neutral text, over that of the model itself: above 1).
    positions
        Where the edit acts, as in steer; the neutral texts are plain and only read.
    out
        Write the dose as JSON.
    sae, sae_id, decomposition, k
        Dose k latents of a decomposition instead of the direction.
    breakdown
        Instead of a level: generate at --strengths, and tell where texts stop being clean and where they collapse;
        --out is then a .parquet of the texts.
    strengths
        Strengths that --breakdown tries.
    """
    if breakdown:
        _check_strengths(strengths, out)
    from emovec_sae.interventions.dose import calibrate as calibrate_
    from emovec_sae.provenance import collect, write_json

    _check_level(level, match)
    place = _place(positions, chat=False)
    if place == "generated" and not breakdown:
        raise ConfigError("--positions generated moves nothing in texts that are only read; dose at all positions")
    fitted, loaded = _open(directions, emotion, model, loading)
    norm = fitted.residual_norm
    edit = _edit(fitted, emotion, (sae, sae_id), decomposition, k, place)
    if breakdown:
        _break_down(loaded, {emotion: edit}, strengths, norm, out, json_=json_)
        return
    dose = calibrate_(edit, _probe(loaded, fitted, seed), level=level, start=0.1 * norm, match=match)
    facts = {"emotion": emotion, **asdict(dose), match: dose.value, "strength": dose.coefficient / norm}
    if out is not None:
        made = collect(directions=fitted.fingerprint, model=loaded.describe())
        write_json(out, {**facts, "provenance": made})
    answer(facts, json_=json_)


def _probe(model: Any, fitted: Any, seed: int) -> Any:
    """The packaged neutral texts, at the directions' site."""
    from emovec_sae.corpora.packaged import load_corpus
    from emovec_sae.interventions.neutral import NeutralProbe

    texts = load_corpus("neutral").frame["text"].tolist()
    return NeutralProbe(model, texts, site=fitted.site, residual_norm=fitted.residual_norm, seed=seed)


def _check_level(level: float, match: str) -> None:
    floor = 1.0 if match == "perplexity" else 0.0
    if not floor < level < float("inf"):
        raise ConfigError(f"--level is {level}; to match by {match} it must be above {floor:g}")


def _check_strengths(strengths: tuple[float, ...], out: Path | None) -> None:
    wrong = [one for one in strengths if not 0 < one < float("inf")]
    if wrong or not strengths:
        raise ConfigError(f"--strengths must be numbers above 0, got {wrong[0] if wrong else 'none'}")
    if out is not None and out.suffix != ".parquet":
        raise ConfigError(f"--out {out} of a break-down holds a table of texts; name it .parquet")


def _break_down(
    model: Any, edits: dict[str, Any], strengths: tuple[float, ...], norm: float, out: Path | None, *, json_: bool
) -> None:
    """Generate at the strengths after the prompts that doses are tuned on, and tell the regimes."""
    from emovec_sae.corpora.prompts import load_prompts
    from emovec_sae.interventions.breakdown import breakdown

    prompts = load_prompts(use="tune")["text"].tolist()
    with bar("strengths") as update:
        found = breakdown(model, prompts, edits, strengths, unit=norm, chat=False, progress=update)
    text = f"{table(found.points())}\n\n{table(found.frame())}"
    write_answer(found, out, json_=json_, text=text)


def _open(directions: Path, emotion: str, model: str, loading: Loading) -> tuple[Any, Any]:
    """The directions and their model, refused if they do not belong together; the cheap checks come first."""
    from emovec_sae.directions.files import load_directions

    fitted = load_directions(directions)
    fitted[emotion]
    loaded = open_model(model, loading)
    fitted.check_model(loaded.describe())
    return fitted, loaded


def _place(positions: str, *, chat: bool, span: int | None = None) -> str:
    """Positions, refused before anything is loaded where the prompt cannot have them."""
    from emovec_sae.models.positions import Positions

    found = Positions.parse(positions)
    if found.kind == "role" and not chat:
        raise ConfigError(f"--positions {positions} needs the chat template; the text is read as plain text")
    if found.kind == "span" and span is not None and found.last > span:
        raise ConfigError(f"--positions {positions} lies outside of a prompt of {span} characters")
    return str(found)


def _edit(
    fitted: Any, emotion: str, which: tuple[str | None, str | None], decomposition: Path | None, k: int, positions: str
) -> Any:
    from emovec_sae.interventions.arms import latent_arms, raw_arms
    from emovec_sae.interventions.edits import Shift

    sae, sae_id = which
    if sae is None and sae_id is not None:
        raise ConfigError("--sae-id names an SAE of a release or repository; give that with --sae")
    if (sae is None) != (decomposition is None):
        raise ConfigError("give --sae and --decomposition together, or neither for the direction itself")
    if sae is None or decomposition is None:
        made: Any = raw_arms(fitted, [emotion])[0].edit
        return Shift(made.unit, site=made.site, coefficient=1.0, positions=positions)
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.saes.load import load_sae

    made = latent_arms(load_decomposition(decomposition), load_sae(sae, sae_id), [emotion], sizes=(k,))[0].edit
    return Shift(made.unit, site=made.site, coefficient=1.0, positions=positions)
