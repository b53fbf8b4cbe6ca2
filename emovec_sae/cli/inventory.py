"""emovec models, corpora, saes: what is there, what is supported, where it would come from."""

from __future__ import annotations

from emovec_sae.cli.options import Json
from emovec_sae.cli.output import answer, table


def models(*, json_: Json = False) -> None:
    """List the embedded models, and the architectures whose streams were checked."""
    import pandas as pd

    from emovec_sae.models.architectures import architectures
    from emovec_sae.models.embedded import EMBEDDED

    rows = [
        {"name": one.name, "installed": one.installed, "about": one.about, "install": one.install}
        for one in EMBEDDED.values()
    ]
    checked = architectures()
    others = (
        "\nAny of these loads by Hugging Face id, folder or .gguf file. So does another causal language model if its "
        "blocks are found; if not, name them: --module blocks=PATH."
    )
    parts = [
        "Embedded models",
        table(pd.DataFrame(rows)),
        "\nArchitectures: all four streams read and written, checked on tiny models (L is the block)",
        table(checked.drop(columns="examples")),
        "\nExamples",
        table(checked[["architecture", "examples"]]),
        others,
    ]
    answer({"models": rows, "architectures": checked.to_dict("records")}, json_=json_, text="\n".join(parts))


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
    )
    answer({"corpora": rows}, json_=json_, text=text)


def saes(*, model: str | None = None, json_: Json = False) -> None:
    """List the pretrained SAEs of the sae-lens catalogue (offline).

    Parameters
    ----------
    model
        Keep the releases whose model name contains this.
    """
    from emovec_sae.saes.load import catalogue

    frame = catalogue()
    frame = frame[frame["model"].str.contains(model, regex=False, case=False)] if model else frame
    answer(
        {"saes": frame.to_dict("records")},
        json_=json_,
        text=table(frame) if len(frame) else f"the catalogue has no SAE for '{model}'",
    )
