"""The statements that were made beforehand, each with its number and verdict; figures; the README's table."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovec_sae.charts import caption, draw, save_chart
from emovec_sae.provenance import read_json
from emovec_sae.stats import bootstrap_mean
from experiments.shared import fill_numbers

CLUSTERS = ("pair", "family")
CHANGED, LAST = "changed word", "last token"
AS_FAR = "random, as far as "
DRAWN = ("residual", "direction", "subspace", "other direction", f"{AS_FAR}direction", "k=1", "k=4", "k=16", "k=64",
         "random latents")  # fmt: skip


def publish(
    name: str, path: Path, found: Mapping[str, Any], study: Mapping[str, Any], here: Path, figures: Path
) -> None:
    """Write numbers, figures and the README's table of one model."""
    settings = study["models"][name]
    both = replace(found["carriers"], cells=pd.concat([found["carriers"].cells, found["nulls"].cells]))
    steering = steered(found["steering"])
    rows = statements(found, both, steering, settings, study)
    told = {
        "statements": rows,
        "blocks": blocks(found["exact"]),
        "passports": {one.stem.partition("-")[2]: short(one) for one in sorted(path.glob("passport-*.json"))},
        "pairs": int(found["exact"].cells["pair"].nunique()),
        "skipped": found["exact"].skipped["reason"].str.replace(r"\d+ and \d+", "unequal", regex=True)
        .value_counts().to_dict(),
        "map": records(found["exact"].map(cluster="pair")),
        "noise": records(found["noise"].map(cluster="pair")),
        "streams": records(found["streams"].map(cluster="pair")),
        "carriers": records(both.map(cluster="pair")),
        "carriers over families": records(both.map(cluster="family")),
        "steering": records(steering),
        "agreement": records(found["exact"].agreement()),
        "agreement by layer": records(found["exact"].agreement(by="layer").query("kind == 'pearson'")),
        "provenance": found["exact"].provenance,
    }  # fmt: skip
    (here / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(figures, ignore_errors=True)
    draw_all(name, found, both, steering, figures)
    fill_readme(here, list(study["models"]))


def short(passport: Path) -> dict[str, Any]:
    """What a reader wants to know of an SAE."""
    told = read_json(passport)
    return {key: told[key] for key in ("explained_variance", "splice", "l0", "dead", "dense") if key in told}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON: four digits, None for what is not a number."""
    rounded = table.round(4).astype(object)
    return rounded.where(rounded.notna(), None).to_dict("records")


def steered(found: Mapping[str, Any]) -> pd.DataFrame:
    """Mean effect of each site's vectors, and of random ones, over emotions: series, x, value, low, high, n, null."""
    rows: list[dict[str, Any]] = []
    for site, one in found.items():
        means = one.frame().pivot_table(index="emotion", columns="arm", values="effect")
        for arm in ("raw", "random"):
            told = bootstrap_mean(means[arm].to_numpy(dtype=float), seed=0)
            reached = float(one.doses.loc[one.doses["arm"] == arm, "reached"].mean())
            rows.append(
                {"series": arm, "x": int(site.rpartition(".")[2]), "value": told.value, "low": told.low,
                 "high": told.high, "n": told.n, "null": np.nan, "reached": reached}
            )  # fmt: skip
    return pd.DataFrame(rows).sort_values(["series", "x"], ascending=[False, True]).reset_index(drop=True)


def blocks(exact: Any) -> dict[str, Any]:
    """From which block on the last token leads, and between which blocks the intervals cannot tell."""
    lead = exact.lead(LAST, over=CHANGED, cluster="pair").sort_values("layer")
    behind, ahead = lead[lead["high"] < 0]["layer"], lead[lead["low"] > 0]["layer"]
    down = lead[lead["lead"] <= 0]["layer"]
    return {
        "leads from": int(down.max()) + 1 if len(down) else 0,
        "last block clearly behind": None if behind.empty else int(behind.max()),
        "first block clearly ahead": None if ahead.empty else int(ahead.min()),
    }


def statements(
    found: Mapping[str, Any], both: Any, steering: pd.DataFrame, settings: Mapping[str, Any], study: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Every statement with its numbers."""
    early, late, k = settings["early"], settings["late"], "k=16"

    def at(table: str, what: str, other: str, *, layer: int = early, where: str = CHANGED) -> list[dict[str, Any]]:
        """The row of a comparison, over pairs and over families."""
        rows = []
        for cluster in CLUSTERS:
            name = "over" if table == "excess" else "of"
            told = (both.excess if table == "excess" else both.shares)(**{name: other}, cluster=cluster)
            row = told[(told["what"] == what) & (told["layer"] == layer) & (told["where"] == where)].iloc[0]
            rows.append({"value": row[table], "low": row["low"], "high": row["high"], "n": row["n"]})
        return rows

    rows = [
        *overtaking(found["exact"], settings["overtakes"]),
        row("2. direction minus as far at random", at("excess", "direction", f"{AS_FAR}direction")),
        row("3. direction minus another emotion's", at("excess", "direction", "other direction")),
        row("4. direction as a share of the whole", at("share", "direction", "residual"), 0.5, below=True),
        row("5. 16 latents as a share of the direction", at("share", k, "direction"), study["as_much"]),
        row("6. 16 latents minus as far at random", at("excess", k, f"{AS_FAR}{k}")),
        row("7. 16 latents minus random latents", at("excess", k, "random latents")),
        row("8. direction minus as far at random, last token", at("excess", "direction", f"{AS_FAR}direction",
                                                                  layer=late, where=LAST)),
        row("9. steering, late minus early", [later(found["steering"], early, late)]),
    ]  # fmt: skip
    told = found["exact"].agreement().query("kind == 'pearson'").iloc[0]
    interval = {key: told[key] for key in ("value", "low", "high", "n")}
    return [*rows, row("10. attribution with exact patching", [interval], study["agreement"])]


def overtaking(exact: Any, overtakes: list[int]) -> list[dict[str, Any]]:
    """The first statement has two halves: behind at the one block, ahead at the other."""
    rows = []
    for layer, below in zip(overtakes, (True, False), strict=True):
        told = []
        for cluster in CLUSTERS:
            lead = exact.lead(LAST, over=CHANGED, cluster=cluster).set_index("layer").loc[layer]
            told.append({"value": lead["lead"], "low": lead["low"], "high": lead["high"], "n": lead["n"]})
        way = "behind" if below else "ahead"
        rows.append(row(f"1. last token minus changed word, block {layer} ({way})", told, below=below))
    return rows


def later(found: Mapping[str, Any], early: int, late: int) -> dict[str, Any]:
    """Mean effect of the raw vectors at the late site minus that at the early one, over emotions."""
    means = [
        found[f"resid_post.{layer}"].frame().query("arm == 'raw'").set_index("emotion")["effect"]
        for layer in (late, early)
    ]
    told = bootstrap_mean((means[0] - means[1]).dropna().to_numpy(dtype=float), seed=0)
    return {"value": told.value, "low": told.low, "high": told.high, "n": told.n}


def row(name: str, told: list[dict[str, Any]], bar: float = 0.0, *, below: bool = False) -> dict[str, Any]:
    """A statement's number with its intervals, and whether it lies above (or below) its bar with all of them."""
    sides = [side(one, bar) for one in told]
    wanted, contrary = ("below", "above") if below else ("above", "below")
    verdict = "holds" if set(sides) == {wanted} else "fails" if set(sides) == {contrary} else "open"
    ends = {f"{key} over {cluster}s": float(one[key]) for cluster, one in zip(CLUSTERS, told, strict=False)
            for key in ("low", "high")}  # fmt: skip
    found = {"name": name, "value": float(told[0]["value"]), "bar": bar, "below": below, "n": int(told[0]["n"])}
    cleaned = {key: None if isinstance(one, float) and np.isnan(one) else one for key, one in (found | ends).items()}
    return cleaned | {"verdict": "no ratio" if "no ratio" in sides else verdict}


def side(one: Mapping[str, Any], bar: float) -> str:
    """On which side of the bar the whole interval lies."""
    if np.isnan(one["low"]):
        return "no ratio"
    return "above" if one["low"] > bar else "below" if one["high"] < bar else "open"


def draw_all(name: str, found: Mapping[str, Any], both: Any, steering: pd.DataFrame, folder: Path) -> None:
    """Every figure."""
    told = found["exact"].map(cluster="pair")
    facts = found["exact"].provenance

    def keep(chart: Any, stem: str, table: pd.DataFrame, words: str) -> None:
        save_chart(chart, folder, stem, table=table, provenance=facts, caption=f"{name}. {words}")

    keep(draw("patching", told), "map", told, caption("patching", told))
    parts = [told.assign(series=told["where"] + ", denoising"),
             found["noise"].map(cluster="pair").assign(series=lambda table: table["where"] + ", noising")]  # fmt: skip
    lines = pd.concat(parts).rename(columns={"layer": "x", "recovered": "value"}).assign(null=np.nan)
    lines = lines[["series", "x", "value", "low", "high", "n", "null"]].reset_index(drop=True)
    words = {"x_title": "block (counted from 0)", "y_title": "recovered fraction"}
    chart = draw(
        "curves", lines, title=f"Where the answer is decided, {name}", subtitle="whole residual; over pairs", **words
    )
    keep(chart, "places", lines, caption("curves", lines))
    streams = found["streams"].map(cluster="pair")
    keep(draw("carriers", streams), "streams", streams, caption("carriers", streams))
    kinds = both.map(cluster="pair").query("what in @DRAWN")
    keep(draw("carriers", kinds), "carriers", kinds, caption("carriers", kinds))
    words = {"x_title": "block that is steered", "y_title": "change of the own words' log-odds (nats)"}
    chart = draw("curves", steering, title=f"Steering at one KL (0.1 nats), {name}", subtitle="over emotions", **words)
    keep(chart, "steering", steering, caption("curves", steering))


def fill_readme(folder: Path, models: list[str]) -> None:
    """Put the statements of every finished model between the README's marks."""
    files = {name: folder / f"{name}.json" for name in models}
    tables = {name: json.loads(one.read_text(encoding="utf-8")) for name, one in files.items() if one.exists()}
    names = dict.fromkeys(
        re.sub(r"block \d+ ", "", one["name"]) for told in tables.values() for one in told["statements"]
    )
    lines = ["| | " + " | ".join(tables) + " |", "|---|" + "---|" * len(tables)]
    for number, name in enumerate(names):
        lines.append("| " + " | ".join([name, *(cell(told["statements"][number]) for told in tables.values())]) + " |")
    lines.append("| the last token leads from block | " + " | ".join(map(crossing, tables.values())) + " |")
    lines.append("| pairs used | " + " | ".join(f"{told['pairs']} of 160" for told in tables.values()) + " |")
    fits = [[one["explained_variance"]["value"] for one in told["passports"].values()] for told in tables.values()]
    lines.append(
        "| explained variance of the SAEs, by site | "
        + " | ".join(f"{min(some):.2f} to {max(some):.2f}" for some in fits) + " |"
    )  # fmt: skip
    fill_numbers(folder / "README.md", lines)


def crossing(told: Mapping[str, Any]) -> str:
    """The block, and how sure the pairs are."""
    found = told["blocks"]
    behind, ahead = found["last block clearly behind"], found["first block clearly ahead"]
    return f"{found['leads from']} (clearly behind up to {behind}, clearly ahead from {ahead})"


def cell(one: Mapping[str, Any]) -> str:
    """A number with its intervals and the verdict."""
    if one["value"] is None:
        return f"{one['verdict']}, n {one['n']:,}"
    ends = [f"[{one[f'low over {cluster}s']:.2f}, {one[f'high over {cluster}s']:.2f}]" for cluster in CLUSTERS
            if one.get(f"low over {cluster}s") is not None]  # fmt: skip
    return f"{one['value']:.2f} {' '.join(ends)}, n {one['n']:,}: **{one['verdict']}**"


__all__ = ["publish"]
