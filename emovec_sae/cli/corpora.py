"""emovec corpora: the packaged texts, layouts of other people's, texts that a model writes itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import Parameter

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading, ModelName
from emovec_sae.cli.output import answer, bar, table


def corpora(*, json_: Json = False) -> None:
    """List the packaged texts."""
    import pandas as pd

    from emovec_sae.corpora.packaged import CORPORA, load_corpus

    rows = []
    for name in CORPORA:
        corpus = load_corpus(name)
        rows.append(
            {"name": name, "texts": len(corpus), "emotions": len(corpus.emotions), "groups": len(corpus.groups)}
        )
    text = (
        table(pd.DataFrame(rows)) + "\nA path to a .jsonl, .csv or .parquet file with a column 'text' serves as well."
        " So does hf:owner/name, with :config and @split where a data set of the hub has several."
        "\nemovec corpora layouts lists data sets whose files are read as they are."
        "\nemovec corpora generate lets a model write more."
    )
    answer({"corpora": rows}, json_=json_, text=text)


def layouts(*, json_: Json = False) -> None:
    """List the data sets whose files are read as they are, and the emotions that their labels are nearest to."""
    from emovec_sae.corpora.layouts import layout_frame

    frame = layout_frame()
    parts = [
        f"{row['layout']}: {row['about']}\n  {row['source']}\n  gives {row['gives']}"
        + (f"\n  --map auto takes {row['map']}" if row["map"] else "")
        + (f"\n  without an emotion: {row['unmapped']}" if row["unmapped"] else "")
        for row in frame.to_dict("records")
    ]
    answer({"layouts": frame.to_dict("records")}, json_=json_, text="\n".join(parts))


@Parameter(name="*")
@dataclass(frozen=True)
class Drawn:
    """How texts are drawn and which are kept.

    Attributes
    ----------
    length
        New tokens of a text at most; 160 for stories, 200 for free text.
    min_words
        Shorter texts are dropped; 40.
    max_words
        Longer texts are dropped; 140 for stories, 400 for free text.
    temperature
        Of the sampling; 0.9.
    top_p
        Of the sampling; 0.95.
    """

    length: int | None = None
    min_words: int | None = None
    max_words: int | None = None
    temperature: float | None = None
    top_p: float | None = None


AS_USUAL = Drawn()


def generate(
    *,
    out: Path,
    model: ModelName = "smollm2-135m-instruct",
    kind: Literal["stories", "text"] = "stories",
    emotions: str | None = None,
    topics: str | None = None,
    per: int | None = None,
    tokens: int | None = None,
    limit: int | None = None,
    tries: int = 4,
    batch: int = 96,
    seed: int = 0,
    drawn: Drawn = AS_USUAL,
    loading: Loading = USUAL,
    json_: Json = False,
) -> None:
    """Let a model write texts, and keep those that pass the filters.

    Parameters
    ----------
    out
        The .jsonl file to write, with a .json beside it; the same command goes on where it was interrupted.
    kind
        stories (an emotion in a setting, never named) or text (anything, to train SAEs on).
    emotions
        Of stories: core (the default), all, or names with commas between.
    topics
        Of stories: new (the default: 48 settings that the packaged stories do not have), new:16, packaged, or names.
    per
        Stories for each emotion and topic; 1.
    tokens
        Of free text: stop once so many are kept; 20000.
    limit
        At most so many texts.
    tries
        A story that is dropped is asked for again, so many times in all.
    batch
        Texts that are sampled at once.
    """
    from emovec_sae.corpora.generation import generate_corpus, generation_notes, kept_line, sampling_of

    sampling = sampling_of(
        kind, seed=seed, length=drawn.length, least=drawn.min_words, most=drawn.max_words,
        temperature=drawn.temperature, top_p=drawn.top_p,
    )  # fmt: skip
    loaded = open_model(model, loading)
    with bar(f"write {kind}") as progress:
        found = generate_corpus(
            loaded, out=out, kind=kind, emotions=emotions, topics=topics, per=per, tokens=tokens, limit=limit,
            tries=tries, batch=batch, sampling=sampling, progress=progress,
        )  # fmt: skip
    told = generation_notes(out)["progress"]
    speed = told["new_tokens"] / told["seconds"]
    facts = {"out": str(out), "texts": len(found), "tokens": told["kept_tokens"], "asked": told["asked"]}
    facts |= {"dropped": told["dropped"], "sampled_tokens_per_second": speed, "writer": loaded.name}
    text = f"{found!r}\n{kept_line(told)}\n{speed:.0f} tokens a second were sampled"
    answer(facts, json_=json_, text=text)
