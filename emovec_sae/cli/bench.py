"""emovec bench: the score card of a model, or several cards side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer
from emovec_sae.cli.stages import StageBars
from emovec_sae.errors import ConfigError


def bench(
    *,
    model: str = "smollm2-135m-instruct",
    out: Path | None = None,
    compare: Annotated[list[Path] | None, Parameter(negative="", consume_multiple=True)] = None,
    sites: str | None = None,
    emotions: str | None = None,
    groups: str | None = None,
    pairs: int = 640,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    json_: Json = False,
) -> None:
    """Test the emotion directions of a model on the packaged texts: the standard score card.

    A stage that was done is not done again; after Ctrl-C the same command goes on.

    Parameters
    ----------
    model
        Embedded name, folder, .gguf file or Hugging Face id.
    out
        Folder of the card (runs/bench-MODEL), or with --compare the HTML file to write.
    compare
        Folders or card.json files of finished cards, to be set side by side; no model is loaded.
    sites
        Sites to choose among; resid_post from a third to five sixths of the depth otherwise.
    emotions
        Emotions of the stories: names with commas between, or core; all 171 otherwise.
    groups
        Topics of the stories: names with commas between, or demo; all 16 otherwise.
    pairs
        Pairs of activities of the preference check.
    seed
        Of everything that is drawn.
    device
        auto, cpu, cuda or mps.
    dtype
        auto, bfloat16, float32 or float16.
    """
    from emovec_sae.report.card import write_card
    from emovec_sae.studies.bench import bench as make_card
    from emovec_sae.studies.bench import load_card
    from emovec_sae.studies.bench.settings import BenchSettings

    if compare:
        if out is None or out.suffix != ".html":
            raise ConfigError("bench --compare writes a page: name it with --out FILE.html")
        cards = [load_card(path) for path in compare]
        page = write_card(cards, out=out)
        answer({"page": str(page), "cards": [card.summary() for card in cards]}, json_=json_, text=f"page: {page}")
        return
    if pairs < 1:
        raise ConfigError(f"pairs is {pairs}; at least 1 is wanted")
    settings = BenchSettings(
        model=model, device=device, dtype=dtype, sites=sites, emotions=emotions, groups=groups, pairs=pairs, seed=seed
    )
    folder = out or Path("runs") / f"bench-{Path(model).name}"
    with StageBars() as reporter:
        card = make_card(settings, folder, reporter=reporter)
    drawn = [folder / "figures" / f"{name}.svg" for name in ("card", *dict.fromkeys(card.table["check"]))]
    page = write_card([card], out=folder / "card.html", figures=[path for path in drawn if path.is_file()])
    told = {"card": str(folder / "card.json"), "page": str(page), "seconds": reporter.seconds, **card.summary()}
    answer(told, json_=json_, text=f"{card!r}\npage: {page}")
