"""emovec record: activations into shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from emovec_sae.cli.model import open_model
from emovec_sae.cli.options import USUAL, Json, Loading, ModelName
from emovec_sae.cli.output import answer, bar


def record(
    corpus: str,
    *,
    sites: str,
    out: Path,
    model: ModelName = "smollm2-135m-instruct",
    pool: Annotated[list[Literal["mean", "last", "max", "span", "none"]] | None, Parameter(negative="")] = None,
    offset: int | None = None,
    format_: Annotated[Literal["plain", "chat"], Parameter(name="--format")] = "plain",
    role: Literal["user", "assistant"] = "user",
    read: Literal["text", "reply", "all"] = "text",
    long: Literal["error", "truncate", "split"] = "error",
    emotions: str | None = None,
    groups: str | None = None,
    layout: str | None = None,
    limit: int | None = None,
    budget: int | None = None,
    engine: Literal["local", "ray", "ndif"] = "local",
    workers: int | None = None,
    loading: Loading = USUAL,
    json_: Json = False,
) -> None:
    """Record the activations of a corpus into a folder of HDF5 shards.

    Parameters
    ----------
    corpus
        Packaged name; a .jsonl, .csv or .parquet file with a column 'text'; or hf:owner/name, with :config and @split
        where a data set of the hub has several.
    sites
        Such as resid_post.12-24 or resid_post.12,mlp_out.3.
    out
        Folder to write; the same command goes on where it was interrupted.
    pool
        mean and max (from token OFFSET on; mean is the default), last, span (the characters that the column 'span'
        marks), none (every token, for SAEs and decomposition); repeatable.
    offset
        First token of mean and max, counted from where reading begins: 20, and 0 for --read reply.
    format_
        plain, or chat: each text as a message in the model's chat template.
    role
        Whose message it is in chat format; an assistant's text answers the column 'prompt'.
    read
        Tokens that are used: the text's own, the reply header after it (chat), or all. Never position 0 and special
        tokens.
    long
        What to do with a text longer than the context: error, truncate, or split into texts of their own.
    emotions
        Keep these emotions: names with commas between, or core.
    groups
        Keep these groups (topics): names with commas between, or demo.
    layout
        The file is one of a known data set: goemotions, isear, crowd-envent, emobank or brighter (emovec corpora
        layouts).
    limit
        Keep the first so many texts.
    budget
        Padded tokens of a batch; found by a short probe otherwise, and kept with the recording.
    engine
        local; ray: workers on a Ray cluster; ndif: the National Deep Inference Fabric.
    workers
        Number of Ray workers; one for each GPU or CPU of the cluster otherwise.
    """
    from emovec_sae.corpora.packaged import load_corpus
    from emovec_sae.recording.record import record as record_

    texts = load_corpus(corpus, emotions=emotions, groups=groups, layout=layout)
    if limit is not None:
        texts = texts.head(limit)
    loaded = open_model(model, loading, remote=engine == "ndif")
    with bar(f"record {len(texts)} texts") as progress:
        acts = record_(
            loaded,
            texts,
            sites=sites,
            pool=pool or ["mean"],
            out=out,
            offset=offset,
            format=format_,
            role=role,
            read=read,
            long=long,
            budget=budget,
            engine=engine,
            workers=workers,
            progress=progress,
        )
    facts = {
        "out": str(out),
        "texts": len(acts),
        "sites": [str(site) for site in acts.sites],
        "pools": list(acts.pools),
        "budget": acts.settings["budget"],
    }
    facts |= {"tokens": int(acts.frame["n_tokens"].sum()), "residual_norm": acts.residual_norm, "model": acts.model}
    answer(facts, json_=json_, text=repr(acts))
