"""emovec behave: a behaviour battery under emotion vectors, beside turned signs and random directions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading, ModelName
from emovec_sae.cli.output import answer, bar, table
from emovec_sae.errors import ConfigError

if TYPE_CHECKING:
    from emovec_sae.interventions.behaviour.conditions import Condition

Many = Annotated[tuple[str, ...], Parameter(negative="")]


def behave(
    directions: Path,
    *,
    battery: str,
    out: Path,
    emotions: Many = ("core",),
    level: Annotated[tuple[float, ...], Parameter(negative="")] = (0.1,),
    random: int = 8,
    flip: bool = True,
    use: str = "report",
    plain: Annotated[bool, Parameter(negative="")] = False,
    sae: str | None = None,
    sae_id: str | None = None,
    decomposition: Path | None = None,
    k: int = 16,
    seed: int = 0,
    model: ModelName = "smollm2-135m-instruct",
    loading: Loading = USUAL,
    json_: Json = False,
) -> None:
    """Measure how emotions move a model between two answers, at equal dose.

    Parameters
    ----------
    directions
        What fit wrote.
    battery
        sycophancy, refusal, advice, or a file with columns prompt, answer_a (the behaviour), answer_b and optionally
        id, group, kind, use.
    out
        The .parquet file to write, with a .json beside it.
    emotions
        core, all, or names with commas between; repeatable.
    level
        KL on neutral text that every dose is matched to, in nats; repeatable.
    random
        Random directions beside them.
    flip
        Also steer with the signs turned.
    use
        Items that are asked: report, tune or all.
    plain
        Ask without the chat template.
    sae, sae_id, decomposition, k
        Also steer with k latents of a decomposition.
    seed
        Of random directions, intervals and tests.
    """
    from emovec_sae.corpora.batteries import load_battery
    from emovec_sae.directions.files import load_directions
    from emovec_sae.interventions.behaviour.battery import behaviour

    if out.suffix != ".parquet":
        raise ConfigError(f"--out is {out}; behave writes a table, so its name must end in .parquet")
    items = load_battery(battery, use=None if use == "all" else use)
    fitted = load_directions(directions)
    names = emotion_names(emotions, fitted)
    check_levels(level)
    chosen = latents_of(sae, sae_id, decomposition)
    loaded = open_model(model, loading)
    conditions = matched(loaded, fitted, names, level, flip=flip, random=random, seed=seed, k=k, **chosen)
    chat = False if plain else None
    with bar("conditions") as progress:
        found = behaviour(loaded, items, conditions, use=None, chat=chat, seed=seed, progress=progress)
    found.save(out)
    shown = found.frame().drop(columns=["n", "random", "p", "reached", "interpreted"])
    text = f"{found.headroom}\n\n{table(shown, rows=100)}"
    answer({**found.facts(), "out": str(out)}, json_=json_, text=text)


def emotion_names(asked: tuple[str, ...], fitted: Any) -> list[str]:
    """Emotions that a verb names, checked against the directions."""
    from emovec_sae.corpora.emotions import load_emotions

    names = [name.strip() for one in asked for name in one.split(",") if name.strip()]
    if names == ["all"]:
        return list(fitted.emotions)
    if names == ["core"]:
        names = [name for name in load_emotions().core if name in fitted]
        if not names:
            raise ConfigError(f"the directions hold no core emotion; name them with --emotions: {_few(fitted)}")
    for name in names:
        fitted.index(name)
    return list(dict.fromkeys(names))


def check_levels(levels: tuple[float, ...]) -> None:
    """Refuse a KL that is not above 0, or none."""
    wrong = [one for one in levels if not 0 < one < float("inf")]
    if wrong or not levels:
        raise ConfigError(f"a level is a KL in nats above 0, got {wrong[0] if wrong else 'none'}")


def latents_of(sae: str | None, sae_id: str | None, decomposition: Path | None) -> dict[str, Any]:
    """A decomposition and its SAE, or nothing."""
    if sae is None and sae_id is not None:
        raise ConfigError("--sae-id names an SAE of a release or repository; give that with --sae")
    if (sae is None) != (decomposition is None):
        raise ConfigError("give --sae and --decomposition together, or neither")
    if sae is None or decomposition is None:
        return {}
    from emovec_sae.decomposition.files import load_decomposition
    from emovec_sae.saes.load import load_sae

    return {"chosen": load_decomposition(decomposition), "coder": load_sae(sae, sae_id)}


def matched(
    model: Any, fitted: Any, emotions: list[str], levels: tuple[float, ...], *, seed: int, **arms: Any
) -> list[Condition]:
    """The arms at every level, doses matched on the packaged neutral texts."""
    from emovec_sae.corpora.packaged import load_corpus
    from emovec_sae.interventions.behaviour.conditions import match_doses, steering_arms
    from emovec_sae.scoring.damage import KLProbe

    fitted.check_model(model.describe())
    made = steering_arms(fitted, emotions, seed=seed, **arms)
    probe = KLProbe(model, load_corpus("neutral").frame["text"].tolist(), site=fitted.site, seed=seed)
    with bar("match doses") as progress:
        return match_doses(made, probe, levels=levels, residual_norm=fitted.residual_norm, progress=progress)


def _few(fitted: Any) -> str:
    names = list(fitted.emotions)
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
