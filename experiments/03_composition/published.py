"""The rows of the README's table, from the results that ``run.py`` left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import emovec_sae as ev
from emovec_sae.stats import bootstrap_mean
from experiments.shared import fill_numbers

NULLS = ("random target", "permuted labels")


def summary(told: dict[str, Any], path: Path, *, at: int, seed: int) -> list[dict[str, Any]]:
    """Rows with name, value, low, high, n and null.

    Parameters
    ----------
    told
        Results by name.
    path
        Where the decompositions lie.
    at
        Latents an emotion that were compared.
    seed
        Of the SAE.
    """
    fit = told[f"passport-{seed}"]
    rows = [
        {"name": "SAE: explained variance, other topics", **fit["explained_variance"]},
        {"name": "SAE: cross entropy recovered (splice)", **fit["splice"]["ce_recovered"]},
        *_contrast(path, at, seed),
        *_curves(path, at, seed),
        *_agreement(told, at),
        *_shared(told),
        *_naming(told),
    ]
    return [{key: row.get(key) for key in ("name", "value", "low", "high", "n", "null", "of")} for row in rows]


def _contrast(path: Path, at: int, seed: int) -> list[dict[str, Any]]:
    found = ev.load_decomposition(path / f"contrast-{seed}.parquet")
    ranks, table = found.frame(), found.summary
    return [
        _over("error share of the squared vector", table["error_share"]),
        _over("share of the largest latent", ranks.loc[ranks["rank"] == 1, "share"]),
        _over(f"share of the first {at} latents", ranks[ranks["rank"] <= at].groupby("emotion")["share"].sum()),
        _over("latents that pass max-T 0.05, an emotion", table["n_max_t"], null=float(table["null_max_t"].mean())),
    ]


def _curves(path: Path, at: int, seed: int) -> list[dict[str, Any]]:
    rows = []
    for method in ("contrast", "omp"):
        excess = ev.load_decomposition(path / f"{method}-{seed}.parquet").excess()
        here = excess[(excess["quantity"] == "cosine") & (excess["k"] == at) & excess["null"].isin(NULLS)]
        for row in here.to_dict("records"):
            rows.append(
                {
                    "name": f"{method}, cosine of {at} latents: excess over {row['null']}",
                    "value": row["excess"], "low": row["excess_low"], "high": row["excess_high"], "n": row["n"],
                    "null": row["null_mean"], "of": row["value"],
                }
            )  # fmt: skip
    return rows


def _agreement(told: dict[str, Any], at: int) -> list[dict[str, Any]]:
    pair = next(one for one in told["agreement"]["pairs"] if (one["first"], one["second"]) == ("contrast", "omp"))
    halves = told["stability"]
    across = (
        ("matched", "they have a partner in the other seed (cosine 0.7)"),
        ("selected", "... that is selected too"),
    )
    return [
        {"name": f"contrast and omp share of {at} latents", "value": pair["overlap"], "null": pair["expected"]}
        | {key: pair[key] for key in ("low", "high", "n")},
        {"name": f"disjoint halves of the topics share of {at} latents", "value": halves["halves"],
         "low": halves["halves_low"], "high": halves["halves_high"], "n": halves["emotions"], "null": halves["null"]},
        *({**told["across_seeds"][name], "name": about} for name, about in across),
    ]  # fmt: skip


def _shared(told: dict[str, Any]) -> list[dict[str, Any]]:
    about = {"generic share": "share of latents that serve a quarter of the emotions or more",
             "specific share": "share of the other selected latents"}  # fmt: skip
    found = told["sharing"]
    return [
        {**one, "name": about[one["number"]], "n": found["emotions"]}
        for one in found["numbers"]
        if one["number"] in about
    ]


def _naming(told: dict[str, Any]) -> list[dict[str, Any]]:
    table = told["naming"]["summary"]
    every = sum(one["latents"] for one in table)
    counts = {kind: sum(one[kind] + one["names and evokes"] for one in table) for kind in ("names", "evokes")}
    return [
        {"name": f"share of (emotion, latent) pairs that {kind[:-1]}, at p 0.05", "value": count / every, "n": every,
         "null": 0.05} for kind, count in counts.items()
    ]  # fmt: skip


def _over(name: str, values: Any, *, null: float | None = None) -> dict[str, Any]:
    """Mean over emotions with its interval."""
    found = bootstrap_mean(values.to_numpy(dtype=float), seed=0)
    return {"name": name, "value": found.value, "low": found.low, "high": found.high, "n": found.n, "null": null}


def fill_readme(folder: Path, models: list[str]) -> None:
    """Put the numbers of every finished model between the README's marks."""
    files = {name: folder / f"{name}.json" for name in models}
    tables = {
        name: json.loads(one.read_text(encoding="utf-8"))["summary"] for name, one in files.items() if one.exists()
    }
    lines = ["| | " + " | ".join(tables) + " |", "|---|" + "---|" * len(tables)]
    rows = zip(*tables.values(), strict=True)
    lines += ["| " + " | ".join([row[0]["name"], *map(_cell, row)]) + " |" for row in rows]
    fill_numbers(folder / "README.md", lines)


def _cell(row: dict[str, Any]) -> str:
    of = "" if row["of"] is None else f" (of {row['of']:.3f})"
    ends = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    null = "" if row["null"] is None else f"; null {row['null']:.3f}"
    return f"{row['value']:.3f}{ends}{of}, n {row['n']:,}{null}"
